import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from mycoswarm.api.app import create_app
from mycoswarm.core.chat import Error, Note, Text
from mycoswarm.core.errors import Busy, ErrorBody
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.core.views import Counted
from tests.api.anthropic.accumulate import accumulate, events
from tests.api.driver import Exchange, ask
from tests.api.fake_node import START, FakeNode

BODY: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
WHOLE = msgspec.json.encode(BODY)
STREAMED = msgspec.json.encode(BODY | {"stream": True})


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def app(node: FakeNode) -> Any:
    return create_app(node, "s3cret")


@pytest.fixture
async def group() -> AsyncIterator[TaskGroup]:
    made = TaskGroup()
    yield made
    await made.close()


async def test_both_ways_of_answering_say_the_same_and_who_said_it(app: Any) -> None:
    whole = await ask(app, "POST", "/v1/messages?beta=true", WHOLE)
    streamed = await ask(app, "POST", "/v1/messages", STREAMED)
    assert whole.headers["content-type"] == "application/json"
    assert streamed.headers["content-type"].startswith("text/event-stream")
    message = accumulate(streamed.body)
    assert {**whole.json, "id": message["id"]} == message
    assert message["content"] == [{"type": "text", "text": "Hello"}]
    for reply in (whole, streamed):
        assert reply.headers["x-mycoswarm-node"] == "miu"
        assert reply.headers["x-mycoswarm-model"] == "m"
        assert reply.headers["request-id"] == reply.headers["x-mycoswarm-request"]
    assert whole.json["id"] == f"msg_{whole.headers['request-id']}"


async def test_tokens_are_counted(app: Any, node: FakeNode) -> None:
    counted = await ask(app, "POST", "/v1/messages/count_tokens?beta=true", WHOLE)
    assert (counted.status, counted.json) == (200, {"input_tokens": 11})
    assert "x-mycoswarm-estimate" not in counted.headers
    assert (counted.headers["x-mycoswarm-node"], counted.headers["x-mycoswarm-model"]) == ("miu", "m")
    assert counted.headers["request-id"] == node.asked[0].id


class Guessing(FakeNode):
    async def count_tokens(self, request: object) -> Counted:
        return Counted(9, False, "m", "miu")


class Full(FakeNode):
    async def count_tokens(self, request: object) -> Counted:
        raise Busy("full", "wait", retry_after=3)


async def test_a_guess_is_marked() -> None:
    counted = await ask(create_app(Guessing(), "t"), "POST", "/v1/messages/count_tokens", WHOLE)
    assert (counted.json, counted.headers["x-mycoswarm-estimate"]) == ({"input_tokens": 9}, "1")


async def test_a_node_that_cannot_count() -> None:
    refused = await ask(create_app(Full(), "t"), "POST", "/v1/messages/count_tokens", WHOLE)
    assert (refused.status, refused.headers["retry-after"]) == (429, "3")
    assert refused.json["error"] == {"type": "rate_limit_error", "message": "full (wait)"}


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_a_bad_request_is_told_in_their_words(app: Any, node: FakeNode, path: str) -> None:
    refused = await ask(app, "POST", path, b"{}")
    assert refused.status == 400
    assert refused.json["error"]["type"] == "invalid_request_error"
    assert refused.json["request_id"] == refused.headers["request-id"]
    assert node.asked == []


async def test_a_failure_before_the_first_word_and_one_after_it(app: Any, node: FakeNode) -> None:
    node.script = (Busy("full", "wait"),)
    for body in (WHOLE, STREAMED):
        refused = await ask(app, "POST", "/v1/messages", body)
        assert (refused.status, refused.json["error"]["type"]) == (429, "rate_limit_error")
    node.script = (START, Text("Hel"), Error(ErrorBody("peer_lost", "miu went away")))
    streamed = await ask(app, "POST", "/v1/messages", STREAMED)
    assert streamed.status == 200
    assert [name for name, _ in events(streamed.body)][-1] == "error"
    assert (await ask(app, "POST", "/v1/messages", WHOLE)).status == 502


async def test_a_bug_in_the_middle_is_an_event(app: Any, node: FakeNode) -> None:
    node.script = (START, Text("Hel"), ZeroDivisionError("a secret"))
    streamed = await ask(app, "POST", "/v1/messages", STREAMED)
    assert events(streamed.body)[-1][1]["error"]["type"] == "api_error"
    assert b"secret" not in streamed.body


@pytest.mark.parametrize("body", [WHOLE, STREAMED])
async def test_a_client_that_leaves_frees_the_node(app: Any, node: FakeNode, group: TaskGroup, body: bytes) -> None:
    node.script = (Note("queue", "1 before"), START, Text("a"), asyncio.Event())
    exchange = Exchange(group, app, "POST", "/v1/messages", body)
    async with asyncio.timeout(1.5):
        while not node.asked:
            await asyncio.sleep(0.001)
    await exchange.leave()
    assert node.closed == 1


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "kind"),
    [
        ("GET", "/v1/messages", {}, 405, "invalid_request_error"),
        ("POST", "/v1/messages/batches", {}, 404, "not_found_error"),
        ("GET", "/v1/files", {"anthropic-version": "2023-06-01"}, 404, "not_found_error"),
        ("POST", "/v1/messages", {"host": "evil.example"}, 403, "permission_error"),
        ("POST", "/v1/messages", {"x-forwarded-for": "10.0.0.9"}, 401, "authentication_error"),
    ],
)
async def test_refusals_outside_of_the_endpoints(
    app: Any, method: str, path: str, headers: dict[str, str], status: int, kind: str
) -> None:
    refused = await ask(app, method, path, WHOLE, headers)
    assert (refused.status, refused.json["type"], refused.json["error"]["type"]) == (status, "error", kind)
    assert refused.json["request_id"] == refused.headers["request-id"]
