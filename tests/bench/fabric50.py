"""[io] Fifty real nodes (`mycoswarm up`) at rest, in fifty namespaces on one bridge: what each of them costs.

The kernel's neighbour table holds 1,024 entries for all namespaces together, and fifty machines need 2,450: they are
pinned, which exempts them from the limit.
"""

import json
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from tests.bench.figures import Figure, at_most, p50, told
from tests.swarm.lab import Lab, Machine, eventually

NODES = 50
SETTLE = 15.0
SPAN = 60.0
AT_ONCE = 5
"""Nodes that start at one time: more would wait for each other's processor."""
ORIGINAL = "the original, alone at rest: 64 to 68 MB, 0.5 % CPU"


def run() -> list[Figure]:
    names = [f"n{number:02}" for number in range(1, NODES + 1)]
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, Lab(Path(directory), names) as lab:
        _pin_neighbours(lab, names)
        machines = list(lab)
        for first in range(0, NODES, AT_ONCE):
            for machine in machines[first : first + AT_ONCE]:
                machine.up(env={"MYCOSWARM_EMBEDDED": "no"})
            for machine in machines[first : first + AT_ONCE]:
                machine.wait_ready(60)
        joins = [_join(machines[0], machine) for machine in machines[1:]]
        meshed = eventually(lambda: all(_up(machine) == NODES for machine in machines), 60, "all see all", every=1.0)
        time.sleep(SETTLE)
        processes = [_process(machine) for machine in machines]
        cpu, traffic = [_cpu(one) for one in processes], [_bytes(one) for one in processes]
        began = time.monotonic()
        time.sleep(SPAN)
        span = time.monotonic() - began
        used = [100 * (_cpu(one) - before) / span for one, before in zip(processes, cpu, strict=True)]
        carried = [(_bytes(one) - before) / span / 1000 for one, before in zip(processes, traffic, strict=True)]
        resident = [one.memory_info().rss / 2**20 for one in processes]
        still = sum(_up(machine) == NODES for machine in machines)
    how = f"{NODES} nodes over {span:.0f} s, {still} of which saw all others up at its end"
    return [
        at_most("idle memory, median", p50(resident), "MiB", 75.0, f"RSS; {ORIGINAL}"),
        at_most("idle memory, largest", max(resident), "MiB", 75.0, f"RSS; {ORIGINAL}"),
        at_most("idle CPU, median", p50(used), "%", 1.5, f"{how}; {ORIGINAL}"),
        at_most("idle CPU, largest", max(used), "%", 1.5, how),
        at_most("traffic, median", p50(carried), "kB/s", 10.0, f"{how}; sent and received, with headers"),
        at_most("traffic, largest", max(carried), "kB/s", 10.0, how),
        told("a join by code, median", statistics.median(joins), "s", f"`mycoswarm join`, {len(joins)} times"),
        told("a join by code, slowest", max(joins), "s", f"{len(joins)} times"),
        told("last join to full mesh", meshed, "s", f"{NODES * (NODES - 1) // 2} pairs, asked once a second"),
    ]


def _pin_neighbours(lab: Lab, names: list[str]) -> None:
    cards: dict[str, tuple[str, str]] = {}
    for machine in lab:
        listed = json.loads(machine.run("ip", "-j", "link", "show", "eth0").stdout)
        cards[machine.name] = (machine.address, listed[0]["address"])
    for machine in lab:
        lines = "".join(
            f"neigh replace {address} lladdr {card} nud permanent dev eth0\n"
            for name, (address, card) in cards.items()
            if name != machine.name
        )
        done = machine.run("ip", "-batch", "-", stdin=lines)
        if done.returncode != 0:
            raise SystemExit(f"the neighbours of {machine.name} could not be pinned: {done.stderr}")


def _join(keeper: Machine, machine: Machine) -> float:
    """Seconds that `mycoswarm join` took."""
    code = keeper.myco("invite", "--quiet").stdout.split()[0]
    began = time.monotonic()
    done = machine.myco("join", code)
    if done.returncode != 0:
        raise SystemExit(f"{machine.name} could not join: {done.stderr}")
    return time.monotonic() - began


def _up(machine: Machine) -> int:
    """Nodes that this one sees up, itself among them."""
    found = machine.node_file()
    listed = machine.get(found.port, "/swarm/v1/nodes") if found is not None else None
    nodes = listed["nodes"] if isinstance(listed, dict) else []
    return sum(node["state"] in ("self", "up") for node in nodes)


def _process(machine: Machine) -> psutil.Process:
    found = machine.node_file()
    assert found is not None
    return psutil.Process(found.pid)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _bytes(process: psutil.Process) -> int:
    """That the network card of the process's machine has sent and received."""
    for line in Path(f"/proc/{process.pid}/net/dev").read_text().splitlines():
        card, _, counts = line.strip().partition(":")
        if card == "eth0":
            fields = counts.split()
            return int(fields[0]) + int(fields[8])
    raise SystemExit("the machine has no network card any more")
