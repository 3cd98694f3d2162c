"""Ask on the weakest machine, hear the strongest: four real nodes, real multicast, a real model."""

import asyncio
import itertools
import os
import signal
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from mycoswarm.core.chat import ChatRequest, Sampling, Text, message
from mycoswarm.engines.llamacpp import LlamaCpp
from mycoswarm.engines.minilm import NAME as EMBEDDER
from mycoswarm.models.catalog import STARTER
from tests.starter import shared_store
from tests.swarm.lab import PYTHON, Lab, Machine, eventually

pytestmark = pytest.mark.swarm

QUESTION = "Tell me a short story about a mushroom in the forest."
TOKENS = 80
OTHERS = ("naru", "uncho", "boa")
NO_ENGINE = {"MYCOSWARM_EMBEDDED": "no"}


def json_of(machine: Machine, *arguments: str) -> dict[str, object]:
    done = machine.myco(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=dict[str, object])


def states(machine: Machine) -> dict[str, str]:
    nodes = json_of(machine, "nodes")["nodes"]
    assert isinstance(nodes, list)
    return {str(node["name"]): str(node["state"]) for node in nodes}


def model_names(machine: Machine) -> set[str]:
    """Those that answer; every node has the built-in embedder besides."""
    models = json_of(machine, "models")["models"]
    assert isinstance(models, list)
    return {str(model["name"]) for model in models} - {EMBEDDER}


def start_all(lab: Lab) -> None:
    """`up` on each machine. Only miu may have the embedded engine."""
    for machine in lab:
        machine.up(env={} if machine.name == "miu" else NO_ENGINE)
    for machine in lab:
        machine.wait_ready()


def join_all(lab: Lab) -> None:
    for name in OTHERS:
        code = lab["miu"].myco("invite", "--quiet").stdout.split()[0]
        joined = lab[name].myco("join", code)
        assert joined.returncode == 0, joined.stderr
    for machine in lab:
        eventually(
            lambda machine=machine: sorted(states(machine).values()) == ["self", "up", "up", "up"],
            30,
            f"{machine.name} sees all others up",
        )


def direct_answer() -> str:
    """What the same engine says when it is asked directly, alone and with nothing cached."""

    async def ask() -> str:
        engine = LlamaCpp(shared_store())
        request = ChatRequest(
            STARTER, (message("user", QUESTION),), sampling=Sampling(temperature=0), max_tokens=TOKENS
        )
        try:
            return "".join([delta.text async for delta in engine.chat(request) if isinstance(delta, Text)])
        finally:
            await engine.close()

    return asyncio.run(ask())


def test_a_question_on_boa_streams_from_miu(lab: Lab, starter_on_miu: Path) -> None:
    start_all(lab)
    # Before anybody has joined they are near each other, and that is all.
    eventually(lambda: json_of(lab["boa"], "status").get("nearby"), 20, "boa hears that others are there")
    assert model_names(lab["boa"]) == set()
    alone = lab["boa"].myco("ask", QUESTION, "--no-input")
    assert alone.returncode == 6
    join_all(lab)
    eventually(lambda: model_names(lab["boa"]) == {STARTER}, 20, "boa knows of miu's model")

    asking = lab["boa"].start(
        PYTHON, "-m", "mycoswarm", "ask", QUESTION, "--temperature", "0", "--max-tokens", str(TOKENS), "--why"
    )
    assert asking.stdout is not None
    assert asking.stderr is not None
    pieces: list[bytes] = []
    moments: list[float] = []
    while piece := os.read(asking.stdout.fileno(), 65536):
        pieces.append(piece)
        moments.append(time.monotonic())
    footer = asking.stderr.read().decode()
    assert asking.wait(10) == 0, footer
    text = b"".join(pieces).decode()

    # Many deltas over time and not one lump: no piece holds much of the answer, no gap much of the time.
    assert len(pieces) >= TOKENS / 4
    assert max(map(len, pieces)) < len(text) / 4
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    assert max(gaps) < (moments[-1] - moments[0]) / 2
    assert "miu" in footer
    assert STARTER in footer

    assert text.strip() == direct_answer().strip()

    # boa holds nothing and runs nothing.
    boa = lab["boa"].node_file()
    assert boa is not None
    children = [" ".join(child.cmdline()) for child in psutil.Process(boa.pid).children(recursive=True)]
    assert not [child for child in children if "llamacpp" in child]
    assert not lab["boa"].paths.models.exists()
    loaded = json_of(lab["boa"], "ps")["loaded"]
    assert isinstance(loaded, list)
    assert {place["node_name"] for place in loaded} == {"miu"}


