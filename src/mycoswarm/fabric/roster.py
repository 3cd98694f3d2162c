"""The roster: who belongs to the swarm. It *is* the trust store.

A set of signed statements, each signer's own hash-chained to the one before. Merging two rosters is the union of their
statements, so the order in which news arrive never matters; nothing that was signed is ever lost, and two statements
of one signer on the same place of its chain (a restored backup) are both kept and reported.

What a statement may say, and who may say it (this version: the founder is the only keeper):

    Founded   the founder          begins the log; names the swarm, makes its signer a member
    Admitted  a keeper             a member's certificate and name, for a term
    Left      the member itself    ends its own term; it may be admitted again for the next
    Removed   a keeper             for ever: no term of that node counts any more

Rules of this file: everything that enters is verified here and nowhere else; a statement that does not verify, or does
not hang on its signer's chain, refuses the whole roster it came in. Sizes are bounded before anything is parsed.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping

import msgspec

from mycoswarm.core.errors import InvalidRequest, Refused
from mycoswarm.core.ids import NodeId, SwarmId
from mycoswarm.fabric.identity import MAX_CERTIFICATE, certified_id, verify

FORMAT = 1
MAX_STATEMENTS = 2048
"""64 members with some twenty changes of each."""
MAX_BYTES = 4 * 1024 * 1024
MAX_NAME = 64
"""Characters of a node's or swarm's name."""
_DOMAIN = b"mycoswarm roster 1\n"
"""Precedes what is signed, so that no signature made for another purpose can be passed off as one of these."""


class _Chained(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """swarm, signer, and the place in the signer's chain: seq from 0; prev: hash of seq - 1, empty at 0."""

    swarm: SwarmId
    signer: NodeId
    seq: int
    prev: str


class Founded(_Chained, frozen=True, kw_only=True, tag_field="says", tag="founded"):
    name: str
    node_name: str
    certificate: bytes


class Admitted(_Chained, frozen=True, kw_only=True, tag_field="says", tag="admitted"):
    """certificate: DER. term: 1 at the first admission of a node, one more at each that follows."""

    node: NodeId
    name: str
    certificate: bytes
    term: int


class Left(_Chained, frozen=True, kw_only=True, tag_field="says", tag="left"):
    term: int


class Removed(_Chained, frozen=True, kw_only=True, tag_field="says", tag="removed"):
    node: NodeId


Statement = Founded | Admitted | Left | Removed


class Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """statement: the exact bytes that were signed. signature: DER."""

    statement: bytes
    signature: bytes


class _Format(msgspec.Struct, frozen=True):
    format: int


class _Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    statements: tuple[Signed, ...]


class Member(msgspec.Struct, frozen=True):
    """keeper: it may admit and remove. term: of its present membership."""

    id: NodeId
    name: str
    certificate: bytes
    keeper: bool
    added_by: NodeId
    term: int


Sign = Callable[[bytes], bytes]

_statements: msgspec.json.Decoder[Statement] = msgspec.json.Decoder(Statement)
_format = msgspec.json.Decoder(_Format)
_written = msgspec.json.Decoder(_Written)
_encoder = msgspec.json.Encoder(order="sorted")


def founder_of(swarm: SwarmId) -> NodeId:
    """The node that a swarm id names as its founder: the root of all its trust."""
    return NodeId(swarm.partition("-")[0])


def hash_of(statement: bytes) -> str:
    """By which the next statement of the chain names this one."""
    return hashlib.sha256(statement).hexdigest()


def check_name(name: str) -> str:
    """`name` without surrounding space. Raises InvalidRequest where it is no name that can be shown to people."""
    name = name.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise InvalidRequest(f"a name has 1 to {MAX_NAME} printable characters", "choose another with `name = …`")
    return name


