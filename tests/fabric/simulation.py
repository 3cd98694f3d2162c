"""A swarm of membership machines on a virtual clock: streams with latency, cables to pull, processes to kill."""

import heapq
import itertools
import random
from collections.abc import Callable, Iterable

import msgspec

from mycoswarm.core.ids import NodeId
from mycoswarm.core.node import NodeRecord, PeerState
from mycoswarm.fabric import membership as m
from mycoswarm.fabric.wire import Message, decode, encode

LATENCY = 0.002
DIAL_TIMEOUT = 1.5


def record(node: str, incarnation: int = 1) -> NodeRecord:
    return NodeRecord(NodeId(node), node, incarnation, 0, "0")


def anywhere(address: str) -> bool:
    """Addresses in these tests are names."""
    return True


class Stream:
    """Two ends of one stream: (node, its link id). held: what a pulled cable keeps back, as TCP would."""

    def __init__(self, dialler: tuple[str, m.LinkId], accepter: tuple[str, m.LinkId]) -> None:
        self.ends = (dialler, accepter)
        self.open = {dialler: True, accepter: True}
        self.held: list[tuple[tuple[str, m.LinkId], Message | None]] = []

    def other(self, end: tuple[str, m.LinkId]) -> tuple[str, m.LinkId]:
        return self.ends[1] if end == self.ends[0] else self.ends[0]


