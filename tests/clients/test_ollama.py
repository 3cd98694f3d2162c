"""The official `ollama` package, unmodified, against a real node process with the starter model."""

import asyncio
import hashlib
import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama
import pytest

from mycoswarm.core.paths import resolve
from mycoswarm.models.catalog import STARTER
from tests.clients.running import RunningNode, running_node
from tests.starter import install

pytestmark = pytest.mark.model

HELLO = [{"role": "user", "content": "Say hello."}]
SHORT = {"temperature": 0, "num_predict": 12}
COLOUR = {
    "type": "object",
    "properties": {"colour": {"type": "string", "enum": ["red", "blue"]}},
    "required": ["colour"],
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a town",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
    },
}


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningNode, str]]:
    """A node of its own, because these tests make and delete models, and the address of its Ollama port."""
    home = tmp_path_factory.mktemp("ollama")
    asyncio.run(install(resolve({"MYCOSWARM_HOME": str(home)}).models))
    port = free_port()
    with running_node(home, {"ollama_port": str(port), "internet": "no"}) as running:
        yield running, f"http://127.0.0.1:{port}"


@pytest.fixture(params=["main port", "Ollama port"])
def client(node: tuple[RunningNode, str], request: pytest.FixtureRequest) -> ollama.Client:
    running, theirs = node
    if request.param == "Ollama port":
        return ollama.Client(theirs)
    return ollama.Client(running.url, headers={"Authorization": f"Bearer {running.token}"})


@pytest.fixture
def stranger(node: tuple[RunningNode, str]) -> ollama.Client:
    """On the main port, without a token."""
    return ollama.Client(node[0].url)


def loaded(client: ollama.Client) -> list[str | None]:
    return [one.model for one in client.ps().models]


def test_chat_in_one_piece(client: ollama.Client) -> None:
    answer = client.chat(STARTER, HELLO, options=SHORT)
    assert answer.message.role == "assistant"
    assert answer.message.content
    assert answer.done is True
    assert answer.done_reason in ("stop", "length")
    assert answer.prompt_eval_count
    assert answer.eval_count
    assert answer.eval_count <= 12
    assert answer.total_duration
    assert answer.eval_duration


def test_a_stream_says_the_same(client: ollama.Client) -> None:
    whole = client.chat(STARTER, HELLO, options={**SHORT, "seed": 3})
    pieces = list(client.chat(STARTER, HELLO, options={**SHORT, "seed": 3}, stream=True))
    assert "".join(piece.message.content or "" for piece in pieces) == whole.message.content
    assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert len(pieces) > 3
    assert pieces[-1].eval_count == whole.eval_count
    assert {piece.model for piece in pieces} == {STARTER}


def test_generate(client: ollama.Client) -> None:
    whole = client.generate(STARTER, "Say hello.", system="You are brief.", options=SHORT)
    assert whole.response
    assert whole.context is None
    pieces = list(client.generate(STARTER, "Say hello.", system="You are brief.", options=SHORT, stream=True))
    assert "".join(piece.response or "" for piece in pieces) == whole.response
    assert pieces[-1].done_reason == whole.done_reason


def test_a_format_is_kept(client: ollama.Client) -> None:
    answer = client.chat(
        STARTER, [{"role": "user", "content": "red or blue?"}], format=COLOUR, options={"num_predict": 60}
    )
    assert json.loads(answer.message.content or "")["colour"] in ("red", "blue")


def test_logprobs(client: ollama.Client) -> None:
    answer = client.generate(STARTER, "Say hello.", options={"num_predict": 3}, logprobs=True, top_logprobs=2)
    assert answer.logprobs
    assert all(one.logprob <= 0 and len(one.top_logprobs or ()) == 2 for one in answer.logprobs)


def test_the_lists(client: ollama.Client) -> None:
    listed = {one.model: one for one in client.list().models}
    starter = listed[STARTER]
    assert starter.digest
    assert len(starter.digest) == 64
    assert starter.details
    assert starter.details.family == "llama"
    assert starter.details.parameter_size == "134.52M"
    assert starter.details.quantization_level == "Q8_0"
    client.generate(STARTER, "")
    (running,) = [one for one in client.ps().models if one.model == STARTER]
    assert running.size
    assert running.size_vram == 0
    assert running.context_length
    assert running.expires_at


