"""Who is up: a state machine on an injected `now`. Events in, commands out, no I/O, no clock.

    event                          what the shell saw
    MembersChanged                 the roster is another one
    AddressHint                    somebody says that a member is at HOST:PORT
    Accepted, Received, LinkLost   a watch stream was opened by a peer; said something; ended
    DialFailed                     a Dial came to nothing
    Published                      this node's own record changed
    NetworkChanged                 this machine has other addresses than before
    Tick                           the moment that `wakeup` asked for has come

    state     when                                                      consequence
    up        heard at most 2 s ago                                     gets work
    suspect   silent for more, or its stream broke                      gets no new work
    down      silent for more than 3 s and no reachable member hears    shown offline, redialled
              it; or its stream broke and redialling fails
    left      said goodbye                                              as down, at once
    removed   the roster says so                                        refused

Rules of this file: every change of state leaves a reason in words. A pair needs one stream, whoever opened it; where
both did, the one dialled by the lower id stays. A node that was itself asleep accuses nobody for that time. Ages are
differences of the `now` that is handed in. Nothing here trusts an address: the shell's TLS does the identifying.
"""

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NewType

import msgspec

from mycoswarm.core.ids import NodeId
from mycoswarm.core.node import PROTOCOL, NodeRecord, NodeView, PeerState
from mycoswarm.fabric.wire import Addresses, Ask, Beat, Goodbye, Heard, Hello, Message, Record, Want

BEAT = 1.0
"""Seconds between beats. Half of it doubles the idle CPU of a swarm; twice of it makes one lost packet a suspicion."""
SUSPECT_AFTER = 2.0
"""Seconds of silence: one beat may be late by a whole period before work goes elsewhere."""
DOWN_AFTER = 3.0
"""Seconds of silence: TCP has resent twice by then."""
ASLEEP = 0.5
"""Seconds that a tick may come late before this node counts itself, and not the others, as slow."""
REDIAL_FIRST, REDIAL_SOON, REDIAL_LATE = 0.25, 1.0, 5.0
"""Seconds between rounds of dialling: at first, for RECENT seconds, and afterwards."""
RECENT = 120.0
"""Seconds after a loss in which a cable is likely to come back, and a return must be noticed within 2 s."""
OPEN_WITHIN = 5.0
"""Seconds from a stream's opening to its Hello."""
YIELD = 0.1
"""Seconds by which the higher id waits before redialling, so that not both do."""
MISMATCHES = 2
"""Beats that must show another state before records are pulled: one may have crossed a record on its way."""
REPULL = 2.0
"""Seconds before the same difference is pulled again from the same peer."""
MAX_ADDRESSES = 4
"""Addresses remembered of one node: two families, an old and a new one."""
MAX_RUNS = 8
"""Past starts remembered of one node, by which a cloned disk is told from a restart."""

LinkId = NewType("LinkId", int)


class Member(msgspec.Struct, frozen=True):
    id: NodeId
    name: str


class MembersChanged(msgspec.Struct, frozen=True):
    """members: all but this node. removed: who once was one. digest: `Roster.digest`."""

    members: tuple[Member, ...]
    removed: frozenset[NodeId]
    digest: str


class AddressHint(msgspec.Struct, frozen=True):
    """fresh: the node has just been heard of there (an announcement), so dialling is worth it now."""

    node: NodeId
    address: str
    fresh: bool = False


class Accepted(msgspec.Struct, frozen=True):
    """host: the peer's address without port."""

    link: LinkId
    node: NodeId
    host: str


class Received(msgspec.Struct, frozen=True):
    link: LinkId
    message: Message


class LinkLost(msgspec.Struct, frozen=True):
    link: LinkId


class DialFailed(msgspec.Struct, frozen=True):
    """reason: a clause, e.g. "nothing listens at its address"."""

    link: LinkId
    reason: str


class Published(msgspec.Struct, frozen=True):
    record: NodeRecord


class NetworkChanged(msgspec.Struct, frozen=True):
    pass


class Tick(msgspec.Struct, frozen=True):
    pass


Event = MembersChanged | AddressHint | Accepted | Received | LinkLost | DialFailed | Published | NetworkChanged | Tick


class Dial(msgspec.Struct, frozen=True):
    """Open a watch stream; what follows as Send goes out once it stands."""

    link: LinkId
    node: NodeId
    address: str


class Send(msgspec.Struct, frozen=True):
    link: LinkId
    message: Message


