"""Views of the node to tables and lines. Pure: what a person sees follows from the view alone."""

from collections.abc import Iterable, Sequence

from mycoswarm.cli import render_access, render_swarm, words
from mycoswarm.cli.printer import Cell, Style, Table
from mycoswarm.core.hardware import Report
from mycoswarm.core.ids import short
from mycoswarm.core.node import NearbySwarm, NodeView, PeerState, SwarmInfo
from mycoswarm.core.placement import Candidate, Placement, Terms
from mycoswarm.core.task import Task
from mycoswarm.core.views import CatalogEntry, HealthReport, ModelPlace, Models, NodeDetail, Nodes, Running, Waiting

STARTER = "smollm2:135m"
"""What a swarm without any model is told to fetch, where its node names no catalogue."""

_STATE_STYLE: dict[PeerState, Style] = {
    "self": "good",
    "up": "good",
    "suspect": "warn",
    "down": "bad",
    "left": "dim",
    "removed": "dim",
}
_OFFER_STYLE: dict[str, Style] = {"loaded": "good", "loading": "warn", "unfit": "bad"}


def nodes(view: Nodes, swarm: SwarmInfo | None) -> Table:
    """One row a machine; keepers are marked."""
    keepers = swarm.keepers if swarm is not None else ()
    rows: list[tuple[Cell, ...]] = []
    for node in view.nodes:
        record = node.record
        hardware = words.machine(record.hardware) if record and record.hardware else ""
        roles = ", ".join(role.name for role in record.roles) if record else ""
        rows.append(
            (
                Cell(words.node_name(node), "strong"),
                Cell(short(node.id), "dim"),
                Cell("keeper" if node.id in keepers else ""),
                Cell("up" if node.state == "self" else node.state, _STATE_STYLE[node.state]),
                Cell("here" if node.state == "self" else words.ago(node.last_seen)),
                Cell(words.milliseconds(node.rtt)),
                Cell(str(len({offer.name for offer in record.models})) if record else ""),
                Cell(roles),
                Cell(hardware),
            )
        )
    columns = ("name", "id", "part", "state", "seen", "round trip", "models", "roles", "hardware")
    return Table(columns, tuple(rows), frozenset({5, 6}), spare=(1, 5, 2, 7, 4, 6))


def node_facts(node: NodeView, swarm: SwarmInfo | None) -> list[tuple[str, Cell]]:
    """Everything known about one machine, the reason for its state first."""
    facts = [
        ("name", Cell(words.node_name(node), "strong")),
        ("id", Cell(node.id)),
        ("state", Cell("this node" if node.state == "self" else node.state, _STATE_STYLE[node.state])),
        ("why", Cell(node.why or ("this is the node that you ask" if node.state == "self" else "no reason was given"))),
    ]
    if node.state != "self":
        facts.append(("seen", Cell(words.ago(node.last_seen))))
    if node.rtt is not None:
        facts.append(("round trip", Cell(words.milliseconds(node.rtt))))
    if node.addresses:
        facts.append(("addresses", Cell(", ".join(node.addresses))))
    if swarm is not None:
        facts.append(("keeper", Cell("yes: it lets machines in and out" if node.id in swarm.keepers else "no")))
    if record := node.record:
        facts.append(("version", Cell(record.version)))
        if record.hardware:
            facts.append(("hardware", Cell(words.machine(record.hardware))))
        facts += [(role.name, Cell(role.reason)) for role in record.roles]
        facts += [("warning", Cell(warning, "warn")) for warning in record.warnings]
    return facts


def models(view: Models) -> Table:
    """One row a model and node; where it does not fit or cannot be reached, the reason."""
    rows: list[tuple[Cell, ...]] = []
    for model in view.models:
        for place in model.places:
            offer = place.offer
            state = Cell(words.offer_state(offer), _OFFER_STYLE.get(offer.state, ""))
            remark = offer.reason
            if not place.reachable:
                state = Cell("unreachable", "dim")
                remark = f"{_place_name(place)} is not up"
            elif offer.abilities.embed and not remark:
                remark = "for vectors: `embed` names it"
            elif not offer.instruct and not remark:
                remark = "a base model: continues text, does not answer"
            rows.append(
                (
                    Cell(model.name, "strong"),
                    Cell(_place_name(place)),
                    state,
                    Cell(words.size(offer.size) if offer.size is not None else ""),
                    Cell(words.memory(offer.needs) if offer.needs is not None else ""),
                    Cell(words.speed(offer.speed)),
                    Cell(_engine(offer.engine), "dim"),
                    Cell(remark, "dim"),
                )
            )
    columns = ("model", "node", "state", "file", "memory", "tokens/s", "engine", "remark")
    return Table(columns, tuple(rows), frozenset({3, 4, 5}), spare=(6, 4, 3, 5))


