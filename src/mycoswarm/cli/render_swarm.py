"""Membership and health to lines and tables. Pure: what a person sees follows from the views alone."""

from collections.abc import Sequence

from mycoswarm.cli import words
from mycoswarm.cli.printer import Cell, Style, Table
from mycoswarm.core.health import Problem, Severity
from mycoswarm.core.ids import short
from mycoswarm.core.node import NearbySwarm, NodeView, StateChange, SwarmInfo
from mycoswarm.core.views import (
    Comparing,
    HealthReport,
    Invitation,
    Joined,
    NodeDetail,
    NodeHistory,
    Nodes,
    Waiting,
    WaitingMachines,
)

Lines = list[tuple[str, Style]]

_SEVERITY_STYLE: dict[Severity, Style] = {"error": "bad", "warning": "warn", "note": ""}


def _boxed(text: str) -> Lines:
    edge = "─" * (len(text) + 4)
    return [
        ("", ""),
        (f"    ┌{edge}┐", "accent"),
        (f"    │  {text}  │", "accent"),
        (f"    └{edge}┘", "accent"),
        ("", ""),
    ]


# Letting in


def invitation(view: Invitation) -> Lines:
    """The code, where to type it, and how long it counts; of an open invitation, what that means."""
    lines: Lines = []
    if view.founded:
        lines.append((f"This founds the swarm “{view.swarm}”, and this machine is its keeper.", ""))
    span = words.duration(view.expires_in)
    if not view.code:
        return [
            *lines,
            (f"For {span}, “{view.swarm}” lets in every machine on this network that asks.", "warn"),
            ("On the machines that shall join:  mycoswarm up, then", ""),
            ("    mycoswarm join", "strong"),
        ]
    return [
        *lines,
        *_boxed(view.code),
        (f"On the machine that shall join “{view.swarm}”:  mycoswarm up, then", ""),
        (f"    mycoswarm join {view.code}", "strong"),
        (f"It lets one machine in and counts for {span}.", "dim"),
    ]


def recovery_phrase(view: Invitation) -> Lines:
    """The phrase of a swarm of one machine, six words a line, and what it is for."""
    parts = view.phrase.split()
    rows = [" ".join(parts[start : start + 6]) for start in range(0, len(parts), 6)]
    return [
        ("", ""),
        ("Recovery phrase: write it down now, on paper.", "strong"),
        ("`mycoswarm invite` shows it until another machine has joined; then it is kept nowhere.", ""),
        ("", ""),
        *((f"    {row}", "accent") for row in rows),
        ("", ""),
        ("If every keeper is lost or stolen, these words make any member a keeper (mycoswarm keeper recover).", "dim"),
        ("Whoever has them and a member machine rules the swarm; nothing else ever asks for them.", "dim"),
    ]


def joined(view: Joined) -> str:
    """Where this machine has arrived."""
    text = f"This machine is now in “{view.swarm.name}” ({words.count(view.swarm.members, 'member')})."
    return f"{text} It has left “{view.moved_from}”." if view.moved_from else text


def comparison(view: Comparing) -> Lines:
    """What the machine that wants in shows."""
    keeper = view.keeper or "the swarm"
    return [
        (f"A machine that calls itself {keeper} has heard this one. Both show four words:", ""),
        *_boxed("   ".join(view.words)),
        (f"At {keeper}, type:", ""),
        ("    mycoswarm admit", "strong"),
        (f"The request counts for {words.duration(view.expires_in)}.", "dim"),
    ]


def asking(view: Waiting) -> Lines:
    """What the keeper shows of a machine that wants in."""
    return [
        (f"{view.name} at {view.address} asks to be let in, {_since(view)}. Its screen must show:", ""),
        *_boxed("   ".join(view.words)),
        ("Only the same four words prove that nobody sits in between.", "dim"),
    ]


def waiting(view: WaitingMachines) -> Table:
    rows = tuple(
        (
            Cell(one.name, "strong"),
            Cell(one.address),
            Cell(_since(one)),
            Cell(one.run, "dim"),
            Cell(" ".join(one.words), "accent"),
        )
        for one in view.waiting
    )
    return Table(("name", "address", "asked", "run", "words"), rows, spare=(3,))


def _since(view: Waiting) -> str:
    return "just now" if view.since < 2 else words.ago(view.since)


def keepers(swarm: SwarmInfo, view: Nodes) -> Table:
    """One row a keeper."""
    by_id = {node.id: node for node in view.nodes}
    rows: list[tuple[Cell, ...]] = []
    for keeper in swarm.keepers:
        node = by_id.get(keeper)
        state = "up" if node is not None and node.state == "self" else node.state if node is not None else "unknown"
        name = words.node_name(node) if node is not None else short(keeper)
        rows.append(
            (
                Cell(name, "strong"),
                Cell(short(keeper), "dim"),
                Cell(state),
                Cell("this machine" if node is not None and node.state == "self" else ""),
            )
        )
    return Table(("keeper", "id", "state", "remark"), tuple(rows))


# Who is there


