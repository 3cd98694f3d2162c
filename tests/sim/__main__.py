"""[io] `./dev sim`: plays one swarm, says how far it is, and prints what came of it. Exit code 1: broken."""

import argparse
import contextlib
import gc
import secrets
import shlex
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from mycoswarm.testing.swarm_simulation import Failed
from mycoswarm.testing.swarm_simulation_network import PROFILES
from mycoswarm.testing.swarm_simulation_scenario import Load, Report, Scenario

EVERY = 5.0
"""Seconds of real time between two lines of progress."""
BEFORE = 40
"""Lines of the log shown of what led to a failure."""


class Failure(msgspec.Struct, frozen=True):
    """moment: virtual seconds. replay: the command that shows it again. before: the last lines of the log."""

    failed: str
    moment: float
    detail: str
    replay: str
    before: tuple[str, ...]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev sim", description="A whole swarm on virtual time, from one seed.")
    parser.add_argument("--nodes", type=int, default=16, help="members at the beginning (16)")
    parser.add_argument("--minutes", type=float, default=10.0, help="of virtual time (10)")
    parser.add_argument("--seed", default="", help="whatever text; by default another one each time")
    parser.add_argument("--profile", choices=list(PROFILES), default="home", help="how good the network is (home)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--log", type=Path, metavar="FILE", help="write every line of the event log")
    asked = parser.parse_args(arguments)
    if asked.nodes < 2 or asked.minutes <= 0:
        parser.error("a swarm has 2 nodes at least, and a run some time")
    seed = asked.seed or secrets.token_hex(4)
    replay = shlex.join(
        [
            *("./dev", "sim", "--nodes", str(asked.nodes), "--seed", seed),
            *("--minutes", f"{asked.minutes:g}", "--profile", asked.profile),
        ]
    )
    print(replay, file=sys.stderr)
    # Millions of small objects live for milliseconds and none of them in a circle: looking for circles takes a third.
    gc.set_threshold(200_000, 50, 50)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(asked.log.open("w")) if asked.log is not None else None
        scenario = Scenario(asked.nodes, seed, asked.minutes, PROFILES[asked.profile], log=log)
        try:
            _play(scenario, asked.minutes * 60.0)
        except Failed as failed:
            _fail(failed, scenario, replay, asked.json)
            return 1
    report = scenario.report()
    if asked.json:
        print(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        print("\n".join(_lines(report)))
    return 0


def _play(scenario: Scenario, seconds: float) -> None:
    began = said = time.monotonic()
    for now in scenario.steps():
        real = time.monotonic()
        if real - said >= EVERY:
            said = real
            events = sum(node.handled for node in scenario.simulation.nodes)
            print(
                f"{now:7.0f} of {seconds:.0f} s  {now / (real - began):6.1f} x real time  {events:12,} events  "
                f"{sum(scenario.mishaps.values())} mishaps  {scenario.checks} checks",
                file=sys.stderr,
                flush=True,
            )


def _fail(failed: Failed, scenario: Scenario, replay: str, as_json: bool) -> None:
    before = tuple(_relevant(scenario.simulation.recent, failed.detail))
    if as_json:
        failure = Failure(failed.invariant, failed.moment, failed.detail, replay, before)
        print(msgspec.json.format(msgspec.json.encode(failure)).decode())
        return
    print("\n".join(before), file=sys.stderr)
    print(f"BROKEN: {failed.invariant}, at {failed.moment:.3f} s: {failed.detail}", file=sys.stderr)
    print(f"again:  {replay}", file=sys.stderr)


def _relevant(lines: Iterable[str], detail: str) -> list[str]:
    """What the log says of the nodes that `detail` names."""
    words = detail.replace(",", " ").replace(":", " ").split()
    named = {word for word in words if word[:1] == "n" and word[1:].isdecimal()}
    about = [line for line in lines if not named or named & set(line.replace(":", " ").split())]
    return about[-BEFORE:]


def _lines(report: Report) -> Iterable[str]:
    yield f"{'from cause to everybody knowing it':36} {'times':>6} {'median':>9} {'worst':>9}"
    for kind, took in report.converged.items():
        yield f"  {kind:34} {took.times:6} {took.median:7.3f} s {took.worst:7.3f} s"
    yield f"{'per node and second':36} {'lines':>9} {'bytes':>9} {'membership':>12} {'with simulation':>16}"
    for name, load in (("idle", report.idle), ("with mishaps", report.eventful)):
        yield f"  {name:34} {_load(load)}"
    accused = ", ".join(f"{state} {times:g}" for state, times in report.accused.items())
    yield f"false accusations, per node and hour  {accused}"
    yield "mishaps                               " + ", ".join(f"{kind} {n}" for kind, n in report.mishaps.items())
    yield f"most in a second, one node            {report.most_events} events, {report.most_ticks} of its timers"
    yield (
        f"{report.events:,} events in {report.virtual_seconds:.0f} s of virtual and {report.real_seconds:.0f} s of "
        f"real time, {report.checks} checks of everything; log {report.log[:16]}"
    )


def _load(load: Load) -> str:
    return f"{load.messages:9.1f} {load.bytes:9.0f} {load.membership * 1e6:9.0f} µs {load.cpu * 1e6:13.0f} µs"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
