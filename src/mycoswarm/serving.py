"""[io] Listeners: bind first, serve quietly, end without hanging. Both ports of a node use this.

uvicorn is built to be the only server of its process. Two of them in one loop would fight over signals, and its 0.1 s
tick would be most of an idle node's CPU; so signals and ticking are ours. The version is pinned for these overrides.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable, Generator, Sequence
from typing import Any

import uvicorn

from mycoswarm.core.errors import PortTaken

GRACE = 2.0
"""Seconds that open replies may still run when the node ends; then they are cut."""

KEEP_ALIVE = 75
"""Seconds that an idle connection is kept. Clients of ours must give up sooner, or they write into a closing one."""


def bind(host: str, port: int, setting: str) -> socket.socket:
    """A listening TCP socket; port 0 takes any free one.

    Args:
        setting: the setting that names this port, for the hint.

    Raises:
        PortTaken: another program has it, or this user may not take it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        # Both families on one socket, so that one port number serves IPv4 and IPv6.
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    try:
        listener.bind((host, port))
        listener.listen(512)
    except OSError as problem:
        listener.close()
        flag = "--" + setting.replace("_", "-")
        if problem.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"port {port} is taken by another program", f"end it, or choose another port: {flag} N"
            ) from problem
        raise PortTaken(
            f"port {port} cannot be used ({problem.strerror})", f"choose another port: {flag} N", errno=problem.errno
        ) from problem
    listener.setblocking(False)
    return listener


class Listener(uvicorn.Server):
    """One ASGI application on one bound socket.

    Args:
        context: TLS; None serves plaintext.
        protocol: uvicorn's protocol class, for one that puts more into the scope.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        listener: socket.socket,
        context: ssl.SSLContext | None = None,
        protocol: type[asyncio.Protocol] | None = None,
        connections: int = 1024,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol or "httptools",
                interface="asgi3",
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                limit_concurrency=connections,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=int(GRACE),
                ssl_context_factory=None if context is None else lambda _config, _default: context,
            )
        )
        self._listener = listener
        self._ending = asyncio.Event()
        self._serving = asyncio.Event()

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    async def run_until_ended(self) -> None:
        """Serve until `end` is called."""
        await self.serve(sockets=[self._listener])

    async def serving(self) -> None:
        """Returns when connections are accepted."""
        await self._serving.wait()

    def end(self) -> None:
        """Stop accepting, let open replies run GRACE seconds, then cut them."""
        self._ending.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: Sequence[socket.socket] | None = None) -> None:
        await super().startup(list(sockets or ()))
        self._serving.set()

    async def main_loop(self) -> None:
        await self._ending.wait()
