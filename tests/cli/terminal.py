"""A command on a terminal of its own: keys go in, what it writes comes out."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[()][A-Z0-9]|[=>78])")

_UNFINISHED = re.compile(r"\x1b[^A-Za-z]*$")


class Terminal:
    """`with Terminal("chat") as terminal`: a child whose stdin, stdout and stderr are one terminal."""

    def __init__(self, *arguments: str, columns: int = 80, rows: int = 24, **environment: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.drive", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, "TERM": "xterm-256color", **environment},
        )
        os.close(slave)
        self.raw = ""
        self._seen = 0

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.poll() is None:
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        os.close(self._master)

    @property
    def text(self) -> str:
        """What was written, without control sequences; one that has come in part only is left for later."""
        return _UNFINISHED.sub("", _SEQUENCE.sub("", self.raw)).replace("\r", "")

    def keys(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def until(self, text: str, *, seconds: float = 15.0) -> str:
        """Read until `text` has been written after what was waited for before; what was written up to its end."""
        deadline = time.monotonic() + seconds
        while (found := self.text.find(text, self._seen)) < 0:
            left = deadline - time.monotonic()
            assert left > 0, f"waited for {text!r}, got {self.text[self._seen :]!r}"
            if not self._read(left):
                raise AssertionError(f"ended before {text!r}: {self.text[self._seen :]!r}")
        start, self._seen = self._seen, found + len(text)
        return self.text[start : self._seen]

    def end(self, *, seconds: float = 15.0) -> int:
        """Read to the end; the exit code."""
        deadline = time.monotonic() + seconds
        while self._read(max(0.0, deadline - time.monotonic())):
            assert time.monotonic() < deadline, f"does not end: {self.text[-500:]!r}"
        return self._child.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._master, 1 << 16).decode("utf-8", "replace")
        except OSError:  # the other end is closed
            return False
        self.raw += data
        # prompt_toolkit asks where the cursor is and waits for the answer.
        if "\x1b[6n" in data:
            os.write(self._master, b"\x1b[1;1R")
        return bool(data)
