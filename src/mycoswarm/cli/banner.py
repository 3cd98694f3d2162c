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

PATIENCE = 2.0
"""Seconds that the others get to be heard: members of a swarm see each other within that."""

_POLL = 0.1
_COLUMN = 9


def say(printer: "Printer", client: "Client") -> None:
    """This machine at once; the others as soon as they are seen, two seconds later at most."""
    from mycoswarm.cli import render

    printer.facts(render.banner(client.node()), _COLUMN)
    printer.out.flush()
    deadline = time.monotonic() + PATIENCE
    while True:
        detail, nodes = client.node(), client.nodes()
        if detail.swarm is not None:
            complete = all(node.state in ("self", "up") for node in nodes.nodes)
        else:
            complete = any(nearby.swarm for nearby in detail.nearby)
        if complete or time.monotonic() > deadline:
            break
        time.sleep(_POLL)
    facts, advice = render.neighbours(detail, nodes, client.models())
    printer.facts(facts, _COLUMN)
    printer.line()
    printer.line(advice, "strong")
    printer.out.flush()


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
