"""[io] Networks that are not as they should be, with real processes: one scenario a run, its findings as JSON.

    unshare -Urnm python -m tests.swarm.odd_networks SCENARIO

Every scenario builds its network of namespaces and bridges, forms a swarm on it, breaks something and measures how soon
all is well again. The processes are the fabric of a node without the rest (`tests/fabric/node_process.py`).
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.fabric.namespaces import NAMES, Node, form, run, seen, together, wait

YEARS = 11 * 365 * 86400
"""Seconds by which a clock is wrong."""
_CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
#define SHIFT (OFFSET)
int clock_gettime(clockid_t id, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(id, at);
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) at->tv_sec += SHIFT;
    return done;
}
time_t time(time_t *to) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (to) *to = at.tv_sec;
    return at.tv_sec;
}
int gettimeofday(struct timeval *to, void *zone) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    to->tv_sec = at.tv_sec;
    to->tv_usec = at.tv_nsec / 1000;
    return 0;
}
"""
_PATCH = "import time\n_true = time.time\ntime.time = lambda: _true() + {offset}\n"


class Network:
    """Namespaces called like their machines; cables are veth pairs to a bridge."""

    def __init__(self, names: Iterable[str] = NAMES) -> None:
        run("mount", "-t", "tmpfs", "tmpfs", "/run")
        self.names = tuple(names)
        for name in self.names:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")

    def bridge(self, bridge: str) -> None:
        run("ip", "link", "add", bridge, "type", "bridge", "mcast_snooping", "0")
        run("ip", "link", "set", bridge, "up")

    def cable(self, name: str, *addresses: str, interface: str = "eth0", bridge: str = "br0") -> None:
        """A cable from `interface` of a machine to a bridge, where it is called `{name}-{interface}`."""
        end = f"{name}-{interface}"
        run("ip", "link", "add", end, "type", "veth", "peer", "name", interface, "netns", name)
        run("ip", "link", "set", end, "master", bridge, "up")
        for address in addresses:
            run("ip", "-n", name, "addr", "add", address, "dev", interface, *(("nodad",) if ":" in address else ()))
        run("ip", "-n", name, "link", "set", interface, "up")

    def plug(self, name: str, *, plugged: bool, interface: str = "eth0") -> None:
        """The cable as its switch sees it: the machine notices that its carrier is gone."""
        run("ip", "link", "set", f"{name}-{interface}", "up" if plugged else "down")

    def part(self, name: str, *, apart: bool, interface: str = "eth0") -> None:
        """A switch that forwards nothing any more: nobody's carrier goes."""
        run("ip", "link", "set", f"{name}-{interface}", *(("nomaster",) if apart else ("master", "br0")))


