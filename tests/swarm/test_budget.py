"""What a node may cost when nobody asks it anything: memory, CPU, and nothing that grows."""

import time
from pathlib import Path

import psutil
import pytest

from tests.swarm.lab import Lab
from tests.swarm.test_headline import join_all, start_all

pytestmark = pytest.mark.swarm

MAX_RSS = 70 * 2**20
MAX_CPU = 0.005
WATCHED = 20.0
"""Seconds. The kernel counts CPU in steps of 10 ms, so much less could not tell 0.5 % from nothing."""


def test_an_idle_node_in_a_swarm_of_four(lab: Lab, starter_on_miu: Path) -> None:
    start_all(lab)
    join_all(lab)
    # What start-up did, detection among it, is over.
    time.sleep(5)
    nodes = {machine.name: psutil.Process(machine.node_file().pid) for machine in lab}  # pyright: ignore[reportOptionalMemberAccess]
    before = {name: sum(node.cpu_times()[:2]) for name, node in nodes.items()}
    files = {name: node.num_fds() for name, node in nodes.items()}
    threads = {name: node.num_threads() for name, node in nodes.items()}
    started = time.monotonic()
    time.sleep(WATCHED)
    passed = time.monotonic() - started
    cpu = {name: (sum(node.cpu_times()[:2]) - before[name]) / passed for name, node in nodes.items()}
    rss = {name: node.memory_info().rss for name, node in nodes.items()}
    print({name: (f"{rss[name] / 2**20:.1f} MiB", f"{100 * cpu[name]:.2f} %") for name in nodes})
    assert max(rss.values()) < MAX_RSS, rss
    assert max(cpu.values()) < MAX_CPU, cpu
    for name, node in nodes.items():
        assert node.num_fds() <= files[name], [one.path for one in node.open_files()]
        assert node.num_threads() <= threads[name]
