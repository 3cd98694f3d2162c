"""[io] The peer API: what other nodes may ask of this one. A raw ASGI application.

    caller's certificate is in the roster   /peer/watch, /peer/roster and the handlers of the composition root
    anyone else                             POST /join/start, POST /join/finish; small, few, and slowly

Who the caller is comes from the connection (`server.CERTIFICATE`), and whether he is a member from the roster of this
very moment. A handler is cancelled as soon as its caller goes away: only so is an engine freed during prefill.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import msgspec

from mycoswarm.core.clock import Clock
from mycoswarm.core.errors import Busy, InvalidRequest, MycoError, NotFound, Refused
from mycoswarm.core.ids import NodeId
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.fabric.link import Link
from mycoswarm.fabric.server import ABORT, CERTIFICATE
from mycoswarm.fabric.wire import (
    JOIN_FINISH_PATH,
    JOIN_START_PATH,
    MAX_BODY,
    MAX_JOIN_BODY,
    ROSTER_PATH,
    WATCH_PATH,
    JoinFinish,
    JoinOffer,
    JoinStart,
    JoinWelcome,
    Lines,
)

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

KEEP_ALIVE = 1.0
"""Seconds of silence after which a blank line goes out on a stream; five missed ones are taken for our death."""
LAST_WORDS = 0.2
"""Seconds that a stream's end may take to reach the wire."""
MAX_JOINING = 16
"""Strangers' requests worked on at one time."""
JOIN_RATE, JOIN_BURST = 4.0, 16.0
"""Strangers' requests per second, all together: each costs some 10 ms of curve arithmetic, so this is what a flood can
burn, and a person needs two."""


@dataclass(frozen=True)
class PeerRequest:
    """What a handler is given. query: as in the address, undecoded."""

    caller: NodeId
    path: str
    query: str
    body: bytes


Handler = Callable[[PeerRequest], Awaitable[bytes] | AsyncGenerator[bytes, None]]
"""Answers with a JSON body, or with an NDJSON stream in pieces of whole lines. May raise MycoError at any time."""


@dataclass(frozen=True)
class Gate:
    """What the peer API asks of the service behind it.

    caller: the member with this exact certificate (DER), by the roster of this moment.
    take_roster: a member brings news that cannot wait to be pulled: it leaves.
    accepted: a peer has opened a watch stream; the result takes its lines.
    """

    caller: Callable[[bytes], NodeId | None]
    roster: Callable[[], bytes]
    take_roster: Callable[[bytes], Awaitable[None]]
    join_start: Callable[[JoinStart], JoinOffer]
    join_finish: Callable[[JoinFinish], JoinWelcome]
    accepted: Callable[[Link], Callable[[bytes], None]]
    lost: Callable[[Link], None]


class _Gone(Exception):
    """The caller closed its connection."""


