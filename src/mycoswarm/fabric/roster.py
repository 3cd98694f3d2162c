"""The roster: who belongs to the swarm. It *is* the trust store.

A set of signed statements (`statements`), each signer's own hash-chained to the one before, and what follows from them
(`authority`). Merging two rosters is the union of their statements, so the order in which news arrive never matters;
nothing that has effect is ever lost, and two statements of one signer on the same place of its chain (a restored
backup, a stolen key) are both kept and reported.

    statements ──▶ do they fit together? ──▶ whose count? ──▶ is there room? ──▶ who is a member, who a keeper
                                                  ▲                 │
                                                  └── surplus cut ──┘

A statement that its signer had no right to make is kept without effect, because the right may come or go with a later
merge, as far as there is room for such (`surplus`); one that could have effect in no merge refuses the whole roster it
came in. See `statements` for the line.
"""

import hashlib
from collections.abc import Mapping

import msgspec

from mycoswarm.core.errors import InvalidRequest, Refused
from mycoswarm.core.ids import NodeId, SwarmId, short
from mycoswarm.fabric import statements
from mycoswarm.fabric.authority import judge, sole_rotations
from mycoswarm.fabric.identity import certified_id
from mycoswarm.fabric.statements import (
    FOUNDER_ROOM,
    KEEPERS_ROOM,
    MAX_ROTATIONS,
    MAX_STATEMENTS,
    Admitted,
    Demoted,
    Founded,
    Left,
    Promoted,
    Removed,
    Rotated,
    Sign,
    Signed,
    Statement,
    check_name,
    check_set,
    founder_of,
    founding,
    hash_of,
    recovery_id,
    rotation_text,
    successor_of,
    verify_all,
)
from mycoswarm.fabric.surplus import check_room, cut, occupied

__all__ = ["FORMAT", "MAX_BYTES", "Member", "Roster", "Sign", "check_name", "decode", "found", "founder_of"]

FORMAT = 2
"""1 knew neither recovery key nor other keepers than the founder; it is read, and written as 2."""
MAX_BYTES = 14 * 1024 * 1024
"""A roster with MAX_STATEMENTS admissions has about 7.2 MB."""
RESERVED = 64
"""Statements of the founder's and of the keepers' room that only removals and demotions may still add: a full roster
must protect nobody."""


class _Format(msgspec.Struct, frozen=True):
    format: int


class _Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    statements: tuple[Signed, ...]


class Member(msgspec.Struct, frozen=True):
    """keeper: it may admit and remove. term: of its present membership. added_by: the recovery key's id for its own."""

    id: NodeId
    name: str
    certificate: bytes
    keeper: bool
    added_by: NodeId
    term: int


_format = msgspec.json.Decoder(_Format)
_written = msgspec.json.Decoder(_Written)
_encoder = msgspec.json.Encoder(order="sorted")


