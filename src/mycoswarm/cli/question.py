"""[io] The question: the words of the command line, and standard input where something is piped in."""

import os
import select
import stat
import sys
from typing import TYPE_CHECKING

from mycoswarm.core.errors import InvalidRequest

if TYPE_CHECKING:
    from mycoswarm.cli.printer import Printer

LIMIT = 8 << 20
"""Bytes of standard input: more fits no model's context."""

_PATIENCE = 1.0
"""Seconds of silence on stdin after which the person is told what is being waited for."""


def piped(printer: "Printer") -> str:
    """What is piped in, without blank lines around it; "" where stdin is a terminal or closed."""
    if sys.stdin is None or sys.stdin.isatty():
        return ""
    try:
        descriptor = sys.stdin.fileno()
    except (OSError, ValueError):
        data = sys.stdin.read(LIMIT + 1).encode()
    else:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode) and not select.select([descriptor], [], [], _PATIENCE)[0]:
            printer.note("Waiting for the end of standard input, which is part of the question (or add </dev/null).")
        data = sys.stdin.buffer.read(LIMIT + 1)
    if len(data) > LIMIT:
        raise InvalidRequest(f"standard input is longer than {LIMIT >> 20} MiB", "ask about a part of it")
    try:
        return data.decode().strip("\n")
    except UnicodeDecodeError:
        raise InvalidRequest("standard input is not UTF-8 text", "extract its text first") from None


def join(words: str, text: str) -> str:
    """The words first, then what they are about."""
    return "\n\n".join(part for part in (words.strip(), text) if part)
