"""The dialect over the application, both ports: who may, what is asked of the node, and what is said when it fails."""

import asyncio
import hashlib
import json
from typing import Any

import msgspec
import pytest

from mycoswarm.api import asgi
from mycoswarm.api.app import create_app, create_ollama_app
from mycoswarm.api.ollama.owner import OwnersPort
from mycoswarm.core.chat import Error, Note, Text
from mycoswarm.core.embed import Embedded, EmbedRequest
from mycoswarm.core.errors import Busy, DiskFull, EngineFailed, ErrorBody, UnknownModel
from mycoswarm.core.model import Progress
from mycoswarm.core.preset import Recipe
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.core.views import ModelPlace
from tests.api.driver import Exchange, ask
from tests.api.fake_node import START, FakeNode

TOKEN = "s3cret"
OWNER = {"authorization": f"Bearer {TOKEN}"}
CHAT = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
DIGEST = "sha256:" + hashlib.sha256(b"GGUF").hexdigest()
ADMIN = [
    ("POST", "/api/pull", b'{"model":"m"}'),
    ("DELETE", "/api/delete", b'{"model":"org/m:7b"}'),
    ("POST", "/api/copy", b'{"source":"a","destination":"b"}'),
    ("POST", "/api/create", b'{"model":"b","from":"a"}'),
    ("POST", "/api/push", b'{"model":"b"}'),
    ("HEAD", f"/api/blobs/{DIGEST}", b""),
    ("POST", f"/api/blobs/{DIGEST}", b"GGUF"),
]
FREE = [
    ("HEAD", "/", b""),
    ("GET", "/api/version", b""),
    ("HEAD", "/api/version", b""),
    ("GET", "/api/tags", b""),
    ("HEAD", "/api/tags", b""),
    ("GET", "/api/ps", b""),
    ("POST", "/api/show", b'{"model":"m"}'),
    ("POST", "/api/chat", CHAT),
    ("POST", "/api/generate", b'{"model":"m","prompt":"hi"}'),
    ("POST", "/api/embed", b'{"model":"m","input":"hi"}'),
    ("POST", "/api/embeddings", b'{"model":"m","prompt":"hi"}'),
]


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def app(node: FakeNode) -> Any:
    return create_app(node, TOKEN)


def on_port(node: FakeNode, *, owner: bool) -> Any:
    return create_ollama_app(node, OwnersPort(TOKEN, lambda _: owner))


def lines(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body.splitlines()]


@pytest.mark.parametrize(("method", "path", "body"), FREE)
async def test_asking_and_looking_are_free(app: Any, method: str, path: str, body: bytes) -> None:
    exchange = await ask(app, method, path, body)
    assert exchange.status == 200
    assert exchange.headers["x-mycoswarm-node"]


@pytest.mark.parametrize(("method", "path", "body"), ADMIN)
async def test_changing_needs_the_token(app: Any, method: str, path: str, body: bytes) -> None:
    exchange = await ask(app, method, path, body)
    assert exchange.status == 401
    assert set(exchange.json) == {"error"}
    assert isinstance(exchange.json["error"], str)
    assert (await ask(app, method, path, body, OWNER)).status != 401


@pytest.mark.parametrize(("method", "path", "body"), ADMIN)
async def test_on_their_port_the_owner_s_programs_need_none(method: str, path: str, body: bytes) -> None:
    assert (await ask(on_port(FakeNode(), owner=True), method, path, body)).status != 401
    assert (await ask(on_port(FakeNode(), owner=False), method, path, body)).status == 401
    assert (await ask(on_port(FakeNode(), owner=False), method, path, body, OWNER)).status != 401


@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-for": "10.0.0.1"},
        {"via": "1.1 proxy"},
        {"origin": "https://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"host": "evil.example:11434"},
    ],
)
async def test_a_proxy_or_a_page_is_not_the_owner(node: FakeNode, headers: dict[str, str]) -> None:
    exchange = await ask(on_port(node, owner=True), "DELETE", "/api/delete", b'{"model":"org/m:7b"}', headers)
    assert exchange.status in (401, 403)
    assert node.calls == []


async def test_their_port_has_their_api_and_openai_s_and_nothing_of_ours(node: FakeNode) -> None:
    app = on_port(node, owner=True)
    assert (await ask(app, "GET", "/")).body == b"Ollama is running"
    assert (await ask(app, "HEAD", "/")).status == 200
    assert (await ask(app, "GET", "/v1/models")).status == 200
    for path in ("/swarm/v1/node", "/schema", "/metrics"):
        exchange = await ask(app, "GET", path)
        assert exchange.status == 404
        assert exchange.headers["x-mycoswarm-node"], "so that no node takes it for an engine"