class Scene:
    """The processes of one scenario."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.started: list[Node] = []

    def start(self, name: str, *flags: str, where: str = "", home: str = "", env: dict[str, str] | None = None) -> Node:
        node = Node(name, self.base / (home or where or name), *flags, where=where, env=env)
        self.started.append(node)
        return node

    def swarm(self, names: Iterable[str] = NAMES) -> list[Node]:
        """Nodes of one swarm, all up."""
        nodes = [self.start(name) for name in names]
        ready(nodes)
        form(nodes)
        together(nodes, 15)
        return nodes

    def end(self) -> None:
        for node in self.started:
            if node.process.poll() is None:
                node.process.send_signal(signal.SIGCONT)
                node.process.kill()
            node.process.wait(5)


def usual(names: Iterable[str] = NAMES) -> Network:
    """IPv4, one bridge."""
    network = Network(names)
    network.bridge("br0")
    for number, name in enumerate(network.names, 1):
        network.cable(name, f"10.7.0.{number}/24")
    return network


def ready(nodes: list[Node]) -> None:
    wait(lambda: all(node.id for node in nodes), 15, "not all have started")


def measured(done: Callable[[], bool], limit: float, what: str) -> float:
    began = time.monotonic()
    wait(done, limit, what)
    return time.monotonic() - began


def reachable(of: Node, other: str) -> bool:
    try:
        return bool(of.ask("echo", of.ask("ids")[other]))
    except RuntimeError:
        return False


def blocked(scene: Scene) -> dict[str, Any]:
    """No multicast passes: addresses are named once, handed on, and remembered when all start again."""
    network = usual()
    for name in network.names:
        run("ip", "link", "set", f"{name}-eth0", "type", "bridge_slave", "mcast_flood", "off")
    nodes = [scene.start(name) for name in NAMES]
    ready(nodes)
    assert all(node.ask("nearby") == [] for node in nodes)
    form(nodes, "10.7.0.1")
    together(nodes, 10)
    for node in nodes:
        node.end(signal.SIGKILL)
    nodes = [scene.start(name) for name in NAMES]
    again = measured(lambda: all(node.changes for node in nodes), 10, "all start again")
    together(nodes, 10)
    # Another port: the node that moved calls the others, and says in its Hello where it is to be called.
    nodes[3].end(signal.SIGKILL)
    seen(nodes[:3], "boa", "down", 0.0, 5)
    nodes[3] = scene.start("boa", "--port", "7001")
    moved = seen(nodes[:3], "boa", "up", nodes[3].started, 8)
    together(nodes, 5)
    learned = measured(
        lambda: all(node.ask("addresses")["boa"][0].endswith(":7001") for node in nodes[:3]), 5, "the new port"
    )
    return {"again": again, "moved": moved, "learned": learned}


def by_ipv6(scene: Scene) -> dict[str, Any]:
    """Addresses of fd00::/8 only."""
    network = Network()
    network.bridge("br0")
    for number, name in enumerate(network.names, 1):
        network.cable(name, f"fd07::{number}/64")
    return came_together(scene)


def by_link_local(scene: Scene) -> dict[str, Any]:
    """A switch and nothing else: every machine has the address that it gave itself."""
    network = Network()
    network.bridge("br0")
    for name in network.names:
        network.cable(name)
    return came_together(scene)


def came_together(scene: Scene) -> dict[str, Any]:
    nodes = [scene.start(name) for name in NAMES]
    ready(nodes)
    wait(lambda: nodes[0].ask("nearby") == [["", 3, []]], 10, "the solo nodes do not hear each other")
    joined = form(nodes)
    together(nodes, 10)
    nodes[3].end(signal.SIGKILL)
    nodes[3] = scene.start("boa")
    again = seen(nodes[:3], "boa", "up", nodes[3].started, 8)
    together(nodes, 5)
    assert reachable(nodes[0], "boa")
    return {"join": joined, "again": again, "addresses": nodes[0].ask("addresses")["boa"]}


def two_cables(scene: Scene, second: str) -> dict[str, Any]:
    """Every machine has two interfaces; one cable of boa is pulled, and put back."""
    network = Network()
    network.bridge("br0")
    if second != "br0":
        network.bridge(second)
    for number, name in enumerate(network.names, 1):
        network.cable(name, f"10.7.0.{number}/24")
        other = f"10.7.0.{number + 100}/24" if second == "br0" else f"10.8.0.{number}/24"
        network.cable(name, other, interface="eth1", bridge=second)
        # As network managers have it: a route over a cable that is out is none.
        for which in ("all", "eth0", "eth1"):
            key = f"net.ipv4.conf.{which}.ignore_routes_with_linkdown=1"
            run("ip", "netns", "exec", name, "sysctl", "-qw", key)
    nodes = scene.swarm()
    time.sleep(1.5)
    found: dict[str, Any] = {"found": [], "healed": []}
    for interface in ("eth0", "eth1"):
        network.plug("boa", plugged=False, interface=interface)
        time.sleep(0.3)
        found["found"].append(measured(lambda: all_reach(nodes, "boa"), 10, f"boa is found without {interface}"))
        network.plug("boa", plugged=True, interface=interface)
        time.sleep(1.5)
        together(nodes, 8)
    return found


def all_reach(nodes: list[Node], other: str) -> bool:
    """Whether every other node has `other` up now and gets an answer from it."""
    rest = [node for node in nodes if node.name != other]
    return all(node.ask("nodes")[other][0] == "up" and reachable(node, other) for node in rest)


def two_subnets(scene: Scene) -> dict[str, Any]:
    return two_cables(scene, "br1")


def one_subnet_twice(scene: Scene) -> dict[str, Any]:
    return two_cables(scene, "br0")


def new_address(scene: Scene) -> dict[str, Any]:
    """The router gives boa another address while all is running."""
    usual()
    nodes = scene.swarm()
    time.sleep(1.2)
    run("ip", "-n", "boa", "addr", "del", "10.7.0.4/24", "dev", "eth0")
    run("ip", "-n", "boa", "addr", "add", "10.7.0.44/24", "dev", "eth0")

    def followed() -> bool:
        return all(node.ask("addresses")["boa"][0] == "10.7.0.44:6927" for node in nodes[:3]) and all_reach(
            nodes, "boa"
        )

    took = measured(followed, 12, "boa is followed to its new address")
    together(nodes, 5)
    return {"followed": took, "why": nodes[0].ask("history", "boa")}


def new_port(scene: Scene) -> dict[str, Any]:
    """boa is started again on another port, where multicast works: its announcement is enough."""
    usual()
    nodes = scene.swarm()
    nodes[3].end(signal.SIGTERM)
    nodes[3] = scene.start("boa", "--port", "7001")
    moved = seen(nodes[:3], "boa", "up", nodes[3].started, 8)
    together(nodes, 5)
    return {"moved": moved, "addresses": nodes[0].ask("addresses")["boa"]}


def new_interface(scene: Scene) -> dict[str, Any]:
    """boa's interface is taken down, renamed and brought up again."""
    usual()
    nodes = scene.swarm()
    time.sleep(1.2)
    run("ip", "-n", "boa", "link", "set", "eth0", "down")
    down = seen(nodes[:3], "boa", "down", time.monotonic(), 8)
    run("ip", "-n", "boa", "link", "set", "eth0", "name", "lan0")
    at = time.monotonic()
    run("ip", "-n", "boa", "link", "set", "lan0", "up")
    healed = seen(nodes[:3], "boa", "up", at, 8)
    together(nodes, 5)
    # Multicast follows as well: a newcomer is heard.
    assert nodes[3].ask("nearby") == []
    nodes[2].ask("leave")
    heard = measured(lambda: nodes[3].ask("nearby") == [["", 1, []]], 8, "boa hears a solo node by multicast")
    return {"down": down, "healed": healed, "heard": heard}


