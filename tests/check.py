"""`./dev check`: format, lint, types, import direction. All run; the exit code says whether all were clean."""

import subprocess
import sys
import sysconfig
from pathlib import Path

BIN = Path(sysconfig.get_path("scripts"))

STEPS: dict[str, list[str]] = {
    "format": [str(BIN / "ruff"), "format", "--check", "--quiet", "."],
    "lint": [str(BIN / "ruff"), "check", "--quiet", "."],
    "types": [str(BIN / "pyright"), "--warnings"],
    "imports": [str(BIN / "lint-imports"), "--no-cache"],
}


def main() -> int:
    """1 when any step found something."""
    failed: list[str] = []
    for name, command in STEPS.items():
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print(f"{name:8} {'ok' if done.returncode == 0 else 'FAILED'}", flush=True)
        if done.returncode != 0:
            failed.append(name)
            print(done.stdout + done.stderr)
    if "format" in failed:
        print("hint: ./dev format rewrites the sources")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
