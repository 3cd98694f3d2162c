"""A judge who finds nothing may be blind: each of these machines is wrong in one way, and is found out."""

from typing import Any

import pytest

from mycoswarm.core.node import NodeRecord
from mycoswarm.fabric import membership as m
from mycoswarm.fabric.wire import Goodbye
from mycoswarm.testing.swarm_simulation import Failed, Observed, Simulation
from mycoswarm.testing.swarm_simulation_network import HOME, QUIET, Profile
from mycoswarm.testing.swarm_simulation_scenario import Scenario
from mycoswarm.testing.swarm_simulation_watch import Watch
from tests.sim.__main__ import main


class NeverRedials(Observed):
    """It calls each member once in its life."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._called: set[str] = set()

    def handle(self, event: m.Event, now: float) -> list[m.Command]:
        commands = super().handle(event, now)
        kept: list[m.Command] = []
        for command in commands:
            if isinstance(command, m.Dial):
                if command.node in self._called:
                    kept.extend(super().handle(m.DialFailed(command.link, "it does not care"), now))
                    continue
                self._called.add(command.node)
            kept.append(command)
        return kept


class Hasty(Observed):
    """It takes a tick for half a minute."""

    def handle(self, event: m.Event, now: float) -> list[m.Command]:
        commands = super().handle(event, now)
        if isinstance(event, m.Tick) and int(now) % 7 == 0:
            for peer in self._peers.values():
                if peer.state == "up":
                    self._become(peer, "suspect", "it has been an instant", now, commands)
                    break
        return commands


class Restless(Observed):
    """Its timer is always due."""

    def wakeup(self) -> float | None:
        due = super().wakeup()
        return None if due is None else 0.0


class Deaf(Observed):
    """It does not hear goodbyes."""

    def handle(self, event: m.Event, now: float) -> list[m.Command]:
        if isinstance(event, m.Received) and isinstance(event.message, Goodbye):
            return []
        return super().handle(event, now)


class Incurious(Observed):
    """It never pulls a roster."""

    def handle(self, event: m.Event, now: float) -> list[m.Command]:
        return [command for command in super().handle(event, now) if not isinstance(command, m.PullRoster)]


class Forgetful(Observed):
    """It takes no record that another one hands on, nor its news."""

    def _take_record(self, record: NodeRecord, out: list[m.Command]) -> None:
        if record.seq == 0:
            super()._take_record(record, out)


class Clinging(Observed):
    """It closes no stream, ever."""

    def handle(self, event: m.Event, now: float) -> list[m.Command]:
        return [command for command in super().handle(event, now) if not isinstance(command, m.Close)]


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (NeverRedials, {"all see who is there", "one stream for each pair"}),
        (Hasty, {"no accusation without cause"}),
        (Restless, {"no timer spins"}),
        (Deaf, {"all see who is there"}),
        (
            Incurious,
            {"all see who is there", "one roster", "news of the roster have come", "what was awaited has come"},
        ),
        (Forgetful, {"one state"}),
        (Clinging, {"who is out has no stream", "one stream for each pair", "no accusation without cause"}),
    ],
)
def test_a_wrong_machine_is_found_out(wrong: type[Observed], found: set[str]) -> None:
    seen: set[str] = set()
    for seed in range(4):
        profile: Profile = QUIET if seed % 2 else HOME
        with pytest.raises(Failed) as failed:
            _play_all(Scenario(5, f"wrong {seed}", 300, profile, wrong))
        seen.add(failed.value.invariant)
    assert seen <= found


def _play_all(scenario: Scenario) -> None:
    for _ in scenario.steps():
        pass


def test_a_stream_to_who_is_out_is_found() -> None:
    simulation = Simulation(3, "out", QUIET)
    Watch(simulation)
    for node in simulation.nodes:
        simulation.start(node)
    simulation.run(5.0)
    keeper, _, other = simulation.nodes
    assert keeper.roster is not None
    keeper.roster = keeper.roster.remove(other.id, keeper.id, keeper.who.sign)
    # The shell forgets to tell membership: the stream stays.
    simulation.watcher.took(keeper)
    with pytest.raises(Failed, match="knows that n2 is out and speaks to it"):
        simulation.run(2.0)


def test_a_failure_says_how_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.sim.__main__.Scenario", _wrong)
    asked = ["--nodes", "4", "--seed", "7", "--minutes", "10", "--profile", "quiet"]
    assert main(asked) == 1
    said = capsys.readouterr().err
    assert "BROKEN: no accusation without cause, at " in said
    assert "it has been an instant" in said
    assert said.endswith("again:  ./dev sim --nodes 4 --seed 7 --minutes 10 --profile quiet\n")
    assert main([*asked, "--json"]) == 1
    assert '"replay": "./dev sim --nodes 4 --seed 7' in capsys.readouterr().out


def _wrong(nodes: int, seed: str, minutes: float, profile: Profile, log: Any = None) -> Scenario:
    return Scenario(nodes, seed, minutes, profile, Hasty, log)
