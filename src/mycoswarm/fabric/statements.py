"""What the roster's statements say, how they are written and signed, and which set of them can be one swarm's.

    Founded   the founder          begins the log; names the swarm and its recovery key, makes its signer a member
    Admitted  a keeper             a member's certificate and name, for a term
    Left      the member itself    ends its own term and all before; it may be admitted again for the next
    Removed   a keeper             for ever; of the node's own statements those up to `last` still count
    Promoted  a keeper             makes a node a keeper; of its statements those that follow `after` count
    Demoted   a keeper             ends that; of the node's statements those up to `last` still count
    Rotated   the node itself      another key takes its place for ever; that key has proven that it wants to

Rules of this file: everything that enters is verified here and nowhere else, and refuses all that it came with when it
does not fit. A set fits when every statement is signed by its signer, hangs on its signer's chain and has what gives
it a chance *there*; so what two sets hold together fits as well, and merging cannot depend on order. Whether a signer
had the right to say what it said is another question, since a later merge may take that right away or give it:
statements without right are without effect (`authority`), and kept as far as there is room for such (`surplus`). What
is refused is what could never have effect in any merge: words of a keeper by a node that no chain of promotions leads
to, from the founder or the recovery key.

What a statement names (`last`, `after`, `lifts`) may be missing, since room for what has no effect is bounded. Who
names a missing one, or another node's, as the last that counts leaves nothing counting; nothing follows a missing one.

A node that was never a keeper has nothing to say but farewells, each of a later term than the one before, and one
rotation, at most MAX_ROTATIONS of them in a line. Bytes are bounded before anything is parsed.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mycoswarm.core.errors import InvalidRequest
from mycoswarm.core.ids import NodeId, SwarmId
from mycoswarm.fabric.identity import MAX_CERTIFICATE, SIGNING, certified_id, node_id_of, verify

RECOVERY_ROOM = 256
"""Statements of the recovery key. Nobody else's come into this room, so nobody can keep the owner's phrase from it."""
FOUNDER_ROOM = 2048
"""Statements with effect of the founder, under whatever key: 64 members with some thirty changes of each."""
KEEPERS_ROOM = 1024
"""Statements with effect of all other keepers together, and what they name."""
REMOVALS_ROOM = 256
"""Their removals and demotions, when those do not find room there."""
SURPLUS_ROOM = 1024
"""All else: farewells, rotations, and what has no effect."""
MAX_STATEMENTS = RECOVERY_ROOM + FOUNDER_ROOM + KEEPERS_ROOM + REMOVALS_ROOM + SURPLUS_ROOM
MAX_STATEMENT = 8 * 1024
"""Bytes of one; ours have at most 1,500."""
MAX_PASSES = 16
"""Rounds in which statements lose what they rest on, before the search for the end of it is given up."""
MAX_ROTATIONS = 8
"""Keys that a machine may have had; then it leaves and joins as a new node."""
MAX_NAME = 64
"""Characters of a node's or swarm's name."""
MAX_RECOVERY = 128
"""Bytes of a recovery key; a P-256 one has 91."""
DOMAIN = b"mycoswarm roster 1\n"
"""Precedes what is signed, so that no signature made for another purpose can be passed off as one of these."""
_ROTATION = b"mycoswarm rotation 1\n"
"""Precedes what a new key signs to show that it takes an old one's place."""

_Seq = Annotated[int, msgspec.Meta(ge=0, lt=MAX_STATEMENTS)]
_Term = Annotated[int, msgspec.Meta(ge=1, le=2**31)]