def test_show(client: ollama.Client) -> None:
    shown = client.show(STARTER)
    assert shown.modelinfo
    assert shown.modelinfo["general.architecture"] == "llama"
    assert shown.modelinfo["llama.context_length"] == client.ps().models[0].context_length
    assert shown.modelinfo["llama.embedding_length"] == 576
    assert shown.capabilities
    assert "completion" in shown.capabilities
    assert "im_start" in (shown.template or "")
    assert shown.license == "Apache-2.0"
    with pytest.raises(ollama.ResponseError) as caught:
        client.show("nothing:1b")
    assert caught.value.status_code == 404


def test_an_empty_prompt_loads_and_keep_alive_0_unloads(client: ollama.Client) -> None:
    assert client.generate(STARTER, "", keep_alive=0).done_reason == "unload"
    assert STARTER not in loaded(client)
    assert client.generate(STARTER, "").done_reason == "load"
    assert STARTER in loaded(client)
    assert client.chat(STARTER, [], keep_alive=0).done_reason == "unload"
    assert STARTER not in loaded(client)


def test_an_upload_becomes_a_model(client: ollama.Client, node: tuple[RunningNode, str], tmp_path: Path) -> None:
    source = node[0].paths.models / "smollm2%3A135m" / "model.gguf"
    # The same weights with one more byte: another file to everybody who compares digests, the same one to the engine.
    path = tmp_path / "mine.gguf"
    shutil.copyfile(source, path)
    with path.open("ab") as file:
        file.write(b"\0")
    digest = client.create_blob(path)
    assert digest == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    steps = list(
        client.create(
            "mine:1",
            files={"mine.gguf": digest},
            system="You are a pirate.",
            parameters={"temperature": 0, "num_predict": 5, "stop": ["<end>"]},
            license="MIT",
            stream=True,
        )
    )
    assert steps[-1].status == "success"
    shown = client.show("mine:1")
    assert shown.license == "MIT"
    assert "num_predict" in (shown.parameters or "")
    assert "You are a pirate." in (shown.modelfile or "")
    answer = client.chat("mine:1", HELLO)
    assert answer.message.content
    assert (answer.eval_count, answer.done_reason) == (5, "length")
    plain = client.chat(STARTER, HELLO, options={"num_predict": 1})
    assert answer.prompt_eval_count != plain.prompt_eval_count, "the system prompt is part of the prompt"
    assert client.create("mine:2", from_="mine:1", system="You are a cook.").status == "success"
    assert client.show("mine:2").parameters == shown.parameters
    assert client.delete("mine:1").status == "success"
    assert client.chat("mine:2", HELLO).message.content
    assert client.delete("mine:2").status == "success"
    assert {"mine:1", "mine:2"}.isdisjoint({one.model for one in client.list().models})
    blobs = node[0].paths.models / ".blobs"
    assert not list(blobs.iterdir()), "what a model was made of is the model's"


def test_copy_and_delete(client: ollama.Client, node: tuple[RunningNode, str]) -> None:
    assert client.copy(STARTER, "twin").status == "success"
    models = node[0].paths.models
    assert (models / "twin" / "model.gguf").samefile(models / "smollm2%3A135m" / "model.gguf")
    assert client.chat("twin:latest", HELLO, options=SHORT).message.content
    assert client.delete("twin").status == "success"
    with pytest.raises(ollama.ResponseError) as caught:
        client.delete("twin")
    assert caught.value.status_code == 404
    assert client.chat(STARTER, HELLO, options=SHORT).message.content


def test_pull(client: ollama.Client) -> None:
    """What the swarm has is not fetched; what nobody knows is an error in their words."""
    assert [step.status for step in client.pull(STARTER, stream=True)][-1] == "success"
    client.copy(STARTER, "local-only")
    assert client.pull("local-only").status == "success"
    client.delete("local-only")
    with pytest.raises(ollama.ResponseError, match="pull model manifest: file does not exist"):
        list(client.pull("nothing:1b", stream=True))
    with pytest.raises(ollama.ResponseError, match="nothing leaves"):
        client.push(STARTER)


def test_errors_have_their_shape(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="not found") as caught:
        client.chat("nothing:1b", HELLO)
    assert caught.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="temperature"):
        client.chat(STARTER, HELLO, options={"temperature": "warm"})
    with pytest.raises(ollama.ResponseError) as caught:
        client.create("x", from_="nothing:1b")
    assert caught.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="digest"):
        client.create("x", files={"a.gguf": "sha256:12"})


