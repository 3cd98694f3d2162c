"""[io] Running what may hang: commands and blocking calls that are given up after a time limit."""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

_T = TypeVar("_T")

GRACE = 0.5
"""Seconds a killed command may take to vanish. One that sleeps in the kernel (a broken driver) never does."""


@dataclass(frozen=True)
class Completed:
    """code: exit code; negative is the signal that ended it. output: standard output, then standard error."""

    code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


async def run(argv: Sequence[str], limit: float) -> Completed:
    """Run a command to its end; `limit` in seconds.

    Raises:
        FileNotFoundError, PermissionError: it cannot be started.
        TimeoutError: killed with its whole process group.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C"},
        start_new_session=True,
    )
    try:
        stdout, stderr = await asyncio.wait_for(process.communicate(), limit)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), GRACE)
    return Completed(
        process.returncode if process.returncode is not None else -1,
        stdout.decode(errors="replace"),
        stderr.decode(errors="replace"),
    )


async def call(function: Callable[[], _T], limit: float, name: str) -> _T:
    """What `function` returns, from a daemon thread of its own; `limit` in seconds.

    A pool's threads would be waited for at exit, and one stuck call would keep the whole process alive.

    Raises:
        TimeoutError: the thread is abandoned; what it may still return is dropped.
        Anything that `function` raises.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[_T] = loop.create_future()

    def settle(value: _T | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(value)  # pyright: ignore[reportArgumentType]  # None only if _T is

    def work() -> None:
        value, error = None, None
        try:
            value = function()
        except BaseException as problem:  # the thread's boundary: whatever it is belongs to the caller
            error = problem
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile: nobody is waiting
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=work, name=f"probe-{name}", daemon=True).start()
    return await asyncio.wait_for(answer, limit)
