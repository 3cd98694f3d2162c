"""[io] The peer API: what other nodes may ask of this one. A raw ASGI application.

    caller's certificate is in the roster   /peer/watch, /peer/roster and the handlers of the composition root
    anyone else                             POST below /join/; small, few, and slowly

Who the caller is comes from the connection (`server.CERTIFICATE`), and whether he is a member from the roster of this
very moment. A handler is cancelled as soon as its caller goes away: only so is an engine freed during prefill.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, MutableMapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from mycoswarm.core.clock import Clock
from mycoswarm.core.errors import Busy, InvalidRequest, MycoError, NotFound, Refused
from mycoswarm.core.ids import NodeId
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.fabric.allowance import Allowance, FairAllowance
from mycoswarm.fabric.entrance import ABORT
from mycoswarm.fabric.link import Link
from mycoswarm.fabric.roster import MAX_BYTES as MAX_ROSTER
from mycoswarm.fabric.server import CERTIFICATE
from mycoswarm.fabric.wire import (
    JOIN_PATH,
    MAX_BODY,
    MAX_JOIN_BODY,
    ROSTER_PATH,
    WATCH_PATH,
    Lines,
)
from mycoswarm.telemetry.health import Health

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

KEEP_ALIVE = 1.0
"""Seconds of silence after which a blank line goes out on a stream; five missed ones are taken for our death."""
LAST_WORDS = 0.2
"""Seconds that a stream's end may take to reach the wire."""
STRANGERS_PATIENCE = 5.0
"""Seconds in which the body of a stranger's request must be complete: at most 4 KB."""
MEMBERS_PATIENCE = 300.0
"""Seconds in which that of a member must be: 65 MB over a wireless link that carries 2 Mbit/s."""
JOIN_PACE = 4.0, 16.0
"""Strangers' requests from one address, per second and at once; a person needs two."""
JOIN_PACE_TOGETHER = 16.0, 64.0
"""From all together: each costs some 10 ms of curve arithmetic, so a flood can burn 16 % of one core."""
MAX_HELD = 128 * 1024 * 1024
"""Bytes of the requests of one member that are being read or answered: one of the largest and many others. It may open
256 connections, and each of them may bring MAX_BODY."""
ROSTER_PACE = 0.02, 3.0
"""Seconds of computing on rosters that one member brings and that are refused: for each second, and at once. Judging a
large one takes 0.6 s: without a bound a hostile member would keep this node busy with nothing else."""
LEAST_COST = 0.05
"""Seconds that a refused roster counts at the least: it was read and taken apart before anybody looked at a clock."""


@dataclass(frozen=True)
class PeerRequest:
    """What a handler is given. query: as in the address, undecoded. source: the address that it comes from."""

    caller: NodeId
    path: str
    query: str
    body: bytes
    source: str = ""


Handler = Callable[[PeerRequest], Awaitable[bytes] | AsyncGenerator[bytes, None]]
"""Answers with a JSON body, or with an NDJSON stream in pieces of whole lines. May raise MycoError at any time."""


@dataclass(frozen=True)
class Gate:
    """What the peer API asks of the service behind it.

    caller: the member with this exact certificate (DER), by the roster of this moment.
    take_roster: this member brings news that cannot wait to be pulled: it leaves, or has signed something.
    join: the answer to a stranger's message of joining, by its path, from this address.
    accepted: a peer has opened a watch stream; the result takes its lines.
    """

    caller: Callable[[bytes], NodeId | None]
    roster: Callable[[], bytes]
    take_roster: Callable[[NodeId, bytes], Awaitable[None]]
    join: Callable[[str, bytes, str], bytes]
    accepted: Callable[[Link], Callable[[bytes], None]]
    lost: Callable[[Link], None]


class _Gone(Exception):
    """The caller closed its connection."""


