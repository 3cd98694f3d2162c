"""[io] The listener of the peer port: uvicorn's HTTP protocol without uvicorn's server.

`uvicorn.Server` owns signals, exits the process on a taken port and wakes ten times a second; none of it suits one of
two listeners in a node. Its protocol class is all that is needed. The class and `ServerState` are not public: uvicorn
is pinned, and `tests/fabric/test_server.py` fails where they change.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from mycoswarm.core.errors import Fixable, PortTaken

KEEP_ALIVE = 75
"""Seconds that an idle connection stays. Longer than the client's (`transport.KEEP_ALIVE`): the other way round a
request meets a connection that is just being closed."""
HANDSHAKE = 5.0
"""Seconds for the TLS handshake."""
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
        PortTaken: somebody else listens there.
        Fixable: not allowed to.
    """
    if only_loopback:
        return _bind(socket.AF_INET, "127.0.0.1", port)
    if socket.has_dualstack_ipv6():
        try:
            return _bind(socket.AF_INET6, "::", port)
        except Fixable as problem:
            if isinstance(problem, PortTaken):
                raise
            # IPv6 can be compiled in and switched off on this machine; IPv4 alone is fine then.
    return _bind(socket.AF_INET, "0.0.0.0", port)  # noqa: S104 - that is what a peer port is for


def _bind(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    # The protocol must be named: asyncio switches Nagle's algorithm off only for sockets that say that they are TCP,
    # and accepted ones say what their listener said. Without it a small answer waits 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, port))
        listener.listen(128)
        listener.setblocking(False)
    except OSError as problem:
        listener.close()
        if problem.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"the peer port {port} is taken by another program", "choose another with --peer-port, 0 for any"
            ) from problem
        raise Fixable(f"the peer port {port} cannot be opened: {problem.strerror}", "choose another") from problem
    return listener


class _PeerProtocol(H11Protocol):
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
    """The certificate (DER) of a connection in `ServerState.connections`."""
    return connection.app_state.get(CERTIFICATE)


class PeerServer:
    """Serves one ASGI application over TLS on one socket."""

    def __init__(self, app: Any, context: ssl.SSLContext, listener: socket.socket) -> None:
        self._config = Config(
            app,
            http=_PeerProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            date_header=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE,
        )
        self._context = context
        self._listener = listener
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self.port: int = listener.getsockname()[1]

    async def start(self) -> None:
        self._config.load()
        self._server = await asyncio.get_running_loop().create_server(
            self._connection, sock=self._listener, ssl=self._context, ssl_handshake_timeout=HANDSHAKE
        )

    def _connection(self) -> asyncio.Protocol:
        return _PeerProtocol(self._config, self._state, {})

    def cut(self, trusted: Callable[[bytes], bool]) -> None:
        """Break the connections whose certificate is not trusted any more, whatever they are doing."""
        for connection in list(self._state.connections):
            certificate = certificate_of(connection)
            if certificate is not None and not trusted(certificate):
                connection.transport.abort()

    async def close(self, grace: float) -> None:
        """Take nothing new, give running exchanges `grace` seconds, then break them."""
        if self._server is None:
            self._listener.close()
            return
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        tasks = list(self._state.tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*late, return_exceptions=True)
        for connection in list(self._state.connections):
            connection.transport.abort()