async def test_the_root_of_the_main_port_is_not_theirs(app: Any) -> None:
    assert (await ask(app, "GET", "/")).status == 405


async def test_a_chat_over_the_wire(app: Any) -> None:
    exchange = await ask(app, "POST", "/api/chat", CHAT)
    assert exchange.headers["content-type"] == "application/x-ndjson"
    assert (exchange.headers["x-mycoswarm-node"], exchange.headers["x-mycoswarm-model"]) == ("miu", "m")
    told = lines(exchange.body)
    assert "".join(one["message"]["content"] for one in told) == "Hello"
    assert (told[-1]["done"], told[-1]["prompt_eval_count"]) == (True, 3)


async def test_a_silent_stream_is_kept_alive_by_empty_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "HOLD_HEADERS", 0.03)
    monkeypatch.setattr(asgi, "KEEP_ALIVE", 0.02)
    gate = asyncio.Event()
    node = FakeNode(Note("queue", "1 before this one"), gate, START, Text("Hi"))
    group = TaskGroup()
    try:
        exchange = Exchange(group, create_app(node, TOKEN), "POST", "/api/chat", CHAT)
        await exchange.until(lambda body: body.count(b"\n") >= 3)
        gate.set()
        await exchange.end()
    finally:
        await group.close()
    told = lines(exchange.body)
    assert all(one["message"]["role"] == "assistant" for one in told)
    assert "".join(one["message"]["content"] for one in told) == "Hi"
    assert [one["mycoswarm"] for one in told if "mycoswarm" in one] == [
        {"queue": "1 before this one"},
        {"node": "miu", "model": "m"},
    ]


async def test_failures_before_and_after_the_first_word() -> None:
    early = await ask(create_app(FakeNode(Busy("full", retry_after=7)), TOKEN), "POST", "/api/chat", CHAT)
    assert (early.status, early.json, early.headers["retry-after"]) == (503, {"error": "full"}, "7")
    late = FakeNode(START, Text("Hi"), Error(ErrorBody("peer_lost", "gone")))
    exchange = await ask(create_app(late, TOKEN), "POST", "/api/chat", CHAT)
    assert exchange.status == 200
    assert lines(exchange.body)[-1] == {"error": "gone"}


async def test_loading_and_unloading(app: Any, node: FakeNode) -> None:
    for body, reason in ((b'{"model":"m","keep_alive":"5m"}', "load"), (b'{"model":"m","keep_alive":0}', "unload")):
        for path in ("/api/generate", "/api/chat"):
            assert (await ask(app, "POST", path, body)).json["done_reason"] == reason
    assert node.calls == [("load", "m", 300.0)] * 2 + [("unload", "m")] * 2
    assert node.asked == []


async def test_no_texts_give_no_vectors_and_ask_nobody(app: Any, node: FakeNode) -> None:
    assert (await ask(app, "POST", "/api/embed", b'{"model":"m","input":[]}')).json["embeddings"] == []
    assert node.embedded == []
    exchange = await ask(app, "POST", "/api/embed", b'{"model":"m","input":["a","bc"]}')
    assert exchange.json["embeddings"] == [[1.0, 1.0], [2.0, 1.0]]
    assert exchange.headers["x-mycoswarm-node"] == "uncho"


async def test_pull_is_told_line_by_line_or_at_its_end() -> None:
    steps = (Progress("download", "p", 1, 2), Progress("done", "m"))
    exchange = await ask(create_app(FakeNode(*steps), TOKEN), "POST", "/api/pull", b'{"model":"m"}', OWNER)
    assert lines(exchange.body)[0]["status"] == "pulling manifest"
    assert lines(exchange.body)[-1] == {"status": "success"}
    whole = await ask(create_app(FakeNode(*steps), TOKEN), "POST", "/api/pull", b'{"model":"m","stream":false}', OWNER)
    assert whole.json == {"status": "success"}


async def test_a_pull_that_fails() -> None:
    unknown = create_app(FakeNode(UnknownModel("the catalogue has no model 'm'")), TOKEN)
    for body in (b'{"model":"m"}', b'{"model":"m","stream":false}'):
        exchange = await ask(unknown, "POST", "/api/pull", body, OWNER)
        assert exchange.status == 404
        assert exchange.json["error"].startswith("pull model manifest: file does not exist")
    late = create_app(FakeNode(Progress("download", "p", 1, 2), DiskFull("full")), TOKEN)
    exchange = await ask(late, "POST", "/api/pull", b'{"model":"m"}', OWNER)
    assert (exchange.status, lines(exchange.body)[-1]) == (200, {"error": "full"})
    bug = create_app(FakeNode(Progress("download", "p", 1, 2), ZeroDivisionError()), TOKEN)
    exchange = await ask(bug, "POST", "/api/pull", b'{"model":"m"}', OWNER)
    assert "failed in the middle" in lines(exchange.body)[-1]["error"]


