import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from mycoswarm import __version__
from mycoswarm.api.app import MAX_ANSWER_BODY, create_app
from mycoswarm.core.chat import ChatRequest, Text, message
from mycoswarm.core.errors import Busy, UnknownModel
from mycoswarm.core.placement import Placement
from mycoswarm.core.task import Task
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.core.views import (
    Admitted,
    Expelled,
    HealthReport,
    Joined,
    Models,
    NodeDetail,
    NodeHistory,
    Nodes,
    Removed,
    Routed,
    Running,
    Tasks,
    WaitingMachines,
)
from mycoswarm.serving import Listener, bind
from tests.api.driver import HOST, Exchange, ask
from tests.api.fake_node import (
    COMPARING,
    DETAIL,
    HISTORY,
    ME,
    METRICS,
    MODELS,
    PLACE,
    PLACED,
    PROBLEMS,
    START,
    SWARM,
    TASK,
    VIEW,
    WAITING,
    FakeNode,
)
from tests.api.ollama import test_routes as ollama

TOKEN = "s3cret"
OWNER = {"authorization": f"Bearer {TOKEN}"}
CHAT = msgspec.json.encode(ChatRequest("m", (message("user", "hi"),)))
MESSAGES = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'
THEIRS = b'{"messages":[{"role":"user","content":"hi"}],"stream":true}'

CLOSED = [
    ("GET", "/swarm/v1/keys", b""),
    ("POST", "/swarm/v1/keys", b'{"name":"laptop"}'),
    ("DELETE", "/swarm/v1/keys/abcdefgh", b""),
    ("POST", "/swarm/v1/invite", b"{}"),
    ("POST", "/swarm/v1/join", b'{"code":"7-guitar-lemon"}'),
    ("POST", "/swarm/v1/join/compare", b"{}"),
    ("GET", "/swarm/v1/join/compare/run-1", b""),
    ("POST", "/swarm/v1/join/compare/run-1", b'{"same":true}'),
    ("GET", "/swarm/v1/waiting", b""),
    ("POST", "/swarm/v1/admit", b'{"run":"run-1","same":true}'),
    ("POST", "/swarm/v1/leave", b""),
    ("DELETE", "/swarm/v1/nodes/uncho", b""),
    ("POST", "/swarm/v1/keepers", b'{"node":"uncho"}'),
    ("DELETE", "/swarm/v1/keepers/uncho", b""),
    ("POST", "/swarm/v1/recover", b'{"phrase":"a b"}'),
    ("POST", "/swarm/v1/rotate", b""),
    ("POST", "/swarm/v1/shutdown", b""),
    ("POST", "/swarm/v1/models/pull", b'{"name":"m"}'),
    ("DELETE", "/swarm/v1/models/m", b""),
]
NOTHING_STORED = {("GET", "/v1/responses/{id}"), ("DELETE", "/v1/responses/{id}")}
"""There, but only to say that they have nothing."""

FREE = [
    ("GET", "/healthz", b""),
    ("GET", "/schema", b""),
    ("GET", "/swarm/v1/node", b""),
    ("GET", "/swarm/v1/certificate", b""),
    ("GET", "/metrics", b""),
    ("GET", "/swarm/v1/nodes", b""),
    ("GET", "/swarm/v1/nodes/boa", b""),
    ("GET", "/swarm/v1/health", b""),
    ("GET", "/swarm/v1/models", b""),
    ("GET", "/swarm/v1/ps", b""),
    ("GET", "/swarm/v1/tasks", b""),
    ("GET", "/swarm/v1/tasks/req-1", b""),
    ("POST", "/swarm/v1/route", CHAT),
    ("POST", "/swarm/v1/chat", CHAT),
    ("GET", "/v1/models", b""),
    ("GET", "/v1/models/org/m:7b", b""),
    ("POST", "/v1/completions", b'{"prompt":"Once"}'),
    ("POST", "/v1/embeddings", b'{"input":"Once"}'),
    ("POST", "/v1/responses", b'{"input":"hi"}'),
    ("POST", "/v1/chat/completions", THEIRS),
    ("POST", "/v1/messages", MESSAGES),
    ("POST", "/v1/messages/count_tokens", MESSAGES),
]


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def app(node: FakeNode) -> Any:
    return create_app(node, TOKEN)


@pytest.fixture
async def group() -> AsyncIterator[TaskGroup]:
    made = TaskGroup()
    yield made
    await made.close()


# Every route


