"""[io] The listener of the peer port: tells the application who calls, and lets no crowd of strangers in the way.

It accepts connections itself, because asyncio accepts without limit and begins every handshake at once. Who may stay
and whose handshake is due is decided by `doorway`; what each may send, and how slowly, by `_PeerProtocol`.
"""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any

from mycoswarm.core.clock import Clock, SystemClock
from mycoswarm.core.errors import PortTaken
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.fabric.doorway import MAX_GUESTS, Doorway, Guest
from mycoswarm.serving import HttpProtocol, Listener
from mycoswarm.serving import bind as bind_to
from mycoswarm.telemetry.health import Health

_log = logging.getLogger(__name__)

HANDSHAKE = 5.0
"""Seconds for the TLS handshake."""
SHUTDOWN = 0.5
"""Seconds in which the other side must answer to the end of TLS; half a minute is the default. What it still sends
meanwhile is decrypted and thrown away, so this is what an unwanted body can burn."""
STRANGER_HEAD = 5.0
"""Seconds in which a stranger must have asked something."""
STRANGER_LIFE = 30.0
"""Seconds that a connection without a member's certificate may last; joining takes two."""
STRANGER_HEAD_BYTES = 8 * 1024
"""Of a stranger's request line and headers; ours have 250."""
MAX_PER_MEMBER = 256
"""Connections of one member: one for each of its requests at a time, and the watch stream."""
ACCEPTED_AT_ONCE = 64
"""Connections taken between two looks at everything else: some 4 ms. Too many and a flood holds up the members."""
BREATHER = 0.1
"""Seconds without accepting after the system could not give a descriptor."""
DOUBT = 5.0
"""Seconds in which a caller whose handshake failed may still prove to be a member: one that has just been let in calls
others before they have heard of it."""
MAX_DOUBTS = 256
"""Addresses that have the benefit of it at one time."""
TELL_EVERY = 60.0
"""Seconds between two log lines of one kind about what strangers do; the registry counts each."""

CERTIFICATE = "peer_certificate"
"""Key in scope["state"]: DER of the certificate that the caller has proven to own, None for none."""

ABORT = "abort"
"""Key in scope["state"]: breaks the connection at once, for a caller that takes nothing any more."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER: no farewell and no TIME_WAIT for those who are shown out, or a flood would fill the kernel's tables."""


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


class _PeerProtocol(HttpProtocol):
    """Puts the caller's certificate where the application finds it; limits strangers more than members."""

    def __init__(self, server: "PeerServer", guest: Guest) -> None:
        super().__init__(server.config, server.state, {})
        self.guest = guest
        self.certificate: bytes | None = None
        self.member = False
        self.pipelined = 0
        self._server = server
        self._life: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        tls = transport.get_extra_info("ssl_object")
        self.certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        self.app_state[CERTIFICATE] = self.certificate
        self.app_state[ABORT] = transport.abort
        self.member = self.certificate is not None and self._server.trusted(self.certificate)
        if not self.member:
            self.head_seconds = STRANGER_HEAD
            self.head_bytes = STRANGER_HEAD_BYTES
            self._life = self.loop.call_later(STRANGER_LIFE, self.refuse, "slow")
        super().connection_made(transport)
        if not self._server.arrived(self):
            self.refuse("member")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._life is not None:
            self._life.cancel()
        self._server.left(self)
        super().connection_lost(exc)

    def refuse(self, reason: str) -> None:
        if not self._ended:
            self._server.dropped(reason, self.guest.source)
        super().refuse(reason)

    def send_400_response(self, msg: str) -> None:
        self._server.dropped("garbage", self.guest.source)
        super().send_400_response(msg)


