"""One end of a watch stream: what is to be sent, in order, and whether it still lives."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator

from mycoswarm.core.ids import NodeId

MAX_WAITING = 8 * 1024 * 1024
"""Bytes that may wait for a peer that does not read; beyond it the link is given up, to be opened anew later."""


class Link:
    """A watch stream to `peer`, whoever opened it.

    Sending never waits: lines gather here and `outgoing` hands them to the connection as fast as it takes them.
    dialled: opened by this node. address: HOST:PORT or HOST of the other end.
    """

    def __init__(self, peer: NodeId, dialled: bool, address: str) -> None:
        self.peer = peer
        self.dialled = dialled
        self.address = address
        self.closed = False
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._changed = asyncio.Event()

    def send(self, line: bytes) -> None:
        """Queue one line, newline included. Silently nothing on a closed link: its loss is reported another way."""
        if self.closed:
            return
        self._waiting.append(line)
        self._size += len(line)
        if self._size > MAX_WAITING:
            self.close()
        self._changed.set()

    def close(self) -> None:
        """What waits is still handed out, then `outgoing` ends and with it the connection."""
        self.closed = True
        self._changed.set()

    async def outgoing(self) -> AsyncGenerator[bytes, None]:
        """The bytes to write, until the link is closed."""
        while True:
            if self._waiting:
                data = b"".join(self._waiting)
                self._waiting.clear()
                self._size = 0
                yield data
            elif self.closed:
                return
            else:
                self._changed.clear()
                await self._changed.wait()
