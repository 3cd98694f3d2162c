"""[io] The node process of this user: find the running one, start one, wait until it is ready, end it."""

import contextlib
import errno
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from mycoswarm.client.http import Client
from mycoswarm.core.errors import (
    CannotServe,
    DaemonUnreachable,
    Fixable,
    InvalidRequest,
    MycoError,
    NotFound,
    NotWritable,
    Refused,
    from_os_error,
)
from mycoswarm.core.paths import Paths, resolve

COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "mycoswarm.daemon")
"""-P keeps the current directory off the import path: a folder must not lend the node its own `random.py`."""

START_TIMEOUT = 60.0
"""Seconds until a node must answer. It takes about one; a Raspberry Pi with a cold disk takes many."""

END_TIMEOUT = 10.0
"""Seconds until a node that was asked to end has ended, before it is killed."""

IN_USE = 1.0
"""Seconds after which a node that was let go must be gone, or is looked at: does it answer somebody else?"""

_POLL = 0.03


class NodeFile(msgspec.Struct, frozen=True):
    """What the running node says of itself in `Paths.node_file`."""

    port: int
    pid: int
    version: str = ""
    private: bool = False
    node: str = ""


def read(paths: Paths) -> NodeFile | None:
    """The node file as it lies there, which may be stale; None where there is none or it is half-written."""
    try:
        return msgspec.json.decode(paths.node_file.read_bytes(), type=NodeFile)
    except (OSError, msgspec.DecodeError):
        return None


def find(paths: Paths) -> NodeFile | None:
    """The running node; None where there is none. A file left behind by a dead one counts as none."""
    found = read(paths)
    if found is None or not alive(found.pid) or not Client(found.port).healthy():
        return None
    return found


def find_soon(paths: Paths, seconds: float = 5.0) -> NodeFile | None:
    """The running node, which may just be starting; None where none is, or none answers within `seconds`."""
    deadline = time.monotonic() + seconds
    while (found := find(paths)) is None and _lock_is_held(paths) and time.monotonic() < deadline:
        time.sleep(_POLL)
    return found


