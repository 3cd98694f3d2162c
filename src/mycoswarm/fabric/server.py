"""[io] The listener of the peer port: tells the application who calls, and keeps strangers short."""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Any

from mycoswarm.core.clock import Clock, SystemClock
from mycoswarm.core.errors import PortTaken
from mycoswarm.fabric.doorway import MAX_GUESTS, Guest
from mycoswarm.fabric.entrance import Entrance, GuestProtocol
from mycoswarm.serving import bind as bind_to
from mycoswarm.telemetry.health import Health

STRANGER_HEAD = 5.0
"""Seconds in which a stranger must have asked something."""
STRANGER_HEAD_BYTES = 8 * 1024
"""Of a stranger's request line and headers; ours have 250."""
MAX_PER_MEMBER = 256
"""Connections of one member: one for each of its requests at a time, and the watch stream."""

CERTIFICATE = "peer_certificate"
"""Key in scope["state"]: DER of the certificate that the caller has proven to own, None for none."""


def bind(port: int, only_loopback: bool = False) -> socket.socket:
    """A listening TCP socket on all addresses, IPv6 and IPv4 where both exist. port 0: any free one.

    Raises:
        PortTaken: somebody else listens there, or this user may not.
    """
    if only_loopback:
        return bind_to("127.0.0.1", port, "peer_port")
    if socket.has_dualstack_ipv6():
        try:
            return bind_to("::", port, "peer_port")
        except PortTaken as problem:
            if problem.data["taken"]:
                raise
            # IPv6 can be compiled in and switched off on this machine; IPv4 alone is fine then.
    return bind_to("0.0.0.0", port, "peer_port")  # noqa: S104 - that is what a peer port is for


class _PeerProtocol(GuestProtocol):
    """Puts the caller's certificate where the application finds it; limits strangers more than members."""

    def __init__(self, server: "PeerServer", guest: Guest) -> None:
        super().__init__(server, guest)
        self.certificate: bytes | None = None
        self._server = server

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        tls = transport.get_extra_info("ssl_object")
        self.certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        self.app_state[CERTIFICATE] = self.certificate
        self.known = self.certificate is not None and self._server.trusted(self.certificate)
        if not self.known:
            self.head_seconds = STRANGER_HEAD
            self.head_bytes = STRANGER_HEAD_BYTES
        super().connection_made(transport)


class PeerServer(Entrance):
    """Serves one ASGI application over TLS on one socket.

    Args:
        trusted: whether a certificate (DER) is a member's now. Its connections then leave the strangers' limits behind.
        The rest as in `Entrance`.
    """

    failed_counter = "mycoswarm_tls_failed_total"
    dropped_counter = "mycoswarm_connections_dropped_total"

    def __init__(
        self,
        app: Any,
        context: ssl.SSLContext,
        listener: socket.socket,
        health: Health | None = None,
        trusted: Callable[[bytes], bool] = lambda _: True,
        clock: Clock | None = None,
        guests: int = MAX_GUESTS,
    ) -> None:
        time = clock or SystemClock()
        super().__init__(app, context, health or Health(time), time, guests)
        self.listen(listener)
        self.port: int = listener.getsockname()[1]
        self.trusted = trusted
        self._members: Counter[bytes] = Counter()

    def protocol(self, guest: Guest) -> GuestProtocol:
        return _PeerProtocol(self, guest)

    def cut(self, trusted: Callable[[bytes], bool]) -> None:
        """Break the connections whose certificate is not trusted any more, whatever they are doing."""
        for connection in self.connections:
            if connection.certificate is not None and not trusted(connection.certificate):
                connection.transport.abort()

    def arrived(self, connection: GuestProtocol) -> None:
        super().arrived(connection)
        if (certificate := _members(connection)) is not None:
            self.recognise(connection)
            self._members[certificate] += 1
            if self._members[certificate] > MAX_PER_MEMBER:
                connection.refuse("member")

    def left(self, connection: GuestProtocol) -> None:
        super().left(connection)
        if (certificate := _members(connection)) is not None:
            self._members[certificate] -= 1
            if self._members[certificate] <= 0:
                del self._members[certificate]


def _members(connection: GuestProtocol) -> bytes | None:
    """The certificate of a member's connection, None for a stranger's."""
    assert isinstance(connection, _PeerProtocol)
    return connection.certificate if connection.known else None
