"""What is expected of a simulated swarm: how long things took, and what must never happen.

While it runs     no timer spins, no node handles more than its share, nobody with a reason to refuse a node holds a
                  stream to it, nobody accuses a healthy node that it can reach unless the network explains it
After a quiet     everybody sees exactly those up who run, hears of goodbyes what it was told, holds the same roster and
time              the same records, and has exactly one stream to each other

An accusation is a change from up to suspect or down. It is false where the accused runs, is awake, both directions are
open, and no start, sleep, move or cut of either side is seconds ago; a loss or a reset of seconds ago explains it.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable

import msgspec

from mycoswarm.core.ids import NodeId
from mycoswarm.core.node import PeerState
from mycoswarm.fabric.roster import Roster
from mycoswarm.testing.swarm_simulation import Failed, Node, Simulation, Watcher
from mycoswarm.testing.swarm_simulation_network import RATE, ticks

EXPLAINS = 4.0
"""Seconds for which a lost segment or a reset explains an accusation: the silence it takes, and the way back."""
MAX_TICKS = (60, 12)
"""Timer events of one node in a second: at rest and for each member. A spinning timer makes 2,048."""
MAX_EVENTS = (400, 120)
"""Events of one node in a second, likewise: a thousand members changing at once is no excuse for a storm."""

Pair = tuple[int, int]


class Took(msgspec.Struct, frozen=True):
    """Seconds from a cause to its being known everywhere."""

    times: int
    median: float
    worst: float


class _Awaited:
    def __init__(self, kind: str, since: int, up: bool) -> None:
        self.kind = kind
        self.since = since
        self.up = up
        self.open: set[Pair] = set()
        self.pairs: set[Pair] = set()


class Watch(Watcher):
    """The judge of one simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        simulation.watcher = self
        self.took_seconds: dict[str, list[float]] = defaultdict(list)
        self.overtaken: Counter[str] = Counter()
        self.accused: Counter[str] = Counter()
        """False accusations by state: those that losses and resets explain; any other one ends the run."""
        self.most_ticks = 0
        self.most_events = 0
        self.node_seconds = 0
        self._sees: dict[int, dict[int, PeerState]] = defaultdict(dict)
        self._awaited: dict[Pair, list[_Awaited]] = {}
        self._news: list[tuple[int, Roster, set[int]]] = []
        self._left_once: set[int] = set()
        self._told: dict[int, dict[int, int]] = {}
        """By node that stopped: who heard its goodbye, and in which run of his."""
        self._counted: dict[int, tuple[int, int]] = {}
        self._members: list[Node] | None = None

    # What is to come.

    def expect(self, kind: str, pairs: Iterable[tuple[Node, Node]], up: bool) -> None:
        """That each first one will see each second one up (or not any more), and how long it takes until all do."""
        awaited = _Awaited(kind, self.simulation.tick, up)
        for one, other in pairs:
            pair = (one.number, other.number)
            awaited.pairs.add(pair)
            if (self._sees[pair[0]].get(pair[1]) == "up") != up:
                awaited.open.add(pair)
        # What is so already is not worth a figure: a cable that was out for a second, say.
        if awaited.open:
            for pair in awaited.pairs:
                self._awaited.setdefault(pair, []).append(awaited)

    def expect_roster(self, wanted: Roster, nodes: Iterable[Node]) -> None:
        """That these will hold at least this."""
        holders = {node.number for node in nodes if node.machine is not None and not self._holds(node, wanted)}
        if holders:
            self._news.append((self.simulation.tick, wanted, holders))

    def overtake(self, pairs: Iterable[tuple[Node, Node]], up: bool) -> None:
        """Something else has happened between these: that they see each other up (or down) is not awaited any more."""
        for one, other in pairs:
            pair = (one.number, other.number)
            for awaited in list(self._awaited.get(pair, ())):
                if awaited.up == up:
                    self._drop(awaited, pair)

    # What happens (see Watcher).

    def running(self, node: Node, runs: bool) -> None:
        sim = self.simulation
        self._sees[node.number] = {}
        others = [other for other in sim.nodes if other is not node]
        if runs:
            self._told.pop(node.number, None)
            self.overtake(((other, node) for other in others), up=False)
        else:
            self.overtake(((node, other) for other in others), up=True)
            self.overtake(((node, other) for other in others), up=False)
            self.overtake(((other, node) for other in others), up=True)
            for _, _, holders in self._news:
                holders.discard(node.number)
            self._news = [news for news in self._news if news[2]]
        self._members = None

    def saw(self, observer: Node, node: NodeId, before: PeerState | None, state: PeerState, why: str) -> None:
        sim = self.simulation
        other = sim.by_id[node]
        pair = (observer.number, other.number)
        self._sees[pair[0]][pair[1]] = state
        if state == "up":
            # A goodbye of an earlier life can arrive late; what counts is the one that was heard last.
            self._told.get(other.number, {}).pop(observer.number, None)
        for awaited in list(self._awaited.get(pair, ())):
            # Suspicion is not yet notice: work stays away, but nobody has been told.
            if state == "suspect" if not awaited.up else state != "up":
                awaited.open.add(pair)
            else:
                awaited.open.discard(pair)
                if not awaited.open:
                    self._done(awaited)
        if state in ("suspect", "down") and before in ("up", "suspect"):
            self._judge(observer, other, state, why)

    def farewell(self, observer: Node, node: Node) -> None:
        self._left_once.add(node.number)
        self._told.setdefault(node.number, {})[observer.number] = observer.began

    def took(self, node: Node) -> None:
        self._members = None
        for news in list(self._news):
            since, wanted, holders = news
            if node.number in holders and self._holds(node, wanted):
                holders.discard(node.number)
                if not holders:
                    self._news.remove(news)
                    self.took_seconds["roster"].append((self.simulation.tick - since) / RATE)

    def second(self) -> None:
        sim = self.simulation
        size = len(sim.nodes)
        for node in sim.nodes:
            handled, ticked = self._counted.get(node.number, (0, 0))
            events, timers = node.handled - handled, node.ticked - ticked
            self._counted[node.number] = (node.handled, node.ticked)
            if node.machine is None:
                continue
            self.node_seconds += 1
            self.most_ticks = max(self.most_ticks, timers)
            self.most_events = max(self.most_events, events)
            if timers > MAX_TICKS[0] + MAX_TICKS[1] * size:
                raise Failed("no timer spins", sim.now, f"{node} was woken {timers} times in a second")
            if events > MAX_EVENTS[0] + MAX_EVENTS[1] * size:
                raise Failed("no storm", sim.now, f"{node} handled {events} events in a second")
        members = {node.number for node in self.members()}
        for node in sim.nodes:
            if node.number in members:
                continue
            for end in node.ends.values():
                keeper = end.other.node
                if end.other.open and (keeper.roster is None or node.id not in keeper.roster.members()):
                    raise Failed(
                        "who is out has no stream", sim.now, f"{keeper} knows that {node} is out and speaks to it"
                    )

    # After a quiet time.

    def members(self) -> list[Node]:
        """Those whom every roster that is in force on a running node counts in."""
        if self._members is None:
            nodes = self.simulation.nodes
            held = {
                one.roster.digest: one.roster for one in nodes if one.machine is not None and one.roster is not None
            }
            self._members = [node for node in nodes if all(node.id in roster.members() for roster in held.values())]
        return self._members

    def check_quiet(self) -> None:
        """All that must hold once nothing has happened for a while. Raises Failed."""
        sim = self.simulation
        now = sim.now
        members = self.members()
        running = [node for node in members if node.machine is not None]
        ids = {node.id: node for node in sim.nodes}
        up = {node.id for node in running}
        for node in running:
            assert node.machine is not None
            assert node.roster is not None
            for view in node.machine.nodes(now)[1:]:
                other = ids[view.id]
                if other.id in up:
                    allowed = {"up"}
                elif other not in members:
                    allowed = {"removed"}
                elif self._told.get(other.number, {}).get(node.number) == node.began:
                    allowed = {"left"}
                else:
                    # It may have been back and away again without this one's having met it.
                    allowed = {"down", "left"} if other.number in self._left_once else {"down"}
                if view.state not in allowed:
                    raise Failed(
                        "all see who is there",
                        now,
                        f"{node} sees {other} {view.state} ({view.why}), not {' or '.join(sorted(allowed))}",
                    )
            seen = {view.id for view in node.machine.nodes(now)}
            if missing := [one.name for one in members if one.id not in seen]:
                raise Failed("all see who is there", now, f"{node} does not show {', '.join(missing)}")
            partners = Counter(end.other.node.number for end in node.ends.values() if end.other.open and not end.dead)
            for other in running:
                if other is not node and partners[other.number] != 1:
                    raise Failed(
                        "one stream for each pair", now, f"{node} has {partners[other.number]} streams to {other}"
                    )
            if len(node.ends) != len(running) - 1:
                raise Failed("one stream for each pair", now, f"{node} has {len(node.ends)} streams in all")
        self._same("one roster", {node.name: node.roster.digest for node in running if node.roster is not None})
        self._same("one state", {node.name: node.machine.digest for node in running if node.machine is not None})
        for pair, awaited in self._awaited.items():
            one, other = sim.nodes[pair[0]], sim.nodes[pair[1]]
            kinds = [each.kind for each in awaited if pair in each.open]
            if kinds:
                raise Failed("what was awaited has come", now, f"{kinds[0]}: {one} of {other}")
        if self._news:
            raise Failed("news of the roster have come", now, f"{len(self._news[0][2])} nodes miss one")

    def took_all(self) -> dict[str, Took]:
        return {
            kind: Took(len(times), round(statistics.median(times), 3), round(max(times), 3))
            for kind, times in sorted(self.took_seconds.items())
        }

    # Small things.

    def _same(self, invariant: str, held: dict[str, str]) -> None:
        if len(set(held.values())) > 1:
            most = Counter(held.values()).most_common(1)[0][0]
            others = sorted(name for name, digest in held.items() if digest != most)
            raise Failed(invariant, self.simulation.now, f"{', '.join(others[:8])} hold another one than the rest")

    def _judge(self, observer: Node, other: Node, state: PeerState, why: str) -> None:
        sim = self.simulation
        if other.machine is None or other.frozen:
            return
        there, back = sim.path(other, observer), sim.path(observer, other)
        if there.cut or back.cut or there.shut or back.shut:
            return
        members = self.members()
        if other not in members or observer not in members:
            return
        if sim.tick <= max(there.mended, back.mended, observer.troubled, other.troubled):
            return
        self.accused[state] += 1
        explained = max(there.troubled, back.troubled) + ticks(EXPLAINS)
        if sim.tick > explained:
            raise Failed(
                "no accusation without cause", sim.now, f"{observer} says that {other} is {state}: {why}; it is well"
            )

    def _holds(self, node: Node, wanted: Roster) -> bool:
        return node.roster is None or self.simulation.shelf.merge(node.roster, wanted).digest == node.roster.digest

    def _drop(self, awaited: _Awaited, pair: Pair) -> None:
        awaited.pairs.discard(pair)
        awaited.open.discard(pair)
        self._unregister(awaited, pair)
        if not awaited.pairs:
            self.overtaken[awaited.kind] += 1
        elif not awaited.open:
            self._done(awaited)

    def _done(self, awaited: _Awaited) -> None:
        self.took_seconds[awaited.kind].append((self.simulation.tick - awaited.since) / RATE)
        for pair in awaited.pairs:
            self._unregister(awaited, pair)
        awaited.pairs = set()

    def _unregister(self, awaited: _Awaited, pair: Pair) -> None:
        left = [one for one in self._awaited.get(pair, ()) if one is not awaited]
        if left:
            self._awaited[pair] = left
        else:
            self._awaited.pop(pair, None)
