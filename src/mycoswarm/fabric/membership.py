"""Who is up: a state machine on an injected `now`. Events in, commands out, no I/O, no clock.

    event                          what the shell saw
    MembersChanged                 the roster is another one
    AddressHint                    somebody says that a member is at HOST:PORT
    Accepted, Received, LinkLost   a watch stream was opened by a peer; said something; ended
    DialFailed                     a Dial came to nothing
    Published                      this node's own record changed
    Garbled                        a line of a stream was not understood
    NetworkChanged                 this machine has other addresses than before
    TwinSeen                       somebody else announces himself under this node's id
    Tick                           the moment that `wakeup` asked for has come

    state     when                                                      consequence
    up        heard at most 2 s ago                                     gets work
    suspect   silent for more, or its stream broke                      gets no new work
    down      silent for more than 3 s and no reachable member hears    shown offline, redialled
              it; or its stream broke and redialling fails
    left      said goodbye                                              as down, at once
    removed   the roster says so                                        refused

Rules of this file: every change of state leaves a reason in words (`history`). A pair needs one stream, whoever opened
it; where both did, the one dialled by the lower id stays. A node that is itself slow or was asleep doubts itself first
(`awareness`). Ages are differences of the `now` that is handed in. Nothing here trusts an address: the shell's TLS does
the identifying.

Two machines with one key (a copied disk) are told from one that was started again by the `run` in a Hello: where the
stream of another run goes on talking, both are alive. The run that was there first stays in force; the other one is
told so and refused, at each member for itself; records of the one never overwrite those of the other; both hear of it.
"""

import hashlib
import random
from collections.abc import Callable, Mapping

import msgspec

from mycoswarm.core.health import Problem
from mycoswarm.core.ids import NodeId
from mycoswarm.core.node import PROTOCOL, NodeRecord, NodeView, PeerState, StateChange
from mycoswarm.fabric.awareness import ASLEEP, GONE, Awareness
from mycoswarm.fabric.peer import MAX_ADDRESSES, Link, LinkId, Peer, duration, with_address
from mycoswarm.fabric.wire import Addresses, Ask, Beat, Goodbye, Heard, Hello, Message, Record, Twin, Want

BEAT = 1.0
"""Seconds between beats. Half of it doubles the idle CPU of a swarm; twice of it makes one lost packet a suspicion."""
SUSPECT_AFTER = 2.0
"""Seconds of silence: one beat may be late by a whole period before work goes elsewhere."""
DOWN_AFTER = 3.0
"""Seconds of silence: TCP has resent twice by then."""
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
PULL_ELSEWHERE = 0.5
"""Seconds before a roster that one peer was asked for is asked of another one."""
MAX_PULLED, MAX_OUTGROWN = 64, 64
"""Digests of rosters remembered: of those asked for, and of those that this node has had and added to."""
WHERE_EVERY = 3
"""Beats between two questions after members that cannot be found."""
DOUBT = 5.0
"""Seconds after a change of address, of this machine or the other, in which a stream is believed to be less alive."""
DOUBTED = 1.5
"""Seconds of silence after which such a stream is given up: a beat that was due half a second ago."""
CONTEST = 0.5
"""Seconds after another run's Hello in which what the old stream says may have been on its way since before its end."""
PROBATION = 2.0
"""Seconds that a stream must have lasted before a node that knows of its twin believes that it was accepted."""
TWIN_RETRY = 30.0
"""Seconds before a refused twin tries again: it takes over once the other one is gone."""
TWIN_FRESH = 180.0
"""Seconds after which a twin that was not met again is taken for mended."""
MAX_RUNS = 8
"""Refused runs remembered of one node."""
MAX_GARBLED = 100.0
"""Lines not understood, of which one a second is forgiven: a newer version may say something unknown with each beat."""
SHUNNED = 60.0
"""Seconds in which a member that talks nonsense is not listened to."""


class Member(msgspec.Struct, frozen=True):
    id: NodeId
    name: str