class Roster:
    """A verified set of statements about one swarm. Immutable: every change gives a new one."""

    def __init__(self, swarm: SwarmId, signed: Mapping[str, Signed], said: Mapping[str, Statement]) -> None:
        """For this module only: everything outside comes through `found` and `decode`, which verify."""
        self.swarm = swarm
        self._signed = dict(sorted(signed.items()))
        self._said = {key: said[key] for key in self._signed}
        self._members = _members(self._said.values(), founder_of(swarm))
        self._by_certificate = {member.certificate: member.id for member in self._members.values()}
        self.digest = hashlib.sha256("".join(self._signed).encode()).hexdigest()[:16]
        """Equal where the same statements are held."""

    @property
    def name(self) -> str:
        """The swarm's name."""
        return next(said.name for said in self._said.values() if isinstance(said, Founded))

    def members(self) -> Mapping[NodeId, Member]:
        """Those who belong to it now."""
        return self._members

    def keepers(self) -> tuple[NodeId, ...]:
        return tuple(member.id for member in self._members.values() if member.keeper)

    def removed(self) -> frozenset[NodeId]:
        """Nodes that belonged to it and do not any more."""
        once = {said.node for said in self._said.values() if isinstance(said, Admitted)} | {founder_of(self.swarm)}
        return frozenset(once - self._members.keys())

    def node_of(self, certificate: bytes) -> NodeId | None:
        """Whose exact certificate (DER) this is, None for a stranger's."""
        return self._by_certificate.get(certificate)

    def forked(self) -> tuple[NodeId, ...]:
        """Signers with two statements on one place of their chain: a restored backup, or a stolen key."""
        seen: set[tuple[NodeId, int, str]] = set()
        forked: set[NodeId] = set()
        for said in self._said.values():
            place = (said.signer, said.seq, said.prev)
            if place in seen:
                forked.add(said.signer)
            seen.add(place)
        return tuple(sorted(forked))

    def admit(self, certificate: bytes, name: str, signer: NodeId, sign: Sign) -> "Roster":
        """With one more member (or one admitted again). Raises Refused, InvalidRequest."""
        node = certified_id(certificate)
        self.must_be_keeper(signer)
        if any(isinstance(said, Removed) and said.node == node for said in self._said.values()):
            raise Refused(
                "this machine was removed from the swarm and cannot come back under its old identity",
                "remove node.key from its state directory, so that it starts as a new node",
            )
        terms = [said.term for said in self._said.values() if isinstance(said, Admitted) and said.node == node]
        seq, prev = self._next(signer)
        return self._with(
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

    def remove(self, node: NodeId, signer: NodeId, sign: Sign) -> "Roster":
        """Without `node`, for ever. Raises Refused."""
        self.must_be_keeper(signer)
        if node == founder_of(self.swarm):
            raise Refused("the founder cannot be removed while it is the only keeper")
        seq, prev = self._next(signer)
        return self._with(Removed(swarm=self.swarm, signer=signer, seq=seq, prev=prev, node=node), sign)

    def leave(self, node: NodeId, sign: Sign) -> "Roster":
        """Without `node`, by its own word. Raises Refused where it is not a member."""
        member = self._members.get(node)
        if member is None:
            raise Refused("this node belongs to no swarm that it could leave")
        seq, prev = self._next(node)
        return self._with(Left(swarm=self.swarm, signer=node, seq=seq, prev=prev, term=member.term), sign)

    def merge(self, other: "Roster") -> "Roster":
        """All that either holds. Idempotent, commutative, associative. Raises Refused for another swarm's."""
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
        return _complete(self.swarm, signed, {**self._said, **other._said})

    def encode(self) -> bytes:
        """For the disk and for peers; `decode` reads it."""
        return _encoder.encode(_Written(FORMAT, tuple(self._signed.values())))

    def must_be_keeper(self, signer: NodeId) -> None:
        """Raises Refused, naming those who are."""
        if signer not in self.keepers():
            raise Refused(
                "only a keeper of the swarm can do this, and this machine is none",
                "run it on " + " or ".join(self._members[keeper].name for keeper in self.keepers()),
            )

    def _next(self, signer: NodeId) -> tuple[int, str]:
        # After a fork both branches are as good; the choice only has to be a definite one.
        mine = [(said.seq, key) for key, said in self._said.items() if said.signer == signer]
        if not mine:
            return 0, ""
        seq, key = max(mine)
        return seq + 1, key

    def _with(self, statement: Statement, sign: Sign) -> "Roster":
        signed, key = _sign(statement, sign)
        return _complete(self.swarm, {**self._signed, key: signed}, {**self._said, key: statement})


def found(swarm: SwarmId, name: str, certificate: bytes, node_name: str, sign: Sign) -> Roster:
    """The roster of a new swarm with one member, its keeper. Raises InvalidRequest."""
    signer = certified_id(certificate)
    if founder_of(swarm) != signer:
        raise InvalidRequest("a swarm is named by the id of the node that founds it")
    statement = Founded(
        swarm=swarm,
        signer=signer,
        seq=0,
        prev="",
        name=check_name(name),
        node_name=check_name(node_name),
        certificate=certificate,
    )
    signed, key = _sign(statement, sign)
    return _complete(swarm, {key: signed}, {key: statement})


def decode(data: bytes, known: Roster | None = None) -> Roster:
    """The roster in `data`, every statement verified.

    Args:
        known: statements that this one holds are not verified again.

    Raises:
        InvalidRequest: not a roster, too large, a newer format, or one statement of it does not verify.
    """
    if len(data) > MAX_BYTES:
        raise InvalidRequest(f"a roster of {len(data)} bytes is larger than any swarm's")
    try:
        if (format_ := _format.decode(data).format) != FORMAT:
            raise InvalidRequest(
                f"the roster has format {format_}, this program knows {FORMAT}", "update mycoswarm on this machine"
            )
        written = _written.decode(data)
    except msgspec.DecodeError as problem:
        raise InvalidRequest(f"this is not a roster: {problem}") from problem
    if not 0 < len(written.statements) <= MAX_STATEMENTS:
        raise InvalidRequest(f"a roster holds 1 to {MAX_STATEMENTS} statements")
    signed: dict[str, Signed] = {}
    said: dict[str, Statement] = {}
    for one in written.statements:
        key = hash_of(one.statement)
        if key in signed:
            raise InvalidRequest("the roster holds a statement twice")
        signed[key] = one
        said[key] = _parse(one.statement)
    swarm = next(iter(said.values())).swarm
    trusted = known._signed if known is not None else {}  # pyright: ignore[reportPrivateUsage]
    _verify(swarm, {key: one for key, one in signed.items() if trusted.get(key) != one}, said)
    return _complete(swarm, signed, said)


def _parse(data: bytes) -> Statement:
    try:
        said = _statements.decode(data)
    except msgspec.DecodeError as problem:
        raise InvalidRequest(f"the roster holds a statement that this version does not know: {problem}") from problem
    # One meaning, one sequence of bytes: else the same statement could be in the roster twice under two hashes.
    if _encoder.encode(said) != data:
        raise InvalidRequest("the roster holds a statement that is not in canonical form")
    return said


def _sign(statement: Statement, sign: Sign) -> tuple[Signed, str]:
    data = _encoder.encode(statement)
    return Signed(data, sign(_DOMAIN + data)), hash_of(data)


def _certificates(said: Iterable[Statement]) -> dict[NodeId, set[bytes]]:
    certificates: dict[NodeId, set[bytes]] = {}
    for one in said:
        match one:
            case Founded():
                certificates.setdefault(one.signer, set()).add(one.certificate)
            case Admitted():
                certificates.setdefault(one.node, set()).add(one.certificate)
            case Left() | Removed():
                pass
    return certificates


def _verify(swarm: SwarmId, fresh: Mapping[str, Signed], said: Mapping[str, Statement]) -> None:
    """Signatures and certificates of `fresh`; a signer's key is in its own certificate, the id proves which."""
    certificates = _certificates(said.values())
    for key, one in fresh.items():
        statement = said[key]
        match statement:
            case Founded():
                _check_certificate(statement.certificate, statement.signer)
                check_name(statement.node_name)
                if check_name(statement.name) != statement.name:
                    raise InvalidRequest("the roster holds a name with space around it")
            case Admitted():
                _check_certificate(statement.certificate, statement.node)
                if check_name(statement.name) != statement.name:
                    raise InvalidRequest("the roster holds a name with space around it")
            case Left() | Removed():
                pass
        signers = certificates.get(statement.signer, set())
        if not any(
            certified_id(certificate) == statement.signer
            and verify(certificate, one.signature, _DOMAIN + one.statement)
            for certificate in signers
        ):
            raise InvalidRequest("the roster holds a statement whose signature is wrong")


def _check_certificate(certificate: bytes, node: NodeId) -> None:
    if len(certificate) > MAX_CERTIFICATE or certified_id(certificate) != node:
        raise InvalidRequest("the roster holds a certificate that does not belong to its node")


def _complete(swarm: SwarmId, signed: Mapping[str, Signed], said: Mapping[str, Statement]) -> Roster:
    """The roster, once the rules that concern several statements hold."""
    if len(signed) > MAX_STATEMENTS:
        raise InvalidRequest(f"a roster holds at most {MAX_STATEMENTS} statements")
    founder = founder_of(swarm)
    terms = {(one.node, one.term) for one in said.values() if isinstance(one, Admitted)} | {(founder, 1)}
    for one in said.values():
        if one.swarm != swarm:
            raise InvalidRequest("the roster holds a statement about another swarm")
        before = said.get(one.prev)
        if one.seq == 0:
            chained = one.prev == ""
        else:
            chained = before is not None and before.signer == one.signer and before.seq == one.seq - 1
        if not chained:
            raise InvalidRequest("the roster holds a statement that does not follow from its signer's last")
        match one:
            case Founded():
                allowed = one.signer == founder and one.seq == 0
            case Admitted() | Removed():
                allowed = one.signer == founder and one.seq > 0
            case Left():
                allowed = (one.signer, one.term) in terms
        if not allowed:
            raise InvalidRequest("the roster holds a statement that its signer had no right to make")
    if not any(isinstance(one, Founded) for one in said.values()):
        raise InvalidRequest("the roster does not begin with the founding of its swarm")
    return Roster(swarm, signed, said)


def _members(said: Iterable[Statement], founder: NodeId) -> dict[NodeId, Member]:
    said = tuple(said)
    removed = {one.node for one in said if isinstance(one, Removed)}
    left = {(one.signer, one.term) for one in said if isinstance(one, Left)}
    # Two admissions of one term happen after a fork; the larger name and certificate win, whatever order they came in.
    best: dict[NodeId, Member] = {}
    for one in said:
        match one:
            case Founded():
                member = Member(one.signer, one.node_name, one.certificate, True, one.signer, 1)
            case Admitted():
                member = Member(one.node, one.name, one.certificate, one.node == founder, one.signer, one.term)
            case Left() | Removed():
                continue
        mine = best.get(member.id)
        if mine is None or _rank(member) > _rank(mine):
            best[member.id] = member
    return {
        node: member for node, member in sorted(best.items()) if node not in removed and (node, member.term) not in left
    }


def _rank(member: Member) -> tuple[int, str, bytes]:
    return (member.term, member.name, member.certificate)
