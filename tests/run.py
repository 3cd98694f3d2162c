"""`./dev test`: pytest over everything that belongs to the asked depth.

Whole swarms are run by themselves, for they are told how quickly something must have been noticed; everything else runs
file by file on as many processes as there are cores.
"""

import os
import secrets
import shutil
import subprocess
import sys

import pytest

NEEDED = {"unshare": "util-linux", "ip": "iproute2", "tmux": "tmux"}
"""Programs that whole-swarm and terminal tests use, and the Debian package of each."""


ALONE = ("tests/swarm", "tests/fabric/test_namespaces.py")
"""What would be slower than it promises beside other tests."""

MOST_PROCESSES = 4
"""Beyond it the real models of the tests take each other's cores."""


def main(arguments: list[str]) -> int:
    """Exit code of pytest. In CI a missing program is a failure; elsewhere its tests say that they were skipped."""
    missing = {program: package for program, package in NEEDED.items() if shutil.which(program) is None}
    if missing:
        names = " ".join(sorted(set(missing.values())))
        print(f"not found: {', '.join(sorted(missing))} (Debian: apt-get install {names})", file=sys.stderr)
        if os.environ.get("CI"):
            return 1
    long = "--long" in arguments
    rest = [argument for argument in arguments if argument != "--long"]
    depth = [] if long else ["-m", "not long"]
    if any(not argument.startswith("-") for argument in rest):
        return pytest.main([*depth, *rest])
    # Chosen here and not by each process: all of them must know the same tests.
    os.environ.setdefault("MYCO_SIM_SEEDS", " ".join(secrets.token_hex(4) for _ in range(3)))
    processes = str(min(os.cpu_count() or 1, MOST_PROCESSES))
    together = ["-n", processes, "--dist", "loadfile", *(f"--ignore={path}" for path in ALONE)]
    codes = [run([*depth, *rest, *part]) for part in (together, ALONE)]
    return max(codes)


def run(arguments: list[str]) -> int:
    """Exit code of a pytest process of its own: two runs in one would share what modules remember."""
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
