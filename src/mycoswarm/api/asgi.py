"""[io] The few things that a raw ASGI route needs and a framework would give: bodies, JSON, streams, disconnects."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping, Sequence
from typing import Any, cast

import msgspec

from mycoswarm.core.chat import MAX_REQUEST
from mycoswarm.core.errors import Busy, MycoError, TooLarge, WrongMethod
from mycoswarm.core.tasks import TaskGroup

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

KEEP_ALIVE = 5.0
"""Seconds of silence after which a comment is sent; proxies and clients give up on silent streams after 15 to 60."""

HOLD_HEADERS = 10.0
"""Seconds that response headers wait for an executor, so that they can name it."""


ROOM_FOR_BODIES = 4 * MAX_REQUEST
"""Bytes of all large bodies that are read at the same time. Without it, eight clients that never finish what they began
to send held half a gigabyte."""

SMALL_BODY = 1024 * 1024
"""Bytes up to which a body is read however little room is left."""


class ClientGone(Exception):
    """The client closed its connection."""


class _Room:
    """Bytes taken by the bodies that are being read, of all requests together."""

    taken = 0


async def read_body(receive: Receive, limit: int = MAX_REQUEST) -> bytes:
    """The whole body. Raises TooLarge beyond `limit` bytes, Busy where too many others are large, ClientGone when it
    never ends."""
    chunks: list[bytes] = []
    size = taken = 0
    try:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise TooLarge(f"the body is larger than {limit} bytes", "send less")
            if size > SMALL_BODY:
                if _Room.taken + size - taken > ROOM_FOR_BODIES:
                    raise Busy("this node is reading too many large requests at once", "try again", retry_after=1)
                _Room.taken += size - taken
                taken = size
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)
    finally:
        _Room.taken -= taken
        # An error holds this frame until its refusal has been sent, to a client that may read slowly.
        chunks.clear()


async def send_response(
    send: Send, status: int, body: bytes, headers: Headers = (), media: bytes = b"application/json"
) -> None:
    """A complete reply; what is empty is of no media type."""
    said = [(b"content-type", media)] if body else []
    said.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": [*said, *headers]})
    await send({"type": "http.response.body", "body": body})


async def send_error(
    send: Send, problem: MycoError, headers: Headers = (), body: bytes | None = None, status: int | None = None
) -> None:
    """The error. body, status: in a dialect's shape, where that is not ours: `{"error": …}` with the error's own."""
    extra = [*headers, *_headers_of(problem)]
    await send_response(send, status or problem.status, body or msgspec.json.encode({"error": problem.body()}), extra)


def _headers_of(problem: MycoError) -> Headers:
    """What an error says in headers. Its facts may come from another node, so they are what they should be or left
    out: a refusal that cannot be written is no reply at all."""
    headers: list[tuple[bytes, bytes]] = []
    seconds = problem.data.get("retry_after")
    if isinstance(seconds, int | float) and math.isfinite(seconds):
        headers.append((b"retry-after", b"%d" % max(1, round(seconds))))
    methods = problem.data.get("allow")
    if isinstance(problem, WrongMethod) and isinstance(methods, list):
        known = [one for one in cast(list[object], methods) if isinstance(one, str) and one.isascii() and one.isalpha()]
        headers.append((b"allow", ", ".join(known).encode()))
    return headers


class StreamReply:
    """A streamed reply whose headers wait until there is something to say in them.

    `open` sends the headers once; `write` opens with what was set so far; `hold` keeps bytes until then. While nothing
    is written, `keep_alive` bytes go out every KEEP_ALIVE seconds, the first time after HOLD_HEADERS, so that no client
    gives up on a long queue.
    """

    def __init__(self, send: Send, content_type: bytes, keep_alive: Callable[[], bytes]) -> None:
        self._send = send
        self._keep_alive = keep_alive
        self._last = asyncio.get_running_loop().time()
        self._held: list[bytes] = []
        self.headers: list[tuple[bytes, bytes]] = [
            (b"content-type", content_type),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        self.opened = False

    async def open(self) -> None:
        if not self.opened:
            self.opened = True
            await self._send({"type": "http.response.start", "status": 200, "headers": self.headers})

    def hold(self, data: bytes) -> None:
        """Bytes that go out before whatever is written next; too little to open for."""
        self._held.append(data)

    async def write(self, data: bytes) -> None:
        body = b"".join((*self._held, data))
        self._held.clear()
        await self.open()
        self._last = asyncio.get_running_loop().time()
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self) -> None:
        if self._held:
            await self.write(b"")
        await self.open()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def beat(self) -> None:
        """Runs beside the answer and is cancelled with it."""
        loop = asyncio.get_running_loop()
        while True:
            limit = KEEP_ALIVE if self.opened else HOLD_HEADERS
            silent = loop.time() - self._last
            if silent >= limit:
                await self.write(self._keep_alive())
            else:
                await asyncio.sleep(limit - silent)


async def until_gone(
    receive: Receive, work: Coroutine[Any, Any, None], beside: Coroutine[Any, Any, None] | None
) -> None:
    """Run `work` (and `beside` with it); when the client goes away, cancel both and wait for their clean-up."""
    tasks = TaskGroup()
    producing = tasks.start(work, "answer")
    watching = tasks.start(_disconnected(receive), "watch for the client going away")
    if beside is not None:
        tasks.start(beside, "keep the stream alive")
    try:
        await asyncio.wait({producing, watching}, return_when=asyncio.FIRST_COMPLETED)
        if producing.done():
            producing.result()
    finally:
        await tasks.close()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
