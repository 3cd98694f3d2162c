"""The first minute on a new machine: one command in an empty home, with nothing but a package index."""

import contextlib
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mycoswarm.client import daemon
from mycoswarm.models.catalog import STARTER
from tests.swarm import lab as lab_module
from tests.swarm.lab import Lab, Machine
from tests.swarm.test_bad_input import Home, answered, ended, refused

pytestmark = [pytest.mark.swarm, pytest.mark.model]

QUESTION = "What is a mushroom? One sentence."


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with contextlib.closing(Home(tmp_path / "home")) as made:
        yield made


def processes_of(home: Path) -> list[psutil.Process]:
    """Every process of this user that was started for that home."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("MYCOSWARM_HOME") == str(home):
                found.append(process)
    return found


def test_chat_in_an_empty_home_answers_and_leaves_nothing_running(home: Home) -> None:
    first = home.myco("chat", "--pull", QUESTION, timeout=90)
    answered(first)
    assert f"{STARTER} is ready" in first.stderr
    assert "tokens/s" in first.stderr, "the footer names node, model and speed"
    assert processes_of(home.directory) == []
    assert not home.paths.node_file.exists()
    assert sorted(home.leftovers()) == ["manifest.json", "model.gguf", "smollm2%3A135m"]

    # What was fetched stays; a kept node is found by the next command and ended by `down`.
    kept = home.myco("chat", "--keep", QUESTION)
    answered(kept)
    assert "starting one that stays" in kept.stderr
    node = home.node()
    assert str(node.pid) in kept.stderr
    engine = home.engine()
    assert engine is not None
    second = home.myco("ask", QUESTION)
    answered(second)
    assert "No node runs" not in second.stderr
    assert home.node().pid == node.pid
    assert home.myco("down").returncode == 0
    assert ended(node.pid, 0.1)
    assert ended(engine.pid, 0.1)
    refused(home.myco("down"), 3, "no node runs")
    assert processes_of(home.directory) == []


def test_without_a_yes_nothing_is_fetched(home: Home) -> None:
    refused(home.myco("chat", QUESTION), 6, "no model", hint=f"mycoswarm pull {STARTER}, or give --pull")
    assert home.leftovers() == []
    assert not home.paths.egress_ledger.exists(), "nothing left this machine"


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Machine]:
    lab_module.require()
    with Lab(tmp_path, ("boa",)) as made:
        yield made["boa"]


def sockets(machine: Machine) -> dict[str, list[int]]:
    """Ports that something listens on there, by protocol: tcp and udp."""
    said = machine.run("ss", "-Hltun").stdout
    rows = [line.split() for line in said.splitlines()]
    return {kind: [int(row[4].rpartition(":")[2]) for row in rows if row[0] == kind] for kind in ("tcp", "udp")}


def test_a_node_for_one_command_does_not_announce_itself(alone: Machine) -> None:
    assert sockets(alone) == {"tcp": [], "udp": []}
    # --keep, so that it can be looked at; there is no model, so the question itself is refused.
    asked = alone.myco("ask", "--keep", QUESTION, env={"MYCOSWARM_EMBEDDED": "no"})
    assert asked.returncode == 6, asked.stderr
    node = alone.node_file()
    assert node is not None
    assert node.private
    assert sockets(alone) == {"tcp": [node.port], "udp": []}, "one port on loopback: no peers, no mDNS"
    refused(alone.myco("invite"), 5, "no peers", hint="mycoswarm up")
    assert alone.myco("down").returncode == 0
    assert not daemon.alive(node.pid)

    # The same look at a node that is announced: what it did not find above can be found.
    alone.up(env={"MYCOSWARM_EMBEDDED": "no"})
    alone.wait_ready()
    seen = sockets(alone)
    assert sorted(seen["tcp"]) == [6926, 6927]
    assert 5353 in seen["udp"]


def test_two_terminals_at_once_share_one_private_node(home: Home) -> None:
    """Neither is told that a node runs already, and the one that started it does not cut the other's answer."""
    assert home.myco("pull", STARTER, timeout=90).returncode == 0
    short = threading.Thread(target=lambda: asked.append(home.myco("ask", QUESTION, "--max-tokens", "5")))
    asked: list[subprocess.CompletedProcess[str]] = []
    short.start()
    long = home.myco("ask", "Tell me a long story.", "--max-tokens", "300", "--temperature", "0")
    short.join(60)
    answered(long)
    answered(asked[0])
    assert [one for one in processes_of(home.directory) if one.is_running()] == []
