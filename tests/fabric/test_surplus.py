"""Nobody closes a roster to the others, or splits it, by saying much."""

import functools
import itertools
import random
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mycoswarm.core.errors import InvalidRequest, Refused
from mycoswarm.core.ids import NodeId
from mycoswarm.fabric import roster, statements, surplus
from mycoswarm.fabric.identity import Identity
from mycoswarm.fabric.roster import RESERVED, Roster
from mycoswarm.fabric.statements import Admitted, Demoted, Left, Promoted, Removed, Rotated, Signed, Statement
from tests.fabric.keys import identity, recoverable, recovery_key

Told = list[tuple[Statement, Signed]]


def hear(held: Roster, told: Told) -> Roster:
    """As peers do it: a roster with what is new arrives, and is merged."""
    written = msgspec.json.decode(held.encode())
    data = msgspec.json.encode({**written, "statements": [*written["statements"], *(one for _, one in told)]})
    return held.merge(roster.decode(data, held))


def rotations(held: Roster, name: str, count: int) -> Told:
    """As many different ones of one key: a proof is another one each time, and so is the statement."""
    old, new = identity(name), identity(f"{name} new")
    told: Told = []
    for _ in range(count):
        proof = new.sign(statements.rotation_text(held.swarm, old.id))
        word = Rotated(
            swarm=held.swarm, signer=old.id, seq=0, prev="", certificate=new.certificate, proof=proof
        )  # fmt: skip
        told.append((word, statements.sign(word, old.sign)[1]))
    return told


def flood(held: Roster, name: str, count: int, salt: str = "") -> Told:
    """A chain of admissions that one signer hangs on the last that it said."""
    signer, guest = identity(name), identity("guest")
    mine = [(said.seq, key) for key, said in held._said.items() if said.signer == signer.id]
    seq, prev = max(mine, default=(-1, ""))
    told: Told = []
    for number in range(count):
        seq += 1
        word = Admitted(
            swarm=held.swarm, signer=signer.id, seq=seq, prev=prev, node=guest.id, name=f"x{salt}{number}",
            certificate=guest.certificate, term=1,
        )  # fmt: skip
        prev, signed = statements.sign(word, signer.sign)
        told.append((word, signed))
    return told


def by(name: str) -> tuple[NodeId, statements.Sign]:
    return identity(name).id, identity(name).sign


def test_a_member_cannot_split_the_roster_by_telling_two_halves_different_things() -> None:
    held = recoverable()
    told = rotations(held, "boa", 34)
    one, other = hear(held, told[:17]), hear(held, told[17:])
    assert one.digest != other.digest
    # A removal that is signed in one half reaches the other, in either direction.
    removed = one.remove(identity("naru").id, *by("miu"))
    for merged in (other.merge(removed), removed.merge(other), roster.decode(removed.encode()).merge(other)):
        assert identity("naru").id not in merged.members()
        assert identity("boa").id not in merged.members()
        assert merged.digest == other.merge(removed).digest
    assert sum(isinstance(said, Rotated) for said in other.merge(one)._said.values()) == 2


def test_a_keeper_that_was_demoted_cannot_fill_the_roster() -> None:
    held = recoverable().promote(identity("boa").id, *by("miu"))
    held = held.demote(identity("boa").id, *by("miu"))
    told = flood(held, "boa", 2040)
    full = hear(held, told[: statements.MAX_STATEMENTS - len(held)])
    assert full.members() == held.members()
    more = hear(full, flood(full, "boa", 500))
    assert more.digest == full.digest
    key, naru = recovery_key(), identity("naru")
    for acted in (
        full.remove(identity("boa").id, *by("miu")),
        full.remove(naru.id, *by("miu")),
        full.recover(naru.id, (identity("miu").id, identity("boa").id), key.id, key.sign),
        full.admit(identity("x").certificate, "x", *by("miu")),
        full.promote(naru.id, *by("miu")),
        full.leave(identity("uncho").id, identity("uncho").sign),
        full.rotate(naru.id, naru.sign, identity("naru2").certificate, identity("naru2").sign),
    ):
        assert acted.members() != full.members()
        assert roster.decode(acted.encode()).digest == acted.digest
        assert full.merge(acted).digest == acted.merge(full).digest == acted.digest