async def test_management_reaches_the_node(node: FakeNode, app: Any) -> None:
    node.script = (Progress("done", "b"),)
    assert (await ask(app, "POST", "/api/copy", b'{"source":"a","destination":"b"}', OWNER)).status == 200
    created = await ask(app, "POST", "/api/create", b'{"model":"c","from":"a"}', OWNER)
    assert lines(created.body)[-1] == {"status": "success"}
    assert (await ask(app, "DELETE", "/api/delete", b'{"model":"org/m:7b"}', OWNER)).status == 400, "not ours"
    assert (await ask(app, "DELETE", "/api/delete", b'{"model":"nothing"}', OWNER)).status == 404
    assert node.calls == [("create", Recipe("b", source="a")), ("create", Recipe("c", source="a"))]
    assert (await ask(app, "POST", "/api/push", b'{"model":"b"}', OWNER)).status == 403


async def test_uploads(app: Any, node: FakeNode) -> None:
    path = f"/api/blobs/{DIGEST}"
    assert (await ask(app, "HEAD", path, headers=OWNER)).status == 404
    assert (await ask(app, "POST", path, [b"GG", b"UF"], {**OWNER, "content-length": "4"})).status == 201
    assert node.calls == [("blob", DIGEST, 4)]
    assert node.blobs[DIGEST] == b"GGUF"
    assert (await ask(app, "HEAD", path, headers=OWNER)).status == 200
    assert (await ask(app, "POST", path, b"GGUF", OWNER)).status == 200
    assert len(node.calls) == 1, "what is there is not taken in again"


async def test_an_upload_that_breaks_off(app: Any, node: FakeNode) -> None:
    group = TaskGroup()
    try:
        exchange = Exchange(group, app, "POST", f"/api/blobs/{DIGEST}", b"GG", OWNER, keep_open=True)
        while not node.calls:
            await asyncio.sleep(0)
        await exchange.leave()
    finally:
        await group.close()
    assert (exchange.status, node.blobs) == (0, {})


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/nothing", b"", 404),
        ("GET", "/api/chat", b"", 405),
        ("POST", "/api/chat", b"{", 400),
        ("POST", "/api/generate", b'{"prompt":"x"}', 400),
        ("POST", "/api/show", b"{}", 400),
        ("POST", "/api/embed", b'{"model":"m","input":5}', 400),
        ("HEAD", "/api/chat", b"", 405),
    ],
)
async def test_errors_have_their_shape(app: Any, method: str, path: str, body: bytes, status: int) -> None:
    exchange = await ask(app, method, path, body)
    assert exchange.status == status
    assert isinstance(exchange.json["error"], str)


async def test_a_failure_of_the_node(node: FakeNode, app: Any) -> None:
    node.broken = EngineFailed("it died")
    exchange = await ask(app, "POST", "/api/show", b'{"model":"m"}')
    assert (exchange.status, exchange.json) == (502, {"error": "it died"})
    node.broken = ZeroDivisionError()
    exchange = await ask(app, "POST", "/api/show", b'{"model":"m"}')
    assert exchange.status == 500
    assert isinstance(exchange.json["error"], str)


class Forging(FakeNode):
    """Another node's name is what that node says it is."""

    NAME = "miu\r\nset-cookie: mine"

    async def embed(self, request: EmbedRequest) -> Embedded:
        return msgspec.structs.replace(await super().embed(request), node_name=self.NAME)

    async def load_model(self, name: str, keep: float | None) -> ModelPlace:
        return msgspec.structs.replace(await super().load_model(name, keep), node_name=self.NAME)


@pytest.mark.parametrize(
    ("path", "body"), [("/api/embed", b'{"model":"m","input":"hi"}'), ("/api/generate", b'{"model":"m"}')]
)
async def test_the_name_of_a_node_forges_no_header(path: str, body: bytes) -> None:
    exchange = await ask(create_app(Forging(), TOKEN), "POST", path, body)
    assert exchange.status == 200
    assert exchange.headers["x-mycoswarm-node"] == "miu??set-cookie: mine"
