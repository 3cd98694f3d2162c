import itertools

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.core.ids import NodeId, SwarmId
from mycoswarm.core.node import SwarmInfo
from mycoswarm.fabric.webca import Authority
from mycoswarm.fabric.webkeeping import adopted, handed_to, is_spent, merged, renews, retained

ME, BOA, MIU = NodeId("me"), NodeId("boa"), NodeId("miu")


def swarm(*keepers: NodeId, name: str = "s") -> SwarmInfo:
    return SwarmInfo(SwarmId(name), "home", 3, keepers, True)


def ca(belongs_to: str = "s", made: int = 1, generation: int = 0, holders: tuple[str, ...] = (ME,)) -> Authority:
    return Authority(
        swarm=belongs_to, certificate=b"%d-%d" % (generation, made), key=b"", made=made, generation=generation,
        holders=holders,
    )  # fmt: skip


def test_only_keepers_and_those_in_no_swarm_hold_one() -> None:
    assert retained(None, swarm(ME), ME) is None
    assert retained(ca(""), None, ME) == ca("")
    assert retained(ca("s"), None, ME) is None, "it has left"
    assert retained(ca("s"), swarm(ME), ME) == ca("s")
    assert retained(ca("s"), swarm(BOA), ME) is None, "it is a keeper no more"
    assert retained(ca("s"), swarm(ME, name="t"), ME) is None, "it has moved over"
    assert retained(ca(""), swarm(ME), ME) == ca(""), "the others may have none"
    assert retained(ca(""), swarm(BOA), ME) is None


def test_a_founder_s_own_becomes_the_swarm_s() -> None:
    mine = adopted(ca("", holders=("old-id",)), swarm(ME), ME)
    assert (mine.swarm, mine.holders, mine.certificate) == ("s", (ME,), ca("").certificate)


def test_a_keeper_s_own_gives_way_to_the_swarm_s() -> None:
    assert merged(ca(""), ca("s", made=9), swarm(ME, BOA)).made == 9
    assert merged(None, ca("s", made=9), swarm(ME, BOA)).made == 9
    assert merged(ca("s"), ca("other", made=0), swarm(ME, BOA)) == ca("s"), "of another swarm it is worth nothing"


def test_who_has_had_the_key_is_remembered() -> None:
    here, there = ca(holders=(BOA, ME)), ca(holders=(BOA, MIU))
    assert merged(here, there, swarm(ME, BOA, MIU)).holders == (BOA, ME, MIU)
    assert handed_to(ca(), MIU).holders == (ME, MIU)
    assert handed_to(ca(), ME) == ca()


def test_a_key_that_a_former_keeper_knows_is_spent() -> None:
    assert not is_spent(ca(holders=(ME, BOA)), swarm(ME, BOA, MIU))
    assert is_spent(ca(holders=(ME, BOA)), swarm(ME, MIU))
    assert not is_spent(ca("", holders=("old-id",)), swarm(ME)), "it was nobody's but this machine's"


def test_one_of_the_keepers_that_are_here_makes_the_new_one() -> None:
    keepers, here = swarm(ME, BOA, MIU), {ME, BOA, MIU}
    makers = [one for one in here if renews(one, keepers, here - {one})]
    assert makers == [BOA]
    assert renews(ME, keepers, {NodeId("a-plain-member")})


@given(
    st.permutations([ca(made=made, generation=generation) for made, generation in itertools.product((1, 2, 3), (0, 1))])
)
def test_all_keepers_end_with_the_same_one_whatever_the_order(offers: list[Authority]) -> None:
    held: Authority | None = None
    for offer in offers:
        held = merged(held, offer, swarm(ME, BOA))
    assert held is not None
    assert (held.generation, held.made) == (1, 1), "the newest generation, and of these the oldest"
    assert merged(held, msgspec.structs.replace(held), swarm(ME, BOA)) == held