def members(nodes: Sequence[NodeView], keepers_: Sequence[str]) -> list[tuple[str, Cell]]:
    """Who is up and who is not, keepers marked; those not up with when they were last seen."""

    def name(node: NodeView) -> str:
        return words.node_name(node) + (" (keeper)" if node.id in keepers_ else "")

    up = [name(node) for node in nodes if node.state in ("self", "up")]
    away = [
        f"{words.node_name(node)} ({'keeper, ' if node.id in keepers_ else ''}{node.state}, "
        f"seen {words.ago(node.last_seen)})"
        for node in nodes
        if node.state in ("suspect", "down", "left")
    ]
    facts = [("up", Cell(", ".join(up), "good"))]
    if away:
        facts.append(("not up", Cell(", ".join(away), "warn")))
    return facts


def asking_to_come_in(view: Sequence[Waiting]) -> list[tuple[str, Cell]]:
    """For `status` and `up`: who stands at the door."""
    if not view:
        return []
    names = words.listing(one.name for one in view)
    verb = "asks" if len(view) == 1 else "ask"
    return [("waiting", Cell(f"{names} {verb} to be let in: mycoswarm admit", "accent"))]


def joining(nearby: Sequence[NearbySwarm]) -> str:
    """What a machine outside is told about the swarms that it hears. Their names are not in the announcements."""
    swarms = [swarm for swarm in nearby if swarm.swarm]
    if any(swarm.open for swarm in swarms):
        return "A swarm is here that lets in whoever asks: mycoswarm join"
    if len(swarms) == 1:
        return (
            "A swarm is here. With the code that `mycoswarm invite` shows on one of its machines: mycoswarm join CODE. "
            "Without a code, by comparing four words: mycoswarm join here, mycoswarm admit there"
        )
    which = " or ".join(short(swarm.swarm) for swarm in swarms)
    return (
        f"{len(swarms)} swarms are here. With the code that `mycoswarm invite` shows on a machine of the right one: "
        f"mycoswarm join CODE. Without a code: mycoswarm join --swarm ID ({which})"
    )


def moving(detail: NodeDetail) -> str:
    """What a machine that is alone in a swarm of its own is told when it hears another; "" where that is not so."""
    swarm = detail.swarm
    if swarm is None or swarm.members > 1 or not any(near.swarm for near in detail.nearby):
        return ""
    return (
        f"Another swarm is here, and this machine is alone in “{swarm.name}”. To move over: mycoswarm join CODE --move "
        "(or without CODE, by comparing words)"
    )


def origin(view: NodeHistory, everybody: Nodes) -> list[tuple[str, Cell]]:
    """Who let a machine in."""
    if not view.added_by:
        return []
    if view.added_by == view.node.id:
        return [("let in by", Cell("nobody: it founded the swarm"))]
    names = {node.id: words.node_name(node) for node in everybody.nodes}
    return [("let in by", Cell(names.get(view.added_by, short(view.added_by))))]


def history(changes: Sequence[StateChange]) -> Table:
    """How a machine's state has changed, newest first."""
    rows = tuple((Cell(words.ago(change.ago)), Cell(change.state), Cell(change.why)) for change in changes)
    return Table(("when", "state", "why"), rows, title="Changes of state")


# What is wrong


def problem_summary(report: HealthReport) -> list[tuple[str, Cell]]:
    """For `status` and `up`: how much is wrong, the worst of it in words, and where to read on."""
    bad = [problem for problem in report.problems if problem.severity != "note"]
    if not bad:
        return []
    worst = bad[0]
    more = f" (and {words.count(len(bad) - 1, 'more problem')})" if len(bad) > 1 else ""
    style = _SEVERITY_STYLE[worst.severity]
    return [("problem", Cell(f"{_message(worst)}{more}: mycoswarm doctor", style))]


def problem_facts(report: HealthReport) -> list[tuple[str, Cell]]:
    """Each problem with what to do below it."""
    facts: list[tuple[str, Cell]] = []
    for problem in report.problems:
        facts.append((problem.severity, Cell(_message(problem), _SEVERITY_STYLE[problem.severity])))
        facts.append(("", Cell(f"→ {problem.action}", "dim")))
    return facts


def problem_table(report: HealthReport) -> Table:
    """The same for a pipe: a row a problem."""
    rows = tuple(
        (
            Cell(problem.severity),
            Cell(problem.node_name or "here"),
            Cell(problem.id),
            Cell(problem.message),
            Cell(problem.action),
        )
        for problem in report.problems
    )
    return Table(("severity", "node", "id", "problem", "what to do"), rows)


def looked_at(detail: NodeDetail, view: Nodes) -> str:
    """What stands behind a list of problems, so that an empty one can be believed."""
    parts = ["this machine (hardware, disk, engines)"]
    if detail.peer_port is not None:
        parts += ["the network around it", f"what port {detail.peer_port} refused in the last hour"]
    if detail.swarm is not None:
        parts.append(f"the roster of “{detail.swarm.name}”")
        others = sum(node.state not in ("self", "removed") for node in view.nodes)
        up = sum(node.state == "up" for node in view.nodes)
        if others:
            parts.append(f"{words.count(others, 'other machine')} ({up} up, with what they report)")
    return f"Looked at: {'; '.join(parts)}."


def _message(problem: Problem) -> str:
    return f"{problem.node_name}: {problem.message}" if problem.node_name else problem.message
