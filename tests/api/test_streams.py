import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from mycoswarm.api import asgi
from mycoswarm.api.answering import chat_app
from mycoswarm.api.asgi import App
from mycoswarm.api.openai.chat_request import read
from mycoswarm.api.openai.shape import DIALECT
from mycoswarm.api.streams import StreamRoutes
from mycoswarm.core.chat import ChatRequest, Delta, Error, Note, Start, Text, decode_delta, message
from mycoswarm.core.errors import Busy, CannotServe, EngineFailed, UnknownModel
from mycoswarm.core.ids import NodeId, RequestId
from mycoswarm.core.model import Progress
from mycoswarm.core.tasks import TaskGroup
from tests.api.driver import Exchange, ask
from tests.api.fake_node import ANSWER, START, FakeNode

QUESTION: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
OURS = msgspec.json.encode(ChatRequest("m", (message("user", "hi"),), id=RequestId("req-1")))
PULL = b'{"name":"smollm2:135m"}'


@pytest.fixture
async def group() -> AsyncIterator[TaskGroup]:
    made = TaskGroup()
    yield made
    await made.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is filled after hundredths of a second instead of seconds."""
    monkeypatch.setattr(asgi, "HOLD_HEADERS", 0.03)
    monkeypatch.setattr(asgi, "KEEP_ALIVE", 0.02)


def theirs(*, stream: bool = True, **fields: object) -> bytes:
    return msgspec.json.encode({**QUESTION, "stream": stream, **fields})


def openai(node: FakeNode) -> App:
    return chat_app(node, DIALECT, read)


def native(node: FakeNode) -> App:
    return StreamRoutes(node).chat


def pull(node: FakeNode) -> App:
    return StreamRoutes(node).pull


def events(body: bytes) -> list[Any]:
    """The data of every server-sent event, comments left out."""
    assert body.endswith(b"\n\n")
    found = []
    for block in body.removesuffix(b"\n\n").split(b"\n\n"):
        assert b"\n" not in block, "one line an event"
        if block.startswith(b"data: "):
            data = block.removeprefix(b"data: ")
            found.append("DONE" if data == b"[DONE]" else msgspec.json.decode(data))
        else:
            assert block.startswith(b": ")
    return found


def deltas(body: bytes) -> list[Delta]:
    """The deltas of an NDJSON reply, keep-alives left out."""
    assert body.endswith(b"\n")
    return [decode_delta(line) for line in body.split(b"\n") if line]


# OpenAI's dialect, streamed


async def test_chunks_go_out_one_by_one_as_events_with_the_headers_of_who_answers(group: TaskGroup) -> None:
    go = asyncio.Event()
    node = FakeNode(START, Text("Hel"), go, *ANSWER[2:])
    exchange = Exchange(group, openai(node), "POST", "/v1/chat/completions", theirs())
    await exchange.until(lambda body: b"Hel" in body)
    assert not exchange.complete
    go.set()
    await exchange.end()
    assert exchange.status == 200
    assert exchange.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert exchange.headers["cache-control"] == "no-store"
    assert (exchange.headers["x-mycoswarm-node"], exchange.headers["x-mycoswarm-model"]) == ("miu", "m")
    request = exchange.headers["x-mycoswarm-request"]
    assert node.asked[0].id == request
    *chunks, done = events(exchange.body)
    assert done == "DONE"
    assert {chunk["id"] for chunk in chunks} == {f"chatcmpl-{request}"}
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == "Hello"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert all(piece.count(b"\n\n") == 1 for piece in exchange.pieces[:-1])


async def test_the_usage_comes_when_it_was_asked_for() -> None:
    body = theirs(stream_options={"include_usage": True})
    exchange = await ask(openai(FakeNode()), "POST", "/v1/chat/completions", body)
    *_, last, done = events(exchange.body)
    assert done == "DONE"
    assert last["usage"]["total_tokens"] == 5


async def test_headers_wait_until_an_executor_has_accepted(group: TaskGroup) -> None:
    waiting, go = asyncio.Event(), asyncio.Event()

    class Watched(asyncio.Event):
        async def wait(self) -> Any:
            waiting.set()
            return await go.wait()

    node = FakeNode(Note("queue", "2 before this one"), Watched(), *ANSWER)
    exchange = Exchange(group, openai(node), "POST", "/v1/chat/completions", theirs())
    await asyncio.wait_for(waiting.wait(), 1)
    assert exchange.status == 0
    go.set()
    await exchange.end()
    assert exchange.headers["x-mycoswarm-node"] == "miu"
    assert exchange.body.startswith(b": queue: 2 before this one\n\ndata: ")


@pytest.mark.usefixtures("impatient")
async def test_a_long_wait_opens_the_stream_and_loses_no_note(group: TaskGroup) -> None:
    go = asyncio.Event()
    node = FakeNode(Note("queue", "2 before this one"), go, *ANSWER)
    exchange = Exchange(group, openai(node), "POST", "/v1/chat/completions", theirs())
    await exchange.until(lambda body: body.count(b": keep-alive\n\n") >= 2)
    assert exchange.body.startswith(b": queue: 2 before this one\n\n: keep-alive\n\n")
    assert "x-mycoswarm-node" not in exchange.headers
    assert exchange.headers["x-mycoswarm-request"] == node.asked[0].id
    go.set()
    await exchange.end()
    assert events(exchange.body)[-1] == "DONE"


@pytest.mark.usefixtures("impatient")
async def test_silence_in_the_middle_is_filled_with_comments(group: TaskGroup) -> None:
    go = asyncio.Event()
    exchange = Exchange(
        group, openai(FakeNode(START, Text("a"), go, *ANSWER[3:])), "POST", "/v1/chat/completions", theirs()
    )
    await exchange.until(lambda body: body.count(b": keep-alive\n\n") >= 2)
    go.set()
    await exchange.end()
    assert events(exchange.body)[-1] == "DONE"


@pytest.mark.parametrize("stream", [True, False])
async def test_why_is_asked_by_a_header(stream: bool) -> None:
    node = FakeNode()
    await ask(openai(node), "POST", "/v1/chat/completions", theirs(stream=stream), {"x-mycoswarm-why": "1"})
    await ask(openai(node), "POST", "/v1/chat/completions", theirs(stream=stream))
    assert [request.why for request in node.asked] == [True, False]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("failure", "status"),
    [(UnknownModel("no such model", "did you mean `m`?"), 404), (CannotServe("nobody can"), 503), (Busy("full"), 429)],
    ids=["unknown", "nobody", "busy"],
)
@pytest.mark.parametrize("before", [(), (Note("queue", "1 before this one"),)], ids=["at once", "after a note"])
async def test_an_error_before_the_first_word_has_its_status_and_their_shape(
    stream: bool, failure: Exception, status: int, before: tuple[Note, ...]
) -> None:
    exchange = await ask(openai(FakeNode(*before, failure)), "POST", "/v1/chat/completions", theirs(stream=stream))
    assert exchange.status == status
    assert exchange.headers["content-type"] == "application/json"
    assert exchange.headers["x-mycoswarm-request"].startswith("req-")
    error = exchange.json["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert str(failure) in error["message"]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_busy_swarm_says_when_to_come_again(stream: bool) -> None:
    node = FakeNode(Busy("full", retry_after=12.4))
    exchange = await ask(openai(node), "POST", "/v1/chat/completions", theirs(stream=stream))
    assert (exchange.status, exchange.headers["retry-after"]) == (429, "12")


async def test_an_error_instead_of_a_start_is_no_reply_of_200() -> None:
    node = FakeNode(Error(EngineFailed("it died").body()))
    for app, body in ((openai, theirs()), (native, OURS)):
        exchange = await ask(app(node), "POST", "/x", body)
        assert exchange.status == 502
        assert "it died" in exchange.json["error"]["message"]


@pytest.mark.parametrize(
    "failure", [Error(EngineFailed("it died", "ask again").body()), EngineFailed("it died", "ask again")]
)
async def test_an_error_after_it_is_an_event_of_the_dialect(failure: Error | EngineFailed) -> None:
    exchange = await ask(openai(FakeNode(START, Text("Hel"), failure)), "POST", "/v1/chat/completions", theirs())
    assert exchange.status == 200
    *_, error, done = events(exchange.body)
    assert error["error"]["message"] == "it died (ask again)"
    assert error["error"]["code"] == "engine_failed"
    assert done == "DONE"


async def test_a_bug_is_an_error_and_never_a_bare_end(caplog: pytest.LogCaptureFixture) -> None:
    early = await ask(openai(FakeNode(ZeroDivisionError("oh"))), "POST", "/v1/chat/completions", theirs())
    assert early.status == 500
    assert early.json["error"]["code"] == "internal"
    late = await ask(openai(FakeNode(START, ZeroDivisionError("oh"))), "POST", "/v1/chat/completions", theirs())
    *_, error, done = events(late.body)
    assert (error["error"]["code"], done) == ("internal", "DONE")
    assert b"oh" not in early.body + late.body
    assert caplog.text.count("ZeroDivisionError") >= 2


# OpenAI's dialect, in one piece


async def test_without_stream_the_answer_comes_in_one_piece() -> None:
    node = FakeNode(Note("queue", "1 before this one"), *ANSWER)
    exchange = await ask(openai(node), "POST", "/v1/chat/completions", theirs(stream=False))
    assert exchange.status == 200
    assert (exchange.headers["x-mycoswarm-node"], exchange.headers["x-mycoswarm-model"]) == ("miu", "m")
    assert exchange.headers["x-mycoswarm-request"] == node.asked[0].id
    assert exchange.json["choices"][0]["message"]["content"] == "Hello"
    assert exchange.json["usage"]["total_tokens"] == 5


async def test_without_stream_a_failure_in_the_middle_is_an_error_and_no_half_answer() -> None:
    node = FakeNode(START, Text("Hel"), Error(EngineFailed("it died").body()))
    exchange = await ask(openai(node), "POST", "/v1/chat/completions", theirs(stream=False))
    assert exchange.status == 502
    assert exchange.json["error"]["message"] == "it died"
    assert b"Hel" not in exchange.body


# Our own dialect


async def test_our_lines_are_the_deltas_themselves() -> None:
    note = Note("placement", "miu is done soonest", {"chosen": 0})
    exchange = await ask(native(FakeNode(note, *ANSWER)), "POST", "/swarm/v1/chat", OURS)
    assert exchange.status == 200
    assert exchange.headers["content-type"] == "application/x-ndjson"
    assert exchange.headers["x-mycoswarm-request"] == "req-1"
    assert exchange.headers["x-mycoswarm-node"] == "miu"
    assert deltas(exchange.body) == [note, *ANSWER]


@pytest.mark.usefixtures("impatient")
async def test_our_keep_alive_is_a_blank_line_and_no_note_is_lost(group: TaskGroup) -> None:
    go = asyncio.Event()
    note = Note("placement", "miu is done soonest")
    exchange = Exchange(group, native(FakeNode(note, go, *ANSWER)), "POST", "/swarm/v1/chat", OURS)
    await exchange.until(lambda body: b"\n\n\n" in body)
    go.set()
    await exchange.end()
    assert deltas(exchange.body) == [note, *ANSWER]


async def test_our_request_gets_an_id_where_it_has_none() -> None:
    node = FakeNode()
    body = msgspec.json.encode(ChatRequest("m", (message("user", "hi"),)))
    exchange = await ask(native(node), "POST", "/swarm/v1/chat", body)
    assert node.asked[0].id == exchange.headers["x-mycoswarm-request"] != ""


async def test_our_errors_before_and_after_the_first_word() -> None:
    early = await ask(native(FakeNode(Busy("full", "wait", retry_after=3))), "POST", "/swarm/v1/chat", OURS)
    assert (early.status, early.headers["retry-after"], early.headers["x-mycoswarm-request"]) == (429, "3", "req-1")
    assert early.json["error"]["code"] == "busy"
    late = await ask(native(FakeNode(START, Text("a"), Busy("full"))), "POST", "/swarm/v1/chat", OURS)
    assert late.status == 200
    assert deltas(late.body) == [START, Text("a"), Error(Busy("full").body())]
    bug = await ask(native(FakeNode(START, ZeroDivisionError())), "POST", "/swarm/v1/chat", OURS)
    last = deltas(bug.body)[-1]
    assert isinstance(last, Error)
    assert last.error.code == "internal"


async def test_a_node_that_says_nothing_at_all_still_ends_in_order() -> None:
    for app, body in ((native, OURS), (openai, theirs())):
        exchange = await ask(app(FakeNode(Note("queue", "x"))), "POST", "/x", body)
        assert exchange.status == 200
        assert b"queue" in exchange.body


async def test_names_of_other_nodes_cannot_forge_headers() -> None:
    start = Start(RequestId("r"), "m\r\nset-cookie: a=b", NodeId("n"), "mïu\n\x00")
    body = msgspec.json.encode(ChatRequest("m", (message("user", "hi"),), id=RequestId("r\r\nx-evil: 1")))
    exchange = await ask(native(FakeNode(start, *ANSWER[1:])), "POST", "/swarm/v1/chat", body)
    assert exchange.headers["x-mycoswarm-model"] == "m??set-cookie: a=b"
    assert exchange.headers["x-mycoswarm-node"] == "m?u??"
    assert exchange.headers["x-mycoswarm-request"] == "r??x-evil: 1"
    assert not {"set-cookie", "x-evil"} & set(exchange.headers)


# Bad bodies, and clients that leave

DEEP = b'{"messages":[{"role":"user","content":"x"}],"tools":[{"a":' + b"[" * 50_000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        b'{"messages":[]}',
        b'{"model":"m","messages":[]}',
        b'{"model":5,"messages":[]}',
        b'{"model":"\xff","messages":[]}',
        DEEP,
    ],
    ids=lambda body: body[:20].decode("latin-1"),
)
@pytest.mark.parametrize("app", [openai, native, pull])
async def test_a_bad_body_is_the_client_s_fault_and_asks_nobody(app: Any, body: bytes) -> None:
    node = FakeNode()
    exchange = await ask(app(node), "POST", "/x", body)
    assert exchange.status == 400
    error = exchange.json["error"]
    assert error.get("type", f"{error['code']}_error") == "invalid_request_error"
    assert node.asked == []
    assert node.calls == []


@pytest.mark.parametrize("app", [openai, native])
async def test_a_conversation_may_be_long_but_not_endless(app: Any) -> None:
    megabyte = b" " * (1 << 20)
    exchange = await ask(app(FakeNode()), "POST", "/x", [megabyte] * 65)
    assert exchange.status == 413
    assert "larger than" in exchange.json["error"]["message"]
    padded = [megabyte, OURS if app is native else theirs()]
    assert (await ask(app(FakeNode()), "POST", "/x", padded)).status == 200


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("words", [(), (START, Text("a"))], ids=["in prefill", "in the middle"])
async def test_a_client_that_leaves_cancels_the_answer(
    group: TaskGroup, stream: bool, words: tuple[Delta, ...]
) -> None:
    running = asyncio.Event()

    class Working(asyncio.Event):
        async def wait(self) -> Any:
            running.set()
            return await super().wait()

    node = FakeNode(*words, Working())
    exchange = Exchange(group, openai(node), "POST", "/v1/chat/completions", theirs(stream=stream))
    await asyncio.wait_for(running.wait(), 1)
    assert node.closed == 0
    await exchange.leave()
    assert node.closed == 1
    assert not exchange.complete


async def test_a_client_of_ours_that_leaves_cancels_too(group: TaskGroup) -> None:
    node = FakeNode(START, Text("a"), asyncio.Event())
    exchange = Exchange(group, native(node), "POST", "/swarm/v1/chat", OURS)
    await exchange.until(lambda body: b'"a"' in body)
    await exchange.leave()
    assert node.closed == 1


# Pulling

STEPS = (Progress("download", "", 1, 2), Progress("done", "smollm2:135m"))


async def test_pulling_tells_its_steps() -> None:
    node = FakeNode(*STEPS)
    exchange = await ask(pull(node), "POST", "/swarm/v1/models/pull", b'{"name":"smollm2:135m","node":"miu"}')
    assert exchange.status == 200
    assert exchange.headers["content-type"] == "application/x-ndjson"
    assert [msgspec.json.decode(line, type=Progress) for line in exchange.body.splitlines()] == list(STEPS)
    assert node.calls == [("pull", "smollm2:135m", "miu")]


async def test_pulling_what_is_there_already_may_say_nothing() -> None:
    node = FakeNode()
    node.script = ()
    exchange = await ask(pull(node), "POST", "/swarm/v1/models/pull", PULL)
    assert (exchange.status, exchange.body) == (200, b"")


async def test_a_pull_that_fails_tells_it_before_or_after_the_first_step() -> None:
    early = await ask(pull(FakeNode(UnknownModel("not in the catalogue"))), "POST", "/x", PULL)
    assert early.status == 404
    late = await ask(pull(FakeNode(STEPS[0], EngineFailed("it broke", "again"))), "POST", "/x", PULL)
    assert late.status == 200
    last = msgspec.json.decode(late.body.splitlines()[-1])
    assert last["error"]["code"] == "engine_failed"


async def test_a_bug_in_a_pull_is_told_too() -> None:
    early = await ask(pull(FakeNode(ZeroDivisionError())), "POST", "/x", PULL)
    assert (early.status, early.json["error"]["code"]) == (500, "internal")
    late = await ask(pull(FakeNode(STEPS[0], ZeroDivisionError())), "POST", "/x", PULL)
    assert msgspec.json.decode(late.body.splitlines()[-1])["error"]["code"] == "internal"


@pytest.mark.usefixtures("impatient")
async def test_a_slow_pull_is_kept_alive_and_ends_with_its_client(group: TaskGroup) -> None:
    node = FakeNode(STEPS[0], asyncio.Event())
    exchange = Exchange(group, pull(node), "POST", "/swarm/v1/models/pull", PULL)
    await exchange.until(lambda body: body.endswith(b"\n\n\n"))
    await exchange.leave()
    assert node.closed == 1