def catalog(view: Models) -> Table | None:
    """What `pull` could fetch beside what is there; None where that is nothing."""
    present = {model.name for model in view.models}
    rows = tuple(
        (
            Cell(entry.name, "strong"),
            Cell(words.size(entry.download)),
            Cell(words.size(entry.size)),
            Cell(entry.licence),
            Cell(entry.summary, "dim"),
        )
        for entry in view.catalog
        if entry.name not in present
    )
    if not rows:
        return None
    return Table(
        ("name", "download", "on disk", "licence", "about"),
        rows,
        frozenset({1, 2}),
        (2, 3),
        title="Can be fetched with `pull`",
    )


def running_models(view: Running) -> Table:
    rows = tuple(
        (
            Cell(place.offer.name, "strong"),
            Cell(_place_name(place)),
            Cell(words.offer_state(place.offer), _OFFER_STYLE.get(place.offer.state, "")),
            Cell(words.memory(place.offer.needs) if place.offer.needs is not None else ""),
            Cell(words.speed(place.offer.speed)),
            Cell(_engine(place.offer.engine), "dim"),
        )
        for place in view.loaded
    )
    return Table(("model", "node", "state", "memory", "tokens/s", "engine"), rows, frozenset({3, 4}))


def tasks(work: Iterable[Task], names: dict[str, str], now: float) -> Table:
    """names: node names by id. now: seconds since 1970."""
    rows = tuple(
        (
            Cell(task.id, "strong"),
            Cell(task.kind),
            Cell(task.state, "good" if task.state == "running" else ""),
            Cell(task.model),
            Cell(names.get(task.node, short(task.node))),
            Cell(words.duration(max(0.0, now - task.created)) if task.created else ""),
        )
        for task in work
    )
    return Table(("task", "kind", "state", "model", "node", "age"), rows, frozenset({5}), spare=(1, 4))


def status(
    detail: NodeDetail,
    view: Nodes,
    available: Models,
    running: Running,
    report: HealthReport,
    waiting: Sequence[Waiting],
) -> tuple[list[tuple[str, Cell]], str]:
    """The swarm at a glance: facts, and the next thing to do ("" where all is well)."""
    me = detail.view
    facts: list[tuple[str, Cell]] = [
        ("node", Cell(f"{words.node_name(me)} ({short(me.id)}), up {words.duration(detail.uptime)}")),
    ]
    if detail.private:
        facts.append(("", Cell("started by a command for itself; ends with it and announces nothing", "dim")))
    facts.append(("address", Cell(f"http://127.0.0.1:{detail.port}")))
    facts += render_access.on_the_lan(detail)
    facts.append(("swarm", _swarm(detail.swarm)))
    if detail.swarm is not None:
        facts += render_swarm.members(view.nodes, detail.swarm.keepers)
    facts += render_swarm.asking_to_come_in(waiting)
    loaded = sorted({f"{place.offer.name} on {_place_name(place)}" for place in running.loaded})
    facts.append(("loaded", Cell(", ".join(loaded) or "nothing", "" if loaded else "dim")))
    reachable = {model.name for model in available.models if any(place.reachable for place in model.places)}
    facts.append(("models", Cell(words.count(len(reachable), "model") + " within reach")))
    active = len(running.tasks)
    facts.append(("work", Cell(words.count(active, "task") if active else "idle", "" if active else "dim")))
    facts += render_swarm.problem_summary(report)
    return facts, next_step(detail, available, view.nodes)


def next_step(detail: NodeDetail, available: Models, members: Sequence[NodeView]) -> str:
    """The command that brings this user one step further, in a sentence; "" where there is nothing left to do.

    A swarm that is near comes first: its models may be all that is wanted.
    """
    if detail.swarm is None and any(nearby.swarm for nearby in detail.nearby):
        return render_swarm.joining(detail.nearby)
    if moving := render_swarm.moving(detail):
        return moving
    if not any(place.reachable and place.offer.abilities.chat for model in available.models for place in model.places):
        return f"No model is within reach yet. Fetch one: mycoswarm pull {starter(available).name}"
    if detail.private:
        return ""
    if detail.swarm is None:
        return "To let other machines in: mycoswarm invite"
    if any(node.state in ("down", "suspect") for node in members):
        away = next(node for node in members if node.state in ("down", "suspect"))
        return f"Why {words.node_name(away)} is not up: mycoswarm nodes --why {words.node_name(away)}"
    return ""


