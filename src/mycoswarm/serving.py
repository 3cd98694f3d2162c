"""[io] Listeners: uvicorn's HTTP protocol without uvicorn's server. Both ports of a node stand on this.

`uvicorn.Server` owns signals, exits the process on a taken port and wakes ten times a second, none of which suits one
of two listeners in a node. Its protocol class is all that is needed. The class and `ServerState` are not public:
uvicorn is pinned, and `tests/test_serving.py` fails where they change.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from mycoswarm.core.errors import PortTaken

KEEP_ALIVE = 75
"""Seconds that an idle connection is kept. Clients of ours must give up sooner, or they write into a closing one."""

HANDSHAKE = 5.0
"""Seconds for the TLS handshake."""


def bind(host: str, port: int, setting: str) -> socket.socket:
    """A listening TCP socket; port 0 takes any free one.

    Args:
        setting: the setting that names this port, for the hint.

    Raises:
        PortTaken: another program has it, or this user may not take it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol must be named: asyncio switches Nagle off only for sockets that say that they are TCP, and accepted
    # ones say what their listener said. Without it a small answer waits 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Both families on one socket, so that one port number serves IPv4 and IPv6.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, port))
        listener.listen(512)
        listener.setblocking(False)
    except OSError as problem:
        listener.close()
        flag = "--" + setting.replace("_", "-")
        taken = problem.errno == errno.EADDRINUSE
        reason = "is taken by another program" if taken else f"cannot be used ({problem.strerror})"
        hint = f"{'end it, or choose' if taken else 'choose'} another port: {flag} N (0 for any free one)"
        raise PortTaken(f"port {port} {reason}", hint, port=port, taken=taken) from problem
    return listener


class Listener:
    """One ASGI application on one bound socket.

    Args:
        context: TLS; None serves plaintext.
        protocol: a subclass that puts more into the scope, or bounds connections.
        connections: requests under way beyond which new ones get 503.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        listener: socket.socket,
        context: ssl.SSLContext | None = None,
        protocol: type[HttpToolsProtocol] = HttpToolsProtocol,
        connections: int = 2048,
    ) -> None:
        self._config = Config(
            app,
            http=protocol,
            interface="asgi3",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            date_header=False,
            server_header=False,
            limit_concurrency=connections,
            timeout_keep_alive=KEEP_ALIVE,
        )
        self._protocol = protocol
        self._context = context
        self._listener = listener
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self.port: int = listener.getsockname()[1]

    async def start(self) -> None:
        """Accept connections from now on."""
        self._config.load()
        self._server = await asyncio.get_running_loop().create_server(
            lambda: self._protocol(self._config, self._state, {}),
            sock=self._listener,
            ssl=self._context,
            ssl_handshake_timeout=None if self._context is None else HANDSHAKE,
        )

    @property
    def connections(self) -> list[Any]:
        """The protocol objects of open connections."""
        return list(self._state.connections)

    async def close(self, grace: float) -> None:
        """Take nothing new, give running exchanges `grace` seconds, then break them."""
        if self._server is None:
            self._listener.close()
            return
        self._server.close()
        for connection in self.connections:
            connection.shutdown()
        tasks = list(self._state.tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*late, return_exceptions=True)
        for connection in self.connections:
            connection.transport.abort()
