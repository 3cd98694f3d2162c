"""What nodes say to each other: the messages of the watch stream and of joining, their sizes and versions.

The watch stream is one HTTP exchange whose two bodies stay open: NDJSON lines in both directions. `Hello` is the first
line each way. The side that dialled sends a `Beat` every second and the other answers it; both send one whenever
something changed. It is an array, not an object, because at 50 nodes it is most of the traffic.
"""

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from mycoswarm.core.chat import MAX_REQUEST
from mycoswarm.core.errors import InvalidRequest
from mycoswarm.core.ids import NodeId
from mycoswarm.core.node import MAX_NAME, PROTOCOL, Count, NodeRecord
from mycoswarm.fabric.identity import MAX_CERTIFICATE

MAX_LINE = 1024 * 1024
"""Bytes of one line of a watch stream: a record with hundreds of models fits, an attack on memory does not."""
MAX_BODY = MAX_REQUEST + 1024 * 1024
"""Bytes of a request of a member: whatever a client may ask at one node, that node may pass on."""
MAX_JOIN_BODY = 4096
"""Bytes that a stranger may send."""
MAX_WELCOME = 16 * 1024 * 1024
"""Bytes of an answer that a joining node takes: the largest roster, encoded and sealed."""
MAX_REPLY = 64 * 1024 * 1024
"""Bytes of a plain reply that a node takes from a member."""

MAX_NODES = 1024
"""Nodes that one message may speak of."""

_Short = Annotated[str, Meta(max_length=100)]
_Id = Annotated[NodeId, Meta(max_length=100)]
_Seconds = Annotated[float, Meta(ge=0.0, le=1e9)]
_HostPort = Annotated[str, Meta(max_length=300)]
_Newness = tuple[Count, Count]
_Port = Annotated[int, Meta(ge=0, le=65535)]
_Certificate = Annotated[bytes, Meta(max_length=MAX_CERTIFICATE)]
_Signature = Annotated[bytes, Meta(max_length=100)]
_Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
_T = TypeVar("_T")

WATCH_PATH = "/peer/watch"
ROSTER_PATH = "/peer/roster"
JOIN_PATH = "/join/"
"""How the paths begin that strangers may ask at."""
JOIN_START_PATH = "/join/start"
JOIN_FINISH_PATH = "/join/finish"
COMPARE_START_PATH = "/join/compare"
COMPARE_REVEAL_PATH = "/join/reveal"
COMPARE_WAIT_PATH = "/join/wait"


class Hello(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="t", tag="hello"):
    """Who speaks. run: random per process start. port: of its peer API, 0 if it takes no connections.

    known: the newest (incarnation, seq) the speaker holds of the *other* node, so that a node restored from a backup
    notices that it has fallen behind itself.
    """

    node: _Id
    run: _Short
    port: Annotated[int, Meta(ge=0, le=65535)]
    protocol: Count = PROTOCOL
    known: _Newness | None = None


class Beat(msgspec.Struct, frozen=True, array_like=True, tag_field="t", tag="b"):
    """n: counts up. echo, held: the last beat heard from the other side, and the seconds since: gives the round trip.

    roster, state: digests of what the speaker holds, see `Roster.digest` and `Membership.digest`; empty where they are
    those of its last beat on this stream.
    """

    n: Count
    echo: Count
    held: _Seconds
    roster: _Short
    state: _Short


class Record(msgspec.Struct, frozen=True, tag_field="t", tag="record"):
    """A node's record, from itself or handed on."""

    record: NodeRecord


class Want(msgspec.Struct, frozen=True, tag_field="t", tag="want"):
    """Asks for every record newer than these."""

    known: Annotated[dict[_Id, _Newness], Meta(max_length=MAX_NODES)]


class Ask(msgspec.Struct, frozen=True, tag_field="t", tag="ask"):
    """How long ago did you hear `node`?"""

    node: _Id


class Heard(msgspec.Struct, frozen=True, tag_field="t", tag="heard"):
    """The answer. age: seconds, None for never."""

    node: _Id
    age: _Seconds | None


class Addresses(msgspec.Struct, frozen=True, tag_field="t", tag="addresses"):
    """Where members were reached, HOST:PORT, most recent first."""

    nodes: Annotated[dict[_Id, Annotated[tuple[_HostPort, ...], Meta(max_length=16)]], Meta(max_length=MAX_NODES)]


class Twin(msgspec.Struct, frozen=True, tag_field="t", tag="twin"):
    """You are not alone: another process with your key is connected to me. address: its host, empty if not known.

    refused: the speaker keeps the other one, and ends this stream.
    """

    address: _HostPort
    refused: bool


class Goodbye(msgspec.Struct, frozen=True, tag_field="t", tag="goodbye"):
    """The speaker ends on purpose."""


Message = Hello | Beat | Record | Want | Ask | Heard | Addresses | Twin | Goodbye