def test_what_a_keeper_in_office_said_is_never_cut_and_heals_with_its_removal() -> None:
    """Two halves hear different floods of a rogue in office; its removal in one of them opens both again."""
    held = recoverable().promote(identity("boa").id, *by("miu"))
    one, other = hear(held, flood(held, "boa", 900, "a")), hear(held, flood(held, "boa", 900, "b"))
    assert len(one) == len(other) == len(held) + 900
    with pytest.raises(InvalidRequest, match="more than there is room for"):
        one.merge(other)
    healed = one.remove(identity("boa").id, *by("miu")).merge(other)
    assert healed.digest == other.merge(one.remove(identity("boa").id, *by("miu"))).digest
    assert identity("boa").id in healed.expelled()
    key = recovery_key()
    assert other.merge(one.recover(identity("naru").id, (identity("boa").id,), key.id, key.sign)).keepers() == (
        identity("naru").id,
        identity("miu").id,
    )


def test_a_thief_with_a_former_keepers_key_displaces_nothing_that_it_said_in_office() -> None:
    held = recoverable().promote(identity("boa").id, *by("miu"))
    for number in range(3):
        held = held.admit(identity(f"guest{number}").certificate, f"guest{number}", *by("boa"))
    held = held.leave(identity("uncho").id, identity("uncho").sign).remove(identity("boa").id, *by("miu"))
    branches: Told = []
    # Each on the first place of the chain, before all that was said in office.
    for number in range(1500):
        word = Demoted(
            swarm=held.swarm, signer=identity("boa").id, seq=0, prev="", node=identity("miu").id, last=f"{number}"
        )  # fmt: skip
        branches.append((word, statements.sign(word, identity("boa").sign)[1]))
    robbed = hear(held, branches)
    assert len(robbed) < len(held) + statements.SURPLUS_ROOM
    assert robbed.members() == held.members()
    assert held._said.keys() <= robbed._said.keys()


def test_a_flood_by_a_member_leaves_the_farewells_of_the_others() -> None:
    """And its own one, so that nobody who left is a member again."""
    held = recoverable().promote(identity("boa").id, *by("miu")).admit(identity("y").certificate, "y", *by("boa"))
    held = held.demote(identity("boa").id, *by("miu"))
    gone = held.leave(identity("boa").id, identity("boa").sign).leave(identity("uncho").id, identity("uncho").sign)
    flooded = hear(gone, flood(held, "boa", 2000)[::-1][::-1])
    assert flooded.members() == gone.members()
    assert identity("boa").id not in flooded.members()


def test_a_full_roster_still_lets_somebody_be_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    held = recoverable()
    _, founder, _, _ = surplus.occupied(held._said, held._authority)
    monkeypatch.setattr(roster, "FOUNDER_ROOM", founder + RESERVED)
    monkeypatch.setattr(surplus, "FOUNDER_ROOM", founder + RESERVED)
    assert held.fullness() == 1
    miu, boa, naru = identity("miu"), identity("boa"), identity("naru")
    for act in (
        lambda: held.admit(identity("x").certificate, "x", miu.id, miu.sign),
        lambda: held.promote(boa.id, miu.id, miu.sign),
    ):
        with pytest.raises(Refused, match="full"):
            act()
    assert boa.id not in held.remove(boa.id, miu.id, miu.sign).members()
    # Nor does it keep the owner from taking the swarm back.
    key = recovery_key()
    saved = held.recover(naru.id, (miu.id,), key.id, key.sign)
    assert (miu.id in saved.members(), saved.keepers()) == (False, (naru.id,))


