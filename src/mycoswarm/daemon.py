"""[io] The node process: `python -m mycoswarm.daemon run` (what `mycoswarm up` becomes) and `… detect`.

Reads the settings, takes the lock and the user port, starts the node, says where it is, and ends it cleanly on a
signal, on a request, or, for a private node, when the pipe to the command that started it closes.
"""

import argparse
import asyncio
import contextlib
import errno
import fcntl
import gc
import logging
import os
import platform
import secrets
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mycoswarm import __version__
from mycoswarm.client import settings_file
from mycoswarm.core.errors import Fixable, MycoError, NotWritable, from_os_error
from mycoswarm.core.paths import Paths, resolve
from mycoswarm.core.settings import Settings
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.fabric.files import write_private

if TYPE_CHECKING:
    from mycoswarm.node import Node

_log = logging.getLogger("mycoswarm.daemon")

GRACE = 2.0
"""Seconds that open replies may still run when the node ends."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the process."""
    asked = _arguments().parse_args(arguments)
    try:
        if asked.command == "detect":
            return _detect()
        return _run(asked)
    except MycoError as problem:
        return _fail(problem)
    except OSError as problem:
        # A full disk, as a rule: it is met wherever the node writes first.
        return _fail(from_os_error(problem, Path(problem.filename or resolve().state)))
    except Exception as problem:  # the process boundary: whatever nobody foresaw ends here
        _log.exception("the node ended by a failure that nobody foresaw")
        said = f"the node ended by a bug of ours ({type(problem).__name__}: {problem})"
        return _fail(MycoError(said, "`mycoswarm logs` has the details; please report them"))


def _fail(problem: MycoError) -> int:
    print(f"error: {problem.message}", file=sys.stderr)
    if problem.hint:
        print(f"hint: {problem.hint}", file=sys.stderr)
    return problem.exit_code


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mycoswarm-daemon")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("detect", help="print what this machine is, as JSON")
    run = commands.add_parser("run", help="run a node until it is told to end")
    run.add_argument("--name")
    run.add_argument("--port", type=int)
    run.add_argument("--peer-port", type=int)
    run.add_argument("--listen")
    run.add_argument("--ollama-port", type=int)
    run.add_argument("--announce")
    run.add_argument("--peer", dest="peers", action="append")
    run.add_argument("--private", action="store_true", help="for one command only: no peers, any free port")
    run.add_argument("--keep", action="store_true", help="a private node that does not end with its command")
    return parser


def _detect() -> int:
    from mycoswarm.node import report

    paths = resolve()
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(report(paths, settings_file.load(paths).settings))) + b"\n")
    return 0


def _run(asked: argparse.Namespace) -> int:
    flags = {
        key: getattr(asked, key) for key in ("name", "port", "peer_port", "listen", "ollama_port", "announce", "peers")
    }
    if asked.private:
        flags = {
            **flags,
            "announce": "no",
            "listen": "loopback",
            "ollama_port": 0,
            "port": flags["port"] if flags["port"] is not None else 0,
        }
    paths = resolve()
    settings = settings_file.load(paths, flags).settings
    _make_directories(paths)
    with _lock(paths):
        from mycoswarm.telemetry import logs

        try:
            logs.set_up(paths.log_file, settings.log_level)
        except OSError as problem:
            raise from_os_error(problem, paths.log_file) from None
        # A full disk must not fill the terminal with a traceback for every line that could not be logged.
        logging.raiseExceptions = False
        return _loop(_serve(paths, settings, private=asked.private, keep=asked.keep))


def _loop(work: Any) -> int:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def _make_directories(paths: Paths) -> None:
    for directory in (paths.config, paths.state, paths.data, paths.cache):
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as problem:
            if problem.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise NotWritable(
                f"{directory} cannot be made ({problem.strerror})", "choose another place with MYCOSWARM_HOME=DIR"
            ) from None
        if not os.access(directory, os.W_OK | os.X_OK):
            raise NotWritable(
                f"{directory} is not writable", "mend its permissions, or choose another place with MYCOSWARM_HOME=DIR"
            )


