"""[io] Four nodes in network namespaces on a bridge: started as root of a user namespace, prints its figures as JSON.

    unshare -Urnm python tests/fabric/namespaces.py SCENARIO [REPETITIONS]

Scenarios: `times` measures how soon things are seen, each REPETITIONS times, by the slowest observer; `blocked` has no
multicast; `idle` measures CPU and memory.
"""

import json
import os
import queue
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

NAMES = ("miu", "naru", "uncho", "boa")


def run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=10)


def lay_network() -> None:
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    run("ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
    run("ip", "link", "set", "br0", "up")
    run("ip", "link", "add", "br1", "type", "bridge", "mcast_snooping", "0")
    run("ip", "link", "set", "br1", "up")
    for number, name in enumerate(NAMES, 1):
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", f"to-{name}", "master", "br0", "up")
        for command in (("addr", "add", f"10.7.0.{number}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
            run("ip", "-n", name, *command)
        run("ip", "-n", name, "link", "set", "lo", "up")


class Node:
    """One process; `states` is what it last said it sees, `changes` every (moment, states) so far."""

    def __init__(self, name: str, home: Path, *flags: str, where: str = "", env: dict[str, str] | None = None) -> None:
        self.name = name
        self.home = home
        self.id = ""
        self.changes: list[tuple[float, dict[str, str]]] = []
        self.answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self.started = time.monotonic()
        log = (home.parent / f"{home.name}.log").open("ab")
        script = Path(__file__).with_name("node_process.py")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", where or name, sys.executable, str(script), str(home), name, *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, **(env or {})},
        )
        log.close()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            if "nodes" in said:
                self.changes.append((said["at"], said["nodes"]))
            elif "id" in said:
                self.id = said["id"]
            else:
                self.answers.put(said)

    def ask(self, *command: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()
        said = self.answers.get(timeout=15)
        if "error" in said:
            raise RuntimeError(f"{self.name} {command[0]}: {said['error']}: {said['message']}")
        return said["answer"]

    def end(self, how: signal.Signals) -> float:
        """The moment just before the signal."""
        at = time.monotonic()
        self.process.send_signal(how)
        self.process.wait(5)
        return at


def wait(done: Callable[[], bool], limit: float, what: str) -> None:
    end = time.monotonic() + limit
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.01)


def seen(observers: list[Node], name: str, state: str | tuple[str, ...], since: float, limit: float) -> float:
    """Seconds from `since` until the slowest observer has seen `name` in `state`."""
    states = (state,) if isinstance(state, str) else state

    def moment(observer: Node) -> float | None:
        return next((at for at, nodes in observer.changes if at >= since and nodes.get(name) in states), None)

    wait(lambda: all(moment(one) for one in observers), limit, f"{name} is not {state} for everybody")
    return max(moment(one) or 0.0 for one in observers) - since


def together(nodes: list[Node], limit: float) -> None:
    """Until everybody sees everybody up."""

    def complete(node: Node) -> bool:
        states = dict(node.changes[-1][1]) if node.changes else {}
        return len(states) == len(nodes) and all(state in ("up", "self") for state in states.values())

    wait(lambda: all(complete(node) for node in nodes), limit, "not everybody is up")


def form(nodes: list[Node], peer: str | None = None) -> list[float]:
    """Join all to the first; the seconds that each join took."""
    took: list[float] = []
    for node in nodes[1:]:
        code = nodes[0].ask("invite")
        before = time.monotonic()
        node.ask("join", code, peer) if peer else node.ask("join", code)
        took.append(time.monotonic() - before)
    return took


def times(nodes: list[Node], restart: Callable[[str], Node], repetitions: int = 1) -> dict[str, Any]:
    """Seconds, a list each. started: from the process's start. full: until all four see all others again."""
    wait(lambda: all(node.id for node in nodes), 10, "not all have started")
    wait(lambda: nodes[0].ask("nearby") == [["", 3, []]], 5, "the solo nodes do not hear each other")
    figures: dict[str, list[float]] = {"join": form(nodes)}
    before = time.monotonic()
    together(nodes, 10)
    figures["mesh"] = [time.monotonic() - before]
    time.sleep(1.5)
    figures["rtt"] = [state[2] for state in nodes[3].ask("nodes").values() if state[0] == "up"]
    rest = nodes[:3]
    taken: dict[str, list[float]] = {
        name: [] for name in ("started", "killed", "stopped", "exit", "pulled", "healed", "parted", "mended")
    }

    def again() -> None:
        nodes[3] = restart("boa")
        taken["started"].append(seen(rest, "boa", "up", nodes[3].started, 8))
        together(nodes, 8)
        time.sleep(pause())

    def pause() -> float:
        # A second of beats: whatever comes next must not always come at the same moment after one.
        return chance.uniform(1.0, 2.0)

    chance = random.Random(repetitions)
    for _ in range(repetitions):
        at = nodes[3].end(signal.SIGKILL)
        taken["killed"].append(seen(rest, "boa", "down", at, 5))
        again()
        at = nodes[3].end(signal.SIGTERM)
        taken["stopped"].append(seen(rest, "boa", "left", at, 5))
        taken["exit"].append(time.monotonic() - at)
        again()

        at = time.monotonic()
        run("ip", "link", "set", "to-boa", "nomaster")
        taken["pulled"].append(seen(rest, "boa", "down", at, 10))
        time.sleep(chance.uniform(0.0, 4.0))
        at = time.monotonic()
        run("ip", "link", "set", "to-boa", "master", "br0")
        together(nodes, 10)
        taken["healed"].append(time.monotonic() - at)
        time.sleep(pause())

        at = time.monotonic()
        for name in NAMES[2:]:
            run("ip", "link", "set", f"to-{name}", "master", "br1")
        here = max(seen(nodes[:2], name, "down", at, 10) for name in NAMES[2:])
        taken["parted"].append(max(here, *(seen(nodes[2:], name, "down", at, 10) for name in NAMES[:2])))
        time.sleep(chance.uniform(0.0, 4.0))
        at = time.monotonic()
        for name in NAMES[2:]:
            run("ip", "link", "set", f"to-{name}", "master", "br0")
        together(nodes, 10)
        taken["mended"].append(time.monotonic() - at)
        time.sleep(pause())

    at = time.monotonic()
    assert nodes[3].ask("leave") == "miu's swarm"
    figures["left"] = [seen(rest, "boa", "removed", at, 3)]
    nodes[3].ask("join", nodes[0].ask("invite"))
    together(nodes, 5)
    return figures | taken


def blocked(nodes: list[Node], restart: Callable[[str], Node]) -> dict[str, Any]:
    """Multicast is dropped; addresses are given by hand, then remembered and handed on."""
    wait(lambda: all(node.id for node in nodes), 10, "not all have started")
    assert nodes[3].ask("nearby") == []
    figures: dict[str, Any] = {"join": form(nodes, "10.7.0.1")}
    together(nodes, 10)
    nodes[3].end(signal.SIGKILL)
    nodes[3] = restart("boa")
    figures["started"] = seen(nodes[:3], "boa", "up", nodes[3].started, 5)
    together(nodes, 5)
    return figures


def idle(nodes: list[Node], restart: Callable[[str], Node]) -> dict[str, Any]:
    wait(lambda: all(node.id for node in nodes), 10, "not all have started")
    form(nodes)
    together(nodes, 10)
    time.sleep(3)
    span = 15.0
    before = [node.ask("usage")[0] for node in nodes]
    time.sleep(span)
    after = [node.ask("usage") for node in nodes]
    return {
        "cpu": [(after_[0] - before_) / span for before_, after_ in zip(before, after, strict=True)],
        "rss": [after_[1] for after_ in after],
    }


def main() -> None:
    repetitions = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    scenario = {"times": partial(times, repetitions=repetitions), "blocked": blocked, "idle": idle}[sys.argv[1]]
    lay_network()
    if scenario is blocked:
        for name in NAMES:
            run("ip", "link", "set", f"to-{name}", "type", "bridge_slave", "mcast_flood", "off")
    with tempfile.TemporaryDirectory() as base:
        homes = {name: Path(base) / name for name in NAMES}
        started: list[Node] = []

        def start(name: str) -> Node:
            started.append(Node(name, homes[name]))
            return started[-1]

        try:
            nodes = [start(name) for name in NAMES]
            figures = scenario(nodes, start)
            sys.stdout.write(json.dumps(figures) + "\n")
        except BaseException:
            for log in Path(base).glob("*.log"):
                sys.stderr.write(f"--- {log.name}\n{log.read_text()[-4000:]}\n")
            for node in started:
                sys.stderr.write(f"{node.name}: {node.changes[-3:]}\n")
            raise
        finally:
            for node in started:
                if node.process.poll() is None:
                    node.process.kill()
                node.process.wait(5)


if __name__ == "__main__":
    os.umask(0o077)
    main()
