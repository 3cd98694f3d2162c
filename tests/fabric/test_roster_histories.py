"""Histories of a swarm that nobody thought of: several nodes, each with its own copy, acting and meeting in any order.

Whatever happened, in partitions, after backups were restored and with thieves who hold every key that a machine ever
had: once everybody has heard everything, everybody comes to the same end.
"""

import functools
import itertools
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mycoswarm.core.errors import InvalidRequest, Refused
from mycoswarm.core.ids import NodeId, SwarmId
from mycoswarm.fabric import roster, surplus
from mycoswarm.fabric.identity import Identity
from mycoswarm.fabric.roster import Roster
from mycoswarm.fabric.statements import Admitted, Demoted, Left, Promoted, Removed, Rotated, Statement, rotation_text
from tests.fabric.keys import identity, recovery_key, with_statement

MACHINES = 6
Step = tuple[str, int, int, int]


@functools.cache
def beginning() -> Roster:
    """n0 founder, n1 and n2 keepers by its word, n3 a member."""
    founder = identity("n0")
    held = roster.found(
        SwarmId(f"{founder.id}-00"), "s", founder.certificate, "n0", founder.sign, recovery_key().public
    )
    for name in ("n1", "n2", "n3"):
        held = held.admit(identity(name).certificate, name, founder.id, founder.sign)
    for name in ("n1", "n2"):
        held = held.promote(identity(name).id, founder.id, founder.sign)
    return held


@dataclass
class Machine:
    keys: list[Identity]
    copy: Roster | None = None

    @property
    def key(self) -> Identity:
        return self.keys[-1]


@dataclass
class Theft:
    """Something signed with a machine's key by somebody who had no business to. before: removals of it until then."""

    signer: NodeId
    outsider: NodeId
    before: int


