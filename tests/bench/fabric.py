"""[io] How soon four fabrics in namespaces see each other come and go: the slowest observer each time."""

import json
import subprocess
import sys
from pathlib import Path

from tests.bench.figures import Figure, at_most, p50

ROUNDS = 5
SCRIPT = Path(__file__).parents[1] / "fabric" / "namespaces.py"
TARGETS = {"started": 2.0, "killed": 0.3, "stopped": 0.2, "pulled": 5.0, "healed": 2.0}
MEANINGS = {
    "started": "process start to seen by all",
    "killed": "kill -9 noticed",
    "stopped": "clean stop noticed",
    "pulled": "pulled cable noticed",
    "healed": "cable back, all up again",
}


def run() -> list[Figure]:
    seen: dict[str, list[float]] = {name: [] for name in TARGETS}
    for _ in range(ROUNDS):
        done = subprocess.run(
            ["unshare", "-Urnm", "--kill-child", sys.executable, str(SCRIPT), "times"],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        found = json.loads(done.stdout)
        for name, values in seen.items():
            value = found[name]
            values.append(max(value) if isinstance(value, list) else value)
    figures: list[Figure] = []
    for name, values in seen.items():
        how = f"slowest of 4 observers, {ROUNDS} runs"
        figures.append(at_most(f"{MEANINGS[name]}, median", p50(values), "s", TARGETS[name], how))
        figures.append(at_most(f"{MEANINGS[name]}, worst", max(values), "s", TARGETS[name], how))
    return figures
