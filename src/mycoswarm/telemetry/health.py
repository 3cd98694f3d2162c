"""The one registry of what a node counts and of what is wrong with it. `/metrics`, `doctor` and the views read it.

A part of the node holds the registry and either counts events (`count`) or offers a source that is asked for its
problems at the moment somebody wants to know. Counters that stand for somebody's misdeeds become problems by themselves
while they are fresh, so whoever counts an attack has thereby told `doctor` of it.

Rules of this file: nothing is counted or read but what stands in COUNTERS and READINGS, from which docs/metrics.md is
made; memory is bounded whatever is counted: label values come from the program, and of strangers only the last one's
address is kept.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import msgspec

from mycoswarm.core.clock import Clock
from mycoswarm.core.health import Problem, Severity

FRESH = 3600.0
"""Seconds in which `doctor` still tells of a misdeed."""

Source = Callable[[], Iterable[Problem]]
Values = Mapping[tuple[tuple[str, str], ...], float]
"""Of a reading, by labels; `{(): 3.0}` for one without."""
Read = Callable[[], Values]


class Told(msgspec.Struct, frozen=True):
    """How `doctor` words a misdeed.

    one, many: with {times}, {ago} and {where} (" from 10.0.0.9", or nothing) to fill in. action: what to do.
    """

    one: str
    many: str
    action: str
    severity: Severity = "warning"


class Counter(msgspec.Struct, frozen=True):
    """help: for the metrics page. labels: their names. told: None where it is no misdeed.

    apart: what is told in other words, and on its own, by the value of the first label.
    """

    help: str
    labels: tuple[str, ...] = ()
    told: Told | None = None
    apart: Mapping[str, Told] = {}

    def tellings(self) -> tuple[Told, ...]:
        """All that may be told of it."""
        return tuple(dict.fromkeys(told for told in (self.told, *self.apart.values()) if told is not None))


_LATE = Told(
    "a machine was not let in because it came too late, too often or without an invitation, {ago}{where}",
    "{times} times a machine was not let in because it came too late, too often or without an invitation, the last "
    "time {ago}{where}",
    "if it is yours, `mycoswarm invite` makes a new code",
    "note",
)


COUNTERS: Mapping[str, Counter] = {
    "mycoswarm_tls_failed_total": Counter(
        "Connections to the peer port that did not complete a TLS handshake.",
        ("reason",),
        Told(
            "a connection to the peer port ended before it was encrypted, {ago}{where}",
            "{times} connections to the peer port ended before they were encrypted, the last one {ago}{where}",
            "nothing was told to the caller; if you know no reason, find out which machine has that address",
            "note",
        ),
    ),
    "mycoswarm_connections_dropped_total": Counter(
        "Connections to the peer port that were dropped because their kind had become too many or too slow.",
        ("reason",),
        Told(
            "a connection to the peer port was dropped because there were too many or it was too slow, {ago}{where}",
            "{times} connections to the peer port were dropped because they were too many or too slow, the last one "
            "{ago}{where}",
            "somebody floods this node: find the machine with that address and switch it off",
        ),
    ),
    "mycoswarm_strangers_refused_total": Counter(
        "Requests to the peer port by callers that are no members.",
        (),
        Told(
            "a request of a machine that is no member was refused, {ago}{where}",
            "{times} requests of machines that are no members were refused, the last one {ago}{where}",
            "it was removed, or belongs to another swarm; if it is yours, let it in with `mycoswarm invite`",
            "note",
        ),
    ),
    "mycoswarm_joins_total": Counter("Machines that were let in by this node.", ("way",)),
    "mycoswarm_joins_refused_total": Counter(
        "Attempts to join that were refused.",
        ("reason",),
        Told(
            "an attempt to join was refused, {ago}{where}",
            "{times} attempts to join were refused, the last one {ago}{where}",
            "if that was not you, somebody guesses: make codes only while you stand at the new machine",
        ),
        {
            **dict.fromkeys(("busy", "unknown", "ended"), _LATE),
            "words_differ": Told(
                "a machine that asked to be let in showed other words than this one, {ago}{where}",
                "{times} machines that asked to be let in showed other words than this one, the last one {ago}{where}",
                "if nobody mistyped, somebody sits between the two: find out which machine has that address, and use a "
                "code instead",
            ),
        },
    ),
    "mycoswarm_rosters_refused_total": Counter(
        "Rosters that members brought and that did not verify.",
        (),
        Told(
            "a list of members that does not verify was refused, {ago}{where}",
            "{times} lists of members that do not verify were refused, the last one {ago}{where}",
            "that machine is damaged or hostile: take it out with `mycoswarm remove`",
            "error",
        ),
    ),
    "mycoswarm_lines_refused_total": Counter(
        "Lines of members' watch streams that were not understood or too long.",
        (),
        Told(
            "a message of a member was not understood, {ago}{where}",
            "{times} messages of members were not understood, the last one {ago}{where}",
            "run one version of mycoswarm on all machines; if you do, that machine is damaged or hostile",
        ),
    ),
    "mycoswarm_impostors_total": Counter(
        "Times that a member's address answered with another certificate than the member's.",
        (),
        Told(
            "another machine answered at a member's address, {ago}{where}",
            "{times} times another machine answered at a member's address, the last time {ago}{where}",
            "it was told nothing; if that address is not one that the network has given to another of your machines, "
            "find out whose it is",
        ),
    ),
    "mycoswarm_lan_refused_total": Counter(
        "Requests from the LAN to the user API that showed no API key, or a wrong one.",
        ("reason",),
        Told(
            "a request from another machine without an API key was refused, {ago}{where}",
            "{times} requests from other machines without an API key were refused, the last one {ago}{where}",
            "if a program of yours is there, give it a key: mycoswarm keys add NAME",
            "note",
        ),
        {
            "wrong_key": Told(
                "a wrong API key was refused, {ago}{where}",
                "{times} wrong API keys were refused, the last one {ago}{where}",
                "a program with a key that was removed does that; if you know none there, find out whose machine it is",
            )
        },
    ),
    "mycoswarm_lan_tls_failed_total": Counter(
        "Connections from the LAN to the user API that did not complete a TLS handshake.",
        ("reason",),
        Told(
            "a connection to the user API on the LAN ended before it was encrypted, {ago}{where}",
            "{times} connections to the user API on the LAN ended before they were encrypted, the last one "
            "{ago}{where}",
            "a machine that does not trust the web CA does that: `mycoswarm certs show` says how to make it",
            "note",
        ),
    ),
    "mycoswarm_lan_connections_dropped_total": Counter(
        "Connections from the LAN to the user API that were dropped: too many, too slow, or not encrypted.",
        ("reason",),
        Told(
            "a connection to the user API on the LAN was dropped because there were too many or it was too slow, "
            "{ago}{where}",
            "{times} connections to the user API on the LAN were dropped because they were too many or too slow, the "
            "last one {ago}{where}",
            "somebody floods this node: find the machine with that address and switch it off",
        ),
        {
            "plaintext": Told(
                "a program wrote plain HTTP to the user API on the LAN, {ago}{where}",
                "{times} times programs wrote plain HTTP to the user API on the LAN, the last time {ago}{where}",
                "write https:// in its settings; if it sent an API key, remove that: others may have read it",
            )
        },
    ),
    "mycoswarm_announcements_dropped_total": Counter(
        "Multicast announcements that were dropped because there were too many or they made no sense.",
        ("reason",),
        Told(
            "an announcement on the network was ignored, {ago}{where}",
            "{times} announcements on the network were ignored, the last one {ago}{where}",
            "somebody sends forged announcements; your machines find each other all the same if you name one with "
            "`mycoswarm up --peer HOST`",
        ),
    ),
}
"""Everything that is counted, by the name that the metrics page gives it."""


class Reading(msgspec.Struct, frozen=True):
    """A value that is read when somebody asks. labels: their names, for the documentation."""

    help: str
    labels: tuple[str, ...] = ()
    kind: Literal["gauge", "counter"] = "gauge"


READINGS: Mapping[str, Reading] = {
    "mycoswarm_info": Reading("1; what runs here.", ("version", "protocol")),
    "mycoswarm_uptime_seconds": Reading("Since this node was started."),
    "mycoswarm_nodes": Reading("Machines of the swarm as seen from here, this one included.", ("state",)),
    "mycoswarm_links": Reading("Open watch connections to other machines."),
    "mycoswarm_requests": Reading("Answers that this machine's engines write now, and those that wait.", ("state",)),
    "mycoswarm_problems": Reading("What `mycoswarm doctor` would list.", ("severity",)),
    "process_resident_memory_bytes": Reading("Memory of the node process; engines are processes of their own."),
    "process_cpu_seconds_total": Reading("Processor time of the node process.", kind="counter"),
    "process_open_fds": Reading("Open file descriptors of the node process."),
}
"""Everything that is read, likewise."""


class _Tally(msgspec.Struct):
    """values: since the start. lately: of what may be told, by how it is."""

    values: dict[tuple[str, ...], int]
    lately: dict[Told, "_Lately"]


class _Lately(msgspec.Struct):
    """times: since it was quiet for FRESH seconds. last: a moment. source: of the last one."""

    times: int = 0
    last: float = float("-inf")
    source: str = ""


class Health:
    """Counters, gauges and sources of problems of one node."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tallies = {
            name: _Tally({}, {told: _Lately() for told in one.tellings()}) for name, one in COUNTERS.items()
        }
        self._readings: dict[str, Read] = {}
        self._sources: list[Source] = []

    def count(self, name: str, source: str = "", **labels: str) -> None:
        """One more. source: where it came from (an address, a node's name), for `doctor`."""
        tally, counter = self._tallies[name], COUNTERS[name]
        key = tuple(labels[label] for label in counter.labels)
        tally.values[key] = tally.values.get(key, 0) + 1
        told = counter.apart.get(key[0], counter.told) if key else counter.told
        if told is None:
            return
        lately, now = tally.lately[told], self._clock.monotonic()
        lately.times = lately.times + 1 if now - lately.last < FRESH else 1
        lately.last = now
        lately.source = source[:100]

    def total(self, name: str, **labels: str) -> int:
        """How often `name` was counted since the start, with these labels (all of them, or none for the sum)."""
        values = self._tallies[name].values
        if not labels:
            return sum(values.values())
        return values.get(tuple(labels[label] for label in COUNTERS[name].labels), 0)

    def reading(self, name: str, read: Read) -> None:
        """How to read `name`, one of READINGS."""
        assert name in READINGS, name
        self._readings[name] = read

    def source(self, problems: Source) -> None:
        """Ask `problems` whenever somebody wants to know what is wrong."""
        self._sources.append(problems)

    def problems(self) -> tuple[Problem, ...]:
        """What is wrong now: errors first. What several sources know is told once."""
        found = dict.fromkeys(problem for source in self._sources for problem in source())
        found |= dict.fromkeys(self._misdeeds())
        return tuple(sorted(found, key=lambda problem: _ORDER[problem.severity]))

    def _misdeeds(self) -> Iterable[Problem]:
        now = self._clock.monotonic()
        for name, tally in self._tallies.items():
            identity = name.removeprefix("mycoswarm_").removesuffix("_total").replace("_", "-")
            for told, lately in tally.lately.items():
                if now - lately.last >= FRESH:
                    continue
                sentence = told.one if lately.times == 1 else told.many
                where = f" from {lately.source}" if lately.source else ""
                message = sentence.format(times=lately.times, ago=_ago(now - lately.last), where=where)
                yield Problem(identity, told.severity, message, told.action)

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
        for name, read in self._readings.items():
            reading = READINGS[name]
            lines += [f"# HELP {name} {reading.help}", f"# TYPE {name} {reading.kind}"]
            lines += [f"{name}{_labels(key)} {_number(value)}" for key, value in sorted(read().items())]
        return "\n".join(lines) + "\n"


_ORDER: Mapping[Severity, int] = {"error": 0, "warning": 1, "note": 2}


def _number(value: float) -> str:
    """Without the rounding of `%g`: six digits are too few for bytes."""
    return str(int(value)) if value == int(value) else repr(float(value))


def _labels(pairs: Iterable[tuple[str, str]]) -> str:
    text = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
    return f"{{{text}}}" if text else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _ago(seconds: float) -> str:
    if seconds < 1.0:
        return "just now"
    if seconds < 60.0:
        return f"{seconds:.0f} s ago"
    return f"{seconds / 60.0:.0f} min ago"
