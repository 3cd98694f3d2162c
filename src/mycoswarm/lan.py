"""[io] The LAN's side of the user port: TLS on every address of the local network that this machine has.

A socket for each address, and none for all: so plaintext stays on 127.0.0.1 and TLS off it by what the sockets are, an
address that is not of a local network is never listened on, and what comes and goes with cables and DHCP is followed
within a second.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any

from mycoswarm import serving
from mycoswarm.api.app import create_guarded
from mycoswarm.api.lan import RECOGNISE
from mycoswarm.api.lan import Lan as LanGuard
from mycoswarm.core.clock import Clock
from mycoswarm.core.errors import PortTaken
from mycoswarm.core.health import Problem
from mycoswarm.core.tasks import TaskGroup, repeat
from mycoswarm.egress import is_local
from mycoswarm.fabric import tls, webnames
from mycoswarm.fabric.doorway import Guest
from mycoswarm.fabric.entrance import HANDSHAKE, Entrance, GuestProtocol
from mycoswarm.fabric.mdns import own_addresses
from mycoswarm.fabric.webcerts import WebCertificates
from mycoswarm.node import Node
from mycoswarm.telemetry import checks
from mycoswarm.telemetry.health import Health

_log = logging.getLogger(__name__)

FOLLOW = 1.0
"""Seconds between looks at this machine's addresses; one costs 0.15 ms."""
GUESTS = 128
"""Connections without a key at one time; each costs some 100 KB from its handshake on."""
MAX_FROM_ONE = 256
"""Connections with a key from one address."""
STRANGER_HEAD = 5.0
"""Seconds in which a caller without a key must have asked something."""
STRANGER_HEAD_BYTES = 16 * 1024
"""Of the first request's line and headers. Programs send less than 2 KB."""
_TLS = b"\x16"
"""The first byte of every TLS connection; no request of HTTP begins with it."""
_SAID = b"This port speaks HTTPS: write https:// instead of http://, and send an API key.\n"
_PLAIN = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
    % (len(_SAID), _SAID)
)