def starter(available: Models) -> CatalogEntry:
    """The model to begin with: the first of the catalogue that answers questions."""
    for entry in available.catalog:
        if entry.instruct:
            return entry
    return CatalogEntry(STARTER, "", "", 0, 0)


def banner(detail: NodeDetail) -> list[tuple[str, Cell]]:
    """What `up` says of this machine as soon as it is ready."""
    me = detail.view
    facts: list[tuple[str, Cell]] = [("node", Cell(f"{words.node_name(me)} ({short(me.id)})", "strong"))]
    if record := me.record:
        if record.hardware:
            facts.append(("machine", Cell(words.machine(record.hardware))))
        if record.roles:
            facts.append(("roles", Cell(", ".join(role.name for role in record.roles))))
        engines = sorted({_engine(offer.engine) for offer in record.models})
        names = sorted({offer.name for offer in record.models if offer.state != "unfit"})
        if names:
            shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
            facts.append(("models", Cell(f"{shown} ({', '.join(engines)})")))
        else:
            facts.append(("models", Cell("none on this machine", "dim")))
    facts.append(("address", Cell(f"http://127.0.0.1:{detail.port}", "accent")))
    facts += render_access.on_the_lan(detail)
    return facts


def neighbours(
    detail: NodeDetail, view: Nodes, available: Models, report: HealthReport, waiting: Sequence[Waiting]
) -> tuple[list[tuple[str, Cell]], str]:
    """What `up` says of the others, a moment later, and the next command."""
    facts: list[tuple[str, Cell]] = [("swarm", _swarm(detail.swarm))]
    if detail.swarm is not None:
        facts += render_swarm.members(view.nodes, detail.swarm.keepers)
    if detail.nearby:
        facts.append(("nearby", Cell(", ".join(_nearby(swarm) for swarm in detail.nearby))))
    elif detail.swarm is None:
        facts.append(("nearby", Cell("nobody yet", "dim")))
    facts += render_swarm.asking_to_come_in(waiting)
    facts += render_swarm.problem_summary(report)
    return facts, next_step(detail, available, view.nodes) or "Talk: mycoswarm chat"


def placement(decision: Placement) -> Table:
    """`--why`: every candidate with each term of its estimate, or the reason why not; the chosen one is marked."""
    return Table(
        ("", "node", "model", "first token", "whole", "made of"),
        tuple(_candidate(candidate, index == decision.chosen) for index, candidate in enumerate(decision.candidates)),
        frozenset({3, 4}),
    )


def _candidate(candidate: Candidate, chosen: bool) -> tuple[Cell, ...]:
    head = (
        Cell("→" if chosen else " ", "good"),
        Cell(candidate.node_name or short(candidate.node), "strong" if chosen else ""),
        Cell(candidate.model),
    )
    if candidate.terms is None:
        return (*head, Cell(""), Cell(""), Cell(candidate.rejected, "warn"))
    terms = candidate.terms
    first, whole = _seconds(terms.first_token), _seconds(terms.total)
    return (*head, Cell(first), Cell(whole), Cell(estimate(terms), "dim"))


def estimate(terms: Terms) -> str:
    """The terms that cost anything: `load ~1.45 s + decode 7.20 s`; `~` is guessed from hardware, not measured."""
    named = {name: getattr(terms, name) for name in ("link", "wake", "wait", "load", "prefill", "decode")}
    parts = [
        f"{name} {'~' if name in terms.guessed else ''}{_seconds(seconds)}"
        for name, seconds in named.items()
        if seconds
    ]
    return " + ".join(parts)


def _seconds(value: float) -> str:
    if value == 0:
        return "0"
    return (
        f"{value * 1000:.{1 if value < 0.01 else 0}f} ms"
        if value < 0.1
        else f"{value:.2f} s"
        if value < 100
        else f"{value:.0f} s"
    )


