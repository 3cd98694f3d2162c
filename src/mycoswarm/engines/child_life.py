"""[io] What all child processes of this package have in common: how they report, and that they die with their parent.

Imported in the children; nothing heavy may be imported here.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import BinaryIO

import msgspec

_PR_SET_PDEATHSIG = 1


class ChildReady(msgspec.Struct, frozen=True):
    """The model answers. error: instead, what the library raised; stderr says more."""

    error: str = ""


def take_stdout() -> BinaryIO:
    """The line to the parent. Whatever libraries print goes to stderr from now on, never into it."""
    line = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return line


def tell(line: BinaryIO, ready: ChildReady) -> None:
    """The first thing that the parent reads."""
    line.write(msgspec.json.encode(ready) + b"\n")
    line.flush()


def die_with_parent(parent: int, end: Callable[[], object]) -> None:
    """The kernel's half of it: the other is that the child ends when its stdin closes.

    Args:
        parent: its process id; `end` is called at once where that is gone already.
    """
    # Ctrl-C in the node's terminal is the node's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            end()
