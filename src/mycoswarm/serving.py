"""[io] Listeners: uvicorn's HTTP protocol without uvicorn's server. Both ports of a node stand on this.

`uvicorn.Server` owns signals, exits the process on a taken port and wakes ten times a second, none of which suits one
of two listeners in a node. Its protocol class is all that is needed. The class and `ServerState` are not public:
uvicorn is pinned, and `tests/test_serving.py` fails where they change.
"""

import asyncio
import contextlib
import errno
import resource
import socket
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from mycoswarm.core.errors import PortTaken

BACKLOG = 1024
"""Connections that the kernel holds until they are accepted: a burst of them while the one thread is busy."""
KEEP_ALIVE = 75
"""Seconds that an idle connection is kept. Clients of ours must give up sooner, or they write into a closing one."""

HEAD_SECONDS = 30.0
"""Seconds in which a request's head must be complete, from the connection or from the head's first byte on."""
HEAD_BYTES = 64 * 1024
"""Of a request line with all headers. Ours have some hundred; browsers and proxies send a few thousand."""
HEADER_COST = 32
"""Bytes that each header counts beside its text, as in HTTP/2: thousands of tiny ones cost memory too."""
PIPELINED = 16
"""Requests that may wait on one connection behind the one being answered; no client of ours sends any."""
DESCRIPTORS = 8192
"""Open files that a node may have: 64 members with a hundred connections each, and some. Many systems begin with 1,024,
which is a limit for programs that use select(), and the hard limit is there to be asked for by others."""


def allow_descriptors() -> None:
    """Raise this process's limit of open files to DESCRIPTORS, or as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


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
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as problem:
        listener.close()
        flag = "--" + setting.replace("_", "-")
        taken = problem.errno == errno.EADDRINUSE
        reason = "is taken by another program" if taken else f"cannot be used ({problem.strerror})"
        hint = f"{'end it, or choose' if taken else 'choose'} another port: {flag} N (0 for any free one)"
        raise PortTaken(f"port {port} {reason}", hint, port=port, taken=taken) from problem
    return listener


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's, with an end to its patience and its appetite.

    It waits for ever for a request's head, takes one of any size, and queues any number of requests: each of these lets
    whoever can connect hold memory for nothing. Subclasses set other limits for an instance.
    """

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self.head_seconds = HEAD_SECONDS
        self.head_bytes = HEAD_BYTES
        self.pipelined = PIPELINED
        self._ended = False
        # Bytes since something was understood of them: the parser keeps the rest of a head or a trailer for itself.
        self._unread = 0
        self._patience: asyncio.TimerHandle | None = None

    def refuse(self, reason: str) -> None:
        """Break the connection. reason: one word for statistics."""
        if not self._ended:
            self._ended = True
            self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self._be_patient()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._unset_patience()
        # uvicorn does so only after a clean end, and a timer keeps the whole connection in memory for its 75 s.
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        self._unread += len(data)
        super().data_received(data)
        if self._unread > self.head_bytes:
            self.refuse("head")
        serving = self.cycle is not None and not self.cycle.response_complete
        if not serving and not self._ended and self._patience is None and self.timeout_keep_alive_task is None:
            # Of a head, or of a body that nobody wants any more. Not renewed by what trickles in afterwards.
            self._be_patient()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._ended:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._ended:
            return
        self._unset_patience()
        self._unread = 0
        size = len(self.url) + sum(len(name) + len(value) + HEADER_COST for name, value in self.headers)
        if size > self.head_bytes:
            self.refuse("head")
        elif len(self.pipeline) >= self.pipelined and self.cycle is not None and not self.cycle.response_complete:
            self.refuse("pipelined")
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        if not self._ended:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._unread = 0
        if not self._ended:
            self._unset_patience()
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._ended = True
        super().send_400_response(msg)

    def _be_patient(self) -> None:
        self._patience = self.loop.call_later(self.head_seconds, self.refuse, "slow")

    def _unset_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


class Server:
    """One ASGI application and its connections, however they come in: `Listener` has them from one socket.

    Args:
        connections: requests under way beyond which new ones get 503.
    """

    def __init__(self, app: Callable[..., Any], connections: int = 2048) -> None:
        self.config = Config(
            app,
            http=HttpProtocol,
            interface="asgi3",
            ws="none",
            lifespan="off",
            log_config=None,
            # Its warnings tell what callers do wrong, a line each: whoever calls could fill the disk with them.
            log_level="error",
            access_log=False,
            proxy_headers=False,
            date_header=False,
            server_header=False,
            limit_concurrency=connections,
            timeout_keep_alive=KEEP_ALIVE,
        )
        self.state = ServerState()

    async def start(self) -> None:
        """Accept connections from now on."""
        self.config.load()

    @property
    def connections(self) -> list[Any]:
        """The protocol objects of open connections."""
        return list(self.state.connections)

    async def close(self, grace: float) -> None:
        """Take nothing new, give running exchanges `grace` seconds, then break them."""
        self._accept_no_more()
        for connection in self.connections:
            connection.shutdown()
        tasks = list(self.state.tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*late, return_exceptions=True)
        for connection in self.connections:
            connection.transport.abort()

    def _accept_no_more(self) -> None:
        """Close what connections come in by."""
        raise NotImplementedError


class Listener(Server):
    """In plaintext on one bound socket."""

    def __init__(self, app: Callable[..., Any], listener: socket.socket, connections: int = 2048) -> None:
        super().__init__(app, connections)
        self._listener = listener
        self._server: asyncio.Server | None = None
        self.port: int = listener.getsockname()[1]

    async def start(self) -> None:
        await super().start()
        self._server = await asyncio.get_running_loop().create_server(
            lambda: HttpProtocol(self.config, self.state, {}), sock=self._listener
        )

    def _accept_no_more(self) -> None:
        if self._server is None:
            self._listener.close()
        else:
            self._server.close()
