"""Ollama's client on a machine without a model manages those of another one as if they were its own."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mycoswarm.models.catalog import STARTER
from tests.starter import install
from tests.swarm.lab import PYTHON, Lab, Machine, eventually, require

pytestmark = [pytest.mark.swarm, pytest.mark.model]

PORT = 11434

ON_BOA = """
import json, ollama, sys
client = ollama.Client("http://127.0.0.1:11434")
starter, said = sys.argv[1], {}
short = {"temperature": 0, "num_predict": 8}
ask = lambda model: client.chat(model, [{"role": "user", "content": "Say hello."}], options=short)
said["listed"] = [one.model for one in client.list().models]
shown = client.show(starter)
said["shown"] = [shown.modelinfo["llama.block_count"], shown.license, "im_start" in shown.template]
said["load"] = client.generate(starter, "", keep_alive="1h").done_reason
said["loaded"] = [one.model for one in client.ps().models if one.model == starter]
said["said"] = ask(starter).message.content
said["copied"] = client.copy(starter, "twin").status
said["twin"] = ask("twin").message.content
said["made"] = client.create("pirate", from_=starter, system="You are a pirate.", parameters={"num_predict": 3}).status
another = ask("pirate").prompt_eval_count != ask(starter).prompt_eval_count
said["pirate"] = [client.show("pirate").parameters.split(), another]
said["unload"] = client.generate(starter, "", keep_alive=0).done_reason
said["left"] = [one.model for one in client.ps().models if one.model == starter]
said["deleted"] = [client.delete(name).status for name in ("twin", "pirate")]
said["rest"] = [one.model for one in client.list().models if one.model in ("twin", "pirate")]
try:
    client.create("x", files={"x.gguf": "sha256:" + "0" * 64})
except ollama.ResponseError as problem:
    said["missing"] = problem.status_code
print(json.dumps(said))
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """miu with the starter model, boa without an engine and with Ollama's port; one swarm."""
    require()
    with Lab(tmp_path, ("miu", "boa")) as made:
        asyncio.run(install(made["miu"].paths.models))
        made["miu"].up()
        made["boa"].up("--ollama-port", str(PORT), env={"MYCOSWARM_EMBEDDED": "no"})
        for machine in made:
            machine.wait_ready()
        code = made["miu"].myco("invite", "--quiet").stdout.split()[0]
        assert made["boa"].myco("join", code).returncode == 0
        eventually(lambda: STARTER in made["boa"].myco("models").stdout, 30, "boa knows of miu's model")
        yield made


def python(machine: Machine, script: str, *arguments: str) -> dict[str, Any]:
    done = machine.run(PYTHON, "-c", script, *arguments)
    assert done.returncode == 0, done.stderr + machine.log()[-3000:]
    return json.loads(done.stdout)


def test_models_of_another_machine(lab: Lab) -> None:
    said = python(lab["boa"], ON_BOA, STARTER)
    assert STARTER in said["listed"]
    assert said["shown"] == [30, "Apache-2.0", True]
    assert (said["load"], said["loaded"], said["unload"]) == ("load", [STARTER], "unload")
    assert said["said"] == said["twin"] != ""
    assert (said["copied"], said["made"], said["deleted"]) == ("success", "success", ["success", "success"])
    assert said["pirate"] == [["num_predict", "3"], True]
    assert (said["missing"], said["left"]) == (404, [])
    assert said["rest"] == []
    models = lab["miu"].paths.models
    assert sorted(path.name for path in models.iterdir() if not path.name.startswith(".")) == ["smollm2%3A135m"]


def test_a_node_on_ollama_s_port_is_no_engine_to_anybody(lab: Lab) -> None:
    """It is the first place where a node looks for one; it looks every 15 s, its own port included."""
    detected = json.loads(lab["boa"].myco("detect", "--json").stdout)
    assert [engine for engine in detected["engines"] if engine["kind"] == "ollama"] == []
    nodes = json.loads(lab["boa"].myco("nodes", "--json").stdout)["nodes"]
    assert all("ollama" not in node["record"].get("engines", ()) for node in nodes)