def one_name_twice(scene: Scene) -> dict[str, Any]:
    """Two machines are called boa."""
    usual()
    nodes = [scene.start("boa" if name == "uncho" else name, where=name) for name in NAMES]
    ready(nodes)
    form(nodes)
    together(nodes, 10)
    views = nodes[0].ask("nodes")
    assert set(views) == {"miu", "naru", f"boa {nodes[2].id[:8]}", f"boa {nodes[3].id[:8]}"}
    nodes[3].end(signal.SIGKILL)
    down = seen(nodes[:2], f"boa {nodes[3].id[:8]}", "down", 0.0, 5)
    assert nodes[0].ask("nodes")[f"boa {nodes[2].id[:8]}"][0] == "up"
    return {"views": views, "down": down}


def cloned_disk(scene: Scene, seconds: float = 4.0, end: bool = False) -> dict[str, Any]:
    """The disk of boa is copied into a fifth machine, and both run. end: until the copy may take boa's place."""
    usual((*NAMES, "copy"))
    nodes = scene.swarm()
    boa = nodes[3]
    boa.end(signal.SIGTERM)
    shutil.copytree(scene.base / "boa", scene.base / "copy")
    boa = nodes[3] = scene.start("boa")
    together(nodes, 5)
    time.sleep(1.2)
    changes = {node.name: len(node.changes) for node in nodes[:3]}
    copy = scene.start("boa", where="copy")

    def reported(node: Node) -> bool:
        return any(problem[0] == "cloned-disk" for problem in node.ask("problems"))

    took = measured(lambda: all(reported(node) for node in (*nodes, copy)), 10, "everybody reports the copied disk")
    time.sleep(seconds)
    assert all_reach(nodes, "boa")
    problems = {f"{node.name} {number}": node.ask("problems") for number, node in enumerate((*nodes, copy))}
    unsettled = {
        node.name: [states for _, states in node.changes[changes[node.name] :] if states["boa"] != "up"]
        for node in nodes[:3]
    }
    refused = copy.ask("history", "miu")
    findings = {"reported": took, "problems": problems, "unsettled": unsettled, "refused": refused}
    if end:
        at = boa.end(signal.SIGTERM)
        seen(nodes[:3], "boa", "left", at, 5)
        findings["took over"] = seen(nodes[:3], "boa", "up", at, 50)
    return findings


