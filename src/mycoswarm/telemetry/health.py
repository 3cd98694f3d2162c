"""The one registry of what a node counts and of what is wrong with it. `/metrics`, `doctor` and the views read it.

A part of the node holds the registry and either counts events (`count`) or offers a source that is asked for its
problems at the moment somebody wants to know. Counters that stand for somebody's misdeeds become problems by themselves
while they are fresh, so whoever counts an attack has thereby told `doctor` of it.

Rules of this file: no counter but those in COUNTERS, so that the metrics page cannot drift; memory is bounded whatever
is counted: label values come from the program, and of strangers only the last one's address is kept.
"""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from mycoswarm.core.clock import Clock
from mycoswarm.core.health import Problem, Severity

FRESH = 3600.0
"""Seconds in which `doctor` still tells of a misdeed."""

Source = Callable[[], Iterable[Problem]]
Gauge = Callable[[], Mapping[tuple[tuple[str, str], ...], float]]
"""Values by labels; `{(): 3.0}` for a gauge without."""


class Counter(msgspec.Struct, frozen=True):
    """help: for the metrics page. labels: their names. told: how `doctor` words it; None where it is no misdeed.

    told has {times}, {ago} and {source} to fill in; action says what to do.
    """

    help: str
    labels: tuple[str, ...] = ()
    told: str | None = None
    action: str = ""
    severity: Severity = "warning"


COUNTERS: Mapping[str, Counter] = {
    "mycoswarm_tls_failed_total": Counter(
        "Connections to the peer port that did not complete a TLS handshake.",
        ("reason",),
        "{times} at the peer port did not complete a TLS handshake, the last one {ago} from {source}",
        "a machine of an older version, or somebody who tries; find out what runs at that address",
        "note",
    ),
    "mycoswarm_connections_dropped_total": Counter(
        "Connections to the peer port that were dropped because their kind had become too many or too slow.",
        ("reason",),
        "{times} to the peer port were dropped because there were too many or they were too slow, the last one {ago} "
        "from {source}",
        "somebody floods this node; find the machine at that address and switch it off",
    ),
    "mycoswarm_strangers_refused_total": Counter(
        "Requests to the peer port by callers that are no members.",
        (),
        "{times} by machines that are no members were refused, the last one {ago} from {source}",
        "a machine that was removed, or one that belongs to another swarm; `mycoswarm invite` lets one in",
        "note",
    ),
    "mycoswarm_joins_total": Counter("Machines that were let in by this node.", ("way",)),
    "mycoswarm_joins_refused_total": Counter(
        "Attempts to join that were refused.",
        ("reason",),
        "{times} to join were refused, the last one {ago} from {source}",
        "if that was not you: let `mycoswarm invite` make codes only while somebody stands at the new machine",
    ),
    "mycoswarm_rosters_refused_total": Counter(
        "Rosters that members brought and that did not verify.",
        (),
        "{times} that did not verify were refused, the last one {ago} from {source}",
        "that machine is damaged or hostile: `mycoswarm remove` takes it out of the swarm",
        "error",
    ),
    "mycoswarm_lines_refused_total": Counter(
        "Lines of members' watch streams that were not understood or too long.",
        (),
        "{times} of a member were not understood, the last one {ago} from {source}",
        "run the same version of mycoswarm on all machines; if it does, that machine is damaged or hostile",
    ),
    "mycoswarm_impostors_total": Counter(
        "Times that a member's address answered with another certificate than the member's.",
        (),
        "{times} a member's address answered as somebody else, the last one {ago} at {source}",
        "another machine has taken over that address; nothing was sent to it",
    ),
    "mycoswarm_announcements_dropped_total": Counter(
        "Multicast announcements that were dropped because there were too many or they made no sense.",
        ("reason",),
        "{times} on the network were dropped, the last one {ago}",
        "somebody floods multicast DNS; machines find each other all the same if you name one with --peer HOST",
    ),
}
"""Everything that is counted, by the name that the metrics page gives it."""

