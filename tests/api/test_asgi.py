import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import msgspec
import pytest

from mycoswarm.api import asgi
from mycoswarm.api.asgi import ClientGone, StreamReply, read_body, send_error, send_response, until_gone
from mycoswarm.core.errors import Busy, InvalidRequest, NotFound, TooLarge, WrongMethod
from mycoswarm.core.tasks import TaskGroup

Message = MutableMapping[str, Any]


@pytest.fixture
async def group() -> AsyncIterator[TaskGroup]:
    made = TaskGroup()
    yield made
    await made.close()


class Wire:
    """What an application sends, and what it is to receive."""

    def __init__(self, *incoming: Message) -> None:
        self.sent: list[Message] = []
        self.times: list[float] = []
        self._incoming = list(incoming)
        self.gone = asyncio.Event()
        self.news = asyncio.Event()

    async def receive(self) -> Message:
        if self._incoming:
            return self._incoming.pop(0)
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        self.times.append(asyncio.get_running_loop().time())
        self.news.set()

    @property
    def starts(self) -> list[Message]:
        return [one for one in self.sent if one["type"] == "http.response.start"]

    @property
    def body(self) -> bytes:
        return b"".join(one["body"] for one in self.sent if one["type"] == "http.response.body")


def piece(data: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


async def test_a_body_is_put_together() -> None:
    wire = Wire(piece(b"ab", more=True), {"type": "http.request", "more_body": True}, piece(b"c", more=False))
    assert await read_body(wire.receive) == b"abc"


async def test_a_body_is_read_up_to_its_limit_and_no_further() -> None:
    assert await read_body(Wire(piece(b"12345", more=False)).receive, 5) == b"12345"
    wire = Wire(piece(b"123", more=True), piece(b"456", more=True), piece(b"789", more=False))
    with pytest.raises(InvalidRequest, match="larger than 5 bytes"):
        await read_body(wire.receive, 5)
    assert (await wire.receive())["body"] == b"789"


async def test_large_bodies_share_a_room_and_small_ones_need_none(
    monkeypatch: pytest.MonkeyPatch, group: TaskGroup
) -> None:
    monkeypatch.setattr(asgi, "ROOM_FOR_BODIES", 25)
    monkeypatch.setattr(asgi, "SMALL_BODY", 5)
    held = [Wire(piece(b"1234567890", more=True)) for _ in range(2)]
    reading = [group.start(read_body(one.receive), "read") for one in held]
    await asyncio.sleep(0)
    with pytest.raises(Busy, match="too many large requests") as caught:
        await read_body(Wire(piece(b"123456", more=False)).receive)
    assert caught.value.data["retry_after"] == 1
    assert await read_body(Wire(piece(b"12345", more=False)).receive) == b"12345"
    held[0].gone.set()
    with pytest.raises(ClientGone):
        await reading[0]
    assert await read_body(Wire(piece(b"123456789012345", more=False)).receive) == b"123456789012345"
    assert await read_body(Wire(piece(b"1234567", more=True), piece(b"12345678", more=False)).receive)


async def test_a_client_that_leaves_in_the_middle_of_its_body() -> None:
    wire = Wire(piece(b"ab", more=True))
    wire.gone.set()
    with pytest.raises(ClientGone):
        await read_body(wire.receive)


async def test_a_whole_reply() -> None:
    wire = Wire()
    await send_response(wire.send, 201, b"{}", [(b"x-a", b"b")])
    assert wire.sent == [
        {
            "type": "http.response.start",
            "status": 201,
            "headers": [(b"content-type", b"application/json"), (b"content-length", b"2"), (b"x-a", b"b")],
        },
        {"type": "http.response.body", "body": b"{}"},
    ]


async def test_an_error_has_its_status_its_hint_and_its_facts() -> None:
    wire = Wire()
    await send_error(wire.send, NotFound("there is no such thing", "look elsewhere", near=["x"]))
    assert wire.sent[0]["status"] == 404
    assert msgspec.json.decode(wire.body) == {
        "error": {
            "code": "not_found",
            "message": "there is no such thing",
            "hint": "look elsewhere",
            "data": {"near": ["x"]},
        }
    }


@pytest.mark.parametrize(("seconds", "header"), [(0.1, b"1"), (2.4, b"2"), (90, b"90")])
async def test_busy_says_when_to_come_again(seconds: float, header: bytes) -> None:
    wire = Wire()
    await send_error(wire.send, Busy("full", retry_after=seconds), body=b'{"in": "their shape"}')
    assert wire.sent[0]["status"] == 429
    assert dict(wire.sent[0]["headers"])[b"retry-after"] == header
    assert wire.body == b'{"in": "their shape"}'


async def test_a_wrong_method_names_the_right_ones_in_the_header() -> None:
    wire = Wire()
    await send_error(wire.send, WrongMethod("no", allow=["GET", "POST"]))
    assert wire.sent[0]["status"] == 405
    assert dict(wire.sent[0]["headers"])[b"allow"] == b"GET, POST"


@pytest.mark.parametrize("seconds", ["soon", [1], float("nan"), float("inf"), None])
async def test_facts_of_another_node_cannot_keep_an_error_from_being_told(seconds: object) -> None:
    wire = Wire()
    await send_error(wire.send, Busy("full", retry_after=seconds), body=b"{}")
    assert wire.sent[0]["status"] == 429
    assert b"retry-after" not in dict(wire.sent[0]["headers"])


@pytest.mark.parametrize(
    ("said", "header"), [(["GET\r\nset-cookie: mine", 5, "PUT"], b"PUT"), ("GET", None), (None, None)]
)
async def test_facts_of_another_node_forge_no_header(said: object, header: bytes | None) -> None:
    wire = Wire()
    await send_error(wire.send, WrongMethod("no", allow=said))
    assert wire.sent[0]["status"] == 405
    assert dict(wire.sent[0]["headers"]).get(b"allow") == header


async def test_a_body_that_is_refused_is_let_go_before_the_refusal_is_sent() -> None:
    wire = Wire(*({"type": "http.request", "body": b"x" * 4, "more_body": True} for _ in range(3)))
    with pytest.raises(TooLarge) as raised:
        await read_body(wire.receive, limit=10)
    frame = raised.traceback[-1].frame
    assert frame.code.name == "read_body"
    assert frame.f_locals["chunks"] == []


async def test_headers_wait_for_the_first_word_and_go_out_once() -> None:
    wire = Wire()
    reply = StreamReply(wire.send, b"text/plain", lambda: b".")
    assert not reply.opened
    reply.headers.append((b"x-late", b"1"))
    await reply.write(b"a")
    await reply.write(b"b")
    await reply.end()
    (start,) = wire.starts
    assert start["status"] == 200
    headers = dict(start["headers"])
    assert (headers[b"content-type"], headers[b"x-late"]) == (b"text/plain", b"1")
    assert headers[b"cache-control"] == b"no-store"
    assert wire.body == b"ab"
    assert [one["more_body"] for one in wire.sent[1:]] == [True, True, False]


async def test_what_is_held_goes_out_before_the_next_word_or_at_the_end() -> None:
    wire = Wire()
    reply = StreamReply(wire.send, b"text/plain", lambda: b".")
    reply.hold(b"1")
    reply.hold(b"2")
    assert wire.sent == []
    await reply.write(b"3")
    await reply.write(b"4")
    reply.hold(b"5")
    await reply.end()
    assert wire.body == b"12345"


async def test_a_stream_without_a_word_is_still_a_reply() -> None:
    wire = Wire()
    await StreamReply(wire.send, b"text/plain", lambda: b".").end()
    assert [one["type"] for one in wire.sent] == ["http.response.start", "http.response.body"]
    assert wire.sent[-1]["more_body"] is False


async def test_silence_is_filled_first_late_then_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "HOLD_HEADERS", 0.1)
    monkeypatch.setattr(asgi, "KEEP_ALIVE", 0.02)
    wire = Wire()
    reply = StreamReply(wire.send, b"text/plain", lambda: b".")
    began = asyncio.get_running_loop().time()
    reply.hold(b"held ")

    async def three_beats() -> None:
        while b"..." not in wire.body:
            wire.news.clear()
            await wire.news.wait()

    async with asyncio.timeout(1.5):
        await until_gone(wire.receive, three_beats(), reply.beat())
    assert wire.body.startswith(b"held ...")
    assert len(wire.starts) == 1
    start, first, second, third = wire.times
    assert first - began >= start - began >= 0.1
    assert second - first >= 0.02
    assert third - second >= 0.02


