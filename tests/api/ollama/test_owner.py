"""Against the kernel's own table, and against a socket of another user's where the tests may become one."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mycoswarm.api.ollama import owner
from mycoswarm.api.ollama.owner import is_of_this_user, same_user

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")

SPEAK = """
import encodings.idna, os, socket, sys  # the last modules that can be read before the change
os.setuid(int(sys.argv[1])) if sys.argv[1] != "-" else None
with socket.create_connection(("127.0.0.1", int(sys.argv[2]))) as client:
    print(client.getsockname()[1], flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server


def connect(listener: socket.socket, user: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SPEAK, user, str(listener.getsockname()[1])]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ends(process: "subprocess.Popen[str]", listener: socket.socket) -> tuple[tuple[str, int], tuple[str, int]]:
    assert process.stdout is not None
    return ("127.0.0.1", int(process.stdout.readline())), listener.getsockname()


def test_a_program_of_the_same_user(listener: socket.socket) -> None:
    process = connect(listener, "-")
    client, server = ends(process, listener)
    accepted, _ = listener.accept()
    with accepted:
        assert same_user(client, server)
        assert is_of_this_user({"client": client, "server": server})
        assert not same_user(client, (server[0], 1))
        process.communicate("")
    assert not same_user(client, server), "it has closed its end"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_program_of_another_user(listener: socket.socket) -> None:
    process = connect(listener, "1234")
    client, server = ends(process, listener)
    assert not same_user(client, server)
    process.communicate("")


def test_where_nobody_tells_the_token_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not same_user(("127.0.0.1", 1), ("127.0.0.1", 2), (tmp_path / "missing",))
    assert not is_of_this_user({"client": None, "server": ("127.0.0.1", 1)})
    assert not is_of_this_user({})
    monkeypatch.setattr(owner.sys, "platform", "darwin")
    assert not is_of_this_user({"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2)})


def test_nobody_owns_nothing(listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the id that stands for every unknown user, equal ids say nothing."""
    (tmp_path / "overflowuid").write_text(f"{os.geteuid()}\n")
    monkeypatch.setattr(owner, "_NOBODY", tmp_path / "overflowuid")
    process = connect(listener, "-")
    client, server = ends(process, listener)
    assert not same_user(client, server)
    process.communicate("")