class Swarm:
    """Nodes by name; every node's address is its name."""

    def __init__(self, names: Iterable[str], seed: int = 0, know: bool = True) -> None:
        self.now = 1000.0
        self.chance = random.Random(seed)
        self.names = tuple(names)
        self.machines: dict[str, m.Membership] = {}
        self.cut: set[frozenset[str]] = set()
        self._know = know
        self._incarnations = dict.fromkeys(self.names, 0)
        self._streams: dict[tuple[str, m.LinkId], Stream] = {}
        self._opening: dict[tuple[str, m.LinkId], list[Message]] = {}
        self._plan: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._ticks: dict[str, int] = {}

    # What tests do.

    def start(self, name: str, incarnation: int | None = None) -> m.Membership:
        self._incarnations[name] += 1
        first = record(name, incarnation or self._incarnations[name])
        run = f"{name}-{self.chance.random()}"
        machine = self.machines[name] = m.Membership(first, run, 1, random.Random(self.chance.random()), anywhere)
        self.feed(name, self.roster(name))
        if self._know:
            for other in self.names:
                if other != name:
                    self.feed(name, m.AddressHint(NodeId(other), other))
        return machine

    def roster(self, name: str, without: frozenset[str] = frozenset()) -> m.MembersChanged:
        members = tuple(m.Member(NodeId(one), one) for one in self.names if one != name and one not in without)
        return m.MembersChanged(members, frozenset(NodeId(one) for one in without), f"r{sorted(without)}")

    def start_all(self) -> None:
        for name in self.names:
            self.start(name)

    def kill(self, name: str) -> None:
        """The process is gone; the kernel tells every peer that can be reached."""
        del self.machines[name]
        for end, stream in list(self._streams.items()):
            if end[0] == name:
                self._close(end, stream)

    def forget(self, name: str) -> None:
        """Every other end of its streams is closed, as after minutes without an answer; it does not know yet."""
        for end, stream in list(self._streams.items()):
            if end[0] == name:
                stream.held.clear()
                far = stream.other(end)
                if stream.open[far]:
                    stream.open[far] = False
                    self._streams.pop(far, None)
                    self.feed(far[0], m.LinkLost(far[1]))

    def stop(self, name: str) -> None:
        self._execute(name, self.machines[name].goodbye())
        self.run(2 * LATENCY)
        self.kill(name)

    def pull(self, one: str, *others: str) -> None:
        """Between `one` and the others nothing passes any more; nobody is told."""
        self.cut |= {frozenset((one, other)) for other in others or self.names if other != one}

    def plug(self, one: str, *others: str) -> None:
        self.cut -= {frozenset((one, other)) for other in others or self.names if other != one}
        for stream in {id(stream): stream for stream in self._streams.values()}.values():
            if not self._blocked(stream.ends[0][0], stream.ends[1][0]):
                held, stream.held = stream.held, []
                for end, message in held:
                    self._deliver(stream, end, message)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._plan and self._plan[0][0] <= end:
            self.now, _, action = heapq.heappop(self._plan)
            action()
        self.now = end

    def until(self, done: Callable[[], bool], limit: float) -> float:
        """Seconds until it is so, to 10 ms."""
        start = self.now
        while not done():
            assert self.now - start < limit, f"not so after {limit} s: {self.states()}"
            self.run(0.01)
        return self.now - start

    def state(self, observer: str, name: str) -> PeerState:
        return next(view.state for view in self.machines[observer].nodes(self.now) if view.id == name)

    def why(self, observer: str, name: str) -> str:
        return next(view.why for view in self.machines[observer].nodes(self.now) if view.id == name)

    def states(self) -> dict[str, dict[str, str]]:
        return {name: {v.id: v.state for v in machine.nodes(self.now)} for name, machine in self.machines.items()}

    def all_up(self) -> bool:
        return all(state in ("up", "self") for states in self.states().values() for state in states.values()) and len(
            self.machines
        ) == len(self.names)

    def streams(self) -> list[tuple[str, str]]:
        """Pairs of every stream that is open at both ends, dialler first."""
        found = {id(stream): stream for stream in self._streams.values() if all(stream.open.values())}
        return sorted((stream.ends[0][0], stream.ends[1][0]) for stream in found.values())

    # The works.

    def feed(self, name: str, event: m.Event) -> None:
        machine = self.machines.get(name)
        if machine is None:
            return
        self._execute(name, machine.handle(event, self.now))
        wakeup = machine.wakeup()
        turn = self._ticks[name] = next(self._count)
        if wakeup is not None:
            self._at(max(wakeup, self.now), lambda: self._tick(name, turn))

    def _tick(self, name: str, turn: int) -> None:
        if self._ticks.get(name) == turn:
            self.feed(name, m.Tick())

    def _at(self, moment: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._plan, (moment, next(self._count), action))

    def _blocked(self, one: str, other: str) -> bool:
        return frozenset((one, other)) in self.cut

    def _execute(self, name: str, commands: list[m.Command]) -> None:
        for command in commands:
            match command:
                case m.Dial(link, node, address):
                    assert address == node
                    self._opening[name, link] = []
                    if self._blocked(name, node):
                        self._at(self.now + DIAL_TIMEOUT, lambda link=link: self._failed(name, link, "no answer"))
                    elif node not in self.machines:
                        self._at(self.now + LATENCY, lambda link=link: self._failed(name, link, "refused"))
                    else:
                        self._at(self.now + LATENCY, lambda link=link, node=node: self._open(name, link, node))
                case m.Send(link, message):
                    if (name, link) in self._opening:
                        self._opening[name, link].append(message)
                    elif (stream := self._streams.get((name, link))) is not None:
                        self._send(stream, (name, link), message)
                case m.Close(link):
                    self._opening.pop((name, link), None)
                    if (stream := self._streams.get((name, link))) is not None:
                        self._close((name, link), stream)
                case m.PullRoster() | m.Changed() | m.Incarnated() | m.AddressesLearned():
                    pass

    def _failed(self, name: str, link: m.LinkId, reason: str) -> None:
        if self._opening.pop((name, link), None) is not None:
            self.feed(name, m.DialFailed(link, reason))

    def _open(self, name: str, link: m.LinkId, node: str) -> None:
        if (name, link) not in self._opening:
            return
        if node not in self.machines or name not in self.machines or self._blocked(name, node):
            self._failed(name, link, "refused")
            return
        waiting = self._opening.pop((name, link))
        far = self.machines[node].new_link()
        stream = Stream((name, link), (node, far))
        self._streams[name, link] = self._streams[node, far] = stream
        for message in waiting:
            self._send(stream, (name, link), message)
        self.feed(node, m.Accepted(far, NodeId(name), ""))

    def _send(self, stream: Stream, end: tuple[str, m.LinkId], message: Message | None) -> None:
        if message is not None:
            # Through the wire format, so that what cannot be written is found here too.
            message = decode(encode(message).rstrip())
        self._deliver(stream, stream.other(end), message)

    def _deliver(self, stream: Stream, to: tuple[str, m.LinkId], message: Message | None) -> None:
        if self._blocked(stream.ends[0][0], stream.ends[1][0]):
            stream.held.append((to, message))
            return
        self._at(self.now + LATENCY, lambda: self._arrive(stream, to, message))

    def _arrive(self, stream: Stream, to: tuple[str, m.LinkId], message: Message | None) -> None:
        if not stream.open[to]:
            return
        if message is None:
            stream.open[to] = False
            self._streams.pop(to, None)
            self.feed(to[0], m.LinkLost(to[1]))
        else:
            self.feed(to[0], m.Received(to[1], message))

    def _close(self, end: tuple[str, m.LinkId], stream: Stream) -> None:
        stream.open[end] = False
        self._streams.pop(end, None)
        self._send(stream, end, None)


def published(swarm: Swarm, name: str, warnings: tuple[str, ...]) -> None:
    machine = swarm.machines[name]
    swarm.feed(name, m.Published(msgspec.structs.replace(machine.record, warnings=warnings)))