class Roster:
    """A verified set of statements about one swarm. Immutable: every change gives a new one."""

    def __init__(self, signed: Mapping[str, Signed], said: Mapping[str, Statement], swarm: SwarmId) -> None:
        """For this module only: everything outside comes through `found` and `decode`, which verify.

        Raises InvalidRequest where the statements do not fit together, or more have effect than there is room for.
        """
        self.swarm = swarm
        self._said = {key: said[key] for key in sorted(signed)}
        self._line = check_set(swarm, self._said)
        self._authority = judge(self._said, self._line)
        # What is cut had no effect, but may have been an end to something: until nothing changes any more.
        while len(kept := cut(self._said, self._authority)) < len(self._said):
            self._said = {key: kept[key] for key in sorted(kept)}
            self._line = check_set(swarm, self._said)
            self._authority = judge(self._said, self._line)
        check_room(self._said, self._authority)
        self._signed = {key: signed[key] for key in self._said}
        self._founding = founding(self._said.values())
        self._members = self._belonging()
        self._keepers = tuple(node for node in self._authority.keepers if node in self._members)
        self._by_certificate = {member.certificate: member.id for member in self._members.values()}
        self.digest = hashlib.sha256("".join(self._signed).encode()).hexdigest()[:16]
        """Equal where the same statements are held."""

    def __len__(self) -> int:
        """Statements."""
        return len(self._signed)

    @property
    def name(self) -> str:
        """The swarm's name."""
        return self._founding.name

    @property
    def recovery(self) -> NodeId | None:
        """The id under which the recovery key signs; None in a swarm of the first format, which has none."""
        return self._authority.recovery

    def members(self) -> Mapping[NodeId, Member]:
        """Those who belong to it now."""
        return self._members

    def keepers(self) -> tuple[NodeId, ...]:
        """Members that may sign, the most senior first."""
        return self._keepers

    def removed(self) -> frozenset[NodeId]:
        """Nodes that belonged to it and do not any more. A machine that took a new key belongs to it all the same."""
        once = {founder_of(self.swarm)}
        renewed: dict[NodeId, NodeId] = {}
        for one in self._said.values():
            if isinstance(one, Admitted):
                once.add(one.node)
            elif isinstance(one, Rotated):
                once.add(successor_of(one))
                renewed[one.signer] = successor_of(one)
        return frozenset(node for node in once if _last_of(node, renewed) not in self._members)

    def causes(self) -> Mapping[NodeId, str]:
        """Why each of `removed` is gone, in words."""
        renewed = {one.signer: successor_of(one) for one in self._said.values() if isinstance(one, Rotated)}
        left: set[NodeId] = set()
        by: dict[NodeId, NodeId] = {}
        for key, one in self._said.items():
            if isinstance(one, Left):
                left.add(_last_of(one.signer, renewed))
            elif isinstance(one, Removed) and one.node in self._authority.removed:
                # Of several removals one whose signer still has the right to it.
                last = _last_of(one.node, renewed)
                if last not in by or key in self._authority.counting:
                    by[last] = one.signer
        found: dict[NodeId, str] = {}
        for node in self.removed():
            last = _last_of(node, renewed)
            if last in by:
                who = "the recovery phrase" if by[last] == self.recovery else self._called(by[last])
                found[node] = f"{who} removed it"
            elif last in left:
                found[node] = "it left the swarm"
            else:
                found[node] = "what made it a member counts no more"
        return found

    def _called(self, node: NodeId) -> str:
        """What people call it, or called it while it belonged to the swarm."""
        if node in self._members:
            return self._members[node].name
        before = {successor_of(one): one.signer for one in self._said.values() if isinstance(one, Rotated)}
        # Under a new key the name is that of the first one.
        first = _last_of(node, before)
        names = [
            (one.term, one.name)
            for one in self._said.values()
            if isinstance(one, Admitted) and one.node in (node, first)
        ]
        if first == founder_of(self.swarm):
            names.append((1, self._founding.node_name))
        return max(names, default=(0, short(node)))[1]

    def expelled(self) -> frozenset[NodeId]:
        """Nodes that were removed for ever."""
        return frozenset(self._authority.removed)

    def node_of(self, certificate: bytes) -> NodeId | None:
        """Whose exact certificate (DER) this is, None for a stranger's."""
        return self._by_certificate.get(certificate)

    def forked(self) -> tuple[NodeId, ...]:
        """Signers with two statements on one place of their chain: a restored backup, or a stolen key."""
        seen: set[tuple[NodeId, str]] = set()
        forked: set[NodeId] = set()
        for said in self._said.values():
            place = (said.signer, said.prev)
            if place in seen:
                forked.add(said.signer)
            seen.add(place)
        return tuple(sorted(forked))

    # What changes it. `signer` is a keeper or the recovery key where nothing else is said.

    def may_come(self, node: NodeId) -> None:
        """Raises Refused for one that nobody can let in under this id any more."""
        # Read on either side: by the owner of the machine itself, and by the keeper who lets it in.
        anew = "to take it in as a new machine: mycoswarm leave --purge --keep-models on it, then mycoswarm up and join"
        if node in self._authority.removed:
            raise Refused("a machine that was removed from the swarm does not come back under its old identity", anew)
        if any(isinstance(said, Rotated) and said.signer == node for said in self._said.values()):
            raise Refused("a machine that has taken a new key does not come back under its old identity", anew)

    def admit(self, certificate: bytes, name: str, signer: NodeId, sign: Sign) -> "Roster":
        """With one more member (or one admitted again). Raises Refused, InvalidRequest."""
        node = certified_id(certificate)
        self.must_be_keeper(signer)
        self._must_have_room(signer)
        self.may_come(node)
        terms = [said.term for said in self._said.values() if isinstance(said, Admitted) and said.node == node]
        if node == founder_of(self.swarm) or self._is_successor(node):
            terms.append(1)
        seq, prev = self._next(signer)
        new = self._with(
            Admitted(
                swarm=self.swarm,
                signer=signer,
                seq=seq,
                prev=prev,
                node=node,
                name=check_name(name),
                certificate=certificate,
                term=max(terms, default=0) + 1,
            ),
            sign,
        )
        return new if node in new._members else _without_effect()

    def remove(self, node: NodeId, signer: NodeId, sign: Sign) -> "Roster":
        """Without `node`, for ever. What it said until now still counts. Raises Refused."""
        self.must_be_keeper(signer)
        if node == signer:
            raise Refused("a machine does not remove itself", "`mycoswarm leave` takes it out of the swarm")
        if any(isinstance(said, Rotated) and said.signer == node for said in self._said.values()):
            raise Refused("this machine has taken a new key", "remove it under its new identity")
        seq, prev = self._next(signer)
        new = self._with(
            Removed(swarm=self.swarm, signer=signer, seq=seq, prev=prev, node=node, last=self._last_counting(node)),
            sign,
        )
        return new if node in new.expelled() else _without_effect()

    def leave(self, node: NodeId, sign: Sign) -> "Roster":
        """Without `node`, by its own word. Raises Refused where it is not a member."""
        member = self._members.get(node)
        if member is None:
            raise Refused("this node belongs to no swarm that it could leave")
        seq, prev = self._next(node)
        return self._with(Left(swarm=self.swarm, signer=node, seq=seq, prev=prev, term=member.term), sign)

    def promote(self, node: NodeId, signer: NodeId, sign: Sign) -> "Roster":
        """With `node`, a member, as a keeper. The same roster where it is one. Raises Refused."""
        self.must_be_keeper(signer)
        if node not in self._members:
            raise Refused("only a member of the swarm can become a keeper", "`mycoswarm invite` lets a machine in")
        return self if node in self._keepers else self._promote(node, signer, sign)

    def _promote(self, node: NodeId, signer: NodeId, sign: Sign) -> "Roster":
        self._must_have_room(signer)
        ends = [
            key
            for key, said in self._said.items()
            if (isinstance(said, Demoted) and said.node == node) or (isinstance(said, Left) and said.signer == node)
        ]
        seq, prev = self._next(signer)
        new = self._with(
            Promoted(
                swarm=self.swarm,
                signer=signer,
                seq=seq,
                prev=prev,
                node=node,
                after=self._last(node),
                lifts=tuple(sorted(ends)),
            ),
            sign,
        )
        return new if node in new._keepers else _without_effect()

    def demote(self, node: NodeId, signer: NodeId, sign: Sign) -> "Roster":
        """With `node`, a keeper, as an ordinary member; a keeper may resign itself. Raises Refused."""
        self.must_be_keeper(signer)
        if node not in self._keepers:
            raise Refused("this machine is no keeper of the swarm", self._who())
        if self._keepers == (node,) and signer != self.recovery:
            raise Refused(
                "the last keeper of a swarm remains one: without it nobody could be let in or removed any more",
                "`mycoswarm keeper add NODE` makes another one first",
            )
        seq, prev = self._next(signer)
        new = self._with(
            Demoted(swarm=self.swarm, signer=signer, seq=seq, prev=prev, node=node, last=self._last_counting(node)),
            sign,
        )
        return new if node not in new._keepers else _without_effect()

    def rotate(self, node: NodeId, sign: Sign, certificate: bytes, prove: Sign) -> "Roster":
        """With `node` under a new key; what it was (a keeper, its name) stays. Raises Refused.

        Args:
            certificate: the new key's, DER.
            prove: signs with the new key.
        """
        if node not in self._members:
            raise Refused("only a member of a swarm takes a new key", "a node without a swarm just starts as a new one")
        self._must_have_room(node)
        if self._rotations_of(node) >= MAX_ROTATIONS:
            raise Refused(
                f"this machine has changed its key {MAX_ROTATIONS} times already",
                "let it leave, remove node.key from its state directory and let it join as a new node",
            )
        seq, prev = self._next(node)
        new = self._with(
            Rotated(
                swarm=self.swarm,
                signer=node,
                seq=seq,
                prev=prev,
                certificate=certificate,
                proof=prove(rotation_text(self.swarm, node)),
            ),
            sign,
        )
        return new if certified_id(certificate) in new._members else _without_effect()

    def recover(self, node: NodeId, without: tuple[NodeId, ...], signer: NodeId, sign: Sign) -> "Roster":
        """With `node`, a member, as a keeper by the recovery key, and `without` removed for ever. Raises Refused.

        The rights that it gives are senior to everybody's, so whoever holds a stolen keeper's key cannot undo it.
        """
        if self.recovery is None:
            raise Refused(
                "this swarm was founded by an older version and has no recovery phrase",
                "found a new one with `mycoswarm invite`, and let the machines join it",
            )
        if signer != self.recovery:
            raise Refused(
                "this is not the recovery phrase of this swarm",
                f"it is the one that was shown when “{self.name}” was founded; is each word the right one?",
            )
        held = self
        for lost in without:
            if lost == node:
                raise Refused("the machine that recovers the swarm cannot be removed by that", "run it on another one")
            if lost not in held.expelled():
                held = held.remove(lost, signer, sign)
        if node not in held._members:
            raise Refused(
                "only a member of the swarm can be made its keeper", "type the phrase on a machine that belongs to it"
            )
        # Also where it is a keeper already: by a right of its own making it might be junior to a stolen key.
        return held._promote(node, signer, sign)

    def merge(self, other: "Roster") -> "Roster":
        """All that either holds, but for surplus beyond its room. Idempotent, commutative, associative: see `surplus`.

        Raises:
            Refused: another swarm's.
            InvalidRequest: more has effect in both together than there is room for, or they tell of two foundings.
        """
        if other.swarm != self.swarm:
            raise Refused("the roster of another swarm is not merged")
        if other._signed.items() <= self._signed.items():
            return self
        signed = dict(self._signed)
        for key, one in other._signed.items():
            mine = signed.get(key)
            # ECDSA gives several valid signatures of one statement; choosing by value keeps merge free of order.
            if mine is None or one.signature < mine.signature:
                signed[key] = one
        return Roster(signed, {**self._said, **other._said}, self.swarm)

    def encode(self) -> bytes:
        """For the disk and for peers; `decode` reads it."""
        return _encoder.encode(_Written(FORMAT, tuple(self._signed.values())))

    def must_be_keeper(self, signer: NodeId) -> None:
        """Raises Refused, naming those who are."""
        if signer not in self._keepers and signer != self.recovery:
            raise Refused("only a keeper of the swarm can do this, and this machine is none", self._who())

    def _who(self) -> str:
        if not self._keepers:
            return "no keeper is left: `mycoswarm keeper recover` makes this machine one by the recovery phrase"
        return "run it on " + " or ".join(self._members[keeper].name for keeper in self._keepers)

    def fullness(self) -> float:
        """The share that is taken of the room for the founder's words, or for the other keepers': the larger one."""
        _, founder, keepers, _ = occupied(self._said, self._authority)
        return max(founder / (FOUNDER_ROOM - RESERVED), keepers / (KEEPERS_ROOM - RESERVED))

    def _must_have_room(self, signer: NodeId) -> None:
        """Raises Refused where only removals and demotions of keepers may still be added."""
        if signer in self._authority.keepers and self.fullness() >= 1:
            raise Refused(
                f"the roster is full: it holds {len(self)} changes",
                "found a new swarm with `mycoswarm leave` and `mycoswarm invite`, and let the machines join it",
            )

    def _next(self, signer: NodeId) -> tuple[int, str]:
        """Where the signer's next statement hangs: seq and prev."""
        last = self._last(signer)
        return (self._said[last].seq + 1, last) if last else (0, "")

    def _last(self, node: NodeId) -> str:
        """The newest statement of `node`, "" where it has said nothing.

        After a fork (a restored backup, a stolen key) that of the branch on which most counts or is built upon.
        """
        relied = self._authority.counting | {
            said.after if isinstance(said, Promoted) else said.last
            for said in self._said.values()
            if isinstance(said, Promoted | Removed | Demoted) and said.node == node
        }
        weight = {"": 0}
        mine = sorted((said.seq, key) for key, said in self._said.items() if said.signer == node)
        for _, key in mine:
            weight[key] = weight[self._said[key].prev] + (key in relied)
        return max(mine, key=lambda one: (weight[one[1]], one), default=(0, ""))[1]

    def _last_counting(self, node: NodeId) -> str:
        """Of the same branch, the newest that counts: what is without effect needs no room among what has."""
        key = self._last(node)
        while key and key not in self._authority.relied and not isinstance(self._said[key], Founded):
            key = self._said[key].prev
        return key

    def _is_successor(self, node: NodeId) -> bool:
        return any(isinstance(said, Rotated) and successor_of(said) == node for said in self._said.values())

    def _rotations_of(self, node: NodeId) -> int:
        """How many keys the machine had before this one."""
        before = {successor_of(said): said.signer for said in self._said.values() if isinstance(said, Rotated)}
        count = 0
        while node in before and count < MAX_ROTATIONS:
            node = before[node]
            count += 1
        return count

    def _with(self, statement: Statement, sign: Sign) -> "Roster":
        key, signed = statements.sign(statement, sign)
        new = Roster({**self._signed, key: signed}, {**self._said, key: statement}, self.swarm)
        if key not in new._said:
            raise Refused("this machine has said more than the roster has room for", "a keeper can remove it")
        return new

    def _belonging(self) -> dict[NodeId, Member]:
        """Who was admitted by words that count, or succeeds such a one; and has not left, been removed or replaced."""
        keepers = frozenset(self._authority.keepers)
        left: dict[NodeId, int] = {}
        for said in self._said.values():
            if isinstance(said, Left):
                # Of this term and all before it: one of them may come to light again when a later admission falls.
                left[said.signer] = max(said.term, left.get(said.signer, 0))
        replaced = {said.signer for said in self._said.values() if isinstance(said, Rotated)}
        best: dict[NodeId, Member] = {}

        def offer(member: Member) -> None:
            # Two admissions of one term happen after a fork; the larger name and certificate win, in whatever order.
            mine = best.get(member.id)
            if mine is None or _rank(member) > _rank(mine):
                best[member.id] = member

        for key, said in self._said.items():
            if isinstance(said, Founded):
                keeper = said.signer in keepers
                offer(Member(said.signer, said.node_name, said.certificate, keeper, said.signer, 1))
            elif isinstance(said, Admitted) and key in self._authority.counting:
                keeper = said.node in keepers
                offer(Member(said.node, said.name, said.certificate, keeper, said.signer, said.term))
        # Each step passes a membership on to the next key; a circle of rotations passes it to nobody.
        passing = sole_rotations(self._said)
        ahead = list(best)
        while ahead:
            node = ahead.pop()
            key = passing.pop(node, None)
            if key is None:
                continue
            old = best[node]
            rotated = self._said[key]
            assert isinstance(rotated, Rotated)
            lasts = self._authority.removed.get(node, ())
            if old.term <= left.get(node, 0) or not all(self._line.up_to(key, last) for last in lasts):
                continue
            heir = successor_of(rotated)
            offer(Member(heir, old.name, rotated.certificate, heir in keepers, old.added_by, 1))
            ahead.append(heir)
        return {
            node: member
            for node, member in sorted(best.items())
            if node not in self._authority.removed and node not in replaced and member.term > left.get(node, 0)
        }