@pytest.mark.parametrize(
    ("path", "view"),
    [
        ("/swarm/v1/node", DETAIL),
        ("/swarm/v1/nodes", Nodes((VIEW,))),
        ("/swarm/v1/models", MODELS),
        ("/swarm/v1/ps", Running((PLACE,), (TASK,))),
        ("/swarm/v1/tasks", Tasks((TASK,))),
        ("/swarm/v1/tasks/req-1", TASK),
    ],
)
async def test_the_lists_are_the_node_s_own_views(
    app: Any, path: str, view: NodeDetail | Nodes | Models | Running | Tasks | Task
) -> None:
    exchange = await ask(app, "GET", path)
    assert exchange.status == 200
    assert exchange.headers["content-type"] == "application/json"
    assert msgspec.json.decode(exchange.body, type=type(view)) == view


async def test_a_task_that_nobody_knows_is_an_answer_too(app: Any) -> None:
    exchange = await ask(app, "GET", "/swarm/v1/tasks/a%20b%2541")
    assert exchange.status == 200
    assert exchange.json == {"id": "a b%41", "kind": "chat", "state": "unknown"}


async def test_health(app: Any) -> None:
    assert (await ask(app, "GET", "/healthz")).json == {"status": "ok", "node": ME, "version": __version__}


async def test_route_decides_and_runs_nothing(app: Any, node: FakeNode) -> None:
    exchange = await ask(app, "POST", "/swarm/v1/route", CHAT)
    assert msgspec.json.decode(exchange.body, type=Routed) == Routed(PLACED)
    assert [request.model for request in node.asked] == ["m"]


