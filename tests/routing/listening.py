"""A client that reads an answer in the background, and an engine's sleep that a test ends by hand."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from mycoswarm.core.chat import Delta, Text
from mycoswarm.core.tasks import TaskGroup

PATIENCE = 1.5
"""Seconds after which a test that waits for something has failed."""


class Listener:
    """Reads `deltas` to the end. got: what has come."""

    def __init__(self, group: TaskGroup, deltas: AsyncGenerator[Delta, None]) -> None:
        self.got: list[Delta] = []
        self._news = asyncio.Event()
        self.task = group.start(self._read(deltas), "a client")

    async def _read(self, deltas: AsyncGenerator[Delta, None]) -> None:
        async with aclosing(deltas) as answer:
            async for delta in answer:
                self.got.append(delta)
                self._news.set()

    async def until(self, condition: Callable[[Sequence[Delta]], bool]) -> None:
        """What has come meets `condition`."""
        async with asyncio.timeout(PATIENCE):
            while not condition(self.got):
                self._news.clear()
                await self._news.wait()

    async def until_kind(self, kind: type[Delta]) -> None:
        await self.until(lambda got: any(isinstance(one, kind) for one in got))

    async def end(self) -> list[Delta]:
        """Everything, once it is over; raises what the stream raised."""
        async with asyncio.timeout(PATIENCE):
            await self.task
        return self.got

    async def leave(self) -> None:
        """The client goes away."""
        self.task.cancel()
        await asyncio.wait({self.task}, timeout=PATIENCE)
        assert self.task.cancelled()


class Gate:
    """Stands in for sleeping: zero seconds pass at once, anything longer until `open`."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()

    def open(self) -> None:
        self._opened.set()

    def shut(self) -> None:
        self._opened.clear()

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            await self._opened.wait()


async def everything(deltas: AsyncGenerator[Delta, None]) -> list[Delta]:
    """The whole answer."""
    async with asyncio.timeout(PATIENCE), aclosing(deltas) as answer:
        return [delta async for delta in answer]


def said(deltas: Sequence[Delta]) -> str:
    """The text of an answer."""
    return "".join(delta.text for delta in deltas if isinstance(delta, Text))