def _last_of(node: NodeId, renewed: Mapping[NodeId, NodeId]) -> NodeId:
    """The present id of the machine that once was `node`."""
    seen = {node}
    while (after := renewed.get(node)) is not None and after not in seen:
        seen.add(after)
        node = after
    return node


def found(swarm: SwarmId, name: str, certificate: bytes, node_name: str, sign: Sign, recovery: bytes = b"") -> Roster:
    """The roster of a new swarm with one member, its keeper. Raises InvalidRequest.

    Args:
        recovery: SubjectPublicKeyInfo (DER) of the key that the recovery phrase stands for.
    """
    signer = certified_id(certificate)
    if founder_of(swarm) != signer:
        raise InvalidRequest("a swarm is named by the id of the node that founds it")
    if recovery:
        recovery_id(recovery)
    statement = Founded(
        swarm=swarm,
        signer=signer,
        seq=0,
        prev="",
        name=check_name(name),
        node_name=check_name(node_name),
        certificate=certificate,
        recovery=recovery,
    )
    key, signed = statements.sign(statement, sign)
    return Roster({key: signed}, {key: statement}, swarm)


def decode(data: bytes, known: Roster | None = None) -> Roster:
    """The roster in `data`, every statement verified.

    Args:
        known: statements that this one holds are not read and verified again.

    Raises:
        InvalidRequest: not a roster, too large, a newer format, or its statements do not verify or fit together.
    """
    if len(data) > MAX_BYTES:
        raise InvalidRequest(f"a roster of {len(data)} bytes is larger than any swarm's")
    try:
        if not 1 <= (format_ := _format.decode(data).format) <= FORMAT:
            raise InvalidRequest(
                f"the roster has format {format_}, this program knows those up to {FORMAT}",
                "update mycoswarm on this machine",
            )
        written = _written.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise InvalidRequest(f"this is not a roster: {problem}") from problem
    if not 0 < len(written.statements) <= MAX_STATEMENTS:
        raise InvalidRequest(f"a roster holds 1 to {MAX_STATEMENTS} statements")
    held = known._signed if known is not None else {}  # pyright: ignore[reportPrivateUsage]
    read = known._said if known is not None else {}  # pyright: ignore[reportPrivateUsage]
    signed: dict[str, Signed] = {}
    said: dict[str, Statement] = {}
    for one in written.statements:
        key = hash_of(one.statement)
        if key in signed:
            raise InvalidRequest("the roster holds a statement twice")
        signed[key] = one
        said[key] = read[key] if key in read else statements.parse(one.statement)
    swarm = next(iter(said.values())).swarm
    verify_all(swarm, {key: one for key, one in signed.items() if held.get(key) != one}, said)
    return Roster(signed, said, swarm)


def _without_effect() -> Roster:
    raise Refused(
        "this would be without effect: a more senior keeper has said otherwise",
        "run it on a more senior keeper, or use `mycoswarm keeper recover` with the recovery phrase",
    )


def _rank(member: Member) -> tuple[int, str, bytes]:
    return (member.term, member.name, member.certificate)
