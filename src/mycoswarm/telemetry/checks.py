"""What is wrong, as it follows from what a node knows of its machine, its engines and the others. Pure."""

from collections.abc import Iterable, Sequence

from mycoswarm.core.errors import MycoError
from mycoswarm.core.hardware import HardwareSummary
from mycoswarm.core.health import Problem
from mycoswarm.core.ids import short
from mycoswarm.core.node import NodeView

DISK_LOW = 2_000_000_000
"""Free bytes below which no model of any use can be fetched, and logs and conversations come into danger soon."""

DISK_OUT = 200_000_000
"""Free bytes below which writing fails any moment."""


def machine(warnings: Iterable[str]) -> tuple[Problem, ...]:
    """The warnings of `detect`."""
    shown = "`mycoswarm detect` shows what was found"
    return tuple(Problem("hardware", "warning", *_parted(warning, shown)) for warning in warnings)


def _parted(warning: str, otherwise: str) -> tuple[str, str]:
    """A warning is a sentence, with what to do behind a colon. otherwise: what to do where it does not say."""
    sentence, colon, action = warning.partition(": ")
    return (sentence, action) if colon else (warning, otherwise)


def disk(summary: HardwareSummary | None) -> tuple[Problem, ...]:
    """Is there room to write?"""
    if summary is None or summary.disk_free >= DISK_LOW:
        return ()
    message = f"{summary.disk_free // 1_000_000} MB of disk are free where this node keeps its files"
    action = "make room there: `mycoswarm models` shows what models take, `mycoswarm rm` deletes one"
    return (Problem("disk", "error" if summary.disk_free < DISK_OUT else "warning", message, action),)


def headless(refusal: MycoError | None) -> tuple[Problem, ...]:
    """The code that was laid out for this machine does not let it in; nobody sits at a screen to be told."""
    if refusal is None:
        return ()
    message = f"the code of MYCOSWARM_JOIN, or of the file `join`, lets this machine in nowhere ({refusal.message})"
    return (Problem("headless-join", "error", message, "make a new one: mycoswarm invite --headless on a keeper"),)


def keys(count: int) -> tuple[Problem, ...]:
    """Of a node that listens on the LAN. count: API keys that are in force."""
    if count:
        return ()
    message = "`listen = lan`, but there is no API key, so no other machine can use this node's API"
    action = "make one for each program or person: mycoswarm keys add NAME"
    return (Problem("no-api-key", "warning", message, action),)


def embedded(gate: str) -> tuple[Problem, ...]:
    """The built-in engine cannot run. gate: why; "" where it can."""
    if not gate:
        return ()
    action = "this machine still routes to the others; an Ollama or another engine on it is found by itself"
    return (Problem("embedded-engine", "note", f"the built-in engine does not run here: {gate}", action),)


def engines(configured: Iterable[str], found: Iterable[str], silent: Iterable[tuple[str, str]]) -> tuple[Problem, ...]:
    """configured, found: addresses. silent: kind and address of those that are there and do not tell their models."""
    here = set(found)
    missing = tuple(
        Problem(
            "engine-missing",
            "warning",
            f"nothing answers as an engine at {address}, which the settings name",
            "start it, or take the address out of `engines` in the settings",
        )
        for address in configured
        if address not in here
    )
    mute = tuple(
        Problem(
            "engine-silent",
            "warning",
            f"{kind} at {address} answers, but does not say which models it holds",
            "restart that engine; its own log may tell why",
        )
        for kind, address in silent
    )
    return missing + mute


def members(nodes: Sequence[NodeView]) -> tuple[Problem, ...]:
    """Machines that are away. nodes: the asked one first."""
    found: list[Problem] = []
    for view in nodes[1:]:
        name = view.name or short(view.id)
        match view.state:
            case "down":
                found.append(
                    Problem(
                        "member-down",
                        "warning",
                        f"{name} is down: {view.why}" if view.why else f"{name} is down",
                        f"switch it on and run `mycoswarm up` there; if it is gone for good: mycoswarm remove {name}",
                    )
                )
            case "suspect":
                found.append(
                    Problem(
                        "member-suspect",
                        "note",
                        f"{name} has fallen silent: {view.why}" if view.why else f"{name} has fallen silent",
                        f"wait a moment, then look again: mycoswarm nodes --why {name}",
                    )
                )
            case "self" | "up" | "left" | "removed":
                pass
    return tuple(found)


def theirs(nodes: Sequence[NodeView]) -> tuple[Problem, ...]:
    """What the others that are there say of themselves, under their names. nodes: the asked one first."""
    found: list[Problem] = []
    for view in nodes[1:]:
        if view.state not in ("up", "suspect") or view.record is None:
            continue
        name = view.name or short(view.id)
        for warning in view.record.warnings:
            sentence, action = _parted(warning, f"see what is wrong there: mycoswarm doctor on {name}")
            found.append(Problem("member-warning", "warning", sentence, action, view.id, name))
    return tuple(found)