def report(found: Report) -> list[Table | list[tuple[str, Cell]]]:
    """`detect` as facts and tables, in reading order."""
    cpu, ram = found.cpu, found.memory
    cores = f"{words.count(cpu.physical_cores, 'core')}, " if cpu.physical_cores else ""
    clock = " · ".join(
        [
            *([f"{cpu.mhz:.0f} MHz now"] if cpu.mhz else []),
            *([f"{cpu.max_mhz:.0f} MHz at most"] if cpu.max_mhz else []),
        ]
    )
    facts: list[tuple[str, Cell]] = [
        ("processor", Cell(f"{words.processor(cpu.model)} ({cpu.architecture})", "strong")),
        ("", Cell(f"{cores}{words.count(cpu.threads, 'thread')}" + (f" · {clock}" if clock else ""))),
    ]
    if cpu.instruction_sets:
        facts.append(("", Cell(" ".join(cpu.instruction_sets), "dim")))
    if cpu.memory_bandwidth:
        facts.append(("", Cell(f"{cpu.memory_bandwidth / 1e9:.1f} GB/s memory bandwidth, measured")))
    facts.append(("memory", Cell(f"{words.memory(ram.total)}, {words.memory(ram.available)} available")))
    if ram.swap_total:
        facts.append(("", Cell(f"{words.memory(ram.swap_total)} swap", "dim")))
    if not found.gpus:
        facts.append(("GPU", Cell("none found", "dim")))
    blocks: list[Table | list[tuple[str, Cell]]] = [facts]
    if found.gpus:
        blocks.append(
            Table(
                ("gpu", "card", "memory", "free", "driver", "in use by", "engine build"),
                tuple(
                    (
                        Cell(f"{card.index}", "strong"),
                        Cell(f"{card.vendor} {card.model}" if card.vendor not in card.model.lower() else card.model),
                        Cell(words.memory(card.memory_total) + (" shared" if card.unified else "")),
                        Cell(words.memory(card.memory_free)),
                        Cell(" ".join(filter(None, (card.driver, card.api)))),
                        Cell(
                            ", ".join(
                                f"{process.name} ({process.pid}"
                                + (f", {words.memory(process.memory)})" if process.memory is not None else ")")
                                for process in card.processes
                            )
                            or "nothing"
                        ),
                        Cell(f"{card.wheel}: {card.install}" if card.wheel and card.install else card.wheel or ""),
                    )
                    for card in found.gpus
                ),
                frozenset({2, 3}),
                (4, 3),
                title="GPUs",
            )
        )
    blocks.append(
        Table(
            ("disk", "device", "file system", "size", "free", "remark"),
            tuple(
                (
                    Cell(disk.mount, "strong"),
                    Cell(disk.device),
                    Cell(disk.filesystem),
                    Cell(words.size(disk.total)),
                    Cell(words.size(disk.free)),
                    Cell("mycoSwarm's files" if disk.holds_state else "", "dim"),
                )
                for disk in found.disks
            ),
            frozenset({3, 4}),
            (2, 1),
            title="Disks",
        )
    )
    blocks.append(
        Table(
            ("network", "kind", "state", "speed", "addresses"),
            tuple(
                (
                    Cell(link.name, "strong"),
                    Cell(link.kind),
                    Cell("up" if link.up else "down", "good" if link.up else "dim"),
                    Cell(f"{link.speed} Mbit/s" if link.speed else ""),
                    Cell(", ".join(link.addresses)),
                )
                for link in found.network
            ),
            frozenset({3}),
            (1, 3),
            title="Network",
        )
    )
    if found.engines:
        blocks.append(
            Table(
                ("engine", "version", "address", "models"),
                tuple(
                    (
                        Cell(engine.kind, "strong"),
                        Cell(engine.version or ""),
                        Cell(engine.url),
                        Cell(
                            ", ".join(name + (" (loaded)" if name in engine.loaded else "") for name in engine.models)
                            or "none"
                        ),
                    )
                    for engine in found.engines
                ),
                title="Engines",
            )
        )
    else:
        blocks.append([("engines", Cell("none found", "dim"))])
    blocks.append(
        Table(
            ("role", "why"),
            tuple((Cell(role.name, "good"), Cell(role.reason)) for role in found.roles),
            title="Roles that follow",
        )
    )
    if found.warnings:
        blocks.append([("warning", Cell(warning, "warn")) for warning in found.warnings])
    return blocks


def _swarm(swarm: SwarmInfo | None) -> Cell:
    if swarm is None:
        return Cell("none: this machine is on its own", "dim")
    return Cell(f"{swarm.name}, {words.count(swarm.members, 'member')}", "strong")


def _nearby(swarm: NearbySwarm) -> str:
    if not swarm.swarm:
        return words.count(swarm.nodes, "machine") + " without a swarm"
    # An announcement carries no name; the id is what `join --swarm` takes.
    heard = words.count(swarm.nodes, "machine") + " heard" + (", open" if swarm.open else "")
    return f"swarm {short(swarm.swarm)} ({heard})"


def _place_name(place: ModelPlace) -> str:
    return place.node_name or short(place.node)


def _engine(engine: str) -> str:
    """`ollama@127.0.0.1:11434` → `ollama`: the address is of interest to `detect` only."""
    return engine.partition("@")[0]
