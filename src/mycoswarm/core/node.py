"""A node as the swarm knows it. What comes from other nodes is bounded: a member may be damaged, or hostile."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mycoswarm.core.hardware import EngineKind, HardwareSummary, Role
from mycoswarm.core.ids import EngineId, ModelName, NodeId, SwarmId
from mycoswarm.core.model import ModelOffer

PeerState = Literal["self", "up", "suspect", "down", "left", "removed"]
PROTOCOL = 1
"""Version of the peer protocol; nodes of different versions say so instead of guessing."""

MAX_MODELS = 512
"""Models, and queues, that one node may tell of."""
MAX_WARNINGS = 32
MAX_NAME = 200
"""Characters of a node's name."""

Count = Annotated[int, Meta(ge=0, le=2**53)]
"""What every JSON reader takes as a whole number."""
_Warning = Annotated[str, Meta(max_length=1000)]


class QueueLoad(msgspec.Struct, frozen=True, omit_defaults=True):
    """Work on one model: running now, waiting, and the slots that run at once. wait: expected seconds for one more."""

    engine: EngineId
    model: ModelName
    running: int = 0
    waiting: int = 0
    slots: int = 1
    wait: float = 0.0


class NodeRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a node says of itself; it alone writes it. Higher (incarnation, seq) wins. engines: those that answer.

    run: random per process start; two at one time are two machines with the same key.
    """

    id: NodeId
    name: Annotated[str, Meta(max_length=MAX_NAME)]
    incarnation: Count
    seq: Count
    version: Annotated[str, Meta(max_length=100)]
    protocol: int = PROTOCOL
    hardware: HardwareSummary | None = None
    roles: Annotated[tuple[Role, ...], Meta(max_length=32)] = ()
    engines: Annotated[tuple[EngineKind, ...], Meta(max_length=32)] = ()
    models: Annotated[tuple[ModelOffer, ...], Meta(max_length=MAX_MODELS)] = ()
    queues: Annotated[tuple[QueueLoad, ...], Meta(max_length=MAX_MODELS)] = ()
    warnings: Annotated[tuple[_Warning, ...], Meta(max_length=MAX_WARNINGS)] = ()
    run: Annotated[str, Meta(max_length=64)] = ""

    @property
    def newness(self) -> tuple[int, int]:
        return (self.incarnation, self.seq)

    def bounded(self) -> "NodeRecord":
        """This record within what other nodes accept."""
        return msgspec.structs.replace(
            self,
            name=self.name[:MAX_NAME],
            models=self.models[:MAX_MODELS],
            queues=self.queues[:MAX_MODELS],
            warnings=tuple(warning[:1000] for warning in self.warnings[:MAX_WARNINGS]),
        )


class NodeView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node as seen from here. last_seen: seconds ago, by this node's clock; rtt: seconds.

    why: the reason for its present state. record: None for a member that was never met since this node started.
    """

    id: NodeId
    name: str
    state: PeerState
    why: str = ""
    last_seen: float | None = None
    rtt: float | None = None
    addresses: tuple[str, ...] = ()
    record: NodeRecord | None = None


class StateChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """ago: seconds, by the observer's clock. why: the reason, a clause or sentence."""

    ago: float
    state: PeerState
    why: str


class NearbySwarm(msgspec.Struct, frozen=True, omit_defaults=True):
    """A swarm (or solo nodes, swarm "") that announces itself on this network; a hint, never trusted.

    open: it says that it lets in whoever asks (`invite --open`).
    """

    swarm: str
    nodes: int
    inviting: tuple[int, ...] = ()
    open: bool = False


class SwarmInfo(msgspec.Struct, frozen=True):
    """The swarm this node belongs to. keepers: node ids that may sign."""

    id: SwarmId
    name: str
    members: int
    keepers: tuple[NodeId, ...]
    founded_here: bool
