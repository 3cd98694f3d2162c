"""A node as the swarm knows it."""

from typing import Literal

import msgspec

from mycoswarm.core.hardware import EngineKind, HardwareSummary, Role
from mycoswarm.core.ids import EngineId, ModelName, NodeId, SwarmId
from mycoswarm.core.model import ModelOffer

PeerState = Literal["self", "up", "suspect", "down", "left", "removed"]
PROTOCOL = 1
"""Version of the peer protocol; nodes of different versions say so instead of guessing."""


class QueueLoad(msgspec.Struct, frozen=True, omit_defaults=True):
    """Work on one model: running now, waiting, and the slots that run at once. wait: expected seconds for one more."""

    engine: EngineId
    model: ModelName
    running: int = 0
    waiting: int = 0
    slots: int = 1
    wait: float = 0.0


class NodeRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a node says of itself; it alone writes it. Higher (incarnation, seq) wins. engines: those that answer."""

    id: NodeId
    name: str
    incarnation: int
    seq: int
    version: str
    protocol: int = PROTOCOL
    hardware: HardwareSummary | None = None
    roles: tuple[Role, ...] = ()
    engines: tuple[EngineKind, ...] = ()
    models: tuple[ModelOffer, ...] = ()
    queues: tuple[QueueLoad, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def newness(self) -> tuple[int, int]:
        return (self.incarnation, self.seq)


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