def test_gemma_on_miu_is_asked_by_name_and_by_auto_and_missed_when_miu_stops(lab: Lab) -> None:
    double = lab["miu"].start(
        PYTHON, "-m", "mycoswarm.testing.ollama_double", "--port", "11434", "--model", "gemma3:27b=27.4B",
        "--token-ms", "5",
    )  # fmt: skip
    start_all(lab)
    join_all(lab)
    eventually(lambda: model_names(lab["boa"]) == {"gemma3:27b"}, 40, "boa knows of miu's gemma3:27b")
    for model in ("gemma3:27b", "auto"):
        asked = lab["boa"].myco("ask", "Why is the sky blue?", "-m", model)
        assert asked.returncode == 0, asked.stderr
        assert "gemma3:27b" in asked.stdout
        assert "miu" in asked.stderr
    near = lab["boa"].myco("ask", "Why?", "-m", "gemma3:72b")
    assert near.returncode == 4
    assert "gemma3:27b" in near.stderr

    node = lab["miu"].node_file()
    assert node is not None
    os.kill(node.pid, signal.SIGTERM)
    started = time.monotonic()
    refused = lab["boa"].myco("ask", "Why is the sky blue?", "-m", "gemma3:27b")
    assert time.monotonic() - started < 5
    assert refused.returncode == 6
    assert refused.stdout == ""
    sentence = refused.stderr.splitlines()[0]
    assert "no node can serve" in sentence
    assert "miu" in sentence
    assert double.poll() is None


def test_a_killed_machine_is_missed_as_soon(lab: Lab, starter_on_miu: Path) -> None:
    """The same without a goodbye: while boa waits for the answer, miu's node is killed."""
    start_all(lab)
    join_all(lab)
    eventually(lambda: model_names(lab["boa"]) == {STARTER}, 20, "boa knows of miu's model")
    asking = lab["boa"].start(PYTHON, "-m", "mycoswarm", "ask", QUESTION, "--max-tokens", "2000")
    assert asking.stdout is not None
    first = os.read(asking.stdout.fileno(), 65536)
    assert first
    node = lab["miu"].node_file()
    assert node is not None
    os.kill(node.pid, signal.SIGKILL)
    killed = time.monotonic()
    _, said = asking.communicate(timeout=20)
    assert time.monotonic() - killed < 10
    # What was delivered stays, and the loss is told: never a silent end.
    assert asking.returncode == 1, said.decode()
    (sentence,) = [line for line in said.decode().splitlines() if line.startswith("error: ")]
    assert "miu" in sentence
    again = lab["boa"].myco("ask", QUESTION)
    assert again.returncode == 6, again.stderr


def test_a_client_that_goes_away_frees_miu(lab: Lab, starter_on_miu: Path) -> None:
    start_all(lab)
    join_all(lab)
    eventually(lambda: model_names(lab["boa"]) == {STARTER}, 20, "boa knows of miu's model")
    asking = lab["boa"].start(PYTHON, "-m", "mycoswarm", "ask", QUESTION, "--max-tokens", "3000")
    assert asking.stdout is not None
    assert os.read(asking.stdout.fileno(), 65536)
    assert running(lab["miu"]) == 1
    asking.send_signal(signal.SIGINT)
    assert asking.wait(10) == 130
    eventually(lambda: running(lab["miu"]) == 0, 20, "miu's slot is free again")


def running(machine: Machine) -> int:
    """Answers that the machine's own record says it is writing."""
    nodes = json_of(machine, "nodes")["nodes"]
    assert isinstance(nodes, list)
    queues = nodes[0]["record"].get("queues", [])
    return sum(queue.get("running", 0) for queue in queues)


def test_only_one_node_runs_for_one_home(lab: Lab) -> None:
    boa = lab["boa"]
    boa.up(env=NO_ENGINE)
    boa.wait_ready()
    second = boa.myco("up", timeout=20)
    assert second.returncode == 1
    assert "already" in second.stderr
