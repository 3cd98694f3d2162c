"""A whole swarm in one process on virtual time: the real membership machines and rosters over a simulated network.

    swarm_simulation             nodes, streams, dials, pulls, mishaps; what a shell would do with each command
    swarm_simulation_network     delays and losses
    swarm_simulation_roster      keys and rosters, made once
    swarm_simulation_watch       who sees whom, how long it took, what must never happen
    swarm_simulation_scenario    mishaps by the seed, quiet times between them, the report

Everything comes from one seed: the same seed writes the same log, byte for byte, in every process. Nothing here decides
anything about membership; it carries commands out as `fabric.service` does, with TCP's habits: a stream that stands
loses no line, a machine without power answers nobody, one that runs without its process refuses.
"""

import hashlib
import heapq
import random
from collections import Counter, deque
from collections.abc import Callable
from time import thread_time_ns
from typing import Any, cast

import msgspec

from mycoswarm.core.hardware import EngineKind, HardwareSummary, Role
from mycoswarm.core.ids import EngineId, ModelName, NodeId
from mycoswarm.core.model import ModelOffer
from mycoswarm.core.node import NodeRecord, PeerState, QueueLoad
from mycoswarm.fabric import membership as m
from mycoswarm.fabric.addresses import DEFAULT_PEER_PORT
from mycoswarm.fabric.roster import Roster
from mycoswarm.fabric.service import FOLLOW
from mycoswarm.fabric.transport import CONNECT, DIAL
from mycoswarm.fabric.wire import Beat, Goodbye, Message, decode, encode
from mycoswarm.testing.swarm_simulation_network import RATE, STALL, Path, Profile, Weather, ticks
from mycoswarm.testing.swarm_simulation_roster import Library, Machine, founded, machine

ANNOUNCED = (0.0, 1.0, 3.0)
"""Seconds after which an announcement or a question is repeated."""
AFTERMATH = 8.0
"""Seconds for which an interruption may still show: streams stand still until TCP tries again."""
SAMPLE = 64
"""One beat in so many is written, read back, measured and timed; of the other messages all are written."""
KEPT = 4000
"""Lines of the log that are kept for a report; the hash is of all."""


class Observed(m.Membership):
    """The real machine; `changed` hears of every change of state that it makes of a peer."""

    def __init__(self, *args: Any, changed: Callable[[NodeId, PeerState, PeerState, str], None], **named: Any) -> None:
        super().__init__(*args, **named)
        self._observer = changed

    def _become(self, peer: Any, *rest: Any, **named: Any) -> None:
        before = peer.state
        super()._become(peer, *rest, **named)
        if peer.state != before:
            self._observer(peer.id, before, peer.state, peer.why)


class End:
    """One node's end of a stream.

    last: the tick at which the newest line towards this end arrives. held: what cannot pass to it now. dead: its
    machine lost power; nobody was told.
    """

    __slots__ = ("dead", "held", "last", "link", "node", "open", "other", "path", "since")

    def __init__(self, node: "Node", link: m.LinkId, path: Path) -> None:
        self.node = node
        self.link = link
        self.path = path
        """From this node to the other."""
        self.other: End = self
        self.open = True
        self.dead = False
        self.last = 0
        self.since = 0
        self.held: list[Message | None] = []


class Node:
    """A machine that is or was part of the swarm; what survives a restart is the first group."""

    def __init__(self, number: int, who: Machine, address: str) -> None:
        self.number = number
        self.who = who
        self.id = who.id
        self.name = who.name
        self.address = address
        self.roster: Roster | None = None
        self.known: dict[NodeId, tuple[str, ...]] = {}
        self.incarnation = 0
        self.left = False
        # While it runs:
        self.powered = True
        self.machine: Observed | None = None
        self.ends: dict[m.LinkId, End] = {}
        self.opening: dict[m.LinkId, list[Message]] = {}
        self.frozen = False
        self.backlog: list[Callable[[], None]] = []
        self.turn = 0
        self.due = -1
        self.dirty = False
        self.handled = 0
        self.ticked = 0
        self.began = 0
        self.troubled = 0
        """The tick until which what others think of it, or it of them, is excused."""

    def __repr__(self) -> str:
        return self.name