class Lan:
    """The sockets of the LAN's listener from the start on, and with `start` what answers on them.

    Args:
        port: the number that the plaintext port has on loopback.

    Raises:
        PortTaken: another program listens on it at an address of this machine; nothing stays open then.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._sockets: dict[str, socket.socket] = {}
        self._failed: dict[str, PortTaken] = {}
        self._server: LanServer | None = None
        self._names: tuple[str, ...] = ()
        self._tasks = TaskGroup()
        self._bind(local_addresses())
        if taken := next((problem for problem in self._failed.values() if problem.data["taken"]), None):
            self._close_sockets()
            raise taken

    @property
    def urls(self) -> tuple[str, ...]:
        """Where this node can be reached from other machines, the likeliest first."""
        if self._server is None or not self._server.ready:
            return ()
        return tuple(
            f"https://[{address}]:{self._port}" if ":" in address else f"https://{address}:{self._port}"
            for address in self._sockets
            if "%" not in address
        )

    async def start(self, node: Node) -> None:
        """Answer from now on, as soon as there is a certificate."""
        doors = node.doors
        app = create_guarded(node, LanGuard(doors.ring, lambda: self._names))
        self._server = LanServer(app, doors.health, doors.clock)
        node.lan_urls = lambda: self.urls
        doors.health.source(self.problems)
        doors.health.source(lambda: checks.keys(len(doors.ring)))
        for bound in self._sockets.values():
            self._server.listen(bound)
        await self._server.start()
        host = socket.gethostname()

        async def follow() -> None:
            addresses = local_addresses()
            self._bind(addresses)
            self._names = webnames.wanted(doors.name, host, addresses)
            doors.web.want(self._names)
            await doors.web.step()
            if self._server is not None:
                self._server.show(doors.web)

        # Whoever asks as soon as the node says that it is ready must find the certificate, if it can be had at once.
        await follow()
        self._tasks.start(repeat(follow, FOLLOW, "following this machine's addresses"), "LAN listener")

    async def close(self, grace: float) -> None:
        """As `serving.Server.close`."""
        await self._tasks.close()
        if self._server is not None:
            await self._server.close(grace)
        self._close_sockets()

    def problems(self) -> tuple[Problem, ...]:
        """What the owner should put right."""
        found = [
            Problem("lan-port", "error", problem.message, problem.hint)
            for address, problem in self._failed.items()
            if problem.data["taken"]
        ]
        if not self._sockets and not found:
            found.append(
                Problem(
                    "lan-address",
                    "warning",
                    "`listen = lan`, but this machine has no address on a local network",
                    "connect it to one; what it needs is an address like 192.168.…, 10.… or fd…",
                )
            )
        return tuple(found)

    def _bind(self, addresses: Iterable[str]) -> None:
        """Listen on these addresses and no others. What fails is tried again at the next look."""
        self._failed.clear()
        here = tuple(addresses)
        for address in set(self._sockets) - set(here):
            gone = self._sockets.pop(address)
            if self._server is not None:
                # What is connected stays: an address may be back before anybody notices.
                self._server.stop_listening(gone)
            gone.close()
            _log.info("not listening on %s any more", address)
        for address in here:
            if address not in self._sockets:
                self._listen(address)
        self._sockets = {address: self._sockets[address] for address in here if address in self._sockets}

    def _listen(self, address: str) -> None:
        try:
            bound = serving.bind(address, self._port, "port")
        except PortTaken as problem:
            said = problem.message.replace(f"port {self._port}", f"port {self._port} of {address}", 1)
            self._failed[address] = PortTaken(said, problem.hint, **problem.data)
            return
        self._sockets[address] = bound
        if self._server is not None:
            self._server.listen(bound)
        _log.info("listening on %s, port %d, with TLS", address, self._port)

    def _close_sockets(self) -> None:
        for bound in self._sockets.values():
            bound.close()


def local_addresses() -> tuple[str, ...]:
    """Addresses of this machine on local networks, the likeliest first; link-local ones with their interface."""
    return tuple(
        address
        for address in own_addresses()
        if is_local(address) and not address.startswith("127.") and address != "::1"
    )


class LanServer(Entrance):
    """Serves the user API over TLS to callers who are strangers until they have shown a key."""

    failed_counter = "mycoswarm_lan_tls_failed_total"
    dropped_counter = "mycoswarm_lan_connections_dropped_total"

    def __init__(self, app: Callable[..., Any], health: Health, clock: Clock, guests: int = GUESTS) -> None:
        super().__init__(app, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), health, clock, guests)
        self._certificate = b""
        self._from: dict[str, int] = {}

    @property
    def ready(self) -> bool:
        """Whether there is a certificate to show."""
        return bool(self._certificate)

    def show(self, web: WebCertificates) -> None:
        """Show the present certificate to whoever connects from now on."""
        if web.shown is not None and web.shown.certificate != self._certificate:
            self.context = tls.web_context(web.store.certificate_file)
            self._certificate = web.shown.certificate

    def protocol(self, guest: Guest) -> GuestProtocol:
        return _LanProtocol(self, guest)

    async def greet(self, connection: socket.socket) -> bool:
        """Tell plaintext from TLS before anything is spent on it."""
        first = await _first_byte(connection)
        if first == _TLS:
            return self.ready
        if first:
            self.dropped("plaintext", _peer(connection))
            _refuse_plaintext(connection)
        return False

    def recognise(self, connection: GuestProtocol) -> None:
        """Its caller has shown a key."""
        if connection.known:
            return
        super().recognise(connection)
        connection.head_seconds = serving.HEAD_SECONDS
        connection.head_bytes = serving.HEAD_BYTES
        connection.pipelined = serving.PIPELINED
        source = connection.guest.source
        self._from[source] = self._from.get(source, 0) + 1
        if self._from[source] > MAX_FROM_ONE:
            connection.refuse("crowd")

    def left(self, connection: GuestProtocol) -> None:
        super().left(connection)
        if connection.known:
            source = connection.guest.source
            self._from[source] -= 1
            if not self._from[source]:
                del self._from[source]


class _LanProtocol(GuestProtocol):
    def __init__(self, server: LanServer, guest: Guest) -> None:
        super().__init__(server, guest)
        self.head_seconds = STRANGER_HEAD
        self.head_bytes = STRANGER_HEAD_BYTES
        self.app_state[RECOGNISE] = lambda: server.recognise(self)


async def _first_byte(connection: socket.socket) -> bytes:
    """What the caller says first, left where it is. Raises TimeoutError where he says nothing, OSError."""
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    loop.add_reader(connection, _set, readable)
    try:
        async with asyncio.timeout(HANDSHAKE):
            await readable
    finally:
        loop.remove_reader(connection)
    return connection.recv(1, socket.MSG_PEEK)


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _refuse_plaintext(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.send(_PLAIN)
        connection.shutdown(socket.SHUT_WR)
        # What is left unread at the close would reset the connection, and the caller might not see why.
        connection.recv(serving.HEAD_BYTES)


def _peer(connection: socket.socket) -> str:
    with contextlib.suppress(OSError):
        return str(connection.getpeername()[0])
    return ""
