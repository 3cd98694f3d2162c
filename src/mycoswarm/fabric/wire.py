"""What nodes say to each other: the messages of the watch stream and of joining, their sizes and versions.

The watch stream is one HTTP exchange whose two bodies stay open: NDJSON lines in both directions. `Hello` is the first
line each way. A `Beat` goes out every second and whenever something changed; it is an array, not an object, because
at 50 nodes it is most of the traffic.
"""

import msgspec

from mycoswarm.core.chat import MAX_REQUEST
from mycoswarm.core.errors import InvalidRequest
from mycoswarm.core.ids import NodeId
from mycoswarm.core.node import PROTOCOL, NodeRecord

MAX_LINE = 1024 * 1024
"""Bytes of one line of a watch stream: a record with hundreds of models fits, an attack on memory does not."""
MAX_BODY = MAX_REQUEST + 1024 * 1024
"""Bytes of a request of a member: whatever a client may ask at one node, that node may pass on."""
MAX_JOIN_BODY = 4096
"""Bytes that a stranger may send."""
MAX_REPLY = 64 * 1024 * 1024
"""Bytes of a plain reply that a node takes from a member."""

WATCH_PATH = "/peer/watch"
ROSTER_PATH = "/peer/roster"
JOIN_START_PATH = "/join/start"
JOIN_FINISH_PATH = "/join/finish"


class Hello(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="t", tag="hello"):
    """Who speaks. run: random per process start. port: of its peer API, 0 if it takes no connections.

    known: the newest (incarnation, seq) the speaker holds of the *other* node, so that a node restored from a backup
    notices that it has fallen behind itself.
    """

    node: NodeId
    run: str
    port: int
    protocol: int = PROTOCOL
    known: tuple[int, int] | None = None


class Beat(msgspec.Struct, frozen=True, array_like=True, tag_field="t", tag="b"):
    """n: counts up. echo, held: the last beat heard from the other side, and the seconds since: gives the round trip.

    roster, state: digests of what the speaker holds; see `Roster.digest` and `Membership.digest`.
    """

    n: int
    echo: int
    held: float
    roster: str
    state: str


class Record(msgspec.Struct, frozen=True, tag_field="t", tag="record"):
    """A node's record, from itself or handed on."""

    record: NodeRecord


class Want(msgspec.Struct, frozen=True, tag_field="t", tag="want"):
    """Asks for every record newer than these."""

    known: dict[NodeId, tuple[int, int]]


class Ask(msgspec.Struct, frozen=True, tag_field="t", tag="ask"):
    """How long ago did you hear `node`?"""

    node: NodeId


class Heard(msgspec.Struct, frozen=True, tag_field="t", tag="heard"):
    """The answer. age: seconds, None for never."""

    node: NodeId
    age: float | None


class Addresses(msgspec.Struct, frozen=True, tag_field="t", tag="addresses"):
    """Where members were reached, HOST:PORT, most recent first."""

    nodes: dict[NodeId, tuple[str, ...]]


class Goodbye(msgspec.Struct, frozen=True, tag_field="t", tag="goodbye"):
    """The speaker ends on purpose."""


Message = Hello | Beat | Record | Want | Ask | Heard | Addresses | Goodbye

# Beats are arrays and the others objects, which one union cannot hold: the first byte of a line decides.
_Spoken = Hello | Record | Want | Ask | Heard | Addresses | Goodbye
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
    except msgspec.DecodeError as problem:
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

    protocol: int
    slot: int
    certificate: bytes
    share: bytes


class JoinOffer(msgspec.Struct, frozen=True):
    """Its answer. run: names this attempt. swarm: hash of the swarm's id."""

    protocol: int
    run: str
    certificate: bytes
    swarm: str
    share: bytes


class JoinFinish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """confirm: proof that the joining node has the code. sealed: a sealed `Introduction`."""

    run: str
    confirm: bytes
    sealed: bytes


class JoinWelcome(msgspec.Struct, frozen=True):
    """confirm: proof that the inviting node has the code. sealed: a sealed `Welcome`."""

    confirm: bytes
    sealed: bytes


class Introduction(msgspec.Struct, frozen=True):
    """What a joining node says of itself once the channel is its own."""

    name: str
    port: int


class Welcome(msgspec.Struct, frozen=True):
    """What it receives. roster: as `Roster.encode` writes it. addresses: of the members."""

    roster: bytes
    addresses: dict[NodeId, tuple[str, ...]]