async def test_openai_s_lists(app: Any, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = (await ask(app, "GET", "/v1/models")).json
    assert [one["id"] for one in listed["data"]] == ["auto", "org/m:7b"]
    for spelling in ("org/m:7b", "org%2Fm%3A7b"):
        assert (await ask(app, "GET", f"/v1/models/{spelling}")).json == listed["data"][1]

    def place(request: ChatRequest) -> Placement:
        raise UnknownModel(f"no node has a model named '{request.model}'")

    monkeypatch.setattr(node, "place", place)
    missing = await ask(app, "GET", "/v1/models/other")
    assert missing.status == 404
    assert "'other'" in missing.json["error"]["message"]


async def test_a_node_with_its_history(app: Any, node: FakeNode) -> None:
    exchange = await ask(app, "GET", "/swarm/v1/nodes/bo%C3%A4%20x")
    assert msgspec.json.decode(exchange.body, type=NodeHistory) == HISTORY
    assert node.calls == [("history", "boä x")]


async def test_problems_and_metrics(app: Any) -> None:
    problems = await ask(app, "GET", "/swarm/v1/health")
    assert msgspec.json.decode(problems.body, type=HealthReport) == PROBLEMS
    metrics = await ask(app, "GET", "/metrics")
    assert metrics.body.decode() == METRICS
    assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize(
    ("method", "path", "body", "answer", "call"),
    [
        ("POST", "invite", {"headless": True, "name": "home"}, None, ("invite", True, "home", 0.0)),
        ("POST", "invite", {"open": 600}, None, ("invite", False, "", 600.0)),
        ("POST", "join", {"code": "c", "address": "10.0.0.1"}, Joined(SWARM), ("join", "c", "10.0.0.1", "", False)),
        ("POST", "join", {"move": True}, Joined(SWARM), ("join", "", "", "", True)),
        ("POST", "join", {"swarm": "s"}, Joined(SWARM), ("join", "", "", "s", False)),
        ("POST", "join/compare", {"swarm": "s"}, COMPARING, ("compare", "", "s", False)),
        ("POST", "join/compare", {"address": "a", "move": True}, COMPARING, ("compare", "a", "", True)),
        ("GET", "join/compare/run-1", None, COMPARING, ("comparing", "run-1")),
        ("POST", "join/compare/run-1", {"same": False}, COMPARING, ("compared", "run-1", False)),
        ("POST", "admit", {"run": "run-1", "same": True}, Admitted("uncho", True), ("admit", "run-1", True)),
        ("DELETE", "nodes/uncho", None, Expelled(ME, "uncho", 1, 2), ("expel", "uncho")),
        ("POST", "keepers", {"node": "uncho"}, SWARM, ("add_keeper", "uncho")),
        ("DELETE", "keepers/the%20one", None, SWARM, ("remove_keeper", "the one")),
        ("POST", "recover", {"phrase": "a b", "without": ["miu"]}, SWARM, ("recover", "a b", ("miu",))),
        ("POST", "rotate", None, None, ("rotate",)),
    ],
)
async def test_membership(
    app: Any, node: FakeNode, method: str, path: str, body: Any, answer: Any, call: tuple[object, ...]
) -> None:
    sent = msgspec.json.encode(body) if body is not None else b""
    exchange = await ask(app, method, f"/swarm/v1/{path}", sent, OWNER)
    assert exchange.status == 200
    assert node.calls == [call]
    if answer is not None:
        assert msgspec.json.decode(exchange.body, type=type(answer)) == answer


async def test_who_waits_at_the_door(app: Any) -> None:
    exchange = await ask(app, "GET", "/swarm/v1/waiting", b"", OWNER)
    assert msgspec.json.decode(exchange.body, type=WaitingMachines) == WAITING


async def test_a_comparison_without_a_verdict_is_no_yes(app: Any, node: FakeNode) -> None:
    for body in (b"{}", b'{"same":"true"}', b'{"same":1}'):
        assert (await ask(app, "POST", "/swarm/v1/join/compare/run-1", body, OWNER)).status == 400
    assert node.calls == []


async def test_leaving_and_ending(app: Any, node: FakeNode) -> None:
    left = await ask(app, "POST", "/swarm/v1/leave", b"", OWNER)
    assert (left.status, left.json["error"]["code"]) == (403, "refused")
    ending = await ask(app, "POST", "/swarm/v1/shutdown", b"", OWNER)
    assert ending.json == {"status": "ending"}
    assert node.calls == [("shut_down",)]


async def test_a_model_is_removed_where_it_was_said(app: Any, node: FakeNode) -> None:
    exchange = await ask(app, "DELETE", "/swarm/v1/models/org%2Fm:7b?node=the%20big%20one", b"", OWNER)
    assert msgspec.json.decode(exchange.body, type=Removed) == Removed("org/m:7b", ME, 7)
    await ask(app, "DELETE", "/swarm/v1/models/m", b"", OWNER)
    assert node.calls == [("remove", "org/m:7b", "the big one"), ("remove", "m", "")]


async def test_both_dialects_of_chat_stream(app: Any) -> None:
    assert b'"Hel"' in (await ask(app, "POST", "/swarm/v1/chat", CHAT)).body
    assert (await ask(app, "POST", "/v1/chat/completions", THEIRS)).body.endswith(b"data: [DONE]\n\n")


async def test_the_schema_lists_every_route_that_there_is(app: Any) -> None:
    document = (await ask(app, "GET", "/schema")).json
    listed = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    templates = {
        "/swarm/v1/keys/abcdefgh": "/swarm/v1/keys/{key}",
        "/swarm/v1/tasks/req-1": "/swarm/v1/tasks/{id}",
        "/swarm/v1/models/m": "/swarm/v1/models/{name}",
        "/swarm/v1/nodes/boa": "/swarm/v1/nodes/{node}",
        "/swarm/v1/nodes/uncho": "/swarm/v1/nodes/{node}",
        "/swarm/v1/keepers/uncho": "/swarm/v1/keepers/{node}",
        "/swarm/v1/join/compare/run-1": "/swarm/v1/join/compare/{run}",
        "/v1/models/org/m:7b": "/v1/models/{model}",
        f"/api/blobs/{ollama.DIGEST}": "/api/blobs/{digest}",
    }
    asked = {(method, path) for method, path, _ in [*FREE, *CLOSED, *ollama.FREE, *ollama.ADMIN]}
    # HEAD of what can be had by GET is no route of its own.
    asked = {(method, path) for method, path in asked if method != "HEAD" or ("GET", path) not in asked}
    assert listed - NOTHING_STORED == {(method, templates.get(path, path)) for method, path in asked}
    assert listed >= NOTHING_STORED


# What there is not


@pytest.mark.parametrize("path", ["/nothing", "/v1", "/v1/images", "/swarm/v1/", "/swarm/v1/tasks/"])
async def test_nothing_is_there(app: Any, path: str) -> None:
    exchange = await ask(app, "GET", path)
    assert exchange.status == 404
    error = exchange.json["error"]
    assert f"nothing at {path}" in error["message"]
    assert ("type" in error) == path.startswith("/v1/"), "in the shape of the dialect"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("GET", "/swarm/v1/chat", "POST"),
        ("PUT", "/swarm/v1/node", "GET"),
        ("HEAD", "/swarm/v1/chat", "POST"),
        ("GET", "/swarm/v1/models/m", "DELETE"),
    ],
)
async def test_a_wrong_method_names_the_right_one(app: Any, method: str, path: str, allow: str) -> None:
    exchange = await ask(app, method, path)
    assert (exchange.status, exchange.headers["allow"]) == (405, allow)
    assert allow in exchange.body.decode()


