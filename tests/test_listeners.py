"""The sockets of the user side: what is told when Ollama's port is taken, and who gets one."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mycoswarm.client import daemon
from mycoswarm.core.errors import PortTaken
from mycoswarm.core.paths import resolve
from mycoswarm.core.settings import Settings
from mycoswarm.listeners import Listeners


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield int(other.getsockname()[1])


def test_a_port_that_ollama_has(taken: int) -> None:
    with pytest.raises(PortTaken, match="ollama_port") as caught:
        Listeners(Settings(port=0, ollama_port=taken))
    assert "part of the swarm anyway" in caught.value.hint
    assert caught.value.data["port"] == taken


def test_a_private_node_leaves_the_port_alone(tmp_path: Path, taken: int) -> None:
    """It is started by a command for itself, next to whatever the owner runs."""
    paths = resolve({"MYCOSWARM_HOME": str(tmp_path)})
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MYCOSWARM_")}
    environment |= {"MYCOSWARM_HOME": str(tmp_path), "MYCOSWARM_EMBEDDED": "no", "MYCOSWARM_OLLAMA_PORT": str(taken)}
    process = subprocess.Popen(
        [*daemon.COMMAND, "run", "--private"], env=environment, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert daemon.wait_ready(paths, process.pid, lambda: process.poll() is None, timeout=30.0) is not None
    finally:
        process.communicate(timeout=20.0)
    assert process.returncode == 0