def _lock_is_held(paths: Paths) -> bool:
    """Does a node live in this state directory, ready or not?"""
    try:
        with (paths.state / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def connect(paths: Paths | None = None) -> Client:
    """A client of the running node. Raises DaemonUnreachable where none runs."""
    paths = paths or resolve()
    found = find(paths)
    if found is None:
        raise DaemonUnreachable("no node runs on this machine", "start one: mycoswarm up")
    return client_of(found, paths)


def client_of(found: NodeFile, paths: Paths) -> Client:
    return Client(found.port, token_file=paths.token_file)


def alive(pid: int) -> bool:
    """Does a process of that id run? One that has ended does not, even where nobody has taken its exit code yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        # Whoever waits for the pipes of `up` to close takes the exit code afterwards; `banner` holds those pipes, and
        # would wait in turn for this process to go.
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except (OSError, IndexError):
        return True


def wait_ready(
    paths: Paths,
    pid: int,
    running: Callable[[], bool],
    tick: Callable[[], None] = lambda: None,
    timeout: float = START_TIMEOUT,
) -> NodeFile | None:
    """The node file once process `pid` answers; None when `running` says that it has ended, or time is over.

    tick: called about thirty times a second meanwhile.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = read(paths)
        if found is not None and found.pid == pid and Client(found.port).healthy(0.5):
            return found
        if not running():
            return None
        tick()
        time.sleep(_POLL)
    return None


class Started:
    """A node that this program started. Tied to it unless it was started to be kept."""

    def __init__(self, process: "subprocess.Popen[bytes]", node: NodeFile) -> None:
        self.node = node
        self._process = process

    def end(self) -> None:
        """Close the pipe that the node lives by and wait for it; kill it if it does not go.

        A node that still answers another terminal is left alone: it ends by itself after that.
        """
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            try:
                self._process.wait(IN_USE)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(MycoError):
                    if Client(self.node.port).ps().tasks:
                        return
        _end(self._process)


def start(
    paths: Paths,
    flags: Sequence[str] = (),
    *,
    tied: bool,
    tick: Callable[[], None] = lambda: None,
) -> Started:
    """Start a node in the background and wait until it answers.

    Args:
        flags: of the daemon, e.g. `--private`.
        tied: it ends when this process ends, however that happens (its stdin closes); otherwise it stays.

    Raises:
        MycoError: the node's own reason, restored from what it said on stderr.
    """
    log = _open_log(paths)
    said_from = os.fstat(log).st_size
    try:
        process = subprocess.Popen(
            [*COMMAND, "run", *flags],
            stdin=subprocess.PIPE if tied else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            # An own session: Ctrl-C stops an answer, not the node that gives it.
            start_new_session=True,
        )
    finally:
        os.close(log)
    try:
        node = wait_ready(paths, process.pid, lambda: process.poll() is None, tick)
    except BaseException:
        _end(process)
        raise
    if node is not None:
        return Started(process, node)
    gone = process.poll()
    _end(process)
    if gone is None:
        raise Fixable(f"the node did not get ready within {START_TIMEOUT:.0f} s", "`mycoswarm logs` may tell why")
    said = _tail(paths.log_file, said_from)
    if not said.strip():
        # Its reason may be the very thing that kept it from being written down.
        os.close(_open_log(paths, b"\n"))
    raise reason(said, gone)


def end(paths: Paths) -> NodeFile | None:
    """Ask the running node to end and wait until it has; None where none runs."""
    found = find(paths)
    if found is None:
        return None
    client_of(found, paths).shutdown()
    deadline = time.monotonic() + END_TIMEOUT
    while alive(found.pid):
        if time.monotonic() > deadline:
            raise Fixable(
                f"the node (process {found.pid}) has not ended after {END_TIMEOUT:.0f} s", f"end it: kill {found.pid}"
            )
        time.sleep(_POLL)
    return found


def wait_for(paths: Paths, node: str, timeout: float = START_TIMEOUT) -> bool:
    """Wait until the node of that id answers here: one that starts again under a new key. False where it does not."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = read(paths)
        if found is not None and found.node == node and Client(found.port).healthy(0.5):
            return True
        if found is None and not _lock_is_held(paths):
            return False
        time.sleep(_POLL)
    return False


def purge(paths: Paths, *, keep_models: bool) -> None:
    """Delete everything that a node has kept here. Only while none runs.

    Raises:
        Refused: a node runs. NotWritable, Fixable: something could not be deleted.
    """
    if _lock_is_held(paths):
        raise Refused("a node runs on this machine", "stop it first: mycoswarm down")
    spared = paths.models if keep_models else None
    for directory in (paths.state, paths.cache, paths.config, paths.data):
        try:
            _delete(directory, spared)
        except OSError as problem:
            raise from_os_error(problem, Path(problem.filename or directory)) from None
    if paths.state.parent == paths.config.parent:
        # MYCOSWARM_HOME itself, unless something else lies in it.
        with contextlib.suppress(OSError):
            paths.state.parent.rmdir()


def _delete(directory: Path, spared: Path | None) -> None:
    """Without following links out of it; a directory that is itself a link loses its content, and the link."""
    if not directory.exists():
        return
    for entry in directory.iterdir():
        if entry == spared:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    if directory.is_symlink():
        directory.unlink()
    elif spared is None or spared.parent != directory or not spared.exists():
        directory.rmdir()


def detect() -> bytes:
    """The report of this machine's hardware as JSON, made by a process of its own; needs no running node."""
    done = subprocess.run([*COMMAND, "detect"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        raise reason(done.stderr.decode("utf-8", "replace"), done.returncode)
    return done.stdout


def reason(said: str, exit_code: int) -> MycoError:
    """The error that a node process said on stderr before it ended: a sentence, then `hint:`."""
    sentence, hint = "", ""
    for line in said.splitlines():
        if line.startswith("error: "):
            sentence, hint = line.removeprefix("error: "), ""
        elif line.startswith("hint: "):
            hint = line.removeprefix("hint: ")
    if not sentence:
        lines = [line for line in said.splitlines() if line.strip() and not line.startswith("hint: ")]
        sentence = lines[-1].strip() if lines else f"the node ended at once with exit code {exit_code}"
    kinds: dict[int, type[MycoError]] = {
        kind.exit_code: kind for kind in (MycoError, Fixable, InvalidRequest, NotFound, Refused, CannotServe)
    }
    return kinds.get(exit_code, Fixable)(sentence, hint or "`mycoswarm logs` may tell more")


def _open_log(paths: Paths, line: bytes = b"") -> int:
    """The log, to append to; `line` is written to it."""
    try:
        paths.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = os.open(paths.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(log, line)
        except OSError:
            os.close(log)
            raise
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise from_os_error(problem, paths.log_file) from None
        raise NotWritable(
            f"{paths.log_file} cannot be written: {problem.strerror}",
            "make the directory writable, or choose another one with MYCOSWARM_HOME",
        ) from None
    return log


def _tail(file: Path, offset: int) -> str:
    with file.open("rb") as log:
        log.seek(offset)
        return log.read(1 << 16).decode("utf-8", "replace")


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    else:
        process.terminate()
    for last_resort in (process.terminate, process.kill):
        try:
            process.wait(END_TIMEOUT / 2)
        except subprocess.TimeoutExpired:
            last_resort()
        else:
            return
    process.wait()