def test_words_that_rest_on_each_other_in_a_long_row_cost_no_more() -> None:
    """Each of 300 strangers is admitted by the one before, and the first is cut; all go, and not in 300 rounds."""
    held = recoverable().promote(identity("boa").id, *by("miu")).demote(identity("boa").id, *by("miu"))
    boa = identity("boa")
    signed, said = dict(held._signed), dict(held._said)

    def say(who: Identity, seq: int, prev: str, make: type[Statement], **fields: Any) -> str:
        word = make(swarm=held.swarm, signer=who.id, seq=seq, prev=prev, **fields)
        key, one = statements.sign(word, who.sign)
        signed[key], said[key] = one, word
        return key

    def let(who: Identity, seq: int, prev: str, guest: Identity) -> str:
        return say(who, seq, prev, Admitted, node=guest.id, name="s", certificate=guest.certificate, term=1)

    # The first to be cut is whom all others go back to.
    row = sorted((identity(f"row{number}") for number in range(300)), key=lambda one: one.id, reverse=True)
    prev = ""
    for seq, guest in enumerate(row):
        prev = say(boa, seq, prev, Promoted, node=guest.id)
    let(boa, len(row), prev, row[0])
    for guest, after in itertools.pairwise(row):
        let(guest, 0, "", after)
    start = time.process_time()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(surplus, "SURPLUS_ROOM", 2 * len(row) - 1)
        cut = Roster(signed, said, held.swarm)
        assert len(cut) == len(held)
        assert cut.members() == held.members()
        assert roster.decode(cut.encode()).digest == cut.digest
        assert cut.merge(Roster(signed, said, held.swarm)).digest == cut.digest
    assert time.process_time() - start < 2, "seconds of processor; 0.3 were measured"


def test_what_counts_keeps_what_it_rests_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A keeper by the founder's word, whom one had let in whose words do not count any more."""
    held = recoverable().promote(identity("boa").id, *by("miu"))
    stranger, boa, miu = identity("stranger"), identity("boa"), identity("miu")
    held = held.admit(stranger.certificate, "stranger", *by("boa")).promote(stranger.id, *by("miu"))
    held = held.admit(identity("x").certificate, "x", *by("stranger"))
    seq, prev = max((said.seq, key) for key, said in held._said.items() if said.signer == miu.id)
    word = Demoted(swarm=held.swarm, signer=miu.id, seq=seq + 1, prev=prev, node=boa.id)
    held = hear(held, [(word, statements.sign(word, miu.sign)[1])])
    assert stranger.id not in held.members()
    assert identity("x").id in held.members()
    monkeypatch.setattr(surplus, "SURPLUS_ROOM", 6)
    flooded = hear(held, rotations(held, "naru", 2) + flood(held, "boa", 20))
    assert flooded.members().keys() == held.members().keys() - {identity("naru").id}
    assert roster.decode(flooded.encode()).digest == flooded.digest


def _hostile() -> tuple[list[Roster], Told]:
    """A swarm with a former keeper, and what it, a member with many keys, and their friends say."""
    held = recoverable().promote(identity("boa").id, *by("miu"))
    fallen = held.demote(identity("boa").id, *by("miu"))
    told = [*rotations(held, "naru", 6), *flood(held, "boa", 12, "a"), *flood(held, "boa", 12, "b")]
    boa, friend = identity("boa"), identity("friend")
    seq, prev = told[-1][0].seq, statements.hash_of(told[-1][1].statement)

    def say(who: Identity, make: type[Statement], **fields: Any) -> None:
        nonlocal seq, prev
        seq += 1
        word = make(swarm=held.swarm, signer=who.id, seq=seq, prev=prev, **fields)
        prev, signed = statements.sign(word, who.sign)
        told.append((word, signed))

    # Beyond its time it takes in a friend and makes it a keeper, who speaks as well.
    say(boa, Admitted, node=friend.id, name="f", certificate=friend.certificate, term=1)
    say(boa, Promoted, node=friend.id)
    seq, prev = -1, ""
    for number in range(8):
        say(friend, Removed, node=identity("uncho").id, last=f"{number}" if number % 2 else prev)
    say(friend, Left, term=1)
    ended = fallen.leave(identity("uncho").id, identity("uncho").sign)
    return [held, fallen, ended, ended.remove(boa.id, *by("miu"))], told


@functools.cache
def hostile() -> tuple[list[Roster], Told]:
    return _hostile()


def told_of(held: Roster, told: Told, which: set[int]) -> Roster:
    """With those of `told` that fit together."""
    said, signed = dict(held._said), dict(held._signed)
    for number in sorted(which):
        word, one = told[number]
        key = statements.hash_of(one.statement)
        said[key], signed[key] = word, one
    fitting = statements.fitting(said)
    assert fitting is not None
    said = fitting
    return Roster({key: signed[key] for key in said}, said, held.swarm)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 30))