def cloned_alone(scene: Scene) -> dict[str, Any]:
    """A swarm of one machine and its copy: nobody else could tell them."""
    usual(("miu", "copy"))
    miu = scene.start("miu")
    ready([miu])
    miu.ask("invite")
    miu.end(signal.SIGTERM)
    shutil.copytree(scene.base / "miu", scene.base / "copy")
    both = [scene.start("miu"), scene.start("miu", where="copy")]
    ready(both)

    def reported(node: Node) -> bool:
        return any(problem[0] == "cloned-disk" for problem in node.ask("problems"))

    took = measured(lambda: all(reported(node) for node in both), 15, "both report the copied disk")
    return {"reported": took, "problems": [node.ask("problems") for node in both]}


def cloned_disk_longer(scene: Scene) -> dict[str, Any]:
    return cloned_disk(scene, 60.0, end=True)


def wrong_clock(scene: Scene) -> dict[str, Any]:
    """Two clocks are wrong by eleven years, one each way; where there is a compiler, for OpenSSL too."""
    usual()
    wrong: dict[str, dict[str, str]] = {}
    for name, offset in (("naru", YEARS), ("boa", -YEARS)):
        folder = scene.base / f"clock-{name}"
        folder.mkdir()
        if shutil.which("cc"):
            source, library = folder / "clock.c", folder / "clock.so"
            source.write_text(_CLOCK.replace("OFFSET", str(offset)))
            run("cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl")
            wrong[name] = {"LD_PRELOAD": str(library)}
        else:
            (folder / "sitecustomize.py").write_text(_PATCH.format(offset=offset))
            wrong[name] = {"PYTHONPATH": str(folder)}
    nodes = [scene.start(name, env=wrong.get(name)) for name in NAMES]
    ready(nodes)
    now = time.time()
    off = {node.name: node.ask("wall") - now for node in nodes}
    joined = form(nodes)
    together(nodes, 10)
    ages = {node.name: node.ask("history", "miu" if node is not nodes[0] else "boa") for node in nodes}
    at = nodes[3].end(signal.SIGKILL)
    down = seen(nodes[:3], "boa", "down", at, 5)
    return {
        "off": off,
        "join": joined,
        "down": down,
        "history": ages,
        "way": "preload" if shutil.which("cc") else "python",
    }


def suspended(scene: Scene, seconds: float = 4.0) -> dict[str, Any]:
    """boa's process is stopped, as a laptop's with a closed lid, and goes on."""
    usual()
    nodes = scene.swarm()
    time.sleep(1.2)
    before = [len(nodes[3].ask("history", name)) for name in NAMES[:3]]
    at = time.monotonic()
    nodes[3].process.send_signal(signal.SIGSTOP)
    down = seen(nodes[:3], "boa", "down", at, 8)
    time.sleep(seconds)
    at = time.monotonic()
    nodes[3].process.send_signal(signal.SIGCONT)
    back = seen(nodes[:3], "boa", "up", at, 8)
    together(nodes, 5)
    time.sleep(1)
    since = [nodes[3].ask("history", name) for name in NAMES[:3]]
    accused = [change for past, known in zip(since, before, strict=True) for change in past[: len(past) - known]]
    return {"down": down, "back": back, "accused": accused, "why": nodes[0].ask("history", "boa")}


