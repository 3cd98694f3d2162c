"""[io] How soon four fabrics in namespaces see each other come and go: the slowest observer each time."""

import json
import subprocess
import sys
from pathlib import Path

from tests.bench.figures import Figure, at_most, p50, told

REPETITIONS = 20
LIMIT = 560
"""Seconds for all; one repetition takes some fifteen."""
SCRIPT = Path(__file__).parents[1] / "fabric" / "namespaces.py"
MEASURED = {
    "started": ("process start to seen by all", 2.0, "3.4 s"),
    "killed": ("kill -9 noticed", 0.3, "100 s"),
    "stopped": ("clean stop noticed", 0.2, "not within 20 s"),
    "pulled": ("pulled cable noticed", 5.0, "100 s"),
    "healed": ("cable back, full view", 2.0, "13 s"),
    "parted": ("partition 2|2 noticed by all", 5.0, ""),
    "mended": ("partition healed, full view", 2.0, ""),
}
"""By the name of the sample: what it is, the target in seconds, and what the original took in the same four namespaces
(version 0.2.16, measured once, before this program was begun)."""


def run() -> list[Figure]:
    done = subprocess.run(
        ["unshare", "-Urnm", "--kill-child", sys.executable, str(SCRIPT), "times", str(REPETITIONS)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"the measurement failed: {done.stderr}")
    samples: dict[str, list[float]] = json.loads(done.stdout)
    figures: list[Figure] = []
    for name, (meaning, target, original) in MEASURED.items():
        values = samples[name]
        how = f"slowest observer of 4 nodes, {len(values)} times"
        beside = f"{how}; the original: {original}" if original else how
        figures.append(at_most(f"{meaning}, median", p50(values), "s", target, beside))
        figures.append(at_most(f"{meaning}, worst", max(values), "s", target, beside))
    figures.append(told("a join by code, median", p50(samples["join"]), "s", f"{len(samples['join'])} times"))
    return figures
