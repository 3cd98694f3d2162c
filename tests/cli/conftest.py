"""Running the command line in this process, against a fake node, in a home of its own."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mycoswarm.cli.app import App
from mycoswarm.cli.main import main
from mycoswarm.cli.printer import Printer
from mycoswarm.client import daemon
from mycoswarm.core.paths import Paths, resolve
from tests.cli.drive import FAKE_DAEMON
from tests.cli.fake_node import FakeNode


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Run = Callable[..., Result]


class _Stdin(io.StringIO):
    """Input as somebody types it, or as a pipe brings it."""

    def __init__(self, text: str, *, terminal: bool) -> None:
        super().__init__(text)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """Directories of this test alone."""
    monkeypatch.setenv("MYCOSWARM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    return resolve()


@pytest.fixture
def run(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("ask", "hi", terminal=True, width=60, stdin="…")`: one command in this process."""

    def run(
        *arguments: str, terminal: bool = False, width: int = 80, stdin: str = "", typed: str | None = None
    ) -> Result:
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr("sys.stdin", _Stdin(typed if typed is not None else stdin, terminal=typed is not None))
        printer = Printer(out, err, terminal=terminal, width=width)
        code = main(arguments, App(printer))
        return Result(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def node(paths: Paths) -> Iterator[FakeNode]:
    """A running node of this home."""
    with FakeNode(paths) as node:
        yield node


@pytest.fixture
def fake_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a command starts a node, it starts the fake one."""
    monkeypatch.setattr(daemon, "COMMAND", FAKE_DAEMON)
