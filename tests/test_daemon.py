"""The node process: a new key is a new node in the same process, at the same ports."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mycoswarm.client import daemon
from mycoswarm.client.http import Client
from mycoswarm.core.errors import Refused
from mycoswarm.core.paths import Paths, resolve
from mycoswarm.core.views import InviteBody


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setenv("MYCOSWARM_HOME", str(tmp_path))
    return resolve()


@pytest.fixture
def process(paths: Paths) -> Iterator["subprocess.Popen[bytes]"]:
    command = [*daemon.COMMAND, "run", "--name", "boa", "--port", "0", "--peer-port", "0"]
    started = subprocess.Popen(command, env={**os.environ, "MYCOSWARM_EMBEDDED": "no"})
    yield started
    if started.poll() is None:
        started.kill()
    started.wait()


def _client(paths: Paths, process: "subprocess.Popen[bytes]") -> Client:
    found = daemon.wait_ready(paths, process.pid, lambda: process.poll() is None)
    assert found is not None, "it did not start"
    return daemon.client_of(found, paths)


def test_a_new_key_is_a_new_node_at_the_same_ports(paths: Paths, process: "subprocess.Popen[bytes]") -> None:
    client = _client(paths, process)
    with pytest.raises(Refused):
        client.rotate()
    founded = client.invite(InviteBody(name="home"))
    assert len(founded.phrase.split()) == 12
    before = client.node()
    for _ in range(2):
        rotated = client.rotate()
        assert daemon.wait_for(paths, rotated.after, 30.0)
        after = client.node()
        assert rotated.before == before.view.id
        assert after.view.id == rotated.after
        assert (after.pid, after.port, after.peer_port) == (process.pid, before.port, before.peer_port)
        assert after.swarm is not None
        assert (after.swarm.name, after.swarm.members, after.swarm.keepers) == ("home", 1, (rotated.after,))
        before = after
    assert client.invite(InviteBody()).code, "it is a keeper under its new key too"
    process.send_signal(signal.SIGTERM)
    assert process.wait(10.0) == 0
    assert not paths.node_file.exists()


def test_a_node_told_to_end_while_it_changes_its_key_ends(paths: Paths, process: "subprocess.Popen[bytes]") -> None:
    client = _client(paths, process)
    client.invite(InviteBody())
    client.rotate()
    process.send_signal(signal.SIGTERM)
    assert process.wait(15.0) == 0
    assert not paths.node_file.exists()
