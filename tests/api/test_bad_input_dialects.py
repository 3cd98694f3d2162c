"""What no client should send and some do, in every language: its own shape and status, nothing run, nothing kept."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from aiohttp import web

from mycoswarm.api.app import create_app
from mycoswarm.api.asgi import ROOM_FOR_BODIES
from mycoswarm.core.chat import MAX_REQUEST, ChatRequest, Delta, Text
from mycoswarm.core.errors import UnknownModel
from mycoswarm.core.tasks import TaskGroup
from tests.api.driver import HOST, Exchange, ask
from tests.api.fake_node import START, FakeNode
from tests.clients.running import RunningNode, running_node
from tests.engines.openai_server import OpenAIServer

MIB = 1 << 20
HUGE = 100 * MIB


@dataclass(frozen=True)
class Language:
    """One dialect's chat.

    said: the sentence of an error, whose shape it checks. fields: of the smallest request that streams. options: the
    field, if any, that sampling stands in, and the dialect's own names there. takes: what the others call a wrong type
    and this one understands.
    """

    name: str
    path: str
    said: Callable[[Any], str]
    fields: Mapping[str, Any] = field(default_factory=dict)
    options: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    takes: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def body(self, **fields: Any) -> bytes:
        said = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True, **self.fields}
        for name, value in fields.items():
            if self.options and name in SAMPLING:
                said.setdefault(self.options, {})[self.names.get(name, name)] = value
            else:
                said[name] = value
        return msgspec.json.encode(said)


SAMPLING = ("max_tokens", "temperature", "top_p", "top_k", "seed")


def openai_said(body: Any) -> str:
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "type", "param", "code"}
    return body["error"]["message"]


def anthropic_said(body: Any) -> str:
    assert body.keys() == {"type", "error", "request_id"}
    assert body["type"] == "error"
    assert body["error"].keys() == {"type", "message"}
    assert body["request_id"].startswith("req-")
    return body["error"]["message"]


def ollama_said(body: Any) -> str:
    assert body.keys() == {"error"}
    return body["error"]


OPENAI = Language("openai", "/v1/chat/completions", openai_said)
ANTHROPIC = Language("anthropic", "/v1/messages", anthropic_said, {"max_tokens": 9})
OLLAMA = Language(
    "ollama",
    "/api/chat",
    ollama_said,
    options="options",
    names={"max_tokens": "num_predict"},
    # A chat without messages loads the model; -1 is without end.
    takes={"messages": [None, []], "max_tokens": [-1]},
)
LANGUAGES = {one.name: one for one in (OPENAI, ANTHROPIC, OLLAMA)}

PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
LOOKING: dict[str, list[dict[str, Any]]] = {
    "openai": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}]}],
    "anthropic": [{"role": "user", "content": [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}]}],
    "ollama": [{"role": "user", "content": "what is it", "images": [PICTURE]}],
}  # fmt: skip
FOREIGN_TOOLS: dict[str, list[dict[str, Any]]] = {
    "openai": [{"type": "web_search"}, {"type": "code_interpreter"}],
    "anthropic": [{"type": "web_search_20260318", "name": "web_search"}, {"type": "bash_20250124", "name": "bash"}],
    "ollama": [{"type": "web_search"}],
}


@pytest.fixture(params=LANGUAGES, ids=str)
def language(request: pytest.FixtureRequest) -> Language:
    return LANGUAGES[request.param]


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


# What is no request

NO_REQUEST: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"nonsense",
    "half of it": b'{"messages": [{"role": "user", "content": "hi"}',
    "a list": b"[]",
    "a number": b"5",
    "null": b"null",
    "an empty object": b"{}",
    "no UTF-8": b'{"messages": [{"role": "user", "content": "\xff\xfe"}], "max_tokens": 9, "model": "m"}',
    "half a surrogate pair": b'{"messages": [{"role": "user", "content": "\\ud800"}], "max_tokens": 9, "model": "m"}',
    "a surrogate alone": b'{"messages": [{"role": "user", "content": "\\udc00 x"}], "max_tokens": 9, "model": "m"}',
    "lists without end": b'{"messages": ' + b"[" * 200_000,
    "objects without end": b'{"messages": [{"role": "user", "content": ' + b'[{"type":' * 100_000,
    "a deep schema": b'{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "tools": ['
    b'{"name": "x", "type": "function", "function": {"name": "x", "parameters": {"a": ' + b"[" * 100_000,
    "not a number": b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
    "no end of a number": b'{"messages": [{"role": "user", "content": "x"}], "max_tokens": 9, "model": "m", '
    b'"temperature": 1e999, "options": {"temperature": 1e999}}',
    "a null byte": b'\x00{"messages": []}',
}


@pytest.mark.parametrize("body", NO_REQUEST.values(), ids=NO_REQUEST.keys())
async def test_what_is_no_request(app: Any, node: FakeNode, language: Language, body: bytes) -> None:
    reply = await ask(app, "POST", language.path, body)
    assert reply.status == 400
    assert reply.headers["content-type"] == "application/json"
    assert language.said(reply.json)
    assert node.asked == []


WRONG: dict[str, Any] = {
    "messages": ["hi", {}, 5, None, [], ["hi"], [None], [{"role": "user"}, 5], [{"role": 5, "content": "x"}]],
    "model": [5, ["m"], {}, True],
    "stream": ["yes", 1, []],
    "tools": ["x", {}, 5, ["x"], [5]],
    "temperature": ["hot", [], {}, True],
    "max_tokens": ["many", [], 1.5, -1],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
async def test_a_wrong_type(app: Any, node: FakeNode, language: Language, name: str, value: Any) -> None:
    if any(value == taken for taken in language.takes.get(name, ())):
        return
    reply = await ask(app, "POST", language.path, language.body(**{name: value}))
    assert reply.status == 400
    assert language.said(reply.json)
    assert node.asked == []


@pytest.mark.parametrize("name", ["max_tokens", "temperature", "top_p", "top_k", "seed"])
@pytest.mark.parametrize("value", [10**400, 10**30, -(10**30), 2**63, 1e308, 2**31])
async def test_a_number_that_no_engine_holds(
    app: Any, node: FakeNode, language: Language, name: str, value: float
) -> None:
    reply = await ask(app, "POST", language.path, language.body(**{name: value}))
    assert reply.status in (200, 400)
    for request in node.asked:
        # What was taken can go to another node, in its types.
        assert msgspec.json.decode(msgspec.json.encode(request), type=ChatRequest) == request


async def test_tools_of_a_kind_that_nobody_here_knows_are_passed_over(
    app: Any, node: FakeNode, language: Language
) -> None:
    reply = await ask(app, "POST", language.path, language.body(tools=FOREIGN_TOOLS[language.name]))
    assert reply.status == 200
    assert node.asked[0].tools == ()


async def test_a_role_that_there_is_not(app: Any, node: FakeNode, language: Language) -> None:
    reply = await ask(app, "POST", language.path, language.body(messages=[{"role": "wizard", "content": "x"}]))
    assert reply.status == 400
    assert "wizard" in language.said(reply.json)
    assert node.asked == []


async def test_a_model_that_there_is_not(app: Any, node: FakeNode, language: Language) -> None:
    node.script = (UnknownModel("no node has a model named 'x'", "there are a and b", near=[]),)
    for stream in (True, False):
        reply = await ask(app, "POST", language.path, language.body(model="x", stream=stream))
        assert reply.status == 404
        assert "no node has a model named 'x' (there are a and b)" in language.said(reply.json)


async def test_ten_thousand_messages_are_a_conversation(app: Any, node: FakeNode, language: Language) -> None:
    turns = [{"role": ("user", "assistant")[number % 2], "content": f"{number}"} for number in range(10_000)]
    async with asyncio.timeout(1.5):
        reply = await ask(app, "POST", language.path, language.body(messages=turns))
    assert reply.status == 200
    assert [one.text for one in node.asked[0].messages] == [one["content"] for one in turns]


async def test_a_body_without_end_is_not_read_to_its_end(app: Any, node: FakeNode, language: Language) -> None:
    read = 0

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        async def counted() -> Any:
            nonlocal read
            read += 1
            return await receive()

        await app(scope, counted, send)

    reply = await ask(counting, "POST", language.path, [b" " * MIB] * (HUGE // MIB))
    assert reply.status == 413
    assert str(MAX_REQUEST) in language.said(reply.json)
    assert read <= MAX_REQUEST // MIB + 1
    assert node.asked == []


async def test_a_client_that_disappears_in_its_body(
    app: Any, node: FakeNode, language: Language, group: TaskGroup, caplog: pytest.LogCaptureFixture
) -> None:
    exchange = Exchange(group, app, "POST", language.path, b'{"mess', keep_open=True)
    await asyncio.sleep(0)
    await exchange.leave()
    assert (exchange.status, node.asked, caplog.records) == (0, [], [])


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("said", [(), (START,), (START, Text("Hel"))], ids=["queue", "prefill", "decode"])
async def test_a_client_that_disappears_ends_its_work(
    app: Any, node: FakeNode, language: Language, group: TaskGroup, stream: bool, said: tuple[Delta, ...]
) -> None:
    node.script = (*said, asyncio.Event())
    exchange = Exchange(group, app, "POST", language.path, language.body(stream=stream))
    async with asyncio.timeout(1.5):
        while not node.asked:
            await asyncio.sleep(0.001)
    await exchange.leave()
    assert node.closed == 1


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [("PUT", {}, 405), ("POST", {"host": "evil.example"}, 403), ("POST", {"x-forwarded-for": "10.0.0.9"}, 401)],
)
async def test_refusals_before_the_dialect_is_asked(
    app: Any, node: FakeNode, language: Language, method: str, headers: dict[str, str], status: int
) -> None:
    reply = await ask(app, method, language.path, language.body(), headers)
    assert reply.status == status
    assert language.said(reply.json)
    assert node.asked == []


# A real node, for what only a real one can show: its memory, its slots, its sockets


class Firehose(OpenAIServer):
    """Answers as fast as it is read, 16 KiB a word, for ever."""

    sent = 0

    async def _chat(self, request: web.Request, *, raw: bool) -> web.StreamResponse:
        event = b'data: {"choices": [{"index": 0, "delta": {"content": "%b"}}]}\n\n' % (b"w" * 16_384)
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        try:
            while True:
                await reply.write(event)
                self.sent += len(event)
        except (ConnectionError, asyncio.CancelledError):
            self.cancelled += 1
            raise


@dataclass
class Real:
    node: RunningNode
    engine: Firehose

    @property
    def port(self) -> int:
        return int(self.node.url.rpartition(":")[2])

    @property
    def rss(self) -> int:
        return psutil.Process(self.node.pid).memory_info().rss


@pytest.fixture
async def real(tmp_path: Path) -> AsyncGenerator[Real, None]:
    engine = Firehose([{"id": "m"}])
    async with engine.running() as address, _running(tmp_path, address) as node:
        yield Real(node, engine)


@asynccontextmanager
async def _running(home: Path, address: str) -> AsyncGenerator[RunningNode, None]:
    """The engine answers in this loop, so it must not wait for the node in it."""
    context = running_node(home, {"engines": address, "embedded": "no"})
    node = await asyncio.to_thread(context.__enter__)
    try:
        yield node
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


def head(language: Language, length: int) -> bytes:
    fields = ("content-type: application/json", f"content-length: {length}", f"host: {HOST}")
    return "\r\n".join((f"POST {language.path} HTTP/1.1", *fields, "", "")).encode()


async def post(real: Real, language: Language, body: bytes) -> tuple[int, Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", real.port)
    writer.write(head(language, len(body)) + body)
    top = await reader.readuntil(b"\r\n\r\n")
    length = int(re.findall(rb"content-length: (\d+)", top)[0])
    reply = await reader.readexactly(length)
    writer.close()
    return int(top.split()[1]), msgspec.json.decode(reply)


async def throw(real: Real, language: Language, size: int) -> tuple[int, int]:
    """Send a body of `size` spaces. Returns the status, and the most memory that the node took meanwhile."""
    reader, writer = await asyncio.open_connection("127.0.0.1", real.port)
    tasks = TaskGroup()
    answer = tasks.start(reader.readuntil(b"\r\n\r\n"), "wait for the refusal")
    sent = most = 0
    try:
        writer.write(head(language, size))
        while sent < size and not answer.done():
            writer.write(b" " * MIB)
            sent += MIB
            await writer.drain()
            most = max(most, real.rss)
        return int((await answer).split()[1]), most
    finally:
        await tasks.close()
        writer.close()


async def test_a_picture_for_a_model_that_is_blind(real: Real) -> None:
    for language in LANGUAGES.values():
        status, reply = await post(real, language, language.body(messages=LOOKING[language.name]))
        assert status == 400
        assert "images" in language.said(reply)
        status, reply = await post(real, language, language.body(model="nothing:7b"))
        assert status == 404
        assert "nothing:7b" in language.said(reply)


async def test_bodies_of_a_hundred_megabytes_leave_nothing_behind(real: Real) -> None:
    async with asyncio.timeout(60):
        before = real.rss
        peak = before
        for language in LANGUAGES.values():
            for _ in range(3):
                status, most = await throw(real, language, HUGE)
                assert status == 413
                peak = max(peak, most)
        # A moment after the last refusal: what was read of its body goes when its connection does.
        while real.rss > before + 32 * MIB:
            await asyncio.sleep(0.1)
        print(f"RSS {before / MIB:.0f} MiB before, {peak / MIB:.0f} at most, {real.rss / MIB:.0f} after")
        assert peak < before + 1.5 * MAX_REQUEST


async def test_clients_that_never_finish_their_bodies_take_no_more_than_their_room(real: Real) -> None:
    """Eight of them together sent half a gigabyte; the rest of the world is answered meanwhile."""
    async with asyncio.timeout(60):
        before = real.rss
        writers: list[asyncio.StreamWriter] = []
        for number in range(8):
            _, writer = await asyncio.open_connection("127.0.0.1", real.port)
            writers.append(writer)
            writer.write(head(list(LANGUAGES.values())[number % len(LANGUAGES)], MAX_REQUEST))
            with contextlib.suppress(ConnectionError):
                for _ in range(60):
                    writer.write(b" " * MIB)
                    await writer.drain()
        held = real.rss
        assert (await post(real, ANTHROPIC, ANTHROPIC.body(model="nothing:7b")))[0] == 404
        for writer in writers:
            writer.close()
        while real.rss > before + 32 * MIB:
            await asyncio.sleep(0.1)
        print(
            f"RSS {before / MIB:.0f} MiB before, {held / MIB:.0f} with 8 unfinished bodies, {real.rss / MIB:.0f} after"
        )
        assert held < before + ROOM_FOR_BODIES + 32 * MIB


async def test_a_client_that_does_not_read_stops_its_engine_and_gives_it_back(real: Real) -> None:
    async with asyncio.timeout(60):
        for language in LANGUAGES.values():
            cancelled, before = real.engine.cancelled, real.rss
            reader, writer = await asyncio.open_connection("127.0.0.1", real.port)
            body = language.body()
            writer.write(head(language, len(body)) + body)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            # Everything between engine and client is full when the engine can write no more.
            sent = -1
            while sent != real.engine.sent:
                sent = real.engine.sent
                await asyncio.sleep(0.5)
            print(f"{language.name}: {sent / MIB:.1f} MiB under way, RSS +{(real.rss - before) / MIB:.1f} MiB")
            assert real.rss < before + 24 * MIB
            writer.close()
            while real.engine.cancelled == cancelled:
                await asyncio.sleep(0.01)
            real.engine.sent = 0