class Close(msgspec.Struct, frozen=True):
    """After what was sent has gone out. No LinkLost is expected for it."""

    link: LinkId


class PullRoster(msgspec.Struct, frozen=True):
    node: NodeId


class Changed(msgspec.Struct, frozen=True):
    """What `nodes` answers is another one."""


class Incarnated(msgspec.Struct, frozen=True):
    """This node had to outrank a record of its own past; the number must be kept."""

    incarnation: int


class AddressesLearned(msgspec.Struct, frozen=True):
    """`addresses` is another one: worth keeping on disk."""


Command = Dial | Send | Close | PullRoster | Changed | Incarnated | AddressesLearned


@dataclass
class _Link:
    """dialled: by this node. live: its Hello has come. unseen: beats in a row that showed another state than ours."""

    id: LinkId
    node: NodeId
    dialled: bool
    address: str
    since: float
    live: bool = False
    n: int = 0
    echo: int = 0
    echo_at: float = 0.0
    sent: dict[int, float] = field(default_factory=dict[int, float])
    unseen: int = 0


@dataclass
class _Peer:
    """heard, lost_at: moments. vouched: when another member last heard it, and which.

    tried: addresses dialled in the present round. rounds: that failed since the loss.
    """

    id: NodeId
    name: str
    state: PeerState = "down"
    why: str = "not met since this node started"
    heard: float | None = None
    rtt: float | None = None
    record: NodeRecord | None = None
    addresses: tuple[str, ...] = ()
    links: dict[LinkId, _Link] = field(default_factory=dict[LinkId, _Link])
    runs: list[str] = field(default_factory=list[str])
    cloned: bool = False
    callable: bool = True
    lost_at: float | None = None
    dial_at: float | None = None
    tried: int = 0
    rounds: int = 0
    vouched: tuple[float, NodeId] = (float("-inf"), NodeId(""))
    asked: float = float("-inf")
    roster_pulled: tuple[str, float] = ("", float("-inf"))
    records_pulled: float = float("-inf")

    def live(self) -> "list[_Link]":
        return [link for link in self.links.values() if link.live]

    def doomed(self, patience: float) -> float:
        """The moment at which nobody has heard it for `patience` seconds."""
        assert self.heard is not None
        return max(self.heard, self.vouched[0]) + patience

    def dialling(self) -> bool:
        return any(link.dialled and not link.live for link in self.links.values())