@dataclass
class World:
    machines: list[Machine] = field(default_factory=list)
    versions: list[Roster] = field(default_factory=list)
    keepers_ever: set[NodeId] = field(default_factory=set)
    removals: dict[NodeId, int] = field(default_factory=dict)
    thefts: list[Theft] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.machines = [Machine([identity(f"n{number}")]) for number in range(MACHINES)]
        for machine in self.machines[:4]:
            machine.copy = beginning()
        self.saw(beginning())

    def saw(self, held: Roster) -> Roster:
        self.versions.append(held)
        self.keepers_ever.update(held.keepers())
        return held

    def step(self, act: str, who: int, whom: int, chance: int) -> None:
        """One thing that happens; what the roster refuses does not happen."""
        one, other = self.machines[who], self.machines[whom]
        if one.copy is None:
            return
        try:
            self._step(act, one, other, chance)
        except Refused:
            return

    def _step(self, act: str, one: Machine, other: Machine, chance: int) -> None:
        held = one.copy
        assert held is not None
        me = one.key
        match act:
            case "admit":
                one.copy = self.saw(held.admit(other.key.certificate, f"m{chance % 3}", me.id, me.sign))
                # Who joins is given the roster, whatever it held before.
                other.copy = one.copy
            case "remove":
                one.copy = self.saw(held.remove(other.key.id, me.id, me.sign))
                self.removals[other.key.id] = self.removals.get(other.key.id, 0) + 1
            case "promote":
                one.copy = self.saw(held.promote(other.key.id, me.id, me.sign))
            case "demote":
                one.copy = self.saw(held.demote(other.key.id, me.id, me.sign))
            case "leave":
                one.copy = self.saw(held.leave(me.id, me.sign))
            case "rotate":
                new = identity(f"n{self.machines.index(one)}-{len(one.keys)}")
                one.copy = self.saw(held.rotate(me.id, me.sign, new.certificate, new.sign))
                one.keys.append(new)
            case "recover":
                key = recovery_key()
                lost = (other.key.id,) if chance % 2 else ()
                one.copy = self.saw(held.recover(me.id, lost, key.id, key.sign))
                if lost:
                    self.removals[lost[0]] = self.removals.get(lost[0], 0) + 1
            case "meet":
                if other.copy is not None:
                    merged = self.saw(held.merge(other.copy))
                    one.copy = merged
                    if chance % 2:
                        other.copy = merged
            case "old copy":
                one.copy = self.saw(held.merge(self.versions[chance % len(self.versions)]))
            case "backup":
                one.copy = self.versions[chance % len(self.versions)]
            case "theft":
                self._theft(one, other, chance)
            case "flood":
                self._flood(one, other, chance)
            case _:
                raise AssertionError(act)

    def _theft(self, one: Machine, other: Machine, chance: int) -> None:
        """Somebody signs with a key of `one`, on any branch of its chain, and brings it to `other`."""
        if other.copy is None or len(self.thefts) >= 8:
            return
        key = one.keys[chance % len(one.keys)]
        outsider = identity(f"x{len(self.thefts)}")
        said = other.copy._said
        mine = [("", -1), *((name, word.seq) for name, word in said.items() if word.signer == key.id)]
        prev, seq = mine[chance % len(mine)]
        target = self.machines[chance % MACHINES].key.id
        swarm = other.copy.swarm
        words: list[Statement] = [
            Admitted(
                swarm=swarm, signer=key.id, seq=seq + 1, prev=prev,
                node=outsider.id, name="x", certificate=outsider.certificate, term=1,
            ),
            Promoted(swarm=swarm, signer=key.id, seq=seq + 1, prev=prev, node=target),
            Removed(swarm=swarm, signer=key.id, seq=seq + 1, prev=prev, node=target),
            Demoted(swarm=swarm, signer=key.id, seq=seq + 1, prev=prev, node=target),
            Left(swarm=swarm, signer=key.id, seq=seq + 1, prev=prev, term=1),
        ]  # fmt: skip
        # Mostly the one that would bring somebody in.
        word = words[max(0, chance % 9 - 4)]
        try:
            other.copy = self.saw(with_statement(other.copy, word, key))
        except InvalidRequest:
            return
        if isinstance(word, Admitted):
            self.thefts.append(Theft(key.id, outsider.id, self.removals.get(key.id, 0)))
        elif isinstance(word, Removed):
            self.removals[target] = self.removals.get(target, 0) + 1

    def _flood(self, one: Machine, other: Machine, chance: int) -> None:
        """A key of `one` says much on any branch of its chain, and tells it `other`."""
        if other.copy is None:
            return
        key = one.keys[chance % len(one.keys)]
        new = identity(f"flood{chance % 2}")
        swarm = other.copy.swarm
        for number in range(2 + chance % 4):
            said = other.copy._said
            mine = [("", -1), *((name, word.seq) for name, word in said.items() if word.signer == key.id)]
            prev, seq = mine[(chance + number * (chance % 3)) % len(mine)]
            place: dict[str, Any] = {"swarm": swarm, "signer": key.id, "seq": seq + 1, "prev": prev}
            target = self.machines[(chance + number) % MACHINES].key.id
            words: list[Statement] = [
                Rotated(**place, certificate=new.certificate, proof=new.sign(rotation_text(swarm, key.id))),
                Demoted(**place, node=target, last=f"{number}"),
                Left(**place, term=1),
                Promoted(**place, node=new.id),
                Admitted(**place, node=new.id, name=f"f{number}", certificate=new.certificate, term=1),
            ]
            try:
                other.copy = self.saw(with_statement(other.copy, words[(chance // 3) % 5], key))
            except InvalidRequest:
                continue


def flooded(steps: list[Step], seed: int, room: int) -> None:
    """With so little room that much is cut: who meets whom, each with each, and all come to one end."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(surplus, "SURPLUS_ROOM", room)
        world = World()
        for step in steps:
            world.step(*step)
        chance = random.Random(seed)
        nodes = [machine.copy for machine in world.machines if machine.copy is not None]
        nodes += chance.choices(world.versions, k=3)
        pairs = list(itertools.permutations(range(len(nodes)), 2))
        for _ in range(3):
            chance.shuffle(pairs)
            for one, other in pairs:
                merged = nodes[one].merge(nodes[other])
                assert merged.encode() == nodes[other].merge(nodes[one]).encode()
                nodes[one] = nodes[other] = merged
        assert len({node.encode() for node in nodes}) == 1
        end = nodes[0]
        read = roster.decode(end.encode())
        assert (read.members(), read.keepers(), read.encode()) == (end.members(), end.keepers(), end.encode())
        assert set(end.keepers()) <= end.members().keys()
        assert not end.expelled() & end.members().keys()


def play(steps: list[Step], seed: int) -> None:
    """Let it happen, let everybody hear of everything, and see that all is as it must be."""
    world = World()
    for step in steps:
        world.step(*step)
    end = functools.reduce(Roster.merge, world.versions)
    chance = random.Random(seed)
    # In any order, with repetitions, and the same from everybody's point of view.
    for _ in range(3):
        shuffled = [*world.versions, *chance.choices(world.versions, k=3)]
        chance.shuffle(shuffled)
        again = functools.reduce(Roster.merge, shuffled)
        assert again.digest == end.digest
        assert again.encode() == end.encode()
        assert again.members() == end.members()
        assert again.keepers() == end.keepers()
    x, y, z = (chance.choice(world.versions) for _ in range(3))
    left, right = x.merge(y).merge(z), x.merge(y.merge(z))
    assert (left.encode(), left.members(), left.keepers()) == (right.encode(), right.members(), right.keepers())
    assert x.merge(y).encode() == y.merge(x).encode()
    assert x.merge(x).encode() == x.encode()
    read = roster.decode(end.encode())
    assert (read.members(), read.keepers(), read.digest) == (end.members(), end.keepers(), end.digest)
    check(end, world)


def check(end: Roster, world: World) -> None:
    members = end.members()
    assert set(end.keepers()) <= members.keys()
    assert [node for node in members if members[node].keeper] == sorted(end.keepers())
    assert not end.expelled() & members.keys()
    founder = world.machines[0].keys[0].id
    # The recovery key's word stands for ever, and the founder's as long as nobody has ended his time.
    final = {recovery_key().id} | (set() if _ended(end, founder) else {founder})
    for said in end._said.values():
        if isinstance(said, Removed) and said.signer in final:
            assert said.node not in members
    for theft in world.thefts:
        if theft.outsider not in members:
            continue
        # Whoever brought somebody in was a keeper once, and none of the removals that count came before.
        assert theft.signer in world.keepers_ever
        if theft.signer in end.expelled():
            assert theft.before < world.removals[theft.signer]


def _ended(end: Roster, node: NodeId) -> bool:
    return any(
        (isinstance(said, Demoted | Removed) and said.node == node)
        or (isinstance(said, Left | Rotated) and said.signer == node)
        for said in end._said.values()
    )


_ACTS = (
    *("admit", "meet", "theft") * 4,
    *("promote", "old copy") * 3,
    *("remove", "demote", "rotate", "backup") * 2,
    *("leave", "recover"),
)
_FLOODS = (*_ACTS, *("flood",) * 8)
_steps = st.lists(
    st.tuples(st.sampled_from(_ACTS), st.integers(0, MACHINES - 1), st.integers(0, MACHINES - 1), st.integers(0, 99)),
    min_size=5,
    max_size=40,
)
_calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@settings(_calm, max_examples=500)
@given(_steps, st.integers(0, 1000))
def test_everybody_comes_to_the_same_end(steps: list[Step], seed: int) -> None:
    play(steps, seed)


@pytest.mark.long
@settings(_calm, max_examples=3000)
@given(_steps, st.integers(0, 1000))
def test_everybody_comes_to_the_same_end_in_thousands_of_histories(steps: list[Step], seed: int) -> None:
    play(steps, seed)


_hostile_steps = st.lists(
    st.tuples(st.sampled_from(_FLOODS), st.integers(0, MACHINES - 1), st.integers(0, MACHINES - 1), st.integers(0, 99)),
    min_size=10,
    max_size=40,
)


@settings(_calm, max_examples=100)
@given(_hostile_steps, st.integers(0, 1000))
def test_everybody_comes_to_the_same_end_whatever_hostile_members_say(steps: list[Step], seed: int) -> None:
    play(steps, seed)


@settings(_calm, max_examples=150)
@given(_hostile_steps, st.integers(0, 1000), st.integers(3, 25))
def test_everybody_comes_to_the_same_end_where_room_is_short(steps: list[Step], seed: int, room: int) -> None:
    flooded(steps, seed, room)


@pytest.mark.long
@settings(_calm, max_examples=2000)
@given(_hostile_steps, st.integers(0, 1000), st.integers(3, 25))
def test_everybody_comes_to_the_same_end_in_thousands_of_floods(steps: list[Step], seed: int, room: int) -> None:
    flooded(steps, seed, room)