# Beats are arrays and the others objects, which one union cannot hold: the first byte of a line decides.
_Spoken = Hello | Record | Want | Ask | Heard | Addresses | Twin | Goodbye
_beats = msgspec.json.Decoder(Beat)
_spoken: msgspec.json.Decoder[_Spoken] = msgspec.json.Decoder(_Spoken)
_encoder = msgspec.json.Encoder()


def encode(message: Message) -> bytes:
    """One line, newline included."""
    return _encoder.encode(message) + b"\n"


def decode(line: bytes) -> Message:
    """The message of one line. Raises InvalidRequest for anything else."""
    if len(line) > MAX_LINE:
        raise InvalidRequest(f"a line of {len(line)} bytes is more than a member may send")
    try:
        return _beats.decode(line) if line.startswith(b"[") else _spoken.decode(line)
    # Beside what msgspec says of a wrong shape: bytes that are no UTF-8, and nesting deeper than the stack.
    except (msgspec.DecodeError, UnicodeError, RecursionError) as problem:
        raise InvalidRequest(f"a member said something that this version does not know: {problem}") from problem


class Lines:
    """Cuts a stream of bytes into lines, which arrive without their newline; blank ones are keep-alives and dropped."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._rest = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes. Raises InvalidRequest for one longer than the limit."""
        self._rest += data
        if b"\n" not in data:
            if len(self._rest) > self._limit:
                raise InvalidRequest(f"a line of more than {self._limit} bytes is more than a member may send")
            return []
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        return [line for line in lines if line.strip()]


class JoinStart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """First message of a joining node. slot: which invitation. certificate: DER. share: its SPAKE2 message."""

    protocol: Count
    slot: Count
    certificate: _Certificate
    share: Annotated[bytes, Meta(max_length=100)]


class JoinOffer(msgspec.Struct, frozen=True):
    """Its answer. run: names this attempt. swarm: hash of the swarm's id."""

    protocol: Count
    run: _Short
    certificate: _Certificate
    swarm: _Short
    share: Annotated[bytes, Meta(max_length=100)]


class JoinFinish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """confirm: proof that the joining node has the code. sealed: a sealed `Introduction`."""

    run: _Short
    confirm: Annotated[bytes, Meta(max_length=100)]
    sealed: Annotated[bytes, Meta(max_length=2000)]


class JoinWelcome(msgspec.Struct, frozen=True):
    """confirm: proof that the inviting node has the code. sealed: a sealed `Welcome`."""

    confirm: Annotated[bytes, Meta(max_length=100)]
    sealed: bytes


class Introduction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a joining node says of itself once the channel is its own. proof: by its certificate's key."""

    name: Annotated[str, Meta(max_length=MAX_NAME)]
    port: _Port
    proof: _Signature


class Welcome(msgspec.Struct, frozen=True):
    """What it receives. roster: as `Roster.encode` writes it. addresses: of the members."""

    roster: bytes
    addresses: Annotated[dict[_Id, Annotated[tuple[_HostPort, ...], Meta(max_length=16)]], Meta(max_length=MAX_NODES)]


class CompareStart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A machine asks to be let in by comparing words. commitment: to all of the `CompareReveal` that will follow."""

    protocol: Count
    certificate: _Certificate
    commitment: _Hash


class CompareOffer(msgspec.Struct, frozen=True):
    """Its answer. run: names this attempt. swarm: hash of the swarm's id. name: what the keeper calls itself."""

    protocol: Count
    run: _Short
    certificate: _Certificate
    swarm: _Short
    name: Annotated[str, Meta(max_length=MAX_NAME)]
    nonce: _Hash


NO_KEEPER = "no_keeper"
"""Key in the data of the error that answers a CompareStart instead: another member may be one who can admit."""


class CompareReveal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was committed to; and the proof, by the certificate's key, that the machine is the certificate's."""

    run: _Short
    nonce: _Hash
    name: Annotated[str, Meta(max_length=MAX_NAME)]
    port: _Port
    proof: _Signature


class CompareWait(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Asks how it stands. nonce: known to these two alone. same: what the joining side's owner says; None: not yet."""

    run: _Short
    nonce: _Hash
    same: bool | None = None


class CompareAnswer(msgspec.Struct, frozen=True):
    """How it stands; the answer to `CompareReveal` too. why: of a refusal. welcome: once both owners have agreed."""

    state: Literal["waiting", "joined", "refused"]
    why: Annotated[str, Meta(max_length=500)] = ""
    welcome: Welcome | None = None


def decode_join(data: bytes, kind: type[_T]) -> _T:
    """One message of joining, from somebody who is not known yet. Raises InvalidRequest for anything else."""
    try:
        return msgspec.json.decode(data, type=kind)
    # Bytes that are no UTF-8 and nesting deeper than the stack are no DecodeError.
    except (msgspec.DecodeError, UnicodeError, RecursionError) as problem:
        raise InvalidRequest(
            "the message is not one of joining", "run the same version of mycoswarm on both machines"
        ) from problem


def printable(text: str, limit: int) -> str:
    """A stranger's text as it may be shown to people: no control characters, at most `limit` characters."""
    return "".join(one if one.isprintable() else " " for one in text[: 4 * limit]).strip()[:limit]
