"""One exchange with an ASGI application, held to the rules that a server holds it to."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any

import msgspec

from mycoswarm.api.asgi import App
from mycoswarm.core.tasks import TaskGroup

PATIENCE = 1.5
"""Seconds after which a test that waits for something has failed."""

HOST = "127.0.0.1:6926"


class Exchange:
    """A request and what has come back of its reply.

    Args:
        body: in one piece, or in several.
        keep_open: the body never ends; the client may still go away.
    """

    def __init__(
        self,
        group: TaskGroup,
        app: App,
        method: str,
        target: str,
        body: bytes | Iterable[bytes] = b"",
        headers: Mapping[str, str] | None = None,
        *,
        keep_open: bool = False,
    ) -> None:
        path, _, query = target.partition("?")
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [
                (name.encode(), value.encode()) for name, value in ({"host": HOST} | dict(headers or {})).items()
            ],
        }
        self.status = 0
        self.headers: dict[str, str] = {}
        self.pieces: list[bytes] = []
        self.complete = False
        self._pieces_in = iter([body] if isinstance(body, bytes) else [*body, b""])
        self._keep_open = keep_open
        self._next = next(self._pieces_in, None)
        self._gone = asyncio.Event()
        self._news = asyncio.Event()
        self.task = group.start(app(scope, self._receive, self._send), f"{method} {target}")  # pyright: ignore[reportArgumentType]

    async def _receive(self) -> MutableMapping[str, Any]:
        if self._next is not None:
            piece, self._next = self._next, next(self._pieces_in, None)
            return {"type": "http.request", "body": piece, "more_body": self._keep_open or self._next is not None}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if self._gone.is_set():
            return
        match message["type"]:
            case "http.response.start":
                assert self.status == 0, "a reply starts once"
                self.status = message["status"]
                names = [name for name, _ in message["headers"]]
                assert len(set(names)) == len(names), "a header is said twice"
                self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
                assert not any("\r" in value or "\n" in value for value in self.headers.values())
            case "http.response.body":
                assert self.status, "a reply starts before its body"
                assert not self.complete, "nothing follows the end of a reply"
                self.pieces.append(message.get("body", b""))
                self.complete = not message.get("more_body", False)
            case other:
                raise AssertionError(other)
        self._news.set()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    async def until(self, condition: Callable[[bytes], bool]) -> None:
        """The body so far meets `condition`."""
        async with asyncio.timeout(PATIENCE):
            while not condition(self.body):
                self._news.clear()
                await self._news.wait()

    async def end(self) -> "Exchange":
        """The application is done with it, in good order."""
        async with asyncio.timeout(PATIENCE):
            await self.task
        assert self.complete
        if (length := self.headers.get("content-length")) is not None:
            assert int(length) == len(self.body)
        return self

    async def leave(self) -> None:
        """The client goes away; returns when the application has noticed and ended."""
        self._gone.set()
        async with asyncio.timeout(PATIENCE):
            await self.task


async def ask(
    app: App,
    method: str,
    target: str,
    body: bytes | Iterable[bytes] = b"",
    headers: Mapping[str, str] | None = None,
) -> Exchange:
    """A whole exchange."""
    group = TaskGroup()
    try:
        return await Exchange(group, app, method, target, body, headers).end()
    finally:
        await group.close()