class PeerApp:
    """The ASGI application. `handlers` may be filled until the listener starts."""

    def __init__(self, gate: Gate, clock: Clock) -> None:
        self.handlers: dict[tuple[str, str], Handler] = {}
        self._gate = gate
        self._clock = clock
        self._joining = 0
        self._allowance = JOIN_BURST
        self._allowed_at = clock.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        certificate = scope["state"].get(CERTIFICATE)
        caller = self._gate.caller(certificate) if certificate is not None else None
        reply = _Reply(send)
        try:
            if scope["path"].startswith("/join/"):
                await self._join(scope, receive, reply)
            elif caller is None:
                raise Refused(
                    "this machine is not a member of the swarm", "`mycoswarm invite` on a member gives it a code"
                )
            elif scope["path"] == WATCH_PATH and scope["method"] == "POST":
                await self._watch(caller, scope, receive, reply)
            else:
                await self._serve(caller, scope, receive, reply)
        except _Gone:
            return
        except MycoError as problem:
            await reply.error(problem)
        # The boundary of the process towards its peers: a bug in a handler must reach them as an error, not as an end.
        except Exception:
            _log.exception("bug while serving %s %s", scope["method"], scope["path"])
            await reply.error(MycoError("the other node met a bug while answering", "its log says more"))

    async def _join(self, scope: Scope, receive: Receive, reply: "_Reply") -> None:
        now = self._clock.monotonic()
        self._allowance = min(JOIN_BURST, self._allowance + (now - self._allowed_at) * JOIN_RATE)
        self._allowed_at = now
        if self._joining >= MAX_JOINING or self._allowance < 1.0:
            raise Busy("too many machines are joining at once", "try again in a few seconds", retry_after=5.0)
        self._allowance -= 1.0
        self._joining += 1
        try:
            body = await _body(receive, MAX_JOIN_BODY)
            try:
                match (scope["method"], scope["path"]):
                    case ("POST", path) if path == JOIN_START_PATH:
                        answer = self._gate.join_start(msgspec.json.decode(body, type=JoinStart))
                    case ("POST", path) if path == JOIN_FINISH_PATH:
                        answer = self._gate.join_finish(msgspec.json.decode(body, type=JoinFinish))
                    case _:
                        raise NotFound("there is nothing at this address")
            except msgspec.DecodeError as problem:
                raise InvalidRequest("the message is not one of joining") from problem
            await reply.whole(msgspec.json.encode(answer))
        finally:
            self._joining -= 1

    async def _watch(self, caller: NodeId, scope: Scope, receive: Receive, reply: "_Reply") -> None:
        link = Link(caller, dialled=False, address=address_of(scope["client"][0] if scope.get("client") else ""))
        on_line = self._gate.accepted(link)
        lines = Lines()

        async def read() -> None:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                for line in lines.feed(message.get("body", b"")):
                    on_line(line)
                if not message.get("more_body", False):
                    return

        async def write() -> None:
            async for data in link.outgoing():
                await reply.piece(data)
            await reply.end()

        tasks = TaskGroup()
        try:
            both = {tasks.start(read(), f"watch from {caller[:8]}"), tasks.start(write(), f"watch to {caller[:8]}")}
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if link.closed:
                # Closed by this side: let what was said last (a goodbye) reach the wire before the connection goes.
                await asyncio.wait(both, timeout=LAST_WORDS, return_when=asyncio.ALL_COMPLETED)
            for task in done:
                if isinstance(problem := task.exception(), MycoError):
                    _log.warning("watch stream of %s: %s", caller[:8], problem.message)
        finally:
            link.close()
            await tasks.close()
            self._gate.lost(link)
        try:
            await asyncio.wait_for(reply.end(), LAST_WORDS)
        except TimeoutError:
            scope["state"][ABORT]()

    async def _serve(self, caller: NodeId, scope: Scope, receive: Receive, reply: "_Reply") -> None:
        if scope["path"] == ROSTER_PATH and scope["method"] in ("GET", "POST"):
            if scope["method"] == "POST":
                await self._gate.take_roster(await _body(receive, MAX_BODY))
            await reply.whole(self._gate.roster())
            return
        handler = self.handlers.get((scope["method"], scope["path"]))
        if handler is None:
            raise NotFound(f"this node answers nothing at {scope['path']}", "is its version an older one?")
        body = await _body(receive, MAX_BODY)
        request = PeerRequest(caller, scope["path"], scope["query_string"].decode("latin1"), body)
        tasks = TaskGroup()
        try:
            work = tasks.start(_answer(handler, request, reply), f"{scope['method']} {scope['path']}")
            gone = tasks.start(_disconnected(receive), "caller of " + scope["path"])
            while True:
                done, _ = await asyncio.wait({work, gone}, timeout=KEEP_ALIVE, return_when=asyncio.FIRST_COMPLETED)
                if work in done:
                    if (problem := work.result()) is not None:
                        raise problem
                    return
                if gone in done:
                    return
                await reply.keep_alive()
        finally:
            await tasks.close()


async def _answer(handler: Handler, request: PeerRequest, reply: "_Reply") -> MycoError | None:
    """Run the handler; an error of ours is a result, so that only bugs are logged as failed tasks."""
    try:
        result = handler(request)
        if isinstance(result, AsyncGenerator):
            reply.streaming = True
            async with aclosing(result) as pieces:
                async for piece in pieces:
                    await reply.piece(piece)
            await reply.end()
        else:
            await reply.whole(await result)
    except MycoError as problem:
        return problem
    return None


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(receive: Receive, limit: int) -> bytes:
    data = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        data += message.get("body", b"")
        if len(data) > limit:
            raise InvalidRequest(f"the request is larger than {limit} bytes")
        if not message.get("more_body", False):
            return bytes(data)


class _Reply:
    """One answer on its way out, whole or in pieces; an error finds its form by what has been sent already."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._started = False
        self._ended = False
        self._quiet = True
        self.streaming = False

    async def whole(self, body: bytes, status: int = 200) -> None:
        await self._start(status, (b"content-length", b"%d" % len(body)))
        self._ended = True
        await self._send({"type": "http.response.body", "body": body})

    async def piece(self, data: bytes) -> None:
        """Whole lines of a stream."""
        self._quiet = False
        if not self._started:
            await self._start(200)
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def keep_alive(self) -> None:
        """A blank line if a stream said nothing since the last call."""
        if self.streaming and self._quiet and not self._ended:
            await self.piece(b"\n")
        self._quiet = True

    async def end(self) -> None:
        if self._ended:
            return
        if not self._started:
            await self._start(200)
        self._ended = True
        await self._send({"type": "http.response.body", "body": b""})

    async def error(self, problem: MycoError) -> None:
        body = msgspec.json.encode({"error": problem.body()})
        if self._ended:
            return
        if self._started:
            await self.piece(body + b"\n")
            await self.end()
        else:
            await self.whole(body, problem.status)

    async def _start(self, status: int, *headers: tuple[bytes, bytes]) -> None:
        self._started = True
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", b"application/x-ndjson"), *headers],
            }
        )


def address_of(host: str) -> str:
    """A caller's host as it stands in an address; empty where it could not be called back there."""
    host = host.removeprefix("::ffff:")
    if "%" in host or host.startswith("fe80:"):
        return ""
    return f"[{host}]" if ":" in host else host