@pytest.mark.parametrize("path", ["/healthz", "/swarm/v1/node", "/v1/models", "/api/tags"])
async def test_what_can_be_had_can_be_looked_for(app: Any, path: str) -> None:
    exchange = await ask(app, "HEAD", path)
    assert (exchange.status, exchange.headers["content-type"]) == (200, "application/json")


# Who may


@pytest.mark.parametrize(("method", "path", "body"), FREE, ids=lambda value: value if isinstance(value, str) else "")
async def test_lists_and_inference_are_free_here_but_not_through_a_proxy(
    app: Any, method: str, path: str, body: bytes
) -> None:
    assert (await ask(app, method, path, body)).status == 200
    proxied = {"x-forwarded-for": "10.0.0.9"}
    refused = await ask(app, method, path, body, proxied)
    assert refused.status == 401
    assert (await ask(app, method, path, body, {**proxied, **OWNER})).status == 200


@pytest.mark.parametrize(("method", "path", "body"), CLOSED, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("authorization", [None, "Bearer wrong", f"Basic {TOKEN}", "Bearer", TOKEN, "Bearer s3cret2"])
async def test_everything_else_needs_the_token(
    app: Any, node: FakeNode, method: str, path: str, body: bytes, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    exchange = await ask(app, method, path, body, headers)
    assert (exchange.status, exchange.json["error"]["code"]) == (401, "token_required")
    assert node.calls == []
    assert TOKEN not in exchange.body.decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": ""},
        {"origin": "https://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"host": "evil.example", **OWNER},
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/swarm/v1/node", "/nothing"])
async def test_a_foreign_page_is_refused_before_anything_is_looked_at(
    app: Any, headers: dict[str, str], path: str
) -> None:
    exchange = await ask(app, "GET", path, b"", headers)
    assert exchange.status == 403
    assert exchange.json["error"]["code"] == "refused"


async def test_no_page_of_another_origin_is_told_that_it_may_read(app: Any) -> None:
    for headers in ({}, {"origin": f"http://{HOST}"}):
        exchange = await ask(app, "GET", "/v1/models", b"", headers)
        assert exchange.status == 200
        assert not any(name.startswith("access-control") for name in exchange.headers)


# Bodies


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"[]", b'{"code":5}', b'{"move":1}', b'{"code":"\xff"}', b'{"code":' + b"[" * 50_000]
)
async def test_a_bad_body_is_the_client_s_fault(app: Any, node: FakeNode, body: bytes) -> None:
    exchange = await ask(app, "POST", "/swarm/v1/join", body, OWNER)
    assert (exchange.status, exchange.json["error"]["code"]) == (400, "invalid_request")
    assert node.calls == []


async def test_a_body_that_is_no_conversation_is_small(app: Any, node: FakeNode) -> None:
    half = b" " * (MAX_ANSWER_BODY // 2)
    exchange = await ask(app, "POST", "/swarm/v1/join", [half, half, b'{"code":"c"}'], OWNER)
    assert exchange.status == 413
    assert "larger than" in exchange.json["error"]["message"]
    assert node.calls == []


async def test_a_client_that_leaves_in_its_body_is_forgotten(
    app: Any, group: TaskGroup, node: FakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    for target in ("/swarm/v1/join", "/v1/chat/completions"):
        exchange = Exchange(group, app, "POST", target, b'{"co', OWNER, keep_open=True)
        await asyncio.sleep(0)
        await exchange.leave()
        assert exchange.status == 0
    assert (node.calls, node.asked, caplog.records) == ([], [], [])


# Failures


@pytest.mark.parametrize("path", ["/swarm/v1/node", "/healthz", "/v1/models", "/nothing"])
async def test_every_reply_says_that_it_is_ours(app: Any, path: str) -> None:
    exchange = await ask(app, "GET", path)
    assert exchange.headers["x-mycoswarm-node"] == ME
    assert exchange.headers["x-content-type-options"] == "nosniff"


async def test_who_answered_goes_before_who_was_asked(app: Any) -> None:
    assert (await ask(app, "POST", "/swarm/v1/chat", CHAT)).headers["x-mycoswarm-node"] == "miu"


async def test_a_bug_is_a_sentence_and_an_entry_in_the_log(
    app: Any, node: FakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    node.broken = ZeroDivisionError("a secret")
    exchange = await ask(app, "GET", "/swarm/v1/node")
    assert (exchange.status, exchange.json["error"]["code"]) == (500, "internal")
    assert b"secret" not in exchange.body
    assert "GET /swarm/v1/node failed" in caplog.text


async def test_an_error_of_the_node_keeps_its_status_and_facts(app: Any, node: FakeNode) -> None:
    node.broken = Busy("full", "wait", retry_after=3)
    exchange = await ask(app, "GET", "/swarm/v1/node")
    assert (exchange.status, exchange.headers["retry-after"]) == (429, "3")
    assert exchange.json["error"]["retryable"] is True


async def test_what_is_no_request_is_passed_over(app: Any) -> None:
    sent: list[object] = []

    async def nothing() -> dict[str, str]:
        raise AssertionError("nobody listens")

    async def send(message: object) -> None:
        sent.append(message)

    await app({"type": "lifespan"}, nothing, send)
    assert sent == []


# Over a real socket


@pytest.fixture
async def port(app: Any) -> AsyncIterator[int]:
    listener = Listener(app, bind("127.0.0.1", 0, "port"))
    await listener.start()
    yield listener.port
    await listener.close(0.2)


def request_of(method: str, path: str, body: bytes = b"", *, close: bool = True) -> bytes:
    connection = b"connection: close\r\n" if close else b""
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n".encode()
    return head + connection + b"\r\n" + body


async def test_a_socket_gets_the_same(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_of("GET", "/swarm/v1/tasks/a%2541?x=1", close=False) + request_of("PUT", "/healthz"))
    async with asyncio.timeout(1.5):
        reply = await reader.read()
    writer.close()
    first, second = reply.split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"200")
    assert b'"id":"a%41"' in first
    assert second.startswith(b"405")
    assert b"allow: GET" in second


async def test_a_socket_that_closes_in_the_middle_of_an_answer_frees_the_node(port: int, node: FakeNode) -> None:
    node.script = (START, Text("a"), asyncio.Event())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_of("POST", "/v1/chat/completions", THEIRS))
    async with asyncio.timeout(1.5):
        reply = await reader.readuntil(b'"content":"a"')
        assert b"x-mycoswarm-node: miu" in reply
        assert node.closed == 0
        writer.close()
        while node.closed == 0:
            await asyncio.sleep(0.005)


# The path that two dialects share, and OpenAI's others


async def test_the_list_of_models_is_told_in_the_shape_of_whoever_asks(app: Any) -> None:
    theirs = (await ask(app, "GET", "/v1/models", b"", {"anthropic-version": "2023-06-01"})).json
    assert [(one["type"], one["id"]) for one in theirs["data"]] == [("model", "auto"), ("model", "org/m:7b")]
    one = (await ask(app, "GET", "/v1/models/org/m:7b", b"", {"anthropic-version": "2023-06-01"})).json
    assert one["display_name"] == "org/m:7b"
    assert (await ask(app, "GET", "/v1/models/auto")).json["owned_by"] == "mycoswarm"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_no_response_is_stored(app: Any, method: str) -> None:
    exchange = await ask(app, method, "/v1/responses/resp_1")
    assert exchange.status == 404
    assert "resp_1" in exchange.json["error"]["message"]


async def test_vectors_say_who_made_them(app: Any, node: FakeNode) -> None:
    exchange = await ask(app, "POST", "/v1/embeddings", b'{"input":["a","bcd"],"model":"text-embedding-3-small"}')
    assert [one["embedding"] for one in exchange.json["data"]] == [[1.0, 1.0], [3.0, 1.0]]
    assert (exchange.headers["x-mycoswarm-node"], exchange.headers["x-mycoswarm-model"]) == ("uncho", "minilm")
    assert [one.texts for one in node.embedded] == [("a", "bcd")]
    wrong = await ask(app, "POST", "/v1/embeddings", b'{"input":[]}')
    assert (wrong.status, wrong.json["error"]["param"]) == (400, "input")
    assert "x-request-id" in wrong.headers


async def test_a_client_that_leaves_before_its_vectors_are_there_ends_the_work(
    app: Any, node: FakeNode, group: TaskGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def slow(_: object) -> Any:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr(node, "embed", slow)
    exchange = Exchange(group, app, "POST", "/v1/embeddings", b'{"input":"a"}')
    await began.wait()
    await exchange.leave()
    assert ended.is_set()