class Membership:
    """The machine of one node.

    Args:
        record: this node's first record; its incarnation is taken as it is, its seq is counted here from now on.
        run: random per process start.
        port: of this node's peer API, 0 if it takes no connections.
        chance: for jitter; a seeded one makes a run repeatable.
        may_dial: whether an address, whoever named it, is one that this node may call.
    """

    def __init__(
        self, record: NodeRecord, run: str, port: int, chance: random.Random, may_dial: Callable[[str], bool]
    ) -> None:
        self.id = record.id
        self.record = record
        self._run = run
        self._port = port
        self._chance = chance
        self._may_dial = may_dial
        self._peers: dict[NodeId, _Peer] = {}
        self._links: dict[LinkId, _Link] = {}
        self._last_link = 0
        self._roster = ""
        self._due: float | None = None
        self._next_beat: float | None = None
        self._digest: str | None = None

    def new_link(self) -> LinkId:
        """An id for a stream that the shell is about to report as Accepted."""
        self._last_link += 1
        return LinkId(self._last_link)

    @property
    def digest(self) -> str:
        """Equal where the same records are held."""
        if self._digest is None:
            held = sorted((node, *record.newness) for node, record in self._records().items())
            self._digest = hashlib.sha256(repr(held).encode()).hexdigest()[:16]
        return self._digest

    def addresses(self) -> Mapping[NodeId, tuple[str, ...]]:
        """HOST:PORT of every member that has one, best first."""
        return {peer.id: peer.addresses for peer in self._peers.values() if peer.addresses}

    def addresses_of(self, node: NodeId) -> tuple[str, ...]:
        peer = self._peers.get(node)
        return peer.addresses if peer is not None else ()

    def nodes(self, now: float) -> tuple[NodeView, ...]:
        """This node first, then every member (and those removed since the start), by name."""
        mine = NodeView(self.id, self.record.name, "self", "this node", 0.0, None, (), self.record)
        others = sorted(self._peers.values(), key=lambda peer: (peer.name, peer.id))
        return (
            mine,
            *(
                NodeView(
                    peer.id,
                    peer.record.name if peer.record is not None else peer.name,
                    peer.state,
                    peer.why,
                    None if peer.heard is None else max(0.0, now - peer.heard),
                    peer.rtt,
                    peer.addresses,
                    peer.record,
                )
                for peer in others
            ),
        )

    def warnings(self) -> tuple[str, ...]:
        """Sentences about what an owner has to put right."""
        return tuple(
            f"two machines use the identity of {peer.name}: was a disk copied? Remove node.key from the state "
            "directory of one of them and let it join as a new node"
            for peer in self._peers.values()
            if peer.cloned
        )

    def wakeup(self) -> float | None:
        """The moment of the next Tick, None while there is nothing to wait for."""
        moments = [] if self._next_beat is None else [self._next_beat]
        for peer in self._peers.values():
            if peer.dial_at is not None:
                moments.append(peer.dial_at)
            if peer.heard is not None and peer.state == "up":
                moments.append(peer.heard + SUSPECT_AFTER)
            elif peer.heard is not None and peer.state == "suspect":
                ask = max(peer.asked + BEAT, peer.heard + SUSPECT_AFTER)
                moments.append(min(ask, peer.doomed(DOWN_AFTER)))
        moments.extend(link.since + OPEN_WITHIN for link in self._links.values() if not link.live)
        self._due = min(moments, default=None)
        return self._due

    def goodbye(self) -> list[Command]:
        """What to say to everybody before the process ends."""
        return [Send(link.id, Goodbye()) for link in self._links.values() if link.live]

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take in one event."""
        out: list[Command] = []
        match event:
            case MembersChanged():
                self._members_changed(event, now, out)
            case AddressHint():
                self._hint(event, now, out)
            case Accepted():
                self._accepted(event, now, out)
            case Received():
                link = self._links.get(event.link)
                if link is not None:
                    self._received(link, self._peers[link.node], event.message, now, out)
            case LinkLost():
                self._lost(event.link, now, out)
            case DialFailed():
                self._dial_failed(event, now, out)
            case Published():
                self._publish(event.record, out)
            case NetworkChanged():
                for peer in self._peers.values():
                    if peer.dial_at is not None:
                        peer.rounds, peer.dial_at = 0, now
            case Tick():
                self._tick(now, out)
        return out

    # Members and addresses.

    def _members_changed(self, event: MembersChanged, now: float, out: list[Command]) -> None:
        self._roster = event.digest
        self._digest = None
        present = {member.id: member for member in event.members if member.id != self.id}
        for node, member in present.items():
            peer = self._peers.get(node)
            if peer is None:
                self._peers[node] = _Peer(node, member.name)
            elif peer.state == "removed":
                self._peers[node] = _Peer(node, member.name, addresses=peer.addresses, dial_at=now)
            else:
                peer.name = member.name
        for node, peer in list(self._peers.items()):
            if node in present:
                continue
            self._drop_links(peer, out)
            if node in event.removed:
                peer.dial_at, peer.record, peer.rtt = None, None, None
                self._become(peer, "removed", "it is no member of the swarm any more", out)
            else:
                del self._peers[node]
        # Everybody who is linked hears of the new digest now and not with the next beat.
        for link in self._links.values():
            if link.live:
                self._beat(link, now, out)
        out.append(Changed())

    def _hint(self, event: AddressHint, now: float, out: list[Command]) -> None:
        peer = self._peers.get(event.node)
        if peer is None or not self._may_dial(event.address):
            return
        if event.address not in peer.addresses:
            peer.addresses = _with_address(peer.addresses, event.address, front=False)
            out.append(AddressesLearned())
        elif not event.fresh:
            return
        if not peer.live() and not peer.dialling() and peer.state != "removed":
            peer.rounds = 0
            peer.dial_at = now if self._goes_first(peer) else now + YIELD

    # Streams.

    def _accepted(self, event: Accepted, now: float, out: list[Command]) -> None:
        peer = self._peers.get(event.node)
        if peer is None or peer.state == "removed":
            out.append(Close(event.link))
            return
        link = _Link(event.link, event.node, dialled=False, address=event.host, since=now)
        self._links[link.id] = peer.links[link.id] = link
        self._introduce(link, peer, out)
        self._beat(link, now, out)

    def _introduce(self, link: _Link, peer: _Peer, out: list[Command]) -> None:
        known = peer.record.newness if peer.record is not None else None
        out.append(Send(link.id, Hello(self.id, self._run, self._port, known=known)))
        out.append(Send(link.id, Record(self.record)))

    def _received(self, link: _Link, peer: _Peer, message: Message, now: float, out: list[Command]) -> None:
        peer.heard = now
        match message:
            case Hello():
                if message.protocol != PROTOCOL:
                    self._drop_links(peer, out)
                    reason = (
                        f"it speaks protocol {message.protocol} and this node {PROTOCOL}: update the older of the two"
                    )
                    self._become(peer, "down", reason, out)
                    peer.lost_at, peer.dial_at = now, now + REDIAL_LATE
                    return
                self._hello(link, peer, message, now, out)
            case Beat():
                self._take_beat(link, peer, message, now, out)
            case Record():
                self._take_record(message.record, out)
            case Want():
                for node, record in self._records().items():
                    if node != peer.id and record.newness > message.known.get(node, (-1, -1)):
                        out.append(Send(link.id, Record(record)))
            case Ask():
                about = self._peers.get(message.node)
                age = None if about is None or about.heard is None else now - about.heard
                out.append(Send(link.id, Heard(message.node, age)))
            case Heard():
                about = self._peers.get(message.node)
                if about is not None and message.age is not None:
                    about.vouched = max(about.vouched, (now - message.age, peer.id))
            case Addresses():
                for node, addresses in message.nodes.items():
                    for address in addresses[:MAX_ADDRESSES]:
                        self._hint(AddressHint(node, address), now, out)
            case Goodbye():
                self._drop_links(peer, out)
                self._become(peer, "left", "it said goodbye", out)
                peer.lost_at = now
                peer.dial_at = now + REDIAL_LATE
                return
        if link.live and peer.state != "up" and peer.state != "removed":
            self._become(peer, "up", "its beat is heard", out)

    def _hello(self, link: _Link, peer: _Peer, hello: Hello, now: float, out: list[Command]) -> None:
        link.live = True
        if self._next_beat is None:
            self._next_beat = now + BEAT
        if peer.runs[-1:] != [hello.run]:
            # A restart never comes back to an earlier run; two machines with one key take turns.
            peer.cloned = peer.cloned or hello.run in peer.runs
            peer.runs = [*(run for run in peer.runs if run != hello.run), hello.run][-MAX_RUNS:]
        if hello.known is not None and hello.known > self.record.newness:
            self._outrank(hello.known[0], out)
        peer.callable = hello.port > 0
        if link.dialled:
            self._learn(peer, link.address, out)
        elif hello.port > 0 and link.address:
            self._learn(peer, f"{link.address}:{hello.port}", out)
        peer.lost_at, peer.dial_at, peer.tried, peer.rounds = None, None, 0, 0
        for other in peer.live():
            if other is not link and self._superseded(other, link):
                self._drop(other, peer, out)
            elif other is not link and self._superseded(link, other):
                self._drop(link, peer, out)
                return
        self._beat(link, now, out)
        if known := self.addresses():
            out.append(Send(link.id, Addresses(dict(known))))
        # The network is back for one: the others are worth a try now.
        for absent in self._peers.values():
            if absent.dial_at is not None and absent.rounds > 2 and absent.addresses:
                absent.dial_at = min(absent.dial_at, now + self._chance.uniform(0.0, REDIAL_FIRST))

    def _superseded(self, one: _Link, by: _Link) -> bool:
        """Whether this node should close `one`, now that `by` stands as well."""
        if one.dialled == by.dialled:
            return one.id < by.id
        # Only the side that dialled too much closes; were both to decide, a race could close both.
        return one.dialled and self.id > one.node

    def _lost(self, link_id: LinkId, now: float, out: list[Command]) -> None:
        link = self._links.get(link_id)
        if link is None:
            return
        if link.dialled and not link.live:
            self._dial_failed(DialFailed(link_id, "it ended the connection at once"), now, out)
            return
        del self._links[link_id]
        peer = self._peers[link.node]
        del peer.links[link_id]
        if peer.live() or peer.state not in ("up", "suspect") or not link.live:
            self._keep_trying(peer, now)
            return
        peer.lost_at, peer.tried, peer.rounds = now, 0, 0
        if peer.addresses and peer.callable:
            self._become(peer, "suspect", "its connection broke", out)
            peer.dial_at = now if self._goes_first(peer) else now + YIELD
        else:
            self._become(peer, "down", "its connection broke, and no address of it is known", out)

    def _dial_failed(self, event: DialFailed, now: float, out: list[Command]) -> None:
        link = self._links.pop(event.link, None)
        if link is None:
            return
        peer = self._peers[link.node]
        del peer.links[event.link]
        if peer.live() or not link.dialled:
            self._keep_trying(peer, now)
            return
        peer.tried += 1
        if peer.tried < len(peer.addresses):
            peer.dial_at = now
            return
        peer.tried = 0
        peer.rounds += 1
        peer.dial_at = now + self._pause(peer, now)
        if peer.state in ("up", "suspect") and not self._vouched(peer, now):
            self._become(peer, "down", f"its connection broke, and {event.reason}", out)
        elif peer.state == "down" and peer.heard is None:
            peer.why = f"not met since this node started: {event.reason}"

    # Records.

    def _publish(self, record: NodeRecord, out: list[Command]) -> None:
        newest = (self.record.incarnation, self.record.seq + 1)
        self.record = msgspec.structs.replace(record, id=self.id, incarnation=newest[0], seq=newest[1])
        self._digest = None
        # A stream that is just opening was given the record of a moment ago, and this one follows it.
        out.extend(Send(link, Record(self.record)) for link in self._links)
        out.append(Changed())

    def _outrank(self, incarnation: int, out: list[Command]) -> None:
        self.record = msgspec.structs.replace(self.record, incarnation=incarnation + 1, seq=0)
        out.append(Incarnated(self.record.incarnation))
        self._publish(self.record, out)

    def _take_record(self, record: NodeRecord, out: list[Command]) -> None:
        if record.id == self.id:
            if record.newness > self.record.newness:
                self._outrank(record.incarnation, out)
            return
        peer = self._peers.get(record.id)
        if peer is None or peer.state == "removed":
            return
        if peer.record is None or record.newness > peer.record.newness:
            peer.record = record
            self._digest = None
            out.append(Changed())

    def _records(self) -> dict[NodeId, NodeRecord]:
        held = {peer.id: peer.record for peer in self._peers.values() if peer.record is not None}
        return {self.id: self.record, **held}

    # Beats and time.

    def _beat(self, link: _Link, now: float, out: list[Command]) -> None:
        link.n += 1
        link.sent[link.n] = now
        link.sent.pop(link.n - 4, None)
        held = round(now - link.echo_at, 4) if link.echo else 0.0
        out.append(Send(link.id, Beat(link.n, link.echo, held, self._roster, self.digest)))

    def _take_beat(self, link: _Link, peer: _Peer, beat: Beat, now: float, out: list[Command]) -> None:
        link.echo, link.echo_at = beat.n, now
        if (sent := link.sent.get(beat.echo)) is not None:
            sample = max(0.0, now - sent - beat.held)
            # What is slower than usual was mostly the other's scheduler; what is quicker is the network itself.
            weight = 1.0 if peer.rtt is None else 0.5 if sample < peer.rtt else 0.1
            peer.rtt = weight * sample + (1.0 - weight) * (peer.rtt or 0.0)
        elif beat.echo == 0:
            # The first of a stream: answered at once, so that both know the round trip before the first second is over.
            self._beat(link, now, out)
        if beat.roster != self._roster:
            pulled, when = peer.roster_pulled
            if pulled != beat.roster or now - when >= REPULL:
                peer.roster_pulled = (beat.roster, now)
                out.append(PullRoster(peer.id))
        link.unseen = link.unseen + 1 if beat.state != self.digest else 0
        if link.unseen >= MISMATCHES and now - peer.records_pulled >= REPULL:
            peer.records_pulled = now
            out.append(Send(link.id, Want({node: record.newness for node, record in self._records().items()})))

    def _tick(self, now: float, out: list[Command]) -> None:
        if self._due is not None and (late := now - self._due) > ASLEEP:
            for peer in self._peers.values():
                if peer.heard is not None and peer.live():
                    peer.heard = min(now, peer.heard + late)
        if self._next_beat is not None and now >= self._next_beat:
            live = [link for link in self._links.values() if link.live]
            for link in live:
                self._beat(link, now, out)
            self._next_beat = now + BEAT if live else None
        for peer in self._peers.values():
            self._check_silence(peer, now, out)
            if peer.dial_at is not None and now >= peer.dial_at:
                self._dial(peer, now, out)
        for link in list(self._links.values()):
            if not link.live and now >= link.since + OPEN_WITHIN:
                out.append(Close(link.id))
                self._dial_failed(DialFailed(link.id, "it does not say who it is"), now, out)

    def _check_silence(self, peer: _Peer, now: float, out: list[Command]) -> None:
        if peer.heard is None or peer.state not in ("up", "suspect"):
            return
        # Compared as `wakeup` computes them: a difference would round the other way, and the timer would spin.
        if now < peer.heard + SUSPECT_AFTER:
            return
        silent = now - peer.heard
        if peer.state == "up":
            self._become(peer, "suspect", f"silent for {silent:.0f} s", out)
        if now >= peer.heard + DOWN_AFTER:
            # The stream is of no use any more, whoever else hears the node; a fresh one may find another way.
            if live := peer.live():
                for link in live:
                    self._drop(link, peer, out)
                peer.lost_at, peer.tried, peer.rounds = now, 0, 0
                self._keep_trying(peer, now)
            if now < peer.doomed(DOWN_AFTER):
                peer.why = f"silent for {silent:.0f} s, but {self._peers[peer.vouched[1]].name} hears it"
            else:
                self._become(peer, "down", f"silent for {silent:.0f} s, and no other member hears it", out)
        if peer.state == "suspect" and now >= peer.asked + BEAT:
            peer.asked = now
            for other in self._peers.values():
                if other is not peer and other.state == "up":
                    out.extend(Send(link.id, Ask(peer.id)) for link in other.live()[:1])

    def _vouched(self, peer: _Peer, now: float) -> bool:
        """Whether another member has heard it since this node lost it."""
        return peer.lost_at is not None and peer.vouched[0] > peer.lost_at and now < peer.doomed(DOWN_AFTER)

    def _dial(self, peer: _Peer, now: float, out: list[Command]) -> None:
        peer.dial_at = None
        if peer.state == "removed" or peer.live() or peer.dialling() or not peer.addresses:
            return
        address = peer.addresses[peer.tried % len(peer.addresses)]
        link = _Link(self.new_link(), peer.id, dialled=True, address=address, since=now)
        self._links[link.id] = peer.links[link.id] = link
        out.append(Dial(link.id, peer.id, address))
        self._introduce(link, peer, out)

    def _pause(self, peer: _Peer, now: float) -> float:
        """Seconds to the next round of dialling."""
        if peer.state != "left" and (peer.lost_at is None or now - peer.lost_at < RECENT):
            ceiling = REDIAL_SOON
        else:
            # Of a swarm of which most is switched off, a node must not spend its time on dialling.
            ceiling = max(REDIAL_LATE, 0.5 * sum(1 for one in self._peers.values() if one.dial_at is not None))
        if peer.heard is None and peer.rounds > RECENT:
            ceiling = max(ceiling, REDIAL_LATE)
        pause = min(ceiling, REDIAL_FIRST * 2 ** min(max(peer.rounds - 1, 0), 10))
        return pause * self._chance.uniform(0.8, 1.2)

    # Small things.

    def _keep_trying(self, peer: _Peer, now: float) -> None:
        """See to it that a member without a stream is dialled some time, whatever has become of earlier plans."""
        idle = not peer.live() and not peer.dialling() and peer.dial_at is None
        if idle and peer.addresses and peer.callable and peer.state != "removed":
            peer.dial_at = now + self._pause(peer, now)

    def _goes_first(self, peer: _Peer) -> bool:
        return self.id < peer.id

    def _learn(self, peer: _Peer, address: str, out: list[Command]) -> None:
        if peer.addresses[:1] != (address,) and self._may_dial(address):
            peer.addresses = _with_address(peer.addresses, address, front=True)
            out.append(AddressesLearned())

    def _drop(self, link: _Link, peer: _Peer, out: list[Command]) -> None:
        self._links.pop(link.id, None)
        peer.links.pop(link.id, None)
        out.append(Close(link.id))

    def _drop_links(self, peer: _Peer, out: list[Command]) -> None:
        for link in list(peer.links.values()):
            self._drop(link, peer, out)

    def _become(self, peer: _Peer, state: PeerState, why: str, out: list[Command]) -> None:
        if peer.state != state or (state == "down" and peer.why != why):
            peer.state = state
            peer.why = why
            out.append(Changed())


def _with_address(addresses: tuple[str, ...], address: str, front: bool) -> tuple[str, ...]:
    rest = tuple(one for one in addresses if one != address)
    if front:
        return (address, *rest)[:MAX_ADDRESSES]
    # The one that worked last stays first; a new hint is more likely to hold than an old one.
    return (*rest[:1], address, *rest[1:])[:MAX_ADDRESSES]
