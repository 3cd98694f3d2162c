"""What a node remembers of one other member: its state with the reasons, its streams, its addresses. No decisions."""

from collections import deque
from dataclasses import dataclass, field
from typing import NewType

from mycoswarm.core.ids import NodeId
from mycoswarm.core.node import NodeRecord, PeerState, StateChange
from mycoswarm.fabric.wire import Hello

MAX_HISTORY = 32
"""Changes of state remembered of one node: a morning of a flapping cable."""
MAX_ADDRESSES = 4
"""Addresses remembered of one node: two families, an old and a new one."""

LinkId = NewType("LinkId", int)


@dataclass
class Link:
    """One watch stream.

    dialled: by this node. live: its Hello has come and is believed. run: of the process at its other end.
    contest: since when it waits to be believed, because another process with the same key is connected.
    hello, record: what it said meanwhile. unseen: beats in a row that showed another state than ours.
    heard: when it last said something. shows, shown: digests (roster, state) in the last beat of either end.
    """

    id: LinkId
    node: NodeId
    dialled: bool
    address: str
    since: float
    live: bool = False
    run: str = ""
    contest: float | None = None
    hello: Hello | None = None
    record: NodeRecord | None = None
    n: int = 0
    echo: int = 0
    echo_at: float = 0.0
    sent: dict[int, float] = field(default_factory=dict[int, float])
    told: dict[NodeId, tuple[str, ...]] = field(default_factory=dict[NodeId, tuple[str, ...]])
    unseen: int = 0
    heard: float = 0.0
    shows: tuple[str, str] = ("", "")
    shown: tuple[str, str] = ("", "")

    @property
    def host(self) -> str:
        """Of the other end; empty where it is not known."""
        return self.address.rpartition(":")[0] if self.dialled else self.address


@dataclass
class Peer:
    """heard, lost_at, met_at: moments. vouched: when another member last heard it, and which.

    run: of the process that is in force; refused: of others with the same key. restarted: since its last state.
    twin: when another process with the same key was last met, and its host.
    tried: addresses dialled in the present round. rounds: that failed since the loss.
    doubt: until then its stream is given up sooner, because this machine's or its own address has changed.
    moved: an address that it was announced at meanwhile. shunned: until then nothing of it is listened to.
    nonsense: lines that were not understood, as they leak away. mismatch: the protocol that it speaks, 0 for ours.
    """

    id: NodeId
    name: str
    state: PeerState = "down"
    why: str = "not met since this node started"
    heard: float | None = None
    met_at: float | None = None
    rtt: float | None = None
    record: NodeRecord | None = None
    addresses: tuple[str, ...] = ()
    links: dict[LinkId, Link] = field(default_factory=dict[LinkId, Link])
    run: str = ""
    restarted: bool = False
    refused: tuple[str, ...] = ()
    twin: tuple[float, str] = (float("-inf"), "")
    callable: bool = True
    lost_at: float | None = None
    dial_at: float | None = None
    not_before: float = float("-inf")
    tried: int = 0
    rounds: int = 0
    vouched: tuple[float, NodeId] = (float("-inf"), NodeId(""))
    asked: float = float("-inf")
    roster_pulled: tuple[str, float] = ("", float("-inf"))
    records_pulled: float = float("-inf")
    doubt: float = float("-inf")
    moved: str = ""
    shunned: float = float("-inf")
    nonsense: tuple[float, float] = (0.0, float("-inf"))
    mismatch: int = 0
    past: deque[tuple[float, PeerState, str]] = field(
        default_factory=lambda: deque[tuple[float, PeerState, str]](maxlen=MAX_HISTORY)
    )

    def live(self) -> list[Link]:
        return [link for link in self.links.values() if link.live]

    def dialling(self) -> bool:
        return any(link.dialled and not link.live for link in self.links.values())

    def contests(self) -> list[Link]:
        return [link for link in self.links.values() if link.contest is not None]

    def doomed(self, patience: float) -> float:
        """The moment at which nobody has heard it for `patience` seconds."""
        assert self.heard is not None
        return max(self.heard, self.vouched[0]) + patience

    def changed(self, state: PeerState, why: str, now: float) -> None:
        """It is `state` from now on."""
        self.state, self.why = state, why
        self.past.append((now, state, why))

    def because(self, why: str) -> None:
        """Still the same state, for a reason that is better known now."""
        self.why = why
        if self.past:
            moment, state, _ = self.past.pop()
            self.past.append((moment, state, why))

    def history(self, now: float) -> tuple[StateChange, ...]:
        """Newest first."""
        return tuple(StateChange(max(0.0, now - moment), state, why) for moment, state, why in reversed(self.past))

    def away(self, now: float) -> float | None:
        """Seconds since it ceased to be up, None where it never was (as far back as is remembered)."""
        ceased: float | None = None
        for moment, state, _ in reversed(self.past):
            if state == "up":
                return None if ceased is None else now - ceased
            ceased = moment
        return None


def with_address(addresses: tuple[str, ...], address: str, *, front: bool) -> tuple[str, ...]:
    """These addresses and `address`, MAX_ADDRESSES at most. front: it has just worked, or is sure to be the newest."""
    rest = tuple(one for one in addresses if one != address)
    if front:
        return (address, *rest)[:MAX_ADDRESSES]
    if "%" in address:
        # A link-local address is the last resort.
        return (*rest[: MAX_ADDRESSES - 1], address)
    # The one that worked last stays first; a new hint is more likely to hold than an old one.
    return (*rest[:1], address, *rest[1:])[:MAX_ADDRESSES]


def duration(seconds: float) -> str:
    """How a reason names a span of time: 0.4 s, 12 s, 5 min, 3 h."""
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 ", " ")
    if seconds < 120.0:
        return f"{seconds:.0f} s"
    if seconds < 7200.0:
        return f"{seconds / 60.0:.0f} min"
    return f"{seconds / 3600.0:.0f} h"
