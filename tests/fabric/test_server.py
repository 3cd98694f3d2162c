"""Who calls is told, strangers are bounded."""

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from mycoswarm.fabric import server as server_module
from mycoswarm.fabric import tls
from mycoswarm.fabric.identity import load_or_create
from mycoswarm.fabric.server import ABORT, CERTIFICATE, PeerServer, bind


async def _server(tmp_path: Path, app: Any) -> tuple[PeerServer, ssl.SSLContext]:
    identity = load_or_create(tmp_path / "node")
    server = PeerServer(app, tls.server_context(identity), bind(0, only_loopback=True))
    await server.start()
    return server, tls.unverified_context()


async def _ask(port: int, context: ssl.SSLContext) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="x")
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    reply = await asyncio.wait_for(reader.read(), 3)
    writer.transport.abort()
    return reply


async def test_the_callers_certificate_is_in_the_scope_and_trust_is_live(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.append(scope["state"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    identity, caller = load_or_create(tmp_path / "node"), load_or_create(tmp_path / "caller")
    context = tls.server_context(identity)
    server = PeerServer(app, context, bind(0, only_loopback=True))
    await server.start()
    bare, showing = tls.unverified_context(), tls.member_context(caller, identity.certificate)
    showing.check_hostname = False
    reply = await _ask(server.port, bare)
    assert reply.startswith(b"HTTP/1.1 204")
    assert b"date:" not in reply
    assert b"server:" not in reply
    assert seen[0][CERTIFICATE] is None
    assert callable(seen[0][ABORT])
    # The listener is open already when the caller becomes known.
    tls.trust(context, caller.certificate)
    assert (await _ask(server.port, showing)).startswith(b"HTTP/1.1 204")
    assert seen[1][CERTIFICATE] == caller.certificate
    await server.close(0.1)


async def test_small_answers_are_not_held_back(tmp_path: Path) -> None:
    """Nagle's algorithm makes a token wait 40 ms for the acknowledgement of the one before it."""
    delays: list[int] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        (connection,) = server.connections
        accepted = connection.transport.get_extra_info("socket")
        delays.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    server, context = await _server(tmp_path, app)
    await _ask(server.port, context)
    assert delays
    assert delays[0] != 0
    await server.close(0.1)


async def test_closing_breaks_what_does_not_end(tmp_path: Path) -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await asyncio.sleep(60)

    server, context = await _server(tmp_path, app)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context, server_hostname="x")
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    await asyncio.wait_for(reader.readuntil(b"x\r\n"), 3)
    # The application would take a minute.
    await asyncio.wait_for(server.close(0.2), 20)
    assert b"0\r\n\r\n" not in await asyncio.wait_for(reader.read(), 1)
    writer.transport.abort()


async def _nobody_asks(scope: dict[str, Any], receive: Any, send: Any) -> None:
    raise AssertionError("nobody asks anything here")


async def _linger(port: int, context: ssl.SSLContext) -> None:
    """Say nothing until the server breaks the connection."""
    with contextlib.suppress(ConnectionError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="x")
        await reader.read()
        writer.transport.abort()


async def test_strangers_beyond_the_limit_are_turned_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_STRANGERS", 3)
    server, context = await _server(tmp_path, _nobody_asks)
    lingering = [asyncio.Task(_linger(server.port, context)) for _ in range(5)]
    async with asyncio.timeout(10):
        # Two are turned away; the three others stay until the server closes.
        while sum(one.done() for one in lingering) < 2 or len(server.connections) != 3:
            await asyncio.sleep(0.01)
        assert sum(one.done() for one in lingering) == 2
        await server.close(0.1)
        await asyncio.gather(*lingering)


async def test_a_stranger_may_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "STRANGER_LIFE", 0.1)
    server, context = await _server(tmp_path, _nobody_asks)
    # Without the limit it would be the 75 s of an idle connection.
    await asyncio.wait_for(_linger(server.port, context), 10)
    await server.close(0.1)
