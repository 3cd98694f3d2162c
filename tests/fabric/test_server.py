"""Who calls is told, strangers are bounded."""

import asyncio
import contextlib
import resource
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mycoswarm.core.clock import SystemClock
from mycoswarm.fabric import entrance, tls
from mycoswarm.fabric import server as server_module
from mycoswarm.fabric.entrance import ABORT
from mycoswarm.fabric.identity import Identity, load_or_create
from mycoswarm.fabric.server import CERTIFICATE, PeerServer, bind
from mycoswarm.telemetry.health import Health
from tests.fabric.forgery import stolen_certificate

DROPPED = "mycoswarm_connections_dropped_total"
FAILED = "mycoswarm_tls_failed_total"


async def _server(
    tmp_path: Path, app: Any, health: Health | None = None, guests: int = 128
) -> tuple[PeerServer, ssl.SSLContext]:
    identity = load_or_create(tmp_path / "node")
    server = PeerServer(app, tls.server_context(identity), bind(0, only_loopback=True), health, guests=guests)
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
        try:
            await reader.read()
        finally:
            writer.transport.abort()


async def _until(done: Callable[[], bool], limit: float = 10.0) -> None:
    async with asyncio.timeout(limit):
        while not done():
            await asyncio.sleep(0.01)


async def test_the_oldest_of_a_crowd_makes_room(tmp_path: Path) -> None:
    health = Health(SystemClock())
    server, context = await _server(tmp_path, _nobody_asks, health, guests=3)
    lingering: list[asyncio.Task[None]] = []
    for expected in (1, 2, 3, 3, 3):
        lingering.append(asyncio.Task(_linger(server.port, context)))
        await _until(lambda expected=expected: len(server.connections) == expected and not server.handshakes)
    await _until(lambda: sum(one.done() for one in lingering) == 2)
    assert [one.done() for one in lingering] == [True, True, False, False, False]
    assert health.total(DROPPED, reason="crowd") == 2
    await server.close(0.1)
    await asyncio.gather(*lingering)


async def test_a_stranger_may_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "STRANGER_HEAD", 0.1)
    health = Health(SystemClock())
    server, context = await _server(tmp_path, _nobody_asks, health)
    # Without the limit it would be the 75 s of an idle connection.
    await asyncio.wait_for(_linger(server.port, context), 10)
    assert health.total(DROPPED, reason="slow") == 1
    await server.close(0.1)


async def test_a_stranger_may_not_stay_by_talking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance, "STRANGER_LIFE", 0.5)

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    server, context = await _server(tmp_path, app)
    before = time.monotonic()
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(_ask(server.port, context), 10)
    assert time.monotonic() - before < 5
    await server.close(0.1)


def _members(tmp_path: Path) -> tuple[Identity, Identity]:
    return load_or_create(tmp_path / "node"), load_or_create(tmp_path / "caller")


async def _handshake(port: int, context: ssl.SSLContext) -> bytes:
    """What the server answers; raises what the handshake fails with."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="x")
    try:
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        if reply := await asyncio.wait_for(reader.read(), 5):
            return reply
        # With TLS 1.3 a client believes itself through and hears of the failure with what it reads first, if at all.
        raise ConnectionResetError
    finally:
        writer.transport.abort()


async def _no_content(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def test_failed_handshakes_are_counted_by_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance, "DOUBT", 0.0)
    monkeypatch.setattr(entrance, "HANDSHAKE", 0.3)
    health = Health(SystemClock())
    server, bare = await _server(tmp_path, _no_content, health)
    node, foreign = _members(tmp_path)

    showing = tls.member_context(foreign, node.certificate)
    showing.check_hostname = False
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await _handshake(server.port, showing)
    await _until(lambda: health.total(FAILED, reason="certificate") == 1)

    old = tls.unverified_context()
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await _handshake(server.port, old)
    await _until(lambda: health.total(FAILED, reason="version") == 1)

    for said, reason in ((b"GET / HTTP/1.1\r\n\r\n", "not_tls"), (b"\x16\x03\x01", "slow")):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(said)
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 5)
        writer.transport.abort()
        await _until(lambda reason=reason: health.total(FAILED, reason=reason) == 1)
    assert health.total(FAILED) == 4
    assert (await _handshake(server.port, bare)).startswith(b"HTTP/1.1 204")
    await server.close(0.1)


async def test_a_members_certificate_without_its_key_is_refused_in_the_handshake(tmp_path: Path) -> None:
    health = Health(SystemClock())
    identity, member = _members(tmp_path)
    context = tls.server_context(identity)
    tls.trust(context, member.certificate)
    server = PeerServer(_no_content, context, bind(0, only_loopback=True), health)
    await server.start()
    thief = stolen_certificate(member.certificate, tmp_path)
    thief.check_hostname = False
    thief.verify_mode = ssl.CERT_NONE
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await _handshake(server.port, thief)
    await _until(lambda: health.total(FAILED, reason="signature") == 1)
    await server.close(0.1)


async def test_no_session_is_resumed(tmp_path: Path) -> None:
    """A resumed session would pass the handshake without the certificate being looked at."""
    server, context = await _server(tmp_path, _no_content)

    def ask(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None]:
        with (
            socket.create_connection(("127.0.0.1", server.port)) as plain,
            context.wrap_socket(plain, server_hostname="x", session=session) as wrapped,
        ):
            wrapped.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            while wrapped.recv(4096):
                pass
            return wrapped.session, wrapped.session_reused

    first, _ = await asyncio.to_thread(ask, None)
    assert first is None or not first.has_ticket
    _, again = await asyncio.to_thread(ask, first)
    assert not again
    await server.close(0.1)


async def test_one_member_may_not_take_all_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_PER_MEMBER", 2)
    health = Health(SystemClock())
    node, member = _members(tmp_path)
    context = tls.server_context(node)
    tls.trust(context, member.certificate)
    server = PeerServer(_nobody_asks, context, bind(0, only_loopback=True), health)
    await server.start()
    showing = tls.member_context(member, node.certificate)
    showing.check_hostname = False
    lingering = [asyncio.Task(_linger(server.port, showing)) for _ in range(3)]
    await _until(lambda: health.total(DROPPED, reason="member") == 1)
    await _until(lambda: sum(one.done() for one in lingering) == 1 and len(server.connections) == 2)
    next(one for one in lingering if not one.done()).cancel()
    await _until(lambda: len(server.connections) == 1)
    lingering.append(asyncio.Task(_linger(server.port, showing)))
    await _until(lambda: len(server.connections) == 2)
    assert health.total(DROPPED, reason="member") == 1
    await server.close(0.1)
    await asyncio.gather(*lingering, return_exceptions=True)


async def test_without_descriptors_it_rests_and_goes_on(tmp_path: Path) -> None:
    health = Health(SystemClock())
    server, context = await _server(tmp_path, _no_content, health)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    callers = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(3)]
    try:
        # No more than are open now: the next accept fails.
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(callers[-1].fileno(), 3), hard))
        await _until(lambda: health.total(DROPPED, reason="descriptors") >= 1)
        before, began = health.total(DROPPED, reason="descriptors"), time.process_time()
        await asyncio.sleep(0.5)
        # It neither spins nor writes a line each time.
        assert health.total(DROPPED, reason="descriptors") - before <= 6
        assert time.process_time() - began < 0.3
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for caller in callers:
            caller.close()
    await asyncio.sleep(0.2)
    assert (await _ask(server.port, context)).startswith(b"HTTP/1.1 204")
    await server.close(0.1)
