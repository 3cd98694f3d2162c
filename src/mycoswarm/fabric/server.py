"""[io] The listener of the peer port: `serving.Listener` that tells who calls, and bounds strangers."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mycoswarm.core.errors import PortTaken
from mycoswarm.serving import Listener
from mycoswarm.serving import bind as bind_to

STRANGER_LIFE = 30.0
"""Seconds that a connection without a certificate may last; joining takes two."""
MAX_STRANGERS = 32
"""Connections without a certificate at one time."""

CERTIFICATE = "peer_certificate"
"""Key in scope["state"]: DER of the certificate that the caller has proven to own, None for none."""

ABORT = "abort"
"""Key in scope["state"]: breaks the connection at once, for a caller that takes nothing any more."""


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


class _PeerProtocol(HttpToolsProtocol):
    """Puts the caller's certificate where the application finds it, and bounds strangers."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        self.app_state[CERTIFICATE] = certificate
        self.app_state[ABORT] = transport.abort
        if certificate is None:
            strangers = sum(1 for one in self.connections if certificate_of(one) is None)
            if strangers > MAX_STRANGERS:
                transport.abort()
            else:
                self.loop.call_later(STRANGER_LIFE, transport.abort)


def certificate_of(connection: Any) -> bytes | None:
    """The certificate (DER) of one of a listener's connections."""
    return connection.app_state.get(CERTIFICATE)


class PeerServer(Listener):
    """Serves one ASGI application over TLS on one socket."""

    def __init__(self, app: Any, context: ssl.SSLContext, listener: socket.socket) -> None:
        super().__init__(app, listener, context, _PeerProtocol)

    def cut(self, trusted: Callable[[bytes], bool]) -> None:
        """Break the connections whose certificate is not trusted any more, whatever they are doing."""
        for connection in self.connections:
            certificate = certificate_of(connection)
            if certificate is not None and not trusted(certificate):
                connection.transport.abort()
