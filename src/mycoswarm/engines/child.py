"""[io] One child process that holds a model: started, watched, asked, its stderr kept, ended."""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping

import msgspec
import psutil

from mycoswarm.core.errors import EngineFailed
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.engines.child_life import ChildReady

_TAIL_LINES = 200
_TAIL_SHOWN = 20
_MAX_LINE = 4096
_STOP_SECONDS = 3.0
_MEMORY_STEP = 16 << 20
_MAX_ANSWER = 256 << 20
"""Bytes. What claims to be longer is no answer: something else has written to the pipe."""


class Child:
    """One process, one model. Start it once; `ended` is set when it is gone, whoever ended it.

    Args:
        name: the model's.
        module: what the process runs: it reads its configuration as one JSON line from stdin, answers a `ChildReady`,
            and ends when stdin closes.
    """

    def __init__(self, name: str, module: str) -> None:
        self.name = name
        self._module = module
        self.ended = asyncio.Event()
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._tasks = TaskGroup()
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        return self._process is not None and not self.ended.is_set()

    @property
    def stopping(self) -> bool:
        """Whether its end was asked for."""
        return self._stopping

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines of stderr, oldest first."""
        return tuple(self._tail)

    def rss(self) -> int | None:
        """Bytes of memory it holds now."""
        if self._process is None:
            return None
        try:
            return psutil.Process(self._process.pid).memory_info().rss
        except psutil.Error:
            return None

    def resident(self) -> int | None:
        """`rss` in steps, so that a node's record does not change with every page."""
        rss = self.rss()
        return None if rss is None else -(-rss // _MEMORY_STEP) * _MEMORY_STEP

    async def ended_within(self, seconds: float) -> bool:
        """Wait for its end, this long at most."""
        try:
            async with asyncio.timeout(seconds):
                await self.ended.wait()
        except TimeoutError:
            return False
        return True

    async def start(self, config: msgspec.Struct) -> None:
        """Load the model; returns when it answers.

        Raises:
            EngineFailed: it could not; the message says why, `data["stderr"]` has the last lines.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            self._module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(os.environ),
            # Ctrl-C in the node's terminal is the node's to handle.
            start_new_session=True,
        )
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        errors = self._tasks.start(self._keep_stderr(process), f"stderr of {self.name}")
        self._tasks.start(self._watch(process, errors), f"end of {self.name}")
        try:
            process.stdin.write(msgspec.json.encode(config) + b"\n")
            line = await process.stdout.readline()
        except ConnectionError:
            line = b""
        except BaseException:
            await self.stop()
            raise
        try:
            ready = msgspec.json.decode(line, type=ChildReady)
        except msgspec.DecodeError:
            # Nothing, or half a line: it ended while it spoke. Its own exit status says why.
            ready = ChildReady("ended")
            await self._end_soon()
        if ready.error:
            await self.ended.wait()
            raise self.failure("could not be loaded")

    async def ask(self, question: bytes) -> bytes:
        """The answer to one question: for a child that is spoken to by its pipe, four bytes of length before each.

        Questions are answered one after the other, in the order of asking. Who goes away before the answer disturbs
        nobody: it is read and thrown away.

        Raises:
            EngineFailed: the child ended before it had answered.
        """
        await self._turn.acquire()
        # Shielded: an answer that nobody read would be taken for that to the next question.
        answer = await asyncio.shield(self._tasks.start(self._exchange(question), f"question to {self.name}"))
        if answer is None:
            await self._end_soon()
            raise self.failure("was unloaded in the middle of its work" if self._stopping else "died at its work")
        return answer

    async def _exchange(self, question: bytes) -> bytes | None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(len(question).to_bytes(4, "big") + question)
            await process.stdin.drain()
            length = int.from_bytes(await process.stdout.readexactly(4), "big")
            if length > _MAX_ANSWER:
                self.kill()
                return None
            return await process.stdout.readexactly(length)
        except (ConnectionError, asyncio.IncompleteReadError):
            return None
        finally:
            self._turn.release()

    def failure(self, what: str) -> EngineFailed:
        """The error for an end that nobody asked for."""
        reason = explain(self._process.returncode if self._process else None, self.tail)
        return EngineFailed(
            f"{self.name} {what}: {reason}",
            "`mycoswarm logs` has the engine's last lines",
            stderr=self.tail[-_TAIL_SHOWN:],
        )

    async def stop(self) -> None:
        """End it; it gets a moment, then it is killed."""
        # One that has died is only tidied up after.
        self._stopping = self._stopping or not self.ended.is_set()
        process = self._process
        if process is not None and not self.ended.is_set():
            assert process.stdin is not None
            process.stdin.close()
            await self._end_soon()
        # Whoever waits for an answer hears that the pipe has closed, not that a task was cancelled.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS), self._turn:
                pass
        await self._tasks.close()

    def kill(self) -> None:
        """End it at once; for one that does not answer."""
        if self._process is not None and self._process.returncode is None:
            # Not `Process.kill`: that looks whether it has ended and thereby takes the exit status
            # away from the one who waits for it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    async def _end_soon(self) -> None:
        if not await self.ended_within(_STOP_SECONDS):
            self.kill()
            await self.ended.wait()

    async def _keep_stderr(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        rest = b""
        while data := await process.stderr.read(1 << 16):
            *lines, rest = (rest + data).split(b"\n")
            self._tail.extend(line[:_MAX_LINE].decode(errors="replace") for line in lines)
            rest = rest[-_MAX_LINE:]
        if rest:
            self._tail.append(rest.decode(errors="replace"))

    async def _watch(self, process: asyncio.subprocess.Process, errors: asyncio.Task[None]) -> None:
        await process.wait()
        await asyncio.wait((errors,), timeout=1.0)
        self.ended.set()


def explain(returncode: int | None, tail: tuple[str, ...]) -> str:
    """Why a child ended, in a few words, from its exit status and its last lines."""
    text = "\n".join(tail)
    if any(sign in text for sign in ("failed to allocate", "unable to allocate", "bad_alloc", "MemoryError")):
        return "not enough memory"
    if "No module named" in text:
        return "the engine is not installed"
    if returncode == -signal.SIGKILL:
        return "its process was killed; most likely the machine ran out of memory"
    if returncode == -signal.SIGILL:
        return "this processor lacks an instruction that the engine was built for"
    if returncode is not None and returncode < 0:
        said = next(
            (line.strip() for line in reversed(tail) if "GGML_ASSERT" in line or "terminate called" in line), ""
        )
        return f"its process ended with {signal.Signals(-returncode).name}" + (f" ({said})" if said else "")
    errors = [line.partition(": ")[2] or line for line in tail if " E " in line[:24]]
    if errors:
        # The first error is the cause, those after it are its consequences.
        return errors[0].strip()
    return tail[-1].strip() if tail else f"its process ended with status {returncode}"


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Ours, without variables by which llama.cpp or its helpers would take settings or fetch."""
    dropped = ("LLAMA_", "GGML_", "HF_", "OMP_", "MYCOSWARM_")
    return {key: value for key, value in environ.items() if not key.startswith(dropped)}
