"""What is used of uvicorn without being promised by it: these fail when a new version changes it."""

import asyncio
import inspect
import socket
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

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
