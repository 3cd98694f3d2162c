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
    # How quick each is, `./dev bench fabric` measures. Here only: by the connection's end, not by a time-out, which
    # takes 2 s at the least (SUSPECT_AFTER).
    assert max(found["killed"]) < 2.0
    assert max(found["stopped"]) < 2.0
    # And by time-outs where nothing else tells, within the limits that the page names.
    assert max(found["pulled"]) <= 5.0
    assert max(found["parted"]) <= 5.0
    for name in ("started", "exit", "left", "healed", "mended", "join"):
        assert 0 <= max(found[name]) < 10


def test_without_multicast_addresses_are_given_once_and_remembered() -> None:
    found = figures("blocked")
    assert max(found["join"]) < 10
    assert found["started"] < 10


def test_an_idle_swarm_costs_almost_nothing() -> None:
    found = figures("idle")
    assert max(found["cpu"]) <= 0.005
    # The fabric's share of the node's 70 MiB; a bare interpreter with asyncio has 19 of them.
    assert max(found["rss"]) <= 66 * 2**20
