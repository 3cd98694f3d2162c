"""Mishaps in an order that the seed decides, quiet times between them, and the figures of it all.

everybody starts ─▶ quiet ─▶ [ mishaps, each undone after a while ─▶ quiet, all invariants ─▶ idle, measured ] …
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from mycoswarm.testing.swarm_simulation import Failed, Node, Observed, Simulation
from mycoswarm.testing.swarm_simulation_network import Profile
from mycoswarm.testing.swarm_simulation_watch import Took, Watch

SETTLE = 30.0
"""Seconds of quiet after which everything must be as it should."""
IDLE = 10.0
"""Seconds of quiet in which traffic and time are measured."""


class Load(msgspec.Struct, frozen=True):
    """Per node and second, but `seconds` of virtual time. bytes: of the lines, without HTTP, TLS and TCP round them.

    cpu: seconds of this machine, the simulation included; membership: those within the membership machine.
    """

    seconds: float
    messages: float
    bytes: float
    cpu: float
    membership: float


class Report(msgspec.Struct, frozen=True):
    """What came of one run. accused: false accusations by state, per node and hour. mishaps: how many of each kind.

    converged: seconds from cause to everybody's knowing it. events: handled by all nodes together.
    """

    nodes: int
    seed: str
    minutes: float
    profile: str
    converged: dict[str, Took]
    idle: Load
    eventful: Load
    accused: dict[str, float]
    mishaps: dict[str, int]
    checks: int
    events: int
    most_events: int
    most_ticks: int
    virtual_seconds: float
    real_seconds: float
    log: str


class _Meter:
    """What has been used since the last reading."""

    def __init__(self, simulation: Simulation, watch: Watch) -> None:
        self._simulation = simulation
        self._watch = watch
        self._last = self._read()

    def _read(self) -> tuple[float, float, float, float, float, float]:
        sim = self._simulation
        return (
            sim.now,
            self._watch.node_seconds,
            sum(sim.sent.values()),
            sum(sim.bytes.values()),
            time.process_time(),
            sum(sim.busy.values()) / 1e9,
        )

    def reading(self) -> list[float]:
        last, self._last = self._last, self._read()
        return [new - old for new, old in zip(self._last, last, strict=True)]


class Scenario:
    """One run. `steps` yields now and then, so that somebody may print how far it is; then `report`."""

    def __init__(
        self,
        nodes: int,
        seed: str,
        minutes: float,
        profile: Profile,
        machine_type: type[Observed] = Observed,
        log: Any = None,
    ) -> None:
        self.simulation = Simulation(nodes, f"{seed} {nodes} {profile.name}", profile, machine_type, log)
        self.watch = Watch(self.simulation)
        self.checks = 0
        self.mishaps: Counter[str] = Counter()
        self._size = nodes
        self._seed = seed
        self._minutes = minutes
        self._chance = random.Random(f"{seed} {nodes} {profile.name} mishaps")  # noqa: S311 - it must be repeatable, not secret
        self._engaged: set[int] = set()
        self._parted = False
        self._pending = 0
        self._resting: list[Node] = []
        self._loads = {"idle": [0.0] * 6, "eventful": [0.0] * 6}
        self._began = time.monotonic()

    def steps(self) -> Iterator[float]:
        """Virtual seconds so far. Raises Failed."""
        sim, end = self.simulation, self._minutes * 60.0
        meter = _Meter(sim, self.watch)
        self._start_all()
        while True:
            yield from self._quiet()
            self._engaged.clear()
            self._add("eventful", meter)
            yield from self._run(IDLE)
            self._add("idle", meter)
            if sim.now + 2 * SETTLE >= end:
                return
            resting, self._resting = self._resting, []
            for node in resting:
                self._return(node)
            until = sim.now + min(self._chance.uniform(20.0, 60.0), end - sim.now - 2 * SETTLE)
            while sim.now < until:
                if self._pending < sim.profile.at_once:
                    self._mishap()
                yield from self._run(self._chance.expovariate(1.0 / sim.profile.pace))
            while self._pending:
                yield from self._run(1.0)

    def report(self) -> Report:
        sim, watch = self.simulation, self.watch
        hours = max(watch.node_seconds, 1) / 3600.0
        return Report(
            nodes=self._size,
            seed=self._seed,
            minutes=self._minutes,
            profile=sim.profile.name,
            converged=watch.took_all(),
            idle=_load(self._loads["idle"]),
            eventful=_load(self._loads["eventful"]),
            accused={state: round(watch.accused[state] / hours, 3) for state in ("suspect", "down")},
            mishaps=dict(sorted(self.mishaps.items())),
            checks=self.checks,
            events=sum(node.handled for node in sim.nodes),
            most_events=watch.most_events,
            most_ticks=watch.most_ticks,
            virtual_seconds=round(sim.now, 3),
            real_seconds=round(time.monotonic() - self._began, 2),
            log=sim.log_hash,
        )

    def _quiet(self) -> Iterator[float]:
        """Let everything settle, and look whether it has."""
        self.simulation.calm = True
        yield from self._run(SETTLE)
        for again in range(3):
            try:
                self.watch.check_quiet()
                break
            except Failed:
                # A segment lost three times is a suspicion of a moment, also in quiet times; what is stuck stays so.
                if again == 2 or not self.simulation.profile.loss:
                    raise
                yield from self._run(3.0)
        self.simulation.calm = False
        self.checks += 1

    def _run(self, seconds: float) -> Iterator[float]:
        while seconds > 0:
            self.simulation.run(min(seconds, 5.0))
            seconds -= 5.0
            yield self.simulation.now

    def _add(self, kind: str, meter: _Meter) -> None:
        self._loads[kind] = [sum(pair) for pair in zip(self._loads[kind], meter.reading(), strict=True)]

    # Mishaps. Each engages its nodes until it is undone.

    def _start_all(self) -> None:
        sim = self.simulation
        for node in sim.nodes:
            sim.start(node)
        self.watch.expect("all start", ((a, b) for a in sim.nodes for b in sim.nodes if a is not b), up=True)

    def _mishap(self) -> None:
        kinds: dict[str, tuple[int, Callable[[], bool]]] = {
            "crash": (4, self._crash),
            "power cut": (2, self._power_cut),
            "stop": (3, self._stop),
            "partition": (3, self._partition),
            "cable": (3, self._cable),
            "pair": (2, self._pair),
            "one way": (2, self._one_way),
            "flaps": (1, self._flaps),
            "freeze": (3, self._freeze),
            "slow": (2, self._slow),
            "address": (2, self._address),
            "roster": (3, self._roster),
            "work": (2, self._work),
        }
        kind = self._chance.choices(list(kinds), [weight for weight, _ in kinds.values()])[0]
        if kinds[kind][1]():
            self.mishaps[kind] += 1

    def _free(self) -> list[Node]:
        return [
            node
            for node in self.watch.members()
            if node.machine is not None and not node.frozen and node.number not in self._engaged
        ]

    def _one(self) -> Node | None:
        """Somebody who runs and to whom nothing else is happening; he is engaged from now on."""
        free = self._free()
        if len(free) < 2:
            return None
        node = self._chance.choice(free)
        self._engaged.add(node.number)
        return node

    def _undo(self, after: float, action: Callable[[], None], *nodes: Node) -> None:
        self._pending += 1

        def undo() -> None:
            action()
            self._pending -= 1
            self._engaged.difference_update(node.number for node in nodes)

        self.simulation.after(after, undo)

    def _around(self, node: Node) -> list[Node]:
        """Who runs undisturbed and can speak with it now."""
        sim = self.simulation
        return [
            other
            for other in self.watch.members()
            if other is not node
            and other.machine is not None
            and not other.frozen
            and other.number not in self._engaged
            and not sim.path(node, other).cut
            and not sim.path(other, node).cut
        ]

    def _lasting(self) -> float:
        """How long something lasts: mostly short, seldom so long that redialling has slowed down."""
        return self._chance.choice((1.0, 2.5, 4.0, 8.0, 15.0, 30.0, 150.0)) * self._chance.uniform(0.8, 1.2)

    def _off(self, node: Node) -> None:
        """It is off now: for a while, or over the next quiet time."""
        if self._chance.random() < 0.25:
            self._resting.append(node)
        else:
            self._undo(self._lasting(), lambda: self._return(node), node)

    def _return(self, node: Node) -> None:
        self.simulation.start(node)
        self._expect_back("start", node)

    def _expect_back(self, kind: str, node: Node) -> None:
        around = self._around(node)
        self.watch.expect(kind, [pair for other in around for pair in ((node, other), (other, node))], up=True)

    def _crash(self) -> bool:
        if (node := self._one()) is None:
            return False
        around = self._around(node)
        self.simulation.crash(node)
        self.watch.expect("crash", ((other, node) for other in around), up=False)
        self._off(node)
        return True

    def _power_cut(self) -> bool:
        if (node := self._one()) is None:
            return False
        around = self._around(node)
        self.simulation.power_off(node)
        self.watch.expect("power cut", ((other, node) for other in around), up=False)
        self._off(node)
        return True

    def _stop(self) -> bool:
        if (node := self._one()) is None:
            return False
        around = self._around(node)
        self.simulation.stop(node)
        self.watch.expect("stop", ((other, node) for other in around), up=False)
        self._off(node)
        return True

    def _part(self, kind: str, ways: list[tuple[Node, Node]], seconds: float, noticed: bool) -> None:
        """Cut these directions for a while. noticed: all of them must come to see each other down, if it lasts."""
        self._parted = True
        both = [pair for one, other in ways for pair in ((one, other), (other, one))]
        for one, other in ways:
            self.simulation.cut(one, other)
        self.watch.overtake(both, up=True)
        alive = [pair for pair in both if all(node.machine is not None and not node.frozen for node in pair)]
        if noticed and seconds > 8.0:
            self.watch.expect(kind, alive, up=False)

        def heal() -> None:
            self._parted = False
            for one, other in ways:
                self.simulation.heal(one, other)
            self.watch.overtake(both, up=False)
            running = [pair for pair in both if all(node.machine is not None and not node.frozen for node in pair)]
            members = {node.number for node in self.watch.members()}
            self.watch.expect("heal", [pair for pair in running if {node.number for node in pair} <= members], up=True)

        self._undo(seconds, heal)

    def _partition(self) -> bool:
        if self._parted:
            return False
        nodes = list(self.simulation.nodes)
        self._chance.shuffle(nodes)
        half = self._chance.randint(1, max(1, len(nodes) // 2))
        ways = [pair for one in nodes[:half] for other in nodes[half:] for pair in ((one, other), (other, one))]
        self._part("partition", ways, self._lasting(), noticed=True)
        return True

    def _cable(self) -> bool:
        if self._parted or (node := self._one()) is None:
            return False
        ways = [pair for other in self.simulation.nodes if other is not node for pair in ((node, other), (other, node))]
        self._part("cable", ways, self._lasting(), noticed=True)
        return True

    def _pair(self) -> bool:
        free = self._free()
        if self._parted or len(free) < 2:
            return False
        one, other = self._chance.sample(free, 2)
        self._part("pair", [(one, other), (other, one)], self._lasting(), noticed=False)
        return True

    def _one_way(self) -> bool:
        free = self._free()
        if self._parted or len(free) < 2:
            return False
        one, *others = self._chance.sample(free, self._chance.randint(2, len(free)))
        self._part("one way", [(one, other) for other in others], self._lasting(), noticed=False)
        return True

    def _flaps(self) -> bool:
        if self._parted or (node := self._one()) is None:
            return False
        sim = self.simulation
        self._parted = True
        ways = [pair for other in sim.nodes if other is not node for pair in ((node, other), (other, node))]
        moment = 0.0
        for _ in range(self._chance.randint(3, 10)):
            sim.after(moment, lambda: _each(sim.cut, ways))
            self.watch.overtake(ways, up=True)
            moment += self._chance.uniform(0.1, 5.0)
            sim.after(moment, lambda: _each(sim.heal, ways))
            moment += self._chance.uniform(0.1, 3.0)

        def over() -> None:
            self._parted = False
            if node.machine is not None:
                self._expect_back("flaps", node)

        self._undo(moment, over, node)
        return True

    def _freeze(self) -> bool:
        if (node := self._one()) is None:
            return False
        self.simulation.freeze(node)
        others = [other for other in self.simulation.nodes if other is not node]
        self.watch.overtake([pair for other in others for pair in ((node, other), (other, node))], up=True)
        self.watch.overtake([(node, other) for other in others], up=False)

        def over() -> None:
            self.simulation.thaw(node)
            self._expect_back("resume", node)

        self._undo(self._lasting(), over, node)
        return True

    def _slow(self) -> bool:
        if (node := self._one()) is None:
            return False
        sim, moment = self.simulation, 0.0
        others = [other for other in sim.nodes if other is not node]
        self.watch.overtake([pair for other in others for pair in ((node, other), (other, node))], up=True)
        for _ in range(self._chance.randint(3, 15)):
            sim.after(moment, lambda: sim.freeze(node))
            moment += self._chance.uniform(0.2, 1.8)
            sim.after(moment, lambda: sim.thaw(node))
            moment += self._chance.uniform(0.05, 1.0)
        self._undo(moment, lambda: self._expect_back("resume", node), node)
        return True

    def _address(self) -> bool:
        if (node := self._one()) is None:
            return False
        others = [other for other in self.simulation.nodes if other is not node]
        self.watch.overtake([pair for other in others for pair in ((node, other), (other, node))], up=True)
        self.simulation.move(node, self.simulation.new_address())
        self._undo(self._lasting(), lambda: None, node)
        return True

    def _roster(self) -> bool:
        sim = self.simulation
        members = self.watch.members()
        keepers = [node for node in self._free() if node.roster is not None and node.id in node.roster.keepers()]
        if not keepers:
            return False
        keeper = self._chance.choice(keepers)
        held = keeper.roster
        assert held is not None
        if len(members) <= self._size:
            node = sim.admit(keeper)
            self._engaged.add(node.number)
            self._undo(5.0, lambda: None, node)
            reached = [other for other in self._around(node) if other is keeper or other in self._around(keeper)]
            self.watch.expect("join", [pair for one in reached for pair in ((node, one), (one, node))], up=True)
        else:
            free = [node for node in self._free() if node.id not in held.keepers()]
            if not free:
                return False
            node = self._chance.choice(free)
            self._engaged.add(node.number)
            others = [other for other in sim.nodes if other is not node]
            self.watch.overtake([pair for other in others for pair in ((node, other), (other, node))], up=True)
            if self._chance.random() < 0.5:
                around = self._around(node)
                sim.leave(node)
                self.watch.expect("leave", ((other, node) for other in around), up=False)
                # What it said is on its way: whoever hears it first tells the others.
                return True
            sim.remove(keeper, node)
            self._undo(self._lasting(), lambda: sim.power_off(node))
        assert keeper.roster is not None
        self.watch.expect_roster(keeper.roster, self._around(keeper))
        return True

    def _work(self) -> bool:
        free = self._free()
        sim, moment = self.simulation, 0.0
        for _ in range(40):
            node = self._chance.choice(free)
            running = self._chance.randrange(8)
            sim.after(moment, lambda node=node, running=running: self._publish(node, running))
            moment += self._chance.uniform(0.0, 0.5)
        self._undo(moment, lambda: None)
        return True

    def _publish(self, node: Node, running: int) -> None:
        if node.machine is not None:
            self.simulation.publish(node, running)


def _each(act: Callable[[Node, Node], None], ways: list[tuple[Node, Node]]) -> None:
    for one, other in ways:
        act(one, other)


def _load(read: list[float]) -> Load:
    seconds, node_seconds, messages, size, cpu, membership = read
    per = max(node_seconds, 1.0)
    return Load(round(seconds, 3), round(messages / per, 2), round(size / per, 1), cpu / per, membership / per)


def play(
    nodes: int,
    seed: str,
    minutes: float,
    profile: Profile,
    machine_type: type[Observed] = Observed,
    progress: Callable[[Scenario], None] | None = None,
    log: Any = None,
) -> Report:
    """One run from beginning to end. Raises Failed; `recent` of the scenario's simulation has what came before."""
    scenario = Scenario(nodes, seed, minutes, profile, machine_type, log)
    for _ in scenario.steps():
        if progress is not None:
            progress(scenario)
    return scenario.report()


__all__ = ["Failed", "Load", "Report", "Scenario", "play"]
