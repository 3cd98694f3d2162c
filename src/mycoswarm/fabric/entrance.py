"""[io] TLS listeners that let no crowd of strangers in the way. The peer port and the LAN's both stand on this.

They accept connections themselves, because asyncio accepts without limit and begins every handshake at once. Who may
stay and whose handshake is due is decided by `doorway`. A connection is a guest until its caller is known: to the peer
port by its certificate, to the LAN by its key.
"""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
import struct
from typing import Any

from mycoswarm.core.clock import Clock
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.fabric.doorway import Doorway, Guest
from mycoswarm.serving import HttpProtocol, Server
from mycoswarm.telemetry.health import Health

_log = logging.getLogger(__name__)

HANDSHAKE = 5.0
"""Seconds for the TLS handshake."""
SHUTDOWN = 0.5
"""Seconds in which the other side must answer to the end of TLS; half a minute is the default. What it still sends
meanwhile is decrypted and thrown away, so this is what an unwanted body can burn."""
STRANGER_LIFE = 30.0
"""Seconds that the connection of an unknown caller may last; joining takes two."""
ACCEPTED_AT_ONCE = 64
"""Connections taken between two looks at everything else: some 4 ms. Too many and a flood holds up the members."""
BREATHER = 0.1
"""Seconds without accepting after the system could not give a descriptor."""
DOUBT = 5.0
"""Seconds in which a caller whose handshake failed may still prove to be known: a member that has just been let in
calls others before they have heard of it."""
MAX_DOUBTS = 256
"""Addresses that have the benefit of it at one time."""
TELL_EVERY = 60.0
"""Seconds between two log lines of one kind about what strangers do; the registry counts each."""

ABORT = "abort"
"""Key in scope["state"]: breaks the connection at once, for a caller that takes nothing any more."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER: no farewell and no TIME_WAIT for those who are shown out, or a flood would fill the kernel's tables."""