class PeerServer(Listener):
    """Serves one ASGI application over TLS on one socket.

    Args:
        health: where dropped connections and failed handshakes are counted.
        trusted: whether a certificate (DER) is a member's now. Its connections then leave the strangers' limits behind.
        guests: connections of unknown callers at one time.
    """

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
        super().__init__(app, listener)
        self.trusted = trusted
        self._context = context
        self._clock: Clock = clock or SystemClock()
        self._health = health or Health(self._clock)
        self._doorway = Doorway(self._clock.monotonic(), guests)
        self._waiting: dict[Guest, socket.socket] = {}
        self._shaking: dict[Guest, asyncio.Task[None]] = {}
        self._strangers: dict[Guest, _PeerProtocol] = {}
        self._members: Counter[bytes] = Counter()
        self._tasks = TaskGroup()
        self._turn: asyncio.TimerHandle | None = None
        self._accepting = False
        self._resuming: asyncio.TimerHandle | None = None
        self._doubts: dict[str, asyncio.TimerHandle] = {}
        self._told: dict[tuple[str, str], float] = {}
        # Given up to take, and at once refuse, a connection when there is no descriptor left.
        self._spare = -1

    async def start(self) -> None:
        """Accept connections from now on."""
        self.config.load()
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._accept_again()

    async def close(self, grace: float) -> None:
        await super().close(grace)
        await self._tasks.close()

    @property
    def handshakes(self) -> int:
        """Those that are under way or wait for their turn."""
        return len(self._waiting) + len(self._shaking)

    def cut(self, trusted: Callable[[bytes], bool]) -> None:
        """Break the connections whose certificate is not trusted any more, whatever they are doing."""
        for connection in self.connections:
            if connection.certificate is not None and not trusted(connection.certificate):
                connection.transport.abort()

    # What a connection tells.

    def arrived(self, connection: _PeerProtocol) -> bool:
        """Its handshake is over. Returns whether its caller may have one more."""
        if not connection.member or connection.certificate is None:
            self._strangers[connection.guest] = connection
            return True
        source = connection.guest.source
        self._doorway.leave(connection.guest)
        self._doorway.member_at(source)
        if (doubt := self._doubts.pop(source, None)) is not None:
            doubt.cancel()
        self._members[connection.certificate] += 1
        return self._members[connection.certificate] <= MAX_PER_MEMBER

    def left(self, connection: _PeerProtocol) -> None:
        """It has ended."""
        self._doorway.leave(connection.guest)
        self._strangers.pop(connection.guest, None)
        if connection.member and connection.certificate is not None:
            self._members[connection.certificate] -= 1
            if self._members[connection.certificate] <= 0:
                del self._members[connection.certificate]

    def dropped(self, reason: str, source: str) -> None:
        """A connection was broken by this side."""
        self._count("mycoswarm_connections_dropped_total", reason, source)

    # Accepting.

    def _accept_again(self) -> None:
        self._resuming = None
        asyncio.get_running_loop().add_reader(self._listener, self._accept)
        self._accepting = True

    def _accept_no_more(self) -> None:
        for timer in (self._turn, self._resuming, *self._doubts.values()):
            if timer is not None:
                timer.cancel()
        if self._accepting:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._accepting = False
        self._listener.close()
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
        for guest in (*self._waiting, *self._shaking):
            self._doorway.leave(guest)
            self._show_out(guest)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                connection, address = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                break
            except ConnectionError:
                # It has gone again while it waited to be accepted.
                continue
            except OSError as problem:
                self._cannot_accept(problem)
                break
            self._enter(connection, _source(address))
        self._begin()

    def _enter(self, connection: socket.socket, source: str) -> None:
        connection.setblocking(False)
        with contextlib.suppress(OSError):  # it may be broken already
            # Else a small answer waits 40 ms for an acknowledgement.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        guest, shown_out = self._doorway.enter(source)
        self._waiting[guest] = connection
        if shown_out is not None:
            self._show_out(shown_out)
            self.dropped("crowd", shown_out.source)

    def _cannot_accept(self, problem: OSError) -> None:
        """No descriptor, as a rule. The connection stays in the kernel's queue and would wake us for ever."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener)
        self._accepting = False
        self._resuming = loop.call_later(BREATHER, self._accept_again)
        if problem.errno not in _EXHAUSTED:
            self._tell("accept", "", f"a connection could not be accepted: {problem}")
            return
        self.dropped("descriptors", "")
        for _ in range(ACCEPTED_AT_ONCE):
            if (guest := self._doorway.show_out()) is None:
                break
            self._show_out(guest)
        if self._spare >= 0:
            # Whoever waits longest is told no rather than nothing.
            os.close(self._spare)
            self._spare = -1
            with contextlib.suppress(OSError):
                self._listener.accept()[0].close()
        with contextlib.suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _show_out(self, guest: Guest) -> None:
        """End its connection, however far it has come. The doorway knows already."""
        if (connection := self._waiting.pop(guest, None)) is not None:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            connection.close()
        elif (stranger := self._strangers.get(guest)) is not None:
            stranger.transport.abort()
        elif (task := self._shaking.get(guest)) is not None:
            task.cancel()

    # Handshakes.

    def _begin(self) -> None:
        """Begin those that are due, and come back when the next is."""
        for guest in self._doorway.start(self._clock.monotonic()):
            self._tasks.start(self._shake(guest), "handshake")
        wait = self._doorway.wait()
        if wait is not None and self._turn is None:
            self._turn = asyncio.get_running_loop().call_later(wait, self._next_turn)

    def _next_turn(self) -> None:
        self._turn = None
        self._begin()

    async def _shake(self, guest: Guest) -> None:
        # Not before it really runs: a task that is cancelled earlier would neither close the socket nor be forgotten.
        connection, task = self._waiting.pop(guest, None), asyncio.current_task()
        if connection is None or task is None:
            return
        self._shaking[guest] = task
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _PeerProtocol(self, guest),
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE,
                ssl_shutdown_timeout=SHUTDOWN,
            )
        except (OSError, TimeoutError) as problem:
            self._doorway.leave(guest)
            self._failed(_reason(problem), guest.source)
        except asyncio.CancelledError:
            self._doorway.leave(guest)
            raise
        finally:
            del self._shaking[guest]

    def _failed(self, reason: str, source: str) -> None:
        """A handshake has failed: counted, unless a member proves itself from there in a moment."""
        if reason not in _MAY_BE_A_MEMBERS or len(self._doubts) >= MAX_DOUBTS or source in self._doubts:
            self._count("mycoswarm_tls_failed_total", reason, source)
            return
        loop = asyncio.get_running_loop()
        self._doubts[source] = loop.call_later(DOUBT, self._beyond_doubt, reason, source)

    def _beyond_doubt(self, reason: str, source: str) -> None:
        del self._doubts[source]
        self._count("mycoswarm_tls_failed_total", reason, source)

    # Telling.

    def _count(self, name: str, reason: str, source: str) -> None:
        self._health.count(name, source, reason=reason)
        self._tell(name, reason, f"{name.removeprefix('mycoswarm_').removesuffix('_total')} ({reason}) from {source}")

    def _tell(self, kind: str, reason: str, said: str) -> None:
        now = self._clock.monotonic()
        if now - self._told.get((kind, reason), float("-inf")) >= TELL_EVERY:
            self._told[kind, reason] = now
            _log.info("%s; the next of this kind is told in %g s at the earliest", said, TELL_EVERY)


def _source(address: Any) -> str:
    """The host of an accepted connection; IPv4 as such also where the listener speaks both."""
    return str(address[0]).removeprefix("::ffff:").partition("%")[0]


def _reason(problem: BaseException) -> str:
    """Why a handshake failed, one of a few words."""
    match problem:
        case ssl.SSLCertVerificationError():
            return "certificate"
        case ssl.SSLError():
            return _BY_LIBRARY.get(problem.reason or "", "protocol")
        case TimeoutError():
            return "slow"
        case ConnectionAbortedError():
            # What asyncio raises when the time for the handshake is over.
            return "slow"
        case _:
            return "broken_off"


_MAY_BE_A_MEMBERS = ("certificate", "slow", "broken_off")
"""Failures that also befall machines that mean well."""

_BY_LIBRARY = {
    "CERTIFICATE_VERIFY_FAILED": "certificate",
    "BAD_SIGNATURE": "signature",
    "UNSUPPORTED_PROTOCOL": "version",
    "VERSION_TOO_LOW": "version",
    "WRONG_VERSION_NUMBER": "not_tls",
    "HTTP_REQUEST": "not_tls",
    "UNKNOWN_PROTOCOL": "not_tls",
    "UNEXPECTED_EOF_WHILE_READING": "broken_off",
}
"""OpenSSL's names of what went wrong."""