@contextlib.contextmanager
def _lock(paths: Paths) -> Iterator[None]:
    """One node a state directory: two would write one roster and one identity."""
    file = (paths.state / "lock").open("a")
    with contextlib.closing(file):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Fixable(
                "a node of yours already runs on this machine",
                "`mycoswarm status` shows it; `mycoswarm up` starts one only",
            ) from None
        yield


async def _serve(paths: Paths, settings: Settings, *, private: bool, keep: bool) -> int:
    """One node after the other in this process: a node that has a new key is another node, at the same ports."""
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ending.set)
    while (again := await _one_node(paths, settings, ending, private=private, keep=keep)) is not None:
        settings = again
        _log.info("starting again under the new key")
        # The last node must not stay behind among what is never collected.
        gc.unfreeze()
    return 0


async def _one_node(
    paths: Paths, settings: Settings, ending: asyncio.Event, *, private: bool, keep: bool
) -> Settings | None:
    """A node until `ending` (None), or until it has a new key (the settings for its next life)."""
    from mycoswarm import serving
    from mycoswarm.listeners import Listeners
    from mycoswarm.node import Node
    from mycoswarm.telemetry.process import give_back_memory

    renewing = asyncio.Event()
    serving.allow_descriptors()
    give_back_memory()
    listeners = Listeners(settings)
    try:
        name = settings.name or _host_name()
        node = Node(paths, settings, name, private=private, ended=ending.set, renewed=renewing.set)
        node.port = listeners.port
        await node.start()
    except BaseException:
        await listeners.close(0.0)
        raise
    again = msgspec.structs.replace(
        settings,
        port=listeners.port,
        peer_port=settings.peer_port if node.peer_port is None else node.peer_port,
    )
    watching = TaskGroup()
    try:
        await listeners.start(node, _token(paths))
        _write_node_file(paths, node.id, listeners.port, private=private)
        _log.info("node %s (%s) on port %d, Python %s", node.id, __version__, listeners.port, platform.python_version())
        if private and not keep:
            watching.start(_until_unused(sys.stdin.fileno(), node, ending), "watch the command that started this node")
        # What start-up built lives as long as the process; the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        events = [watching.start(event.wait(), "wait for the end") for event in (ending, renewing)]
        await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
        _log.info("ending")
    finally:
        paths.node_file.unlink(missing_ok=True)
        await watching.close()
        await listeners.close(GRACE)
        await node.close()
    return None if ending.is_set() else again


def _host_name() -> str:
    return socket.gethostname().partition(".")[0] or "node"


def _token(paths: Paths) -> str:
    """This node's token, made at the first start; 0600 from its first byte."""
    with contextlib.suppress(FileNotFoundError):
        if kept := paths.token_file.read_text().strip():
            return kept
    token = secrets.token_urlsafe(32)
    write_private(paths.token_file, token.encode() + b"\n")
    return token


def _write_node_file(paths: Paths, node: str, port: int, *, private: bool) -> None:
    said = {"port": port, "pid": os.getpid(), "version": __version__, "private": private, "node": node}
    write_private(paths.node_file, msgspec.json.encode(said))


async def _until_unused(descriptor: int, node: "Node", ending: asyncio.Event) -> None:
    """Sets `ending` when the other end of the pipe has closed and no other terminal's answer is under way."""
    loop = asyncio.get_running_loop()
    closed = asyncio.Event()

    def readable() -> None:
        if not os.read(descriptor, 4096):
            loop.remove_reader(descriptor)
            closed.set()

    loop.add_reader(descriptor, readable)
    try:
        await closed.wait()
        while node.running().tasks:  # noqa: ASYNC110 ten looks a second, at a node that is about to end
            await asyncio.sleep(0.1)
        ending.set()
    finally:
        loop.remove_reader(descriptor)


if __name__ == "__main__":
    sys.exit(main())
