"""[io] What `up` says once the node is ready: a process of its own that waits, speaks and ends.

`python -m mycoswarm.cli.banner PID` returns at once; its grandchild waits until the node with that process id answers.
"""

import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mycoswarm.cli.printer import Printer
    from mycoswarm.client.http import Client
    from mycoswarm.core.views import NodeDetail, Nodes

PATIENCE = 3.0
"""Seconds for this machine to be looked at (a second and a half), and for the others to be heard (two at most)."""

_POLL = 0.1
_COLUMN = 9


def say(printer: "Printer", client: "Client") -> None:
    """This machine as soon as it knows itself, then the others as soon as they are seen; three seconds at most."""
    from mycoswarm.cli import render
    from mycoswarm.cli.status import at_the_door

    deadline = time.monotonic() + PATIENCE
    printer.status("looking at this machine …")
    detail = client.node()
    while (detail.view.record is None or detail.view.record.hardware is None) and time.monotonic() < deadline:
        time.sleep(_POLL)
        detail = client.node()
    printer.clear_status()
    printer.facts(render.banner(detail), _COLUMN)
    printer.out.flush()
    printer.status("listening for others …")
    nodes = client.nodes()
    while not _complete(detail, nodes) and time.monotonic() < deadline:
        time.sleep(_POLL)
        detail, nodes = client.node(), client.nodes()
    printer.clear_status()
    facts, advice = render.neighbours(detail, nodes, client.models(), client.health(), at_the_door(client, detail))
    printer.facts(facts, _COLUMN)
    printer.line()
    printer.line(advice, "strong")
    printer.out.flush()


def _complete(detail: "NodeDetail", nodes: "Nodes") -> bool:
    """Is everybody heard who can be expected?"""
    if detail.swarm is not None:
        return all(node.state in ("self", "up") for node in nodes.nodes)
    return any(nearby.swarm for nearby in detail.nearby)


def main(pid: int) -> None:
    """Wait for node `pid`, then `say`; silent when the node ends first, for then it says itself why."""
    from mycoswarm.cli.printer import Printer
    from mycoswarm.client import daemon
    from mycoswarm.core.errors import MycoError
    from mycoswarm.core.paths import resolve

    paths = resolve()
    found = daemon.wait_ready(paths, pid, lambda: daemon.alive(pid))
    if found is None:
        return
    try:
        say(Printer(), daemon.client_of(found, paths))
    except (MycoError, BrokenPipeError):
        return  # the node has gone again, or nobody reads


def _detach() -> bool:
    """Leave the caller's family and terminal signals; True in the process that goes on."""
    if os.fork():
        return False
    os.setsid()
    return os.fork() == 0


if __name__ == "__main__" and _detach():
    main(int(sys.argv[1]))