class GuestProtocol(HttpProtocol):
    """A connection of an `Entrance`. known: its caller has proven who he is."""

    def __init__(self, server: "Entrance", guest: Guest) -> None:
        super().__init__(server.config, server.state, {})
        self.guest = guest
        self.known = False
        self.pipelined = 0
        self._entrance = server
        self._life: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.app_state[ABORT] = transport.abort
        if not self.known:
            self._life = self.loop.call_later(STRANGER_LIFE, self.refuse, "slow")
        super().connection_made(transport)
        self._entrance.arrived(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.live_on()
        self._entrance.left(self)
        super().connection_lost(exc)

    def live_on(self) -> None:
        """It may last as long as it likes."""
        if self._life is not None:
            self._life.cancel()
            self._life = None

    def refuse(self, reason: str) -> None:
        if not self._ended:
            self._entrance.dropped(reason, self.guest.source)
        super().refuse(reason)

    def send_400_response(self, msg: str) -> None:
        self._entrance.dropped("garbage", self.guest.source)
        super().send_400_response(msg)


class Entrance(Server):
    """Serves one ASGI application over TLS on any number of sockets.

    Subclasses say what a connection is (`protocol`) and under which names it is counted.

    Args:
        health: where dropped connections and failed handshakes are counted.
        guests: connections of unknown callers at one time.
    """

    failed_counter = ""
    dropped_counter = ""

    def __init__(self, app: Any, context: ssl.SSLContext, health: Health, clock: Clock, guests: int) -> None:
        super().__init__(app)
        self.context = context
        self._clock = clock
        self._health = health
        self._doorway = Doorway(clock.monotonic(), guests)
        self._sockets: set[socket.socket] = set()
        self._open = False
        self._waiting: dict[Guest, socket.socket] = {}
        self._shaking: dict[Guest, asyncio.Task[None]] = {}
        self._strangers: dict[Guest, GuestProtocol] = {}
        self._tasks = TaskGroup()
        self._turn: asyncio.TimerHandle | None = None
        self._accepting: set[socket.socket] = set()
        self._resuming: dict[socket.socket, asyncio.TimerHandle] = {}
        self._doubts: dict[str, asyncio.TimerHandle] = {}
        self._told: dict[tuple[str, str], float] = {}
        # Given up to take, and at once refuse, a connection when there is no descriptor left.
        self._spare = -1

    async def start(self) -> None:
        await super().start()
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._open = True
        for listener in self._sockets:
            self._accept_again(listener)

    async def close(self, grace: float) -> None:
        await super().close(grace)
        await self._tasks.close()

    def listen(self, listener: socket.socket) -> None:
        """Accept on this socket too; it belongs to the entrance from now on."""
        self._sockets.add(listener)
        if self._open:
            self._accept_again(listener)

    def stop_listening(self, listener: socket.socket) -> None:
        """Accept on this socket no more, and close it. Connections that came by it go on."""
        self._sockets.discard(listener)
        if (timer := self._resuming.pop(listener, None)) is not None:
            timer.cancel()
        if listener in self._accepting:
            asyncio.get_running_loop().remove_reader(listener)
            self._accepting.discard(listener)
        listener.close()

    @property
    def handshakes(self) -> int:
        """Those that are under way or wait for their turn."""
        return len(self._waiting) + len(self._shaking)

    # What subclasses say, and what a connection tells.

    def protocol(self, guest: Guest) -> GuestProtocol:
        """The protocol object of a connection whose handshake begins."""
        raise NotImplementedError

    async def greet(self, connection: socket.socket) -> bool:
        """Whether the handshake should begin; else the connection is closed."""
        return True

    def arrived(self, connection: GuestProtocol) -> None:
        """Its handshake is over."""
        if not connection.known:
            self._strangers[connection.guest] = connection

    def recognise(self, connection: GuestProtocol) -> None:
        """Its caller has proven who he is: the limits for strangers are not for him."""
        connection.known = True
        connection.live_on()
        source = connection.guest.source
        self._strangers.pop(connection.guest, None)
        self._doorway.leave(connection.guest)
        self._doorway.member_at(source)
        if (doubt := self._doubts.pop(source, None)) is not None:
            doubt.cancel()

    def left(self, connection: GuestProtocol) -> None:
        """It has ended."""
        self._doorway.leave(connection.guest)
        self._strangers.pop(connection.guest, None)

    def dropped(self, reason: str, source: str) -> None:
        """A connection was broken by this side."""
        self._count(self.dropped_counter, reason, source)

    # Accepting.

    def _accept_again(self, listener: socket.socket) -> None:
        self._resuming.pop(listener, None)
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)
        self._accepting.add(listener)

    def _accept_no_more(self) -> None:
        for timer in (self._turn, *self._doubts.values()):
            if timer is not None:
                timer.cancel()
        self._open = False
        for listener in tuple(self._sockets):
            self.stop_listening(listener)
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
        for guest in (*self._waiting, *self._shaking):
            self._doorway.leave(guest)
            self._show_out(guest)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                connection, address = listener.accept()
            except (BlockingIOError, InterruptedError):
                break
            except ConnectionError:
                # It has gone again while it waited to be accepted.
                continue
            except OSError as problem:
                self._cannot_accept(listener, problem)
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

    def _cannot_accept(self, listener: socket.socket, problem: OSError) -> None:
        """No descriptor, as a rule. The connection stays in the kernel's queue and would wake us for ever."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        self._accepting.discard(listener)
        self._resuming[listener] = loop.call_later(BREATHER, self._accept_again, listener)
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
                listener.accept()[0].close()
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
            if not await self._wanted(connection):
                self._doorway.leave(guest)
                return
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self.protocol(guest),
                connection,
                ssl=self.context,
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

    async def _wanted(self, connection: socket.socket) -> bool:
        """As `greet` says. The socket is closed where it is not, or where that fails."""
        wanted = False
        try:
            wanted = await self.greet(connection)
        finally:
            if not wanted:
                connection.close()
        return wanted

    def _failed(self, reason: str, source: str) -> None:
        """A handshake has failed: counted, unless its caller proves to be known in a moment."""
        if reason not in _MAY_BE_KNOWN or len(self._doubts) >= MAX_DOUBTS or source in self._doubts:
            self._count(self.failed_counter, reason, source)
            return
        loop = asyncio.get_running_loop()
        self._doubts[source] = loop.call_later(DOUBT, self._beyond_doubt, reason, source)

    def _beyond_doubt(self, reason: str, source: str) -> None:
        del self._doubts[source]
        self._count(self.failed_counter, reason, source)

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


_MAY_BE_KNOWN = ("certificate", "slow", "broken_off")
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