def test_hostile_members_end_nothing_but_their_own_words(seed: int, room: int) -> None:
    """Everybody hears another part of it, meets others in any order, and all come to one end."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(surplus, "SURPLUS_ROOM", room)
        converge(seed)


def converge(seed: int) -> None:
    chance = random.Random(seed)
    bases, told = hostile()
    parts: list[Roster] = []
    while len(parts) < 5:
        # Some of the rotations, a piece of either branch from its beginning, and perhaps what the friend says.
        which = set(chance.sample(range(6), chance.randrange(7)))
        which |= set(range(6, 6 + chance.randrange(13)))
        which |= set(range(18, chance.choice((18 + chance.randrange(13), len(told)))))
        parts.append(told_of(chance.choice(bases), told, which))
    nodes = list(parts)
    # Some meet, in part only; then each has met each.
    for _ in range(4):
        one, other = chance.sample(range(5), 2)
        nodes[one] = nodes[one].merge(nodes[other])
        assert nodes[one].merge(nodes[other]).digest == nodes[one].digest
        assert nodes[other].merge(nodes[one]).digest == nodes[one].merge(nodes[other]).digest
    for _ in range(2):
        order = [(one, other) for one in range(5) for other in range(5) if one != other]
        chance.shuffle(order)
        for one, other in order:
            nodes[one] = nodes[other] = nodes[one].merge(nodes[other])
    assert len({node.digest for node in nodes}) == 1
    end = nodes[0]
    assert roster.decode(end.encode()).encode() == end.encode()
    # The same members as by any order of the parts from the beginning, and nothing that counts was lost.
    for _ in range(3):
        chance.shuffle(parts)
        again = functools.reduce(Roster.merge, parts)
        assert (again.members(), again.keepers()) == (end.members(), end.keepers())
        assert again._authority.counting == end._authority.counting


def test_the_largest_roster_is_judged_in_a_moment() -> None:
    """256 members and as many changes as there is room for; news of one statement merged into it."""
    founder = identity("p0")
    swarm = roster.SwarmId(f"{founder.id}-00")
    held = roster.found(swarm, "s", founder.certificate, "p0", founder.sign, recovery_key().public)
    signed, said = dict(held._signed), dict(held._said)
    tips: dict[NodeId, tuple[int, str]] = {founder.id: (0, next(iter(signed)))}

    def say(by: str, make: type[Statement], **fields: Any) -> None:
        who = identity(by)
        seq, prev = tips.get(who.id, (-1, ""))
        word = make(swarm=swarm, signer=who.id, seq=seq + 1, prev=prev, **fields)
        key, one = statements.sign(word, who.sign)
        signed[key], said[key], tips[who.id] = one, word, (seq + 1, key)

    def let(name: str, guest: str, term: int) -> None:
        say(name, Admitted, node=identity(guest).id, name=guest, certificate=identity(guest).certificate, term=term)

    members = [f"p{number}" for number in range(256)]
    for name in members[1:]:
        let("p0", name, 1)
    for name in members[1:9]:
        say("p0", Promoted, node=identity(name).id)
    room = {"p0": statements.FOUNDER_ROOM - len(said), "p1": statements.KEEPERS_ROOM, "": statements.SURPLUS_ROOM - 2}
    term = 1
    while room[""]:
        for number, name in enumerate(members[10:]):
            if room[""]:
                room[""] -= 1
                say(name, Left, term=term)
                keeper = f"p{number % 9}"
                room["p0" if number % 9 == 0 else "p1"] -= 1
                let(keeper, name, term + 1)
        term += 1
    for keeper in ("p0", "p1"):
        for _ in range(room[keeper]):
            let(keeper, "p9", 1)
    full = Roster(signed, said, swarm)
    assert (len(full), len(full.members()), len(full.keepers())) == (len(said), 256, 9)
    assert full.fullness() > 1
    data = full.encode()
    assert len(data) < roster.MAX_BYTES
    news = full.leave(identity("p20").id, identity("p20").sign).encode()
    took = []
    for _ in range(5):
        start = time.process_time()
        assert len(full.merge(roster.decode(news, full))) == len(full) + 1
        took.append(time.process_time() - start)
    print(len(full), min(took), len(data))
    assert min(took) < 0.3, "seconds of processor; 0.1 were measured"