class MembersChanged(msgspec.Struct, frozen=True):
    """members: all but this node. removed: who once was one. digest: `Roster.digest`. causes: `Roster.causes`."""

    members: tuple[Member, ...]
    removed: frozenset[NodeId]
    digest: str
    causes: Mapping[NodeId, str] = {}


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


class Garbled(msgspec.Struct, frozen=True):
    link: LinkId


class NetworkChanged(msgspec.Struct, frozen=True):
    pass


class TwinSeen(msgspec.Struct, frozen=True):
    """host: where the other machine with this node's id is; empty where that is not known."""

    host: str


class Tick(msgspec.Struct, frozen=True):
    pass


Event = (
    MembersChanged
    | AddressHint
    | Accepted
    | Received
    | LinkLost
    | DialFailed
    | Published
    | Garbled
    | NetworkChanged
    | TwinSeen
    | Tick
)


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
        self.record = msgspec.structs.replace(record, run=run).bounded()
        self._run = run
        self._port = port
        self._chance = chance
        self._may_dial = may_dial
        self._peers: dict[NodeId, Peer] = {}
        self._links: dict[LinkId, Link] = {}
        self._last_link = 0
        self._roster = ""
        self._pulled: dict[str, float] = {}
        self._outgrown: dict[str, None] = {}
        self._due: float | None = None
        self._awareness = Awareness()
        self._slack = 0.0
        self._grace = float("-inf")
        # When another process with this node's key was last heard of, where it is, and who says so.
        self._twin: tuple[float, str, str] = (float("-inf"), "", "")
        self._next_beat: float | None = None
        self._rounds = 0
        self._digest: str | None = None

    @property
    def run(self) -> str:
        """Of this process."""
        return self._run

    def new_link(self) -> LinkId:
        """An id for a stream that the shell is about to report as Accepted."""
        self._last_link += 1
        return LinkId(self._last_link)

    @property
    def digest(self) -> str:
        """Equal where the same records are held."""
        if self._digest is None:
            # Of a node with a twin, members rightly hold different records: they would pull them for ever.
            doubled = {peer.id for peer in self._peers.values() if peer.twin[0] > float("-inf")}
            if self._twin[0] > float("-inf"):
                doubled.add(self.id)
            held = sorted((n, *record.newness) for n, record in self._records().items() if n not in doubled)
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

    def history(self, node: NodeId, now: float) -> tuple[StateChange, ...]:
        """The changes of a node's state as seen here, newest first; empty for one that was never met, or no member."""
        peer = self._peers.get(node)
        return peer.history(now) if peer is not None else ()

    def problems(self) -> tuple[Problem, ...]:
        """What an owner has to put right."""
        found: list[Problem] = []
        mend = (
            "on the copy, delete node.key and node.crt from mycoswarm's state directory, then let it join as a new node"
        )
        if self._twin[0] > float("-inf"):
            _, host, by = self._twin
            where = f" at {host}" if host else ""
            said = f"; {by} is connected to it" if by else ""
            found.append(
                Problem(
                    "cloned-disk",
                    "error",
                    f"another machine{where} uses this node's key{said}: was this disk copied?",
                    mend,
                )
            )
        for peer in self._peers.values():
            if peer.twin[0] > float("-inf"):
                hosts = [one for one in (next((link.host for link in peer.live()), ""), peer.twin[1]) if one]
                where = f" ({' and '.join(dict.fromkeys(hosts))})" if hosts else ""
                found.append(Problem("cloned-disk", "error", f"two machines{where} use the key of {peer.name}", mend))
            if peer.mismatch:
                older = "this machine" if peer.mismatch > PROTOCOL else peer.name
                found.append(
                    Problem(
                        "protocol",
                        "error",
                        f"{peer.name} speaks version {peer.mismatch} of the peer protocol, and this node {PROTOCOL}",
                        f"update mycoswarm on {older}",
                    )
                )
        return tuple(found)

    def wakeup(self) -> float | None:
        """The moment of the next Tick, None while there is nothing to wait for."""
        moments = [] if self._next_beat is None else [self._next_beat]
        for peer in self._peers.values():
            if peer.dial_at is not None:
                moments.append(peer.dial_at)
            if peer.heard is None:
                continue
            if peer.state == "up":
                moments.append(peer.heard + (SUSPECT_AFTER + self._slack))
            elif peer.state == "suspect":
                ask = max(peer.asked + BEAT, peer.heard + (SUSPECT_AFTER + self._slack))
                moments.append(min(ask, peer.doomed(DOWN_AFTER + self._slack)))
            if peer.heard + (DOUBTED + self._slack) < peer.doubt and peer.live():
                moments.append(peer.heard + (DOUBTED + self._slack))
            if peer.contests():
                moments.append(peer.heard + SUSPECT_AFTER)
        moments.extend(
            link.since + OPEN_WITHIN for link in self._links.values() if not link.live and link.contest is None
        )
        self._due = min(moments, default=None)
        return self._due

    def goodbye(self) -> list[Command]:
        """What to say to everybody before the process ends."""
        return [Send(link.id, Goodbye()) for link in self._links.values() if link.live]

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take in one event."""
        out: list[Command] = []
        if self._due is not None and now > self._due:
            late, self._due = now - self._due, None
            self._was_late(late, now, out)
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
            case Garbled():
                self._garbled(event.link, now, out)
            case NetworkChanged():
                for peer in self._peers.values():
                    peer.doubt = now + DOUBT
                    if peer.dial_at is not None:
                        peer.rounds, peer.dial_at = 0, now
            case TwinSeen():
                self._has_twin(event.host, "", now, out)
            case Tick():
                self._tick(now, out)
        return out

    # Members and addresses.

    def _members_changed(self, event: MembersChanged, now: float, out: list[Command]) -> None:
        if event.digest != self._roster:
            # A roster only grows: whoever shows one that was ours has nothing to tell, and will ask by himself.
            self._outgrown[self._roster] = None
            self._outgrown.pop(event.digest, None)
            if len(self._outgrown) > MAX_OUTGROWN:
                del self._outgrown[next(iter(self._outgrown))]
        if not event.digest:
            self._outgrown.clear()
        self._roster = event.digest
        self._digest = None
        present = {member.id: member for member in event.members if member.id != self.id}
        for node, member in present.items():
            peer = self._peers.get(node)
            if peer is None:
                self._peers[node] = Peer(node, member.name)
            elif peer.state == "removed":
                self._peers[node] = Peer(node, member.name, addresses=peer.addresses, dial_at=now)
            else:
                peer.name = member.name
        for node, peer in list(self._peers.items()):
            if node in present:
                continue
            self._drop_links(peer, out)
            if node in event.removed:
                peer.dial_at, peer.record, peer.rtt = None, None, None
                self._become(peer, "removed", event.causes.get(node, "it is no member of the swarm any more"), now, out)
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
            newest = event.fresh and "%" not in event.address
            if newest and peer.live():
                # It may have moved: its stream is given up sooner, and this address is then tried first.
                peer.doubt, peer.moved = now + DOUBT, event.address
            peer.addresses = with_address(peer.addresses, event.address, front=newest and not peer.live())
            out.append(AddressesLearned())
        elif not event.fresh:
            return
        if not peer.live() and not peer.dialling() and peer.state != "removed":
            peer.rounds = 0
            peer.dial_at = now if self._goes_first(peer) else now + YIELD

    # Streams.

    def _accepted(self, event: Accepted, now: float, out: list[Command]) -> None:
        peer = self._peers.get(event.node)
        if event.node == self.id:
            # A twin, or this node itself by way of somebody who relays: the run in a Hello tells which.
            out.append(Send(event.link, Hello(self.id, self._run, self._port)))
        if peer is None or peer.state == "removed" or now < peer.shunned:
            out.append(Close(event.link))
            return
        link = Link(event.link, event.node, dialled=False, address=event.host, since=now)
        self._links[link.id] = peer.links[link.id] = link
        self._introduce(link, peer, out)
        self._beat(link, now, out)

    def _introduce(self, link: Link, peer: Peer, out: list[Command]) -> None:
        known = peer.record.newness if peer.record is not None else None
        out.append(Send(link.id, Hello(self.id, self._run, self._port, known=known)))
        out.append(Send(link.id, Record(self.record)))

    def _received(self, link: Link, peer: Peer, message: Message, now: float, out: list[Command]) -> None:
        if link.contest is not None:
            # What it says counts once it is in force.
            if isinstance(message, Record) and message.record.id == peer.id:
                link.record = message.record
            return
        if isinstance(message, Hello):
            if not link.run:
                self._hello(link, peer, message, now, out)
        elif link.live:
            before = peer.heard
            peer.heard = link.heard = now
            self._said(link, peer, message, now, out)
            for rival in peer.contests():
                if rival.contest is not None and now >= rival.contest + CONTEST:
                    self._refuse(rival, peer, now, out)
            self._lives(link, peer, before, now, out)

    def _said(self, link: Link, peer: Peer, message: Message, now: float, out: list[Command]) -> None:
        match message:
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
                if about is not None and about.live() and link.told.get(message.node, ()) != about.addresses:
                    # It is asked for every second while it is suspected: only what is new is said.
                    link.told[message.node] = about.addresses
                    out.append(Send(link.id, Addresses({message.node: about.addresses})))
            case Heard():
                about = self._peers.get(message.node)
                if about is not None and message.age is not None:
                    about.vouched = max(about.vouched, (now - message.age, peer.id))
            case Addresses():
                for node, addresses in message.nodes.items():
                    for address in addresses[:MAX_ADDRESSES]:
                        # An address with a zone means something on the machine that said it, and nowhere else.
                        if "%" not in address:
                            self._hint(AddressHint(node, address), now, out)
            case Twin():
                self._has_twin(message.address, peer.name, now, out)
                if message.refused:
                    self._drop_links(peer, out)
                    where = f" at {message.address}" if message.address else ""
                    peer.not_before = now + TWIN_RETRY * self._chance.uniform(0.8, 1.2)
                    self._become(peer, "down", f"it keeps another machine{where} that has this node's key", now, out)
                    peer.lost_at = now
                    self._keep_trying(peer, now)
            case Goodbye():
                self._drop_links(peer, out)
                self._become(peer, "left", "it said goodbye", now, out)
                peer.lost_at = now
                peer.dial_at = now + REDIAL_LATE
                self._promote(peer, now, out)
            case Hello():
                pass

    def _lives(self, link: Link, peer: Peer, before: float | None, now: float, out: list[Command]) -> None:
        """Something came over `link`. before: when something did the last time."""
        if peer.state in ("up", "removed") or link.id not in peer.links:
            return
        if self._twin[0] > float("-inf") and now < link.since + PROBATION:
            return
        if peer.met_at is None:
            peer.met_at = now
            host = f" {'at' if link.dialled else 'from'} {link.host}" if link.host else ""
            why = f"met: {'this node called it' if link.dialled else 'it called this node'}{host}"
        elif peer.restarted:
            why = f"back after {duration(peer.away(now) or 0.0)}: it was started again"
        elif peer.state == "suspect" and link.since < (before or now):
            why = f"heard again after {duration(now - (before or now))} of silence"
        else:
            why = f"back after {duration(peer.away(now) or 0.0)}: connected again"
        peer.restarted = False
        self._become(peer, "up", why, now, out)

    def _hello(self, link: Link, peer: Peer, hello: Hello, now: float, out: list[Command]) -> None:
        link.run = hello.run
        if hello.protocol != PROTOCOL:
            self._drop_links(peer, out)
            older = "this machine" if hello.protocol > PROTOCOL else "that machine"
            reason = f"it speaks protocol {hello.protocol} and this node {PROTOCOL}: update mycoswarm on {older}"
            peer.mismatch = hello.protocol
            self._become(peer, "down", reason, now, out)
            peer.heard = peer.lost_at = now
            peer.dial_at = now + REDIAL_LATE
            return
        peer.mismatch = 0
        rivals = [other for other in peer.live() if other.run != hello.run]
        if rivals and peer.heard is not None and now < peer.heard + SUSPECT_AFTER:
            link.contest, link.hello = now, hello
            if hello.run in peer.refused:
                self._refuse(link, peer, now, out)
            return
        for rival in rivals:
            self._drop(rival, peer, out)
        self._greet(link, peer, hello, now, out)

    def _greet(self, link: Link, peer: Peer, hello: Hello, now: float, out: list[Command]) -> None:
        """Believe `link`: it is in force from now on."""
        before = peer.heard
        peer.heard = link.heard = now
        link.live = True
        if self._next_beat is None:
            self._next_beat = now + BEAT
        if peer.run != hello.run:
            peer.restarted = peer.run != ""
            peer.run = hello.run
            peer.refused = tuple(run for run in peer.refused if run != hello.run)
        if hello.known is not None and hello.known > self.record.newness:
            self._outrank(hello.known[0], out)
        peer.callable = hello.port > 0
        if link.dialled:
            self._learn(peer, link.address, out)
        elif hello.port > 0 and link.address:
            self._learn(peer, f"{link.address}:{hello.port}", out)
        peer.lost_at, peer.dial_at, peer.tried, peer.rounds = None, None, 0, 0
        self._beat(link, now, out)
        if known := {node: told for node, addresses in self.addresses().items() if (told := _abroad(addresses))}:
            out.append(Send(link.id, Addresses(known)))
        # The network is back for one: the others are worth a try now.
        for absent in self._peers.values():
            if absent.dial_at is not None and absent.rounds > 2 and absent.addresses:
                absent.dial_at = min(absent.dial_at, now + self._chance.uniform(0.0, REDIAL_FIRST))
        self._lives(link, peer, before, now, out)

    # Two machines with one key.

    def _refuse(self, link: Link, peer: Peer, now: float, out: list[Command]) -> None:
        """The run in force goes on talking, so `link` comes from a second machine: tell both, and keep the first."""
        peer.twin = (now, link.host)
        peer.refused = (*(run for run in peer.refused if run != link.run), link.run)[-MAX_RUNS:]
        self._digest = None
        here = next((live.host for live in peer.live()), "")
        out.append(Send(link.id, Twin(here, refused=True)))
        out.extend(Send(live.id, Twin(link.host, refused=False)) for live in peer.live())
        self._drop(link, peer, out)
        out.append(Changed())

    def _promote(self, peer: Peer, now: float, out: list[Command]) -> None:
        """The run in force is gone: of those that wait, the first takes its place."""
        if peer.live() or not (waiting := peer.contests()):
            return
        link = waiting[0]
        link.contest, hello = None, link.hello
        assert hello is not None
        self._greet(link, peer, hello, now, out)
        if link.record is not None:
            self._take_record(link.record, out)

    def _has_twin(self, host: str, by: str, now: float, out: list[Command]) -> None:
        """Somebody has met another process with this node's key."""
        known = self._twin[0] > float("-inf")
        # Who was told by a member knows more than who has seen an announcement.
        self._twin = (now, host or self._twin[1], by or self._twin[2])
        self._digest = None
        if not known:
            out.append(Changed())

    def _forget_twins(self, now: float, out: list[Command]) -> None:
        """What was not met again for a while has been mended."""
        never = float("-inf")
        if never < self._twin[0] < now - TWIN_FRESH:
            self._twin, self._digest = (never, "", ""), None
            out.append(Changed())
        for peer in self._peers.values():
            if never < peer.twin[0] < now - TWIN_FRESH:
                peer.twin, peer.refused, self._digest = (never, ""), (), None
                out.append(Changed())

    # Losing and finding again.

    def _superseded(self, one: Link, by: Link) -> bool:
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
        self._promote(peer, now, out)
        if peer.live() or peer.state not in ("up", "suspect") or not link.live:
            self._keep_trying(peer, now)
            return
        if peer.addresses and peer.callable:
            self._become(peer, "suspect", "its connection broke", now, out)
            self._redial(peer, now)
        else:
            peer.lost_at, peer.tried, peer.rounds = now, 0, 0
            self._become(peer, "down", "its connection broke, and no address of it is known", now, out)

    def _redial(self, peer: Peer, now: float) -> None:
        """Its stream is gone: dial, where it was last heard of."""
        peer.lost_at, peer.tried, peer.rounds = now, 0, 0
        if peer.moved in peer.addresses:
            peer.addresses = with_address(peer.addresses, peer.moved, front=True)
        peer.moved = ""
        if peer.addresses and peer.callable:
            peer.dial_at = now if self._goes_first(peer) else now + YIELD

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
        if peer.state in ("up", "suspect") and now >= self._grace and not self._vouched(peer, now):
            self._become(peer, "down", f"its connection broke, and {event.reason}", now, out)
        elif peer.state == "down" and peer.heard is None:
            peer.why = f"not met since this node started: {event.reason}"

    # Records.

    def _publish(self, record: NodeRecord, out: list[Command]) -> None:
        newest = (self.record.incarnation, self.record.seq + 1)
        counted = msgspec.structs.replace(record, id=self.id, incarnation=newest[0], seq=newest[1], run=self._run)
        # What others would refuse as too much must not make this node unknown to them.
        self.record = counted.bounded()
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
            # Of a past of its own, not of a twin: two machines that outranked each other would never end.
            if record.newness > self.record.newness and self._twin[0] == float("-inf"):
                self._outrank(record.incarnation, out)
            return
        peer = self._peers.get(record.id)
        if peer is None or peer.state == "removed":
            return
        if record.run not in ("", peer.run) and peer.live():
            # Of another process with its key: while this one is connected, what it says of itself stands.
            return
        if peer.record is None or record.newness > peer.record.newness:
            peer.record = record
            self._digest = None
            out.append(Changed())

    def _records(self) -> dict[NodeId, NodeRecord]:
        held = {peer.id: peer.record for peer in self._peers.values() if peer.record is not None}
        return {self.id: self.record, **held}

    # Beats and time.

    def _beat(self, link: Link, now: float, out: list[Command]) -> None:
        link.n += 1
        link.sent[link.n] = now
        link.sent.pop(link.n - 4, None)
        held = round(now - link.echo_at, 4) if link.echo else 0.0
        digests = (self._roster, self.digest)
        roster, state = ("", "") if digests == link.shows else digests
        link.shows = digests
        out.append(Send(link.id, Beat(link.n, link.echo, held, roster, state)))

    def _take_beat(self, link: Link, peer: Peer, beat: Beat, now: float, out: list[Command]) -> None:
        link.echo, link.echo_at = beat.n, now
        roster, state = link.shown = (beat.roster or link.shown[0], beat.state or link.shown[1])
        if (sent := link.sent.get(beat.echo)) is not None:
            sample = max(0.0, now - sent - beat.held)
            # What is slower than usual was mostly the other's scheduler; what is quicker is the network itself.
            weight = 1.0 if peer.rtt is None else 0.5 if sample < peer.rtt else 0.1
            peer.rtt = weight * sample + (1.0 - weight) * (peer.rtt or 0.0)
        if not link.dialled or beat.echo == 0:
            # The side that was dialled speaks in answer: so one packet is beat and acknowledgement. The first of a
            # stream is answered by both, so that both know the round trip before the first second is over.
            self._beat(link, now, out)
        if beat.echo and len(peer.links) > 1:
            # Only now is the far side known to count on this stream: closed sooner, the end of the other one could
            # overtake the Hello of this one, and the far side would suspect a node that is well.
            for other in peer.live():
                if other is not link and self._superseded(other, link):
                    self._drop(other, peer, out)
        if roster != self._roster and roster not in self._outgrown:
            self._roster_differs(peer, roster, now, out)
        link.unseen = link.unseen + 1 if state != self.digest else 0
        if link.unseen >= MISMATCHES and now - peer.records_pulled >= REPULL:
            peer.records_pulled = now
            out.append(Send(link.id, Want({node: record.newness for node, record in self._records().items()})))

    def _roster_differs(self, peer: Peer, digest: str, now: float, out: list[Command]) -> None:
        pulled, when = peer.roster_pulled
        if pulled == digest and now - when < REPULL:
            return
        # Each news is shown by everybody at once: pulled from all of them, one admission among 64 would cost 80 MB.
        if now - self._pulled.get(digest, float("-inf")) < PULL_ELSEWHERE:
            return
        self._pulled[digest] = now
        if len(self._pulled) > MAX_PULLED:
            del self._pulled[next(iter(self._pulled))]
        peer.roster_pulled = (digest, now)
        out.append(PullRoster(peer.id))

    def _was_late(self, late: float, now: float, out: list[Command]) -> None:
        """This node comes so much later to its tick than it wanted to."""
        if late <= GONE:
            self._awareness.late(late, now)
        if late <= ASLEEP:
            return
        for link in self._links.values():
            if not link.live:
                link.since += late
        for peer in self._peers.values():
            if peer.heard is None or not (live := peer.live()):
                continue
            peer.heard = min(now, peer.heard + late)
            for link in live:
                link.heard = min(now, link.heard + late)
            if late > GONE:
                # Whatever the kernel still thinks of these streams: their other ends are long closed.
                self._grace = now + SUSPECT_AFTER
                for link in live:
                    self._drop(link, peer, out)
                self._redial(peer, now)

    def _tick(self, now: float, out: list[Command]) -> None:
        self._slack = self._awareness.slack(now)
        if self._next_beat is not None and now >= self._next_beat:
            self._drop_mute(now, out)
            live = [link for link in self._links.values() if link.live]
            for link in live:
                if link.dialled:
                    self._beat(link, now, out)
            self._next_beat = now + BEAT if live else None
            self._rounds += 1
            if live and self._rounds % WHERE_EVERY == 0:
                self._ask_where(live, out)
            self._forget_twins(now, out)
        for peer in self._peers.values():
            self._check_silence(peer, now, out)
            if peer.dial_at is not None and now >= peer.dial_at:
                self._dial(peer, now, out)
        for link in list(self._links.values()):
            if not link.live and link.contest is None and now >= link.since + OPEN_WITHIN:
                out.append(Close(link.id))
                self._dial_failed(DialFailed(link.id, "it does not say who it is"), now, out)

    def _drop_mute(self, now: float, out: list[Command]) -> None:
        """Close a stream that is silent while its peer speaks on another: its far end is gone, and nobody said so."""
        for peer in self._peers.values():
            if len(peer.links) > 1 and len(live := peer.live()) > 1:
                for link in live:
                    if now >= link.heard + (DOWN_AFTER + self._slack):
                        self._drop(link, peer, out)

    def _ask_where(self, live: list[Link], out: list[Command]) -> None:
        """Ask somebody after a member without a stream: its announcement may not come here, or it has moved."""
        absent = [peer for peer in self._peers.values() if peer.state == "down" and not peer.live()]
        if lost := [peer for peer in absent if not peer.addresses] or absent:
            out.append(Send(self._chance.choice(live).id, Ask(self._chance.choice(lost).id)))

    def _check_silence(self, peer: Peer, now: float, out: list[Command]) -> None:
        if peer.heard is None:
            return
        if peer.contests() and now >= peer.heard + SUSPECT_AFTER:
            for link in peer.live():
                self._drop(link, peer, out)
            self._promote(peer, now, out)
        if peer.state not in ("up", "suspect"):
            return
        # All moments are computed as `wakeup` computes them: a difference would round the other way, and the timer
        # would spin.
        if peer.heard + (DOUBTED + self._slack) < peer.doubt and now >= peer.heard + (DOUBTED + self._slack):
            self._give_up(peer, now, out)
        if now < peer.heard + (SUSPECT_AFTER + self._slack):
            return
        silent = duration(now - peer.heard)
        if peer.state == "up":
            self._become(peer, "suspect", f"silent for {silent}", now, out)
        if now >= peer.heard + (DOWN_AFTER + self._slack):
            # The stream is of no use any more, whoever else hears the node; a fresh one may find another way.
            self._give_up(peer, now, out)
            if now < peer.doomed(DOWN_AFTER + self._slack):
                peer.because(f"silent for {silent}, but {self._peers[peer.vouched[1]].name} hears it")
            else:
                self._become(peer, "down", f"silent for {silent}, and no other member hears it", now, out)
        if peer.state == "suspect" and now >= peer.asked + BEAT:
            peer.asked = now
            # Whoever heard it a moment ago is asked again and nobody else: a node that hears no one but is heard by all
            # would send n² questions a second.
            fresh = peer.vouched[0] + SUSPECT_AFTER > now
            for other in self._peers.values():
                if other is not peer and other.state == "up" and (not fresh or other.id == peer.vouched[1]):
                    out.extend(Send(link.id, Ask(peer.id)) for link in other.live()[:1])

    def _give_up(self, peer: Peer, now: float, out: list[Command]) -> None:
        """Its streams are silent: break them, and dial."""
        if live := peer.live():
            for link in live:
                self._drop(link, peer, out)
            self._redial(peer, now)

    def _garbled(self, link_id: LinkId, now: float, out: list[Command]) -> None:
        link = self._links.get(link_id)
        if link is None:
            return
        peer = self._peers[link.node]
        lines, since = peer.nonsense
        lines = max(0.0, lines - (now - since)) + 1.0 if since > float("-inf") else 1.0
        peer.nonsense = (lines, now)
        if lines > MAX_GARBLED:
            peer.nonsense = (0.0, now)
            self._drop_links(peer, out)
            peer.shunned = peer.not_before = peer.dial_at = now + SHUNNED
            peer.lost_at = now
            why = f"it sends lines that this node does not understand; it is listened to again in {duration(SHUNNED)}"
            self._become(peer, "down", why, now, out)

    def _vouched(self, peer: Peer, now: float) -> bool:
        """Whether another member has heard it since this node lost it."""
        return peer.lost_at is not None and peer.vouched[0] > peer.lost_at and now < peer.doomed(DOWN_AFTER)

    def _dial(self, peer: Peer, now: float, out: list[Command]) -> None:
        peer.dial_at = None
        if peer.state == "removed" or peer.live() or peer.dialling() or not peer.addresses:
            return
        if now < peer.not_before:
            peer.dial_at = peer.not_before
            return
        address = peer.addresses[peer.tried % len(peer.addresses)]
        link = Link(self.new_link(), peer.id, dialled=True, address=address, since=now)
        self._links[link.id] = peer.links[link.id] = link
        out.append(Dial(link.id, peer.id, address))
        self._introduce(link, peer, out)

    def _pause(self, peer: Peer, now: float) -> float:
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

    def _keep_trying(self, peer: Peer, now: float) -> None:
        """See to it that a member without a stream is dialled some time, whatever has become of earlier plans."""
        idle = not peer.live() and not peer.dialling() and peer.dial_at is None
        if idle and peer.addresses and peer.callable and peer.state != "removed":
            peer.dial_at = now + self._pause(peer, now)

    def _goes_first(self, peer: Peer) -> bool:
        return self.id < peer.id

    def _learn(self, peer: Peer, address: str, out: list[Command]) -> None:
        if peer.addresses[:1] != (address,) and self._may_dial(address):
            peer.addresses = with_address(peer.addresses, address, front=True)
            out.append(AddressesLearned())

    def _drop(self, link: Link, peer: Peer, out: list[Command]) -> None:
        self._links.pop(link.id, None)
        peer.links.pop(link.id, None)
        out.append(Close(link.id))

    def _drop_links(self, peer: Peer, out: list[Command]) -> None:
        for link in list(peer.links.values()):
            self._drop(link, peer, out)

    def _become(self, peer: Peer, state: PeerState, why: str, now: float, out: list[Command]) -> None:
        if peer.state != state or (state in ("down", "removed") and peer.why != why):
            peer.changed(state, why, now)
            out.append(Changed())


def _abroad(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Those that mean something on other machines too: a zone (`fe80::1%eth0`) is this machine's own name."""
    return tuple(address for address in addresses if "%" not in address)