class _Chained(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """swarm, signer, and the place in the signer's chain: seq from 0; prev: hash of seq - 1, empty at 0."""

    swarm: SwarmId
    signer: NodeId
    seq: _Seq
    prev: str


class Founded(_Chained, frozen=True, kw_only=True, tag_field="says", tag="founded"):
    """recovery: the recovery key's SubjectPublicKeyInfo (DER); empty in swarms of the first format."""

    name: str
    node_name: str
    certificate: bytes
    recovery: bytes = b""


class Admitted(_Chained, frozen=True, kw_only=True, tag_field="says", tag="admitted"):
    """certificate: DER. term: 1 at the first admission of a node, one more at each that follows."""

    node: NodeId
    name: str
    certificate: bytes
    term: _Term


class Left(_Chained, frozen=True, kw_only=True, tag_field="says", tag="left"):
    term: _Term


class Removed(_Chained, frozen=True, kw_only=True, tag_field="says", tag="removed"):
    """last: hash of the node's last statement that still counts, empty for none."""

    node: NodeId
    last: str = ""


class Promoted(_Chained, frozen=True, kw_only=True, tag_field="says", tag="promoted"):
    """after: hash of the node's last statement before it, empty for none.

    lifts: hashes of what had ended its time as a keeper before (demotions, its own farewells), which this overcomes.
    """

    node: NodeId
    after: str = ""
    lifts: tuple[str, ...] = ()


class Demoted(_Chained, frozen=True, kw_only=True, tag_field="says", tag="demoted"):
    """last: hash of the node's last statement that still counts, empty for none."""

    node: NodeId
    last: str = ""


class Rotated(_Chained, frozen=True, kw_only=True, tag_field="says", tag="rotated"):
    """certificate: the successor's, DER. proof: the successor's signature of `rotation_text`."""

    certificate: bytes
    proof: bytes


Statement = Founded | Admitted | Left | Removed | Promoted | Demoted | Rotated


class Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """statement: the exact bytes that were signed. signature: DER."""

    statement: bytes
    signature: bytes


Sign = Callable[[bytes], bytes]
"""Signs with a node's, or the recovery, key."""

_statements: msgspec.json.Decoder[Statement] = msgspec.json.Decoder(Statement)
_encoder = msgspec.json.Encoder(order="sorted")


def founder_of(swarm: SwarmId) -> NodeId:
    """The node that a swarm id names as its founder: the root of all its trust."""
    return NodeId(swarm.partition("-")[0])


def recovery_id(recovery: bytes) -> NodeId:
    """The id under which a recovery key (SubjectPublicKeyInfo, DER) signs. Raises InvalidRequest."""
    return node_id_of(_recovery_key(recovery))


def hash_of(statement: bytes) -> str:
    """By which the next statement of the chain names this one."""
    return hashlib.sha256(statement).hexdigest()


def check_name(name: str) -> str:
    """`name` without surrounding space. Raises InvalidRequest where it is no name that can be shown to people."""
    name = name.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise InvalidRequest(f"a name has 1 to {MAX_NAME} printable characters", "choose another with `name = …`")
    return name


def rotation_text(swarm: SwarmId, old: NodeId) -> bytes:
    """What a new key signs to take the place of `old`."""
    return _ROTATION + f"{swarm}\n{old}".encode()


def sign(statement: Statement, by: Sign) -> tuple[str, Signed]:
    """The statement as it is kept, and its hash."""
    data = _encoder.encode(statement)
    return hash_of(data), Signed(data, by(DOMAIN + data))


def parse(data: bytes) -> Statement:
    """What `data` says. Raises InvalidRequest unless it is a statement in its one canonical form."""
    if len(data) > MAX_STATEMENT:
        raise InvalidRequest(f"the roster holds a statement of {len(data)} bytes")
    try:
        said = _statements.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise InvalidRequest(f"the roster holds a statement that this version does not know: {problem}") from problem
    # One meaning, one sequence of bytes: else the same statement could be in the roster twice under two hashes.
    if _encoder.encode(said) != data:
        raise InvalidRequest("the roster holds a statement that is not in canonical form")
    return said


def successor_of(rotated: Rotated) -> NodeId:
    """The node that takes over."""
    return certified_id(rotated.certificate)


def verify_all(swarm: SwarmId, fresh: Mapping[str, Signed], said: Mapping[str, Statement]) -> None:
    """Signatures, certificates and names of `fresh`. Raises InvalidRequest.

    Args:
        said: every statement of the set by its hash; in it are the certificates of the signers.
    """
    # All certificates before any signature: from here on each belongs to its node, and one of a node speaks for all.
    for key in fresh:
        statement = said[key]
        match statement:
            case Founded():
                _check_certificate(statement.certificate, statement.signer)
                _check_name(statement.name)
                _check_name(statement.node_name)
                if statement.recovery:
                    recovery_id(statement.recovery)
            case Admitted():
                _check_certificate(statement.certificate, statement.node)
                _check_name(statement.name)
            case Rotated():
                successor = successor_of(statement)
                if successor == statement.signer:
                    raise InvalidRequest("the roster holds a key that takes its own place")
                if not verify(statement.certificate, statement.proof, rotation_text(swarm, statement.signer)):
                    raise InvalidRequest("the roster holds a new key that did not agree to take an old one's place")
            case Left() | Removed() | Promoted() | Demoted():
                pass
    certificates, recovery = _keys(said.values())
    for key, one in fresh.items():
        signer = said[key].signer
        if recovery is not None and recovery[0] == signer:
            proven = _verify_recovery(recovery[1], one.signature, DOMAIN + one.statement)
        else:
            certificate = certificates.get(signer)
            proven = certificate is not None and verify(certificate, one.signature, DOMAIN + one.statement)
        if not proven:
            raise InvalidRequest("the roster holds a statement whose signature is wrong")


def founding(said: Iterable[Statement]) -> Founded:
    """The one statement that all others rest on. Raises InvalidRequest unless there is exactly one.

    Two would be two recovery keys, and whoever holds the founder's key could make himself the second.
    """
    found = [one for one in said if isinstance(one, Founded)]
    if len(found) != 1:
        raise InvalidRequest(
            "the roster tells of two foundings of its swarm" if found else "the roster does not begin with a founding"
        )
    return found[0]


Span = tuple[int, int] | None
"""Where some statements lie in a `Line`: the first and the last; None where one is empty or missing."""


class Line:
    """The order of each signer's statements: who followed from whom. A tree, since a key may have said two things."""

    def __init__(self, said: Mapping[str, Statement]) -> None:
        children: dict[str, list[str]] = {}
        roots: list[str] = []
        for key, one in said.items():
            if one.prev:
                children.setdefault(one.prev, []).append(key)
            else:
                roots.append(key)
        # Entered before and left after all that follows from it: intervals that lie in each other.
        self._entered: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        clock = 0
        stack = [(key, False) for key in roots]
        while stack:
            key, done = stack.pop()
            if done:
                self._ended[key] = clock
                continue
            self._entered[key] = clock
            clock += 1
            stack.append((key, True))
            stack.extend((child, False) for child in children.get(key, ()))

    def __contains__(self, key: str) -> bool:
        return key in self._entered

    def __len__(self) -> int:
        return len(self._entered)

    def up_to(self, key: str, last: str) -> bool:
        """Whether `key` is `last` or was said before it, by the same signer; nothing is up to a missing one."""
        if last not in self._entered:
            return False
        return self._entered[key] <= self._entered[last] < self._ended[key]

    def span(self, lasts: Iterable[str]) -> Span:
        """What `reaches` compares with: where these statements lie."""
        places = [self._entered.get(last) for last in lasts]
        if None in places:
            return None
        known = [place for place in places if place is not None]
        return min(known, default=len(self)), max(known, default=-1)

    def reaches(self, key: str, span: Span) -> bool:
        """Whether `key` is up to each of the statements that `span` was made of; true of none at all."""
        return span is not None and self._entered[key] <= span[0] and span[1] < self._ended[key]

    def after(self, key: str, first: str) -> bool:
        """Whether `key` was said after `first`, by the same signer; everything is after the empty one."""
        return not first or (first in self._entered and key != first and self.up_to(first, key))


def check_set(swarm: SwarmId, said: Mapping[str, Statement]) -> Line:
    """The rules that concern several statements. Raises InvalidRequest."""
    for one in said.values():
        if one.swarm != swarm:
            raise InvalidRequest("the roster holds a statement about another swarm")
        if not _chained(one, said):
            raise InvalidRequest("the roster holds a statement that does not follow from its signer's last")
    begun = founding(said.values())
    if begun.signer != founder_of(swarm):
        raise InvalidRequest("the roster holds a founding that is not by the node that the swarm is named by")
    line = Line(said)
    if len(line) != len(said):
        raise InvalidRequest("the roster holds a statement that does not follow from its signer's last")
    rights = _Rights(said)
    if not all(rights.allow(one) for one in said.values()):
        raise InvalidRequest("the roster holds a statement that its signer had no right to make")
    return line


def fitting(said: Mapping[str, Statement]) -> dict[str, Statement] | None:
    """Those of `said` that still fit after others of a set that did were taken away; the founding was not.

    None where that is not found in MAX_PASSES.
    """
    held = dict(said)
    for _ in range(MAX_PASSES):
        rights = _Rights(held)
        kept: dict[str, Statement] = {}
        # Each after those that it hangs on.
        for key, one in sorted(held.items(), key=lambda item: item[1].seq):
            if _chained(one, kept) and rights.allow(one):
                kept[key] = one
        if len(kept) == len(held):
            return kept
        held = kept
    return None


class Supports:
    """What a statement of a set that fits needs so that it fits: a choice among several, by number and hash."""

    def __init__(self, said: Mapping[str, Statement]) -> None:
        begun = founding(said.values())
        roots = {begun.signer} | ({recovery_id(begun.recovery)} if begun.recovery else set[NodeId]())
        promotions: dict[NodeId, list[str]] = {}
        rotations: dict[NodeId, list[str]] = {}
        self._appointed: dict[NodeId, str] = {}
        self._certified: dict[NodeId, str] = {}
        self._terms: dict[tuple[NodeId, int], str] = {}
        for key, one in sorted(said.items(), key=lambda item: (item[1].seq, item[0])):
            match one:
                case Admitted():
                    self._certified.setdefault(one.node, key)
                    self._terms.setdefault((one.node, one.term), key)
                case Promoted():
                    promotions.setdefault(one.signer, []).append(key)
                case Rotated():
                    promotions.setdefault(one.signer, []).append(key)
                    rotations.setdefault(one.signer, []).append(key)
                    self._terms.setdefault((successor_of(one), 1), key)
                case Founded():
                    self._certified[one.signer] = key
                    if one.recovery:
                        self._certified[recovery_id(one.recovery)] = key
                case Left() | Removed() | Demoted():
                    pass
        # In the fewest steps, each from one that was reached before: no circle supports itself.
        _reach(said, roots, promotions, self._appointed)
        _reach(said, set(self._certified), rotations, self._certified)

    def of(self, one: Statement) -> list[str]:
        """The statement before it, and those that admit its signer, appoint it, and began the term that it ends."""
        found = [one.prev, self._certified.get(one.signer, "")]
        if isinstance(one, Left):
            found.append(self._terms.get((one.signer, one.term), ""))
        found.append(self._appointed.get(one.signer, ""))
        return [key for key in found if key]


def _reach(
    said: Mapping[str, Statement], layer: set[NodeId], steps: Mapping[NodeId, list[str]], found: dict[NodeId, str]
) -> None:
    """Fills in `found`, by node, the first step by which it is reached from those of `layer`."""
    seen = set(layer)
    ahead = sorted(layer)
    while ahead:
        following: list[NodeId] = []
        for node in ahead:
            for key in steps.get(node, ()):
                one = said[key]
                after = one.node if isinstance(one, Promoted) else successor_of(one) if isinstance(one, Rotated) else ""
                if after and after not in seen:
                    seen.add(NodeId(after))
                    following.append(NodeId(after))
                    found[NodeId(after)] = key
        ahead = following


def _chained(one: Statement, said: Mapping[str, Statement]) -> bool:
    if one.seq == 0:
        return one.prev == ""
    before = said.get(one.prev)
    return (
        before is not None
        and before.signer == one.signer
        and before.seq == one.seq - 1
        # With a rotation a key has said its last word.
        and not isinstance(before, Rotated)
    )


class _Rights:
    """Which statements could have effect in some merge. More statements never make it fewer."""

    def __init__(self, said: Mapping[str, Statement]) -> None:
        self._said = said
        begun = founding(said.values())
        self._founder = begun.signer
        self._recovery = recovery_id(begun.recovery) if begun.recovery else None
        self._appointed = _ever_appointed(begun, self._recovery, said.values())
        self._known = _ever_members(begun, said.values())
        # With these there is a certificate to verify the signer's statements by.
        self._terms = {(begun.signer, 1)}
        for one in said.values():
            if isinstance(one, Admitted):
                self._terms.add((one.node, one.term))
            elif isinstance(one, Rotated):
                self._terms.add((successor_of(one), 1))
        self._certified = {node for node, _ in self._terms} | {self._recovery}

    def allow(self, one: Statement) -> bool:
        if one.signer not in self._certified:
            return False
        # The founder's chain hangs on the founding: a branch beside it could not be told from the first one.
        if one.seq == 0 and one.signer == self._founder and not isinstance(one, Founded):
            return False
        keeper = one.signer in self._appointed
        match one:
            case Founded():
                return one.seq == 0
            case Left():
                before = self._said.get(one.prev)
                later = not isinstance(before, Left) or before.term < one.term
                return (one.signer, one.term) in self._terms and (keeper or later)
            case Rotated():
                return one.signer in self._known
            case Admitted() | Demoted():
                return keeper and one.node != self._recovery
            case Removed() | Promoted():
                return keeper and one.node not in (one.signer, self._recovery)


def _ever_appointed(begun: Founded, recovery: NodeId | None, said: Iterable[Statement]) -> set[NodeId]:
    """Everybody to whom a chain of promotions and rotations leads, whether or not they count."""
    steps: dict[NodeId, set[NodeId]] = {}
    for one in said:
        if isinstance(one, Promoted):
            steps.setdefault(one.signer, set()).add(one.node)
        elif isinstance(one, Rotated):
            steps.setdefault(one.signer, set()).add(successor_of(one))
    found: set[NodeId] = set()
    ahead = [begun.signer] if recovery is None else [begun.signer, recovery]
    while ahead:
        node = ahead.pop()
        if node not in found:
            found.add(node)
            ahead.extend(steps.get(node, ()))
    return found


def _ever_members(begun: Founded, said: Iterable[Statement]) -> set[NodeId]:
    """Everybody who was admitted, or took over from such a one in at most MAX_ROTATIONS steps."""
    rotations: dict[NodeId, set[NodeId]] = {}
    layer = {begun.signer}
    for one in said:
        if isinstance(one, Admitted):
            layer.add(one.node)
        elif isinstance(one, Rotated):
            rotations.setdefault(one.signer, set()).add(successor_of(one))
    # Who took over last may not do it again: its rotation would be the one too many.
    found: set[NodeId] = set()
    for _ in range(MAX_ROTATIONS):
        found |= layer
        layer = {after for node in layer for after in rotations.get(node, ())} - found
    return found


def _keys(said: Iterable[Statement]) -> tuple[dict[NodeId, bytes], tuple[NodeId, bytes] | None]:
    """By node a certificate by which its signatures are verified, and the recovery key."""
    certificates: dict[NodeId, bytes] = {}
    recovery: tuple[NodeId, bytes] | None = None
    for one in said:
        match one:
            case Founded():
                certificates[one.signer] = one.certificate
                if one.recovery:
                    recovery = (recovery_id(one.recovery), one.recovery)
            case Admitted():
                certificates[one.node] = one.certificate
            case Rotated():
                certificates[successor_of(one)] = one.certificate
            case Left() | Removed() | Promoted() | Demoted():
                pass
    return certificates, recovery


def _recovery_key(recovery: bytes) -> ec.EllipticCurvePublicKey:
    wrong = InvalidRequest("the roster holds a recovery key that is none")
    if len(recovery) > MAX_RECOVERY:
        raise wrong
    try:
        key = serialization.load_der_public_key(recovery)
    except (ValueError, TypeError) as problem:
        raise wrong from problem
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise wrong
    return key


def _verify_recovery(recovery: bytes, signature: bytes, data: bytes) -> bool:
    try:
        _recovery_key(recovery).verify(signature, data, SIGNING)
    except InvalidSignature:
        return False
    return True


def _check_certificate(certificate: bytes, node: NodeId) -> None:
    if len(certificate) > MAX_CERTIFICATE or certified_id(certificate) != node:
        raise InvalidRequest("the roster holds a certificate that does not belong to its node")


def _check_name(name: str) -> None:
    if check_name(name) != name:
        raise InvalidRequest("the roster holds a name with space around it")
