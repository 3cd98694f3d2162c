"""`./dev test`: pytest over everything that belongs to the asked depth."""

import os
import shutil
import sys

import pytest

NEEDED = {"unshare": "util-linux", "ip": "iproute2", "tmux": "tmux"}
"""Programs that whole-swarm and terminal tests use, and the Debian package of each."""


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
    # A machine may be busy with other work: one slow test must not hang the run for ever.
    depth = [] if long else ["-m", "not long"]
    return pytest.main([*depth, *rest])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