def test_management_needs_the_token_on_the_main_port(stranger: ollama.Client) -> None:
    assert stranger.list().models
    assert stranger.show(STARTER).capabilities
    for forbidden in (
        lambda: stranger.copy(STARTER, "x"),
        lambda: stranger.delete(STARTER),
        lambda: stranger.pull(STARTER),
        lambda: stranger.create("x", from_=STARTER),
    ):
        with pytest.raises(ollama.ResponseError) as caught:
            forbidden()
        assert caught.value.status_code == 401


async def test_the_asynchronous_client(node: tuple[RunningNode, str]) -> None:
    client = ollama.AsyncClient(node[1])
    answer = await client.chat(STARTER, HELLO, options=SHORT)
    pieces = [piece async for piece in await client.chat(STARTER, HELLO, options=SHORT, stream=True)]
    assert "".join(piece.message.content or "" for piece in pieces) == answer.message.content
    words = [piece.response or "" async for piece in await client.generate(STARTER, "Hi", options=SHORT, stream=True)]
    assert "".join(words)
    assert (await client.list()).models
    assert (await client.show(STARTER)).capabilities
    assert (await client.copy(STARTER, "other")).status == "success"
    assert (await client.delete("other")).status == "success"
    assert (await client.generate(STARTER, "", keep_alive=0)).done_reason == "unload"
    assert not (await client.ps()).models


def _raw(method: str, url: str, body: Any = None) -> tuple[int, dict[str, str], bytes]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, {key.lower(): value for key, value in reply.headers.items()}, reply.read()
    except urllib.error.HTTPError as problem:
        return problem.code, {key.lower(): value for key, value in problem.headers.items()}, problem.read()


def test_what_their_command_sends(node: tuple[RunningNode, str]) -> None:
    """`ollama list`, `run`, `ps`, `show`, `stop` and `rm`, exchange by exchange, as their public API has them."""
    _, url = node

    def lines(body: bytes) -> list[dict[str, Any]]:
        return [json.loads(one) for one in body.decode().splitlines()]

    status, headers, body = _raw("HEAD", url + "/")
    assert (status, body) == (200, b"")
    assert "x-mycoswarm-node" in headers
    assert _raw("GET", url + "/")[2] == b"Ollama is running"
    assert lines(_raw("GET", url + "/api/version")[2])[0]["version"]
    _raw("POST", url + "/api/copy", {"source": STARTER, "destination": "cli:1"})
    (tag,) = [one for one in lines(_raw("GET", url + "/api/tags")[2])[0]["models"] if one["name"] == "cli:1"]
    assert tag["digest"][:12]
    assert tag["modified_at"]
    # run: shown, then loaded, then spoken to.
    assert _raw("POST", url + "/api/show", {"name": "nothing"})[0] == 404
    assert (
        lines(_raw("POST", url + "/api/show", {"model": "cli:1", "name": "cli:1"})[2])[0]["details"]["format"] == "gguf"
    )
    (load,) = lines(_raw("POST", url + "/api/generate", {"model": "cli:1", "prompt": "", "keep_alive": "5m"})[2])
    assert (load["done"], load["done_reason"], load["response"]) == (True, "load", "")
    status, headers, body = _raw(
        "POST", url + "/api/chat", {"model": "cli:1", "messages": HELLO, "options": SHORT, "keep_alive": "5m"}
    )
    assert (status, headers["content-type"], headers["x-mycoswarm-node"]) == (200, "application/x-ndjson", "boa")
    assert lines(body)[-1]["done"] is True
    assert "cli:1" in {one["name"] for one in lines(_raw("GET", url + "/api/ps")[2])[0]["models"]}
    (stop,) = lines(_raw("POST", url + "/api/generate", {"model": "cli:1", "keep_alive": 0})[2])
    assert stop["done_reason"] == "unload"
    assert _raw("DELETE", url + "/api/delete", {"model": "cli:1", "name": "cli:1"})[0] == 200
    status, _, body = _raw("DELETE", url + "/api/delete", {"name": "cli:1"})
    assert status == 404
    assert set(lines(body)[0]) == {"error"}
