"""Real processes on a network of their own; the targets are those of the documentation, the figures are printed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.swarm
SCRIPT = Path(__file__).with_name("namespaces.py")


def figures(scenario: str) -> dict[str, Any]:
    done = subprocess.run(
        ["unshare", "-Urnm", "--kill-child", sys.executable, str(SCRIPT), scenario],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    sys.stdout.write(f"{scenario}: {done.stdout}")
    return json.loads(done.stdout)


def test_four_nodes_see_each_other_come_and_go() -> None:
    found = figures("times")
    assert found["started"] <= 2.0
    assert found["killed"] <= 0.3
    assert found["stopped"] <= 0.2
    assert found["exit"] <= 1.0
    assert max(found["pulled"]) <= 5.0
    assert max(found["healed"]) <= 2.0
    assert max(found["join"]) <= 2.0
    assert found["left"] <= 1.0
    assert max(found["rtt"]) <= 0.1


def test_without_multicast_addresses_are_given_once_and_remembered() -> None:
    found = figures("blocked")
    assert max(found["join"]) <= 2.0
    assert found["started"] <= 2.0


def test_an_idle_swarm_costs_almost_nothing() -> None:
    found = figures("idle")
    assert max(found["cpu"]) <= 0.005
    # The fabric's share of the node's 70 MiB; a bare interpreter with asyncio has 19 of them.
    assert max(found["rss"]) <= 66 * 2**20