def suspended_longer(scene: Scene) -> dict[str, Any]:
    return suspended(scene, 20.0)


def flaps(scene: Scene) -> dict[str, Any]:
    """200 times a random cable is out for a random moment; then every pair must find together, by one stream."""
    network = usual()
    nodes = scene.swarm()
    chance = random.Random(int(os.environ.get("FLAP_SEED", "3")))
    began = time.monotonic()
    for _ in range(200):
        name = chance.choice(NAMES)
        cut = chance.choice(
            (lambda on, n=name: network.plug(n, plugged=on), lambda on, n=name: network.part(n, apart=not on))
        )
        cut(False)
        time.sleep(chance.choice((chance.uniform(0.0, 0.3), chance.uniform(0.0, 2.0), chance.uniform(2.0, 4.5))))
        cut(True)
        time.sleep(chance.uniform(0.0, 1.0))
    spent = time.monotonic() - began
    healed = measured(lambda: complete(nodes), 15, "not every pair has found together again")
    time.sleep(3)
    assert complete(nodes)
    return {"spent": spent, "healed": healed, "streams": streams()}


def complete(nodes: list[Node]) -> bool:
    return all(
        state in ("up", "self")
        for node in nodes
        for state in (dict(node.changes[-1][1]) if node.changes else {"": ""}).values()
    )


def streams() -> int:
    """TCP connections between peer ports and others, of all machines together: each has two ends."""
    ends = 0
    for name in NAMES:
        done = subprocess.run(
            ["ip", "netns", "exec", name, "cat", "/proc/net/tcp", "/proc/net/tcp6"], capture_output=True, text=True
        )
        ends += sum(
            1
            for line in done.stdout.splitlines()
            if (fields := line.split())[3:4] == ["01"] and f"{6927:04X}" in (fields[1][-4:], fields[2][-4:])
        )
    return ends // 2


def partitions(scene: Scene) -> dict[str, Any]:
    """2|2, ten times, for as long as TCP takes to give its hopes up."""
    network = usual()
    network.bridge("br1")
    nodes = scene.swarm()
    noticed: list[float] = []
    healed: list[float] = []
    for turn in range(10):
        time.sleep(1.2)
        at = time.monotonic()
        for name in ("uncho", "boa"):
            run("ip", "link", "set", f"{name}-eth0", "master", "br1")
        noticed.append(max(seen(nodes[:2], name, "down", at, 10) for name in ("uncho", "boa")))
        noticed.append(max(seen(nodes[2:], name, "down", at, 10) for name in ("miu", "naru")))
        time.sleep(turn)
        at = time.monotonic()
        for name in ("uncho", "boa"):
            run("ip", "link", "set", f"{name}-eth0", "master", "br0")
        together(nodes, 10)
        healed.append(time.monotonic() - at)
    assert network.names == NAMES
    return {"noticed": noticed, "healed": healed}


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        blocked, by_ipv6, by_link_local, two_subnets, one_subnet_twice, new_address, new_port, new_interface,
        one_name_twice, cloned_disk, cloned_alone, cloned_disk_longer, wrong_clock, suspended, suspended_longer,
        flaps, partitions,
    )
}  # fmt: skip


def main() -> None:
    scenario = SCENARIOS[sys.argv[1]]
    with tempfile.TemporaryDirectory() as base:
        scene = Scene(Path(base))
        try:
            sys.stdout.write(json.dumps(scenario(scene)) + "\n")
        except BaseException:
            for log in sorted(Path(base).glob("*.log")):
                sys.stderr.write(f"--- {log.name}\n{log.read_text()[-3000:]}\n")
            for node in scene.started:
                sys.stderr.write(f"{node.name}: {node.changes[-4:]}\n")
            raise
        finally:
            scene.end()


if __name__ == "__main__":
    os.umask(0o077)
    main()