_NOUNS: Mapping[str, tuple[str, str]] = {
    "mycoswarm_tls_failed_total": ("connection", "connections"),
    "mycoswarm_connections_dropped_total": ("connection", "connections"),
    "mycoswarm_strangers_refused_total": ("request", "requests"),
    "mycoswarm_joins_refused_total": ("attempt", "attempts"),
    "mycoswarm_rosters_refused_total": ("roster", "rosters"),
    "mycoswarm_lines_refused_total": ("line", "lines"),
    "mycoswarm_impostors_total": ("time", "times"),
    "mycoswarm_announcements_dropped_total": ("announcement", "announcements"),
}


class _Tally(msgspec.Struct):
    """first, last: moments. source: of the last one. times: since it was quiet for FRESH seconds."""

    values: dict[tuple[str, ...], int]
    times: int = 0
    last: float = float("-inf")
    source: str = ""


class Health:
    """Counters, gauges and sources of problems of one node."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tallies = {name: _Tally({}) for name in COUNTERS}
        self._gauges: dict[str, tuple[str, Gauge]] = {}
        self._sources: list[Source] = []

    def count(self, name: str, source: str = "", **labels: str) -> None:
        """One more. source: where it came from (an address, a node's name), for `doctor`."""
        tally = self._tallies[name]
        key = tuple(labels[label] for label in COUNTERS[name].labels)
        tally.values[key] = tally.values.get(key, 0) + 1
        now = self._clock.monotonic()
        tally.times = tally.times + 1 if now - tally.last < FRESH else 1
        tally.last = now
        tally.source = source[:100]

    def total(self, name: str, **labels: str) -> int:
        """How often `name` was counted since the start, with these labels (all of them, or none for the sum)."""
        values = self._tallies[name].values
        if not labels:
            return sum(values.values())
        return values.get(tuple(labels[label] for label in COUNTERS[name].labels), 0)

    def gauge(self, name: str, help_: str, read: Gauge) -> None:
        """A value that is read when somebody asks."""
        self._gauges[name] = (help_, read)

    def source(self, problems: Source) -> None:
        """Ask `problems` whenever somebody wants to know what is wrong."""
        self._sources.append(problems)

    def problems(self) -> tuple[Problem, ...]:
        """What is wrong now: errors first."""
        found = [problem for source in self._sources for problem in source()]
        now = self._clock.monotonic()
        for name, tally in self._tallies.items():
            counter = COUNTERS[name]
            if counter.told is None or now - tally.last >= FRESH:
                continue
            one, many = _NOUNS[name]
            times = f"{tally.times} {one if tally.times == 1 else many}"
            message = counter.told.format(times=times, ago=_ago(now - tally.last), source=tally.source or "somewhere")
            identity = name.removeprefix("mycoswarm_").removesuffix("_total").replace("_", "-")
            found.append(Problem(identity, counter.severity, message, counter.action))
        order: Mapping[Severity, int] = {"error": 0, "warning": 1, "note": 2}
        return tuple(sorted(found, key=lambda problem: order[problem.severity]))

    def metrics(self) -> str:
        """The page for Prometheus (text format 0.0.4)."""
        lines: list[str] = []
        for name, counter in COUNTERS.items():
            values = self._tallies[name].values or ({} if counter.labels else {(): 0})
            lines += [f"# HELP {name} {counter.help}", f"# TYPE {name} counter"]
            lines += [
                f"{name}{_labels(zip(counter.labels, key, strict=True))} {value}"
                for key, value in sorted(values.items())
            ]
        for name, (help_, read) in self._gauges.items():
            lines += [f"# HELP {name} {help_}", f"# TYPE {name} gauge"]
            lines += [f"{name}{_labels(key)} {value:g}" for key, value in sorted(read().items())]
        return "\n".join(lines) + "\n"


def _labels(pairs: Iterable[tuple[str, str]]) -> str:
    text = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
    return f"{{{text}}}" if text else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _ago(seconds: float) -> str:
    if seconds < 60.0:
        return f"{seconds:.0f} s ago"
    return f"{seconds / 60.0:.0f} min ago"