async def test_words_put_the_next_beat_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "KEEP_ALIVE", 0.5)
    wire = Wire()
    reply = StreamReply(wire.send, b"text/plain", lambda: b".")

    async def talk() -> None:
        for _ in range(5):
            await reply.write(b"a")
            await asyncio.sleep(0.01)

    await until_gone(wire.receive, talk(), reply.beat())
    assert wire.body == b"aaaaa"


async def test_work_that_ends_ends_everything() -> None:
    ended: list[str] = []

    async def beside() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("beside")

    async def work() -> None:
        await asyncio.sleep(0)
        ended.append("work")

    await until_gone(Wire().receive, work(), beside())
    assert ended == ["work", "beside"]


async def test_a_bug_in_the_work_comes_out() -> None:
    async def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await until_gone(Wire().receive, work(), None)


async def test_when_the_client_leaves_the_work_is_cancelled_and_its_clean_up_awaited() -> None:
    wire = Wire(piece(b"", more=False))
    told: list[str] = []

    async def work() -> None:
        try:
            wire.gone.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            told.append("cleaned up")

    async with asyncio.timeout(1.5):
        await until_gone(wire.receive, work(), None)
    assert told == ["cleaned up"]


async def test_whoever_cancels_the_whole_cancels_the_work() -> None:
    told: list[str] = []
    running = asyncio.Event()

    async def work() -> None:
        try:
            running.set()
            await asyncio.Event().wait()
        finally:
            told.append("cleaned up")

    task = asyncio.get_running_loop().create_task(until_gone(Wire().receive, work(), None))
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == ["cleaned up"]