class PeerApp:
    """The ASGI application. `handlers` may be filled until the listener starts."""

    def __init__(self, gate: Gate, clock: Clock, health: Health | None = None) -> None:
        self.handlers: dict[tuple[str, str], Handler] = {}
        self._gate = gate
        self._clock = clock
        self._health = health or Health(clock)
        self._joining = FairAllowance(JOIN_PACE, JOIN_PACE_TOGETHER, clock.monotonic())
        self._held: dict[NodeId, int] = {}
        self._refused: dict[NodeId, Allowance] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        certificate = scope["state"].get(CERTIFICATE)
        caller = self._gate.caller(certificate) if certificate is not None else None
        reply = _Reply(send)
        try:
            if scope["path"].startswith(JOIN_PATH):
                await self._join(scope, receive, reply)
            elif caller is None:
                # Not that a machine which has just left asks whether it is still known: so it learns that it was heard.
                if certificate is None or (scope["method"], scope["path"]) != ("GET", ROSTER_PATH):
                    self._health.count("mycoswarm_strangers_refused_total", _host(scope))
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
        source = _host(scope)
        # Of strangers the connections are few, and each brings little.
        body = await _body(scope, receive, MAX_JOIN_BODY, STRANGERS_PATIENCE, lambda count: None)
        if not self._joining.take(source, self._clock.monotonic()):
            self._health.count("mycoswarm_joins_refused_total", source, reason="busy")
            raise Busy("too many machines are joining at once", "try again in a few seconds", retry_after=5.0)
        if scope["method"] != "POST":
            raise NotFound("there is nothing at this address")
        await reply.whole(self._gate.join(scope["path"], body, source))

    async def _watch(self, caller: NodeId, scope: Scope, receive: Receive, reply: "_Reply") -> None:
        link = Link(caller, dialled=False, address=address_of(_host(scope)))
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
                    # Counted and told by `doctor`; a line each time would be a way to fill the disk.
                    self._health.count("mycoswarm_lines_refused_total", _host(scope))
                    _log.debug("watch stream of %s: %s", caller[:8], problem.message)
        finally:
            link.close()
            await tasks.close()
            self._gate.lost(link)
        try:
            await asyncio.wait_for(reply.end(), LAST_WORDS)
        except TimeoutError:
            scope["state"][ABORT]()

    async def _serve(self, caller: NodeId, scope: Scope, receive: Receive, reply: "_Reply") -> None:
        with self._room(caller) as take:
            if scope["path"] == ROSTER_PATH and scope["method"] in ("GET", "POST"):
                await self._exchange_rosters(caller, scope, receive, take, reply)
                return
            handler = self.handlers.get((scope["method"], scope["path"]))
            if handler is None:
                raise NotFound(f"this node answers nothing at {scope['path']}", "is its version an older one?")
            body = await _body(scope, receive, MAX_BODY, MEMBERS_PATIENCE, take, reply)
            query, client = scope["query_string"].decode("latin1"), scope.get("client")
            request = PeerRequest(caller, scope["path"], query, body, str(client[0]) if client else "")
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

    @contextmanager
    def _room(self, caller: NodeId) -> Generator[Callable[[int], None]]:
        """Takes room for the bytes of a request as they arrive, and gives it back once that is answered."""
        mine = 0

        def take(count: int) -> None:
            nonlocal mine
            if (held := self._held.get(caller, 0) + count) > MAX_HELD:
                raise Busy(
                    f"requests of more than {MAX_HELD // 2**20} MB from this machine are being answered already",
                    "let those end first",
                    retry_after=5.0,
                )
            self._held[caller] = held
            mine += count

        try:
            yield take
        finally:
            if mine and (left := self._held.pop(caller) - mine):
                self._held[caller] = left

    async def _exchange_rosters(
        self, caller: NodeId, scope: Scope, receive: Receive, take: Callable[[int], None], reply: "_Reply"
    ) -> None:
        brings = scope["method"] == "POST"
        if brings:
            self._must_be_heard(caller)
        body = await _body(scope, receive, MAX_ROSTER, MEMBERS_PATIENCE, take, reply)
        if brings:
            # Once more: many may have been on their way while the first of them was refused.
            self._must_be_heard(caller)
            began = self._clock.monotonic()
            try:
                await self._gate.take_roster(caller, body)
            except (InvalidRequest, Refused):
                now = self._clock.monotonic()
                spent = self._refused.setdefault(caller, Allowance(*ROSTER_PACE, began))
                spent.charge(now, max(LEAST_COST, now - began))
                raise
        await reply.whole(self._gate.roster())

    def _must_be_heard(self, caller: NodeId) -> None:
        """Raises Busy for a member whose rosters were refused too often: the longer, the more they have cost."""
        spent = self._refused.get(caller)
        if spent is not None and not spent.take(self._clock.monotonic(), 0.0):
            raise Busy(
                "rosters that this machine brought were refused, so no other is looked at for a while",
                "see `mycoswarm doctor` there",
                retry_after=spent.wait(0.0),
            )


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


async def _body(
    scope: Scope,
    receive: Receive,
    limit: int,
    patience: float,
    take: Callable[[int], None],
    reply: "_Reply | None" = None,
) -> bytes:
    """The whole body of a request, at most `limit` bytes and within `patience` seconds.

    take: is told of each piece before it is kept; may raise Busy.
    reply: may leave the connection open for the next request, once nothing of this one is left to come.
    """
    too_large = InvalidRequest(f"the request is larger than {limit} bytes")
    announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    # The parser lets nothing but digits through.
    if int(announced) > limit:
        raise too_large
    data = bytearray()
    try:
        async with asyncio.timeout(patience):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Gone
                piece = message.get("body", b"")
                if len(data) + len(piece) > limit:
                    raise too_large
                take(len(piece))
                data += piece
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise InvalidRequest(f"the request did not arrive within {patience:g} s") from None
    if reply is not None:
        reply.last = False
    return bytes(data)


def _host(scope: Scope) -> str:
    return str(scope["client"][0]).removeprefix("::ffff:") if scope.get("client") else ""


class _Reply:
    """One answer on its way out, whole or in pieces; an error finds its form by what has been sent already.

    last: the connection ends with it. So it does for strangers, and where the rest of a request would still come.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._started = False
        self._ended = False
        self._quiet = True
        self.streaming = False
        self.last = True

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
        ending = ((b"connection", b"close"),) if self.last else ()
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", b"application/x-ndjson"), *headers, *ending],
            }
        )


def address_of(host: str) -> str:
    """A caller's host as it stands in an address; empty where it could not be called back there."""
    host = host.removeprefix("::ffff:")
    if "%" in host or host.startswith("fe80:"):
        return ""
    return f"[{host}]" if ":" in host else host