class Failed(Exception):
    """Something that must hold did not. moment: virtual seconds."""

    def __init__(self, invariant: str, moment: float, detail: str) -> None:
        super().__init__(f"{invariant} at {moment:.3f} s: {detail}")
        self.invariant = invariant
        self.moment = moment
        self.detail = detail


class Watcher:
    """What hears of everything; `swarm_simulation_watch.Watch` is the one that judges."""

    def running(self, node: Node, runs: bool) -> None: ...
    def saw(self, observer: Node, node: NodeId, before: PeerState | None, state: PeerState, why: str) -> None: ...
    def farewell(self, observer: Node, node: Node) -> None: ...
    def took(self, node: Node) -> None: ...
    def second(self) -> None: ...


Plan = tuple[End, Message | None] | tuple[Node, int] | tuple[None, Callable[[], None]]


class Simulation:
    """The swarm. Methods of the first group are mishaps and wishes; `run` lets time pass.

    Args:
        count: machines that belong to the swarm at the beginning (all switched off).
        machine_type: of the membership machines; a wrong one shows what the watcher finds.
    """

    def __init__(
        self, count: int, seed: str, profile: Profile, machine_type: type[Observed] = Observed, log: Any = None
    ) -> None:
        self.seed = seed
        self.now = 0.0
        self.tick = 0
        self.weather = Weather(profile, f"{seed} network")
        self.profile = profile
        self.chance = random.Random(f"{seed} shells")  # noqa: S311 - it must be repeatable, not secret
        self.shelf = Library()
        self.nodes: list[Node] = []
        self.by_id: dict[NodeId, Node] = {}
        self.at: dict[str, Node] = {}
        self.watcher = Watcher()
        self.calm = False
        """Whether the network breaks no stream by itself at present."""
        self.sent: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.events = 0
        self.busy: Counter[str] = Counter()
        """Nanoseconds in `Membership.handle` by kind of event, sampled beats multiplied. Not part of the log."""
        self.recent: deque[str] = deque(maxlen=KEPT)
        self._log_file = log
        self._hash = hashlib.sha256()
        self._machine_type = machine_type
        self._paths: dict[tuple[int, int], Path] = {}
        self._plan: dict[int, list[Plan]] = {}
        self._order: list[int] = []
        self._dirty: list[Node] = []
        self._beats = 0
        self._roundtrips: Counter[str] = Counter()
        self._addresses_given = 0
        first = founded(count)
        for number in range(count):
            self._new_node(number).roster = first
        self.after(1.0, self._second)

    # Mishaps and wishes.

    def start(self, node: Node) -> None:
        """Switch it on and start the process."""
        assert node.machine is None
        node.powered = True
        node.incarnation += 1
        node.frozen, node.backlog, node.due = False, [], -1
        node.began = self.tick
        self.note(f"{node} starts at {node.address}")
        run = f"{self.chance.getrandbits(64):x}"
        node.machine = self._machine_type(
            _record(node),
            run,
            DEFAULT_PEER_PORT,
            random.Random(f"{self.seed} {node} {node.incarnation}"),  # noqa: S311 - it must be repeatable, not secret
            lambda address: True,
            changed=lambda peer, before, state, why: self._saw(node, peer, before, state, why),
        )
        self.excuse(node)
        self.watcher.running(node, True)
        self._tell(node)
        for peer, addresses in node.known.items():
            for address in addresses:
                self.feed(node, m.AddressHint(peer, address))
        self.announce(node, answered=True)

    def crash(self, node: Node) -> None:
        """kill -9: the kernel closes what the process had open."""
        assert node.machine is not None
        self.note(f"{node} is killed")
        self._gone(node)
        for end in list(node.ends.values()):
            self._close(end)

    def power_off(self, node: Node) -> None:
        """The plug is pulled: nobody hears anything."""
        assert node.machine is not None
        self.note(f"{node} loses power")
        self._gone(node)
        node.powered = False
        for end in node.ends.values():
            end.open, end.dead = False, True
        node.ends.clear()

    def stop(self, node: Node) -> None:
        """Ctrl-C: goodbyes, then the end."""
        assert node.machine is not None
        self.note(f"{node} stops")
        self._execute(node, node.machine.goodbye())
        self._gone(node)
        for end in list(node.ends.values()):
            self._close(end)

    def freeze(self, node: Node) -> None:
        """SIGSTOP, a closed lid, swapping: the process does nothing, and what arrives waits."""
        assert node.machine is not None
        assert not node.frozen
        self.note(f"{node} freezes")
        node.frozen = True

    def thaw(self, node: Node) -> None:
        assert node.frozen
        self.note(f"{node} goes on")
        node.frozen = False
        self.excuse(node)
        waiting, node.backlog = node.backlog, []
        # Which of its sockets and timers an event loop serves first is not promised.
        late = [lambda: self.feed(node, m.Tick())] if 0 <= node.due <= self.tick else []
        for action in late + waiting if self.chance.random() < 0.5 else waiting + late:
            action()

    def cut(self, one: Node, other: Node) -> None:
        """Nothing passes from `one` to `other`; what it would acknowledge stops a little later."""
        path, back = self.path(one, other), self.path(other, one)
        if path.cut:
            return
        path.cut = True
        self._shut(path)

        def stall() -> None:
            if path.cut:
                self._shut(back)

        self.after(STALL, stall)

    def heal(self, one: Node, other: Node) -> None:
        path, back = self.path(one, other), self.path(other, one)
        if not path.cut:
            return
        path.cut = False
        for way, source, target in ((path, one, other), (back, other, one)):
            if way.shut and not (path.cut or back.cut):
                way.shut = False
                way.mended = self.tick + ticks(AFTERMATH)
                delay = self.weather.healed(way, self.tick - way.since, self.tick)
                for end in target.ends.values():
                    if end.held and end.other.node is source:
                        held, end.held = end.held, []
                        end.last = max(end.last, self.tick + delay)
                        for message in held:
                            self._push(end.last, (end, message))

    def reset(self, end: End) -> None:
        """Somebody between the two ends breaks the connection."""
        if end.open and end.other.open:
            self.note(f"the stream of {end.node} and {end.other.node} is reset")
            for one in (end, end.other):
                one.path.troubled = self.tick + ticks(3.0)
                one.held.clear()
                one.open = False
                one.node.ends.pop(one.link, None)
                self._arrive(one.node, m.LinkLost(one.link))

    def move(self, node: Node, address: str) -> None:
        """DHCP gives it another address: its old streams are dumb from now on."""
        self.note(f"{node} is at {address} now")
        del self.at[node.address]
        node.address = address
        self.at[address] = node
        self.excuse(node)
        for end in list(node.ends.values()):
            # Neither side's segments arrive, and nobody says so: both ends live on until somebody gives up.
            end.dead = end.other.dead = True

        def noticed() -> None:
            if node.machine is not None:
                self.feed(node, m.NetworkChanged())
                self.announce(node, answered=True)

        self.after(self.chance.uniform(0.1, FOLLOW), lambda: self.when_awake(node, noticed))

    def publish(self, node: Node, running: int) -> None:
        """Its record changes: work begins or ends."""
        assert node.machine is not None
        queues = (QueueLoad(EngineId("ollama"), ModelName("gemma3:27b"), running, running // 3, 4, 0.5 * running),)
        changed = msgspec.structs.replace(node.machine.record, queues=queues)
        self.when_awake(node, lambda: self.feed(node, m.Published(changed)))

    def admit(self, keeper: Node) -> Node:
        """One more machine joins by the code that `keeper` showed."""
        assert keeper.roster is not None
        node = self._new_node(len(self.nodes))
        self.note(f"{keeper} admits {node}")
        self.take(keeper, keeper.roster.admit(node.who.certificate, node.name, keeper.id, keeper.who.sign))
        node.roster = keeper.roster
        if keeper.machine is not None:
            node.known = {**keeper.machine.addresses(), keeper.id: (keeper.address,)}
        self.start(node)
        return node

    def remove(self, keeper: Node, node: Node) -> None:
        assert keeper.roster is not None
        self.note(f"{keeper} removes {node}")
        self.take(keeper, keeper.roster.remove(node.id, keeper.id, keeper.who.sign))

    def leave(self, node: Node) -> None:
        """It says that it leaves to all that it reaches, and is solo then; its owner switches it off."""
        assert node.roster is not None
        assert node.machine is not None
        self.note(f"{node} leaves")
        farewell = node.roster.leave(node.id, node.who.sign)
        for other in self.nodes:
            if other is not node and other.machine is not None:
                self._request(node, other, lambda other=other: self._merge(other, farewell), 0)
        node.left = True
        self.stop(node)

    def take(self, node: Node, new: Roster) -> None:
        """Make it the roster in force on `node`, as `fabric.trust` does."""
        if node.id not in new.members():
            self.note(f"{node} learns that it is out")
            node.roster = None
            if node.machine is not None:
                self.feed(node, m.MembersChanged((), frozenset(), ""))
            self.watcher.took(node)
            return
        node.roster = new
        if node.machine is not None:
            self._tell(node)
        self.watcher.took(node)

    def announce(self, node: Node, answered: bool) -> None:
        """By multicast to all who hear it, as often as DNS-SD does; they answer where it has just come."""
        for other in self.nodes:
            if other is node or other.machine is None:
                continue
            for after in ANNOUNCED:
                self._hint(node, other, after)
                if answered:
                    self._hint(other, node, after)

    def excuse(self, node: Node, seconds: float = 10.0) -> None:
        node.troubled = max(node.troubled, self.tick + ticks(seconds))

    # Time.

    def run(self, seconds: float) -> None:
        end = self.tick + ticks(seconds)
        plan, order = self._plan, self._order
        while order and order[0] <= end:
            tick = heapq.heappop(order)
            self.tick = tick
            self.now = now = tick / RATE
            # A list that grows while it is read: what is due at once is done in this turn.
            for target, what in plan[tick]:
                if type(target) is End:
                    node = target.node
                    if not target.open or target.dead:
                        if target.dead:
                            self._unheard(target, cast("Message | None", what))
                        continue
                    if type(what) is Beat and not node.frozen:
                        node.handled += 1
                        self._beats += 1
                        event = m.Received(target.link, cast("Beat", what))
                        if self._beats % SAMPLE:
                            commands = node.machine.handle(event, now)  # pyright: ignore[reportOptionalMemberAccess]
                        else:
                            commands = self._sampled(node, event)
                        if commands:
                            self._execute(node, commands)
                    else:
                        said = cast("Message | None", what)
                        self.when_awake(node, lambda end=target, said=said: self._deliver(end, said))
                elif type(target) is Node:
                    if target.turn == what:
                        target.due = tick
                        self._ticked(target)
                else:
                    cast("Callable[[], None]", what)()
            del plan[tick]
            if self._dirty:
                self._timers()
        self.tick = end
        self.now = end / RATE

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self._push(self.tick + ticks(seconds), (None, action))

    def when_awake(self, node: Node, action: Callable[[], None]) -> None:
        """Now, or as soon as the process goes on; never if it ends before."""
        if node.frozen:
            node.backlog.append(action)
        elif node.machine is not None:
            action()

    def feed(self, node: Node, event: m.Event) -> None:
        """Hand `event` to the node's machine and do what it says."""
        if node.machine is None:
            return
        node.handled += 1
        began = thread_time_ns()
        commands = node.machine.handle(event, self.now)
        self.busy[type(event).__name__] += thread_time_ns() - began
        self._execute(node, commands)
        self._mark(node)

    def path(self, one: Node, other: Node) -> Path:
        path = self._paths.get((one.number, other.number))
        if path is None:
            path = self._paths[one.number, other.number] = self.weather.path()
        return path

    # The log.

    def note(self, text: str) -> None:
        line = f"{self.now:.4f} {text}"
        self._hash.update(line.encode() + b"\n")
        self.recent.append(line)
        if self._log_file is not None:
            self._log_file.write(line + "\n")

    @property
    def log_hash(self) -> str:
        """Of all lines so far."""
        return self._hash.hexdigest()

    # The works.

    def _new_node(self, number: int) -> Node:
        node = Node(number, machine(number), self.new_address())
        self.nodes.append(node)
        self.by_id[node.id] = node
        self.at[node.address] = node
        return node

    def new_address(self) -> str:
        """One that nobody has or had."""
        self._addresses_given += 1
        given = self._addresses_given
        return f"10.{given >> 16}.{given >> 8 & 255}.{given & 255}:{DEFAULT_PEER_PORT}"

    def _second(self) -> None:
        # What the log does not say line by line: two runs that differ anywhere have drawn differently here.
        self._hash.update(f"{self.now:.4f} {self._beats} {self.weather.chance.getrandbits(32)}\n".encode())
        self.watcher.second()
        if self.profile.resets and not self.calm:
            running = [node for node in self.nodes if node.ends]
            streams = 0.5 * sum(len(node.ends) for node in running)
            if running and self.weather.chance.random() < streams * self.profile.resets / 3600.0:
                node = running[self.weather.chance.randrange(len(running))]
                self.reset(self.weather.chance.choice(list(node.ends.values())))
        self.after(1.0, self._second)

    def _push(self, tick: int, plan: Plan) -> None:
        planned = self._plan.get(tick)
        if planned is None:
            self._plan[tick] = [plan]
            heapq.heappush(self._order, tick)
        else:
            planned.append(plan)

    def _mark(self, node: Node) -> None:
        if not node.dirty:
            node.dirty = True
            self._dirty.append(node)

    def _timers(self) -> None:
        """Set the timers of nodes that had events: once for all that came at one moment, as an event loop would."""
        dirty, self._dirty = self._dirty, []
        for node in dirty:
            node.dirty = False
            if node.machine is None:
                continue
            node.turn += 1
            wakeup = node.machine.wakeup()
            if wakeup is None:
                node.due = -1
                continue
            node.due = max(ticks(wakeup), self.tick + 1)
            self._push(node.due, (node, node.turn))

    def _ticked(self, node: Node) -> None:
        if node.machine is None or node.frozen:
            return
        node.ticked += 1
        self.feed(node, m.Tick())

    def _saw(self, node: Node, peer: NodeId, before: PeerState, state: PeerState, why: str) -> None:
        other = self.by_id[peer]
        self.note(f"{node}: {other} {before} -> {state}: {why}")
        self.watcher.saw(node, peer, before, state, why)

    def _tell(self, node: Node) -> None:
        if node.roster is not None:
            self.feed(node, self.shelf.told(node.roster))

    def _gone(self, node: Node) -> None:
        node.machine = None
        node.frozen, node.backlog = False, []
        node.turn += 1
        node.opening.clear()
        self.excuse(node)
        self.watcher.running(node, False)

    def _hint(self, source: Node, target: Node, after: float) -> None:
        chance = self.weather.chance
        machine = source.machine
        times = 2 if chance.random() < self.profile.twice else 1
        for _ in range(times):
            if chance.random() < self.profile.multicast_loss:
                continue

            def heard() -> None:
                if source.machine is machine and machine is not None and not self.path(source, target).cut:
                    hint = m.AddressHint(source.id, source.address, fresh=True)
                    self.when_awake(target, lambda: self._hear(target, source, hint))

            self.after(after + chance.uniform(0.02, 0.3), heard)

    def _hear(self, target: Node, source: Node, hint: m.AddressHint) -> None:
        if target.roster is not None and source.id in target.roster.members():
            self.feed(target, hint)

    def _execute(self, node: Node, commands: list[m.Command]) -> None:
        ends = node.ends
        for command in commands:
            if type(command) is m.Send:
                end = ends.get(command.link)
                if end is not None:
                    self._send(end, command.message)
                elif (waiting := node.opening.get(command.link)) is not None:
                    waiting.append(command.message)
                continue
            match command:
                case m.Dial(link, peer, address):
                    self._dial(node, link, peer, address)
                case m.Close(link):
                    node.opening.pop(link, None)
                    if (end := ends.get(link)) is not None:
                        self._close(end)
                case m.PullRoster(peer):
                    self._pull(node, self.by_id[peer])
                case m.Incarnated(incarnation):
                    node.incarnation = incarnation
                case m.AddressesLearned():
                    assert node.machine is not None
                    node.known = dict(node.machine.addresses())
                case _:
                    pass

    # Streams.

    def _send(self, end: End, message: Message | None) -> None:
        to = end.other
        if type(message) is not Beat and message is not None:
            self._measure(message)
        path = end.path
        if path.shut:
            to.held.append(message)
            return
        tick = self.tick + self.weather.delay(path, self.tick)
        if tick < to.last:
            tick = to.last
        to.last = tick
        planned = self._plan.get(tick)
        if planned is None:
            self._plan[tick] = [(to, message)]
            heapq.heappush(self._order, tick)
        else:
            planned.append((to, message))

    def _measure(self, message: Message) -> None:
        kind = type(message).__name__
        data = encode(message)
        self.sent[kind] += 1
        self.bytes[kind] += len(data)
        self._roundtrips[kind] += 1
        if self._roundtrips[kind] % SAMPLE == 1 and decode(data.rstrip()) != message:
            raise Failed("what is written can be read", self.now, f"{message}")

    def _sampled(self, node: Node, event: m.Received) -> list[m.Command]:
        data = encode(event.message)
        if decode(data.rstrip()) != event.message:
            raise Failed("what is written can be read", self.now, f"{event.message}")
        self.bytes["Beat"] += SAMPLE * len(data)
        self.sent["Beat"] += SAMPLE
        began = thread_time_ns()
        assert node.machine is not None
        commands = node.machine.handle(event, self.now)
        self.busy["Beat"] += SAMPLE * (thread_time_ns() - began)
        return commands

    def _deliver(self, end: End, message: Message | None) -> None:
        if not end.open:
            return
        if message is None:
            end.open = False
            end.node.ends.pop(end.link, None)
            self.feed(end.node, m.LinkLost(end.link))
        else:
            if type(message) is Goodbye:
                self.watcher.farewell(end.node, end.other.node)
            self.feed(end.node, m.Received(end.link, message))

    def _unheard(self, end: End, message: Message | None) -> None:
        """A line for a stream that the machine knows nothing of any more: refused, if it is there to refuse."""
        other = end.other
        if end.node.powered and not end.open and other.open and message is not None:
            other.open = False
            other.node.ends.pop(other.link, None)
            self._arrive(other.node, m.LinkLost(other.link))

    def _arrive(self, node: Node, event: m.Event) -> None:
        self.when_awake(node, lambda: self.feed(node, event))

    def _close(self, end: End) -> None:
        if end.node.machine is not None:
            self.note(f"{end.node} ends a stream to {end.other.node}")
        end.open = False
        end.node.ends.pop(end.link, None)
        if not end.dead:
            self._send(end, None)

    def _shut(self, path: Path) -> None:
        if not path.shut:
            path.shut = True
            path.since = self.tick

    # Dials and requests.

    def _dial(self, node: Node, link: m.LinkId, peer: NodeId, address: str) -> None:
        node.opening[link] = []
        far = self.at.get(address)
        self.sent["Dial"] += 1
        if far is None or not far.powered or far is node:
            self._fail_later(node, link, "it does not answer", DIAL)
            return
        out, back = self.path(node, far), self.path(far, node)
        duration = self.weather.exchange(out, back, 3) / RATE
        if out.cut or back.cut or duration > DIAL:
            self._fail_later(node, link, "it does not answer", DIAL)
        elif far.machine is None:
            self._fail_later(node, link, "nothing listens at its address", duration / 3)
        elif far.id != peer:
            self._fail_later(node, link, "another machine answers at its address", duration)
        else:
            self.after(duration, lambda: self._open(node, link, far, address))

    def _fail_later(self, node: Node, link: m.LinkId, reason: str, seconds: float) -> None:
        machine = node.machine

        def failed() -> None:
            # Another run of the node may count its links from one again.
            if node.machine is machine and node.opening.pop(link, None) is not None:
                self.feed(node, m.DialFailed(link, reason))

        self.after(seconds, lambda: self.when_awake(node, failed))

    def _open(self, node: Node, link: m.LinkId, far: Node, address: str) -> None:
        if link not in node.opening or node.machine is None:
            return
        out, back = self.path(node, far), self.path(far, node)
        if out.cut or back.cut or far.frozen or far.address != address or not far.powered:
            self._fail_later(node, link, "it does not answer", DIAL / 2)
            return
        if far.machine is None:
            self._fail_later(node, link, "nothing listens at its address", 0.0)
            return
        trusted = far.roster is not None and node.id in far.roster.members()
        if not trusted or node.roster is None or far.id not in node.roster.members():
            self._fail_later(node, link, "it refuses this node (status 403)", 0.0)
            return
        waiting = node.opening.pop(link)
        near, end = End(node, link, out), End(far, far.machine.new_link(), back)
        near.other, end.other = end, near
        near.since = end.since = self.tick
        self.note(f"{node} has called {far}")
        node.ends[link] = near
        far.ends[end.link] = end
        for message in waiting:
            self._send(near, message)
        self.feed(far, m.Accepted(end.link, node.id, node.address.rpartition(":")[0]))

    def _pull(self, node: Node, far: Node) -> None:
        def answer() -> None:
            if far.roster is None or node.roster is None or node.id not in far.roster.members():
                return
            held = far.roster
            self.sent["Roster"] += 1
            self.bytes["Roster"] += self.shelf.size(held)
            self._request(far, node, lambda: self._merge(node, held), 0)

        self._request(node, far, answer, 1)

    def _request(self, node: Node, far: Node, arrived: Callable[[], None], turns: int) -> None:
        """Let `arrived` happen at `far`, if it can be reached and takes its turn in time. turns: round trips before."""
        out, back = self.path(node, far), self.path(far, node)
        seconds = self.weather.exchange(out, back, turns + 1) / RATE
        machine = far.machine

        def reached() -> None:
            if machine is not None and far.machine is machine and not (out.cut or back.cut):
                self.when_awake(far, arrived)

        if seconds <= CONNECT:
            self.after(seconds, reached)

    def _merge(self, node: Node, theirs: Roster) -> None:
        if node.roster is None or node.machine is None:
            return
        merged = self.shelf.merge(node.roster, theirs)
        if merged.digest != node.roster.digest:
            self.take(node, merged)


def _record(node: Node) -> NodeRecord:
    """Of the size that a small machine's has in life."""
    hardware = HardwareSummary(
        cpu="Intel(R) Core(TM) i5-7500T CPU @ 2.70GHz",
        threads=4,
        physical_cores=4,
        memory_total=8 << 30,
        memory_available=6 << 30,
        disk_free=200 << 30,
        memory_bandwidth=14.2e9,
    )
    models = tuple(
        ModelOffer(
            ModelName(name),
            EngineId("ollama"),
            "on_disk",
            digest="sha256:" + hashlib.sha256(name.encode()).hexdigest(),
            size=size,
            parameters=size * 2,
            quantization="Q4_K_M",
            context=8192,
        )
        for name, size in (("gemma3:1b", 815_000_000), ("qwen3:4b", 2_600_000_000), ("smollm2:135m", 144_000_000))
    )
    roles: tuple[Role, ...] = ()
    engines: tuple[EngineKind, ...] = ("ollama",)
    return NodeRecord(
        node.id, node.name, node.incarnation, 0, "0", hardware=hardware, roles=roles, engines=engines, models=models
    )
