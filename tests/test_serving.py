"""What is used of uvicorn without being promised by it: these fail when a new version changes it."""

import asyncio
import contextlib
import inspect
import resource
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from mycoswarm import serving
from mycoswarm.core.errors import PortTaken
from mycoswarm.serving import Listener, bind


def test_the_private_points_are_still_there() -> None:
    assert list(inspect.signature(HttpToolsProtocol.__init__).parameters)[1:] == [
        "config",
        "server_state",
        "app_state",
        "_loop",
    ]
    state = ServerState()
    assert (state.connections, state.tasks, state.default_headers) == (set(), set(), [])
    assert callable(HttpToolsProtocol.shutdown)
    assert "state" in inspect.getsource(HttpToolsProtocol.on_message_begin)
    assert Config(lambda: None, lifespan="off").lifespan == "off"


def test_a_taken_port_is_told_with_its_setting() -> None:
    first = bind("127.0.0.1", 0, "port")
    with pytest.raises(PortTaken) as caught:
        bind("127.0.0.1", first.getsockname()[1], "peer_port")
    assert "taken by another program" in caught.value.message
    assert "--peer-port" in caught.value.hint
    assert caught.value.exit_code == 1
    first.close()


async def get(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    reply = await asyncio.wait_for(reader.read(), 3)
    writer.close()
    return reply


async def test_small_answers_are_not_held_back_and_say_no_more_than_they_must() -> None:
    delays: list[int] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        (connection,) = listener.connections
        accepted = connection.transport.get_extra_info("socket")
        delays.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    listener = Listener(app, bind("127.0.0.1", 0, "port"))
    await listener.start()
    reply = await get(listener.port)
    assert reply.startswith(b"HTTP/1.1 204")
    assert b"date:" not in reply.lower()
    assert b"server:" not in reply.lower()
    assert delays[0] != 0
    await listener.close(0.1)


async def test_closing_cancels_what_does_not_end() -> None:
    cancelled: list[bool] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    listener = Listener(app, bind("127.0.0.1", 0, "port"))
    await listener.start()
    asking = asyncio.get_running_loop().create_task(get(listener.port))
    await asyncio.sleep(0.2)
    await listener.close(0.1)
    assert cancelled == [True]
    await asyncio.wait_for(asyncio.gather(asking, return_exceptions=True), 3)


async def _hello(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def _said(port: int, *pieces: bytes, pause: float = 0.0) -> tuple[bytes, float]:
    """What the listener answers until it closes the connection, and the seconds until then."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.monotonic()
    got = bytearray()

    async def write() -> None:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause)

    writing = asyncio.Task(write())
    with contextlib.suppress(ConnectionError):
        while data := await asyncio.wait_for(reader.read(65536), 5):
            got += data
    writing.cancel()
    writer.transport.abort()
    return bytes(got), time.monotonic() - began


@pytest.fixture
async def hello() -> AsyncIterator[Listener]:
    listener = Listener(_hello, bind("127.0.0.1", 0, "port"))
    await listener.start()
    yield listener
    await listener.close(0.1)


REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b"GET / HTTP/1.1\r\nx: ",) + (b"a",) * 50,
        (b"\r\n",) * 50,
        # After an answer the connection may rest; what trickles in then is a new head.
        (REQUEST, *(b"\r\n",) * 50),
        # The rest of a body that nobody has waited for.
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n", *(b"a",) * 50),
    ],
    ids=["nothing", "head", "blank lines", "after an answer", "unwanted body"],
)
async def test_a_head_does_not_take_for_ever(
    hello: Listener, monkeypatch: pytest.MonkeyPatch, pieces: tuple[bytes, ...]
) -> None:
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.3)
    answer, seconds = await _said(hello.port, *pieces, pause=0.05)
    assert seconds < 2
    assert answer.count(b"200 OK") == any(piece.startswith((b"GET / HTTP/1.1\r\nhost", b"POST")) for piece in pieces)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nx: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"a" * 1_000_000,
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["whole", "endless", "many", "path"],
)
async def test_a_head_is_not_of_any_size(hello: Listener, request_: bytes) -> None:
    answer, seconds = await _said(hello.port, request_)
    assert b"200 OK" not in answer
    assert seconds < 2
    # A large one that is within the limit is taken.
    large = b"GET / HTTP/1.1\r\nconnection: close\r\nx: " + b"a" * 50_000 + b"\r\n\r\n"
    assert b"200 OK" in (await _said(hello.port, large))[0]


@pytest.mark.parametrize(
    "tail", [b"0\r\nx: " + b"a" * 1_000_000, b"1;x=" + b"a" * 1_000_000], ids=["trailer", "extension"]
)
async def test_what_belongs_to_no_body_is_bounded_too(tail: bytes) -> None:
    done = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        done.set()

    listener = Listener(app, bind("127.0.0.1", 0, "port"))
    await listener.start()
    head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    assert (await _said(listener.port, head + tail))[0] == b""
    await asyncio.wait_for(done.wait(), 2)
    await listener.close(0.1)


async def test_a_long_body_in_small_chunks_is_no_head() -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        size = 0
        while True:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body", False):
                break
        text = b"%d" % size
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": text})

    listener = Listener(app, bind("127.0.0.1", 0, "port"))
    await listener.start()
    head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    answer, _ = await _said(listener.port, head + b"1\r\na\r\n" * 50_000 + b"0\r\n\r\n")
    assert b"50000" in answer
    await listener.close(0.1)


async def test_requests_in_one_go_are_bounded() -> None:
    served = 0

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        nonlocal served
        served += 1
        await asyncio.sleep(0.01)
        await _hello(scope, receive, send)

    listener = Listener(app, bind("127.0.0.1", 0, "port"))
    await listener.start()
    assert (await _said(listener.port, REQUEST * 1000))[0].count(b"200 OK") == 0
    assert served <= 1
    last = REQUEST.replace(b"host: x", b"connection: close")
    assert (await _said(listener.port, REQUEST * 10 + last))[0].count(b"200 OK") == 11
    await listener.close(0.1)


async def test_an_idle_connection_rests_and_nonsense_is_not_logged(
    hello: Listener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", hello.port)
    for _ in range(2):
        writer.write(REQUEST)
        assert await asyncio.wait_for(reader.readuntil(b"ok"), 2)
        # Longer than a head may take: between requests it is the keep-alive that counts.
        await asyncio.sleep(0.4)
    writer.close()
    for nonsense in (bytes(range(256)), b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"GET / HTTP/9.9\r\nhost: x\r\n\r\n"):
        assert b"200 OK" not in (await _said(hello.port, nonsense))[0]
    assert caplog.records == []


def test_descriptors_are_asked_for_as_far_as_there_are_any() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        serving.allow_descriptors()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert hard == before[1]
        assert soft == (serving.DESCRIPTORS if hard == resource.RLIM_INFINITY else min(serving.DESCRIPTORS, hard))
        # More than that is left as it is.
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        serving.allow_descriptors()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
