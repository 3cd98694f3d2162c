"""[io] A pipe of bytes in front of a port: what a proxy costs that understands nothing, and what went over a wire.

    python -m tests.clients.pipe LISTEN PORT [DIRECTORY]

With a DIRECTORY each connection leaves two files there: `0001.asked` and `0001.answered`.
"""

import asyncio
import contextlib
import itertools
import sys
from pathlib import Path
from typing import BinaryIO


class _End(asyncio.Protocol):
    """One side of a connection; what it receives goes to the `other`."""

    def __init__(self, record: BinaryIO | None) -> None:
        self._record = record
        self.other: _End | None = None
        self.transport: asyncio.Transport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self._record is not None:
            self._record.write(data)
            self._record.flush()
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)
        else:
            self._early.append(data)

    def join(self, other: "_End") -> None:
        """From now on `other` gets what this side receives, and what it has received already."""
        self.other = other
        assert other.transport is not None
        other.transport.writelines(self._early)
        self._early.clear()

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._record is not None:
            self._record.close()
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class _Near(_End):
    """The side of the client: opens the way to the server as soon as it is there."""

    def __init__(self, port: int, asked: BinaryIO | None, answered: BinaryIO | None) -> None:
        super().__init__(asked)
        self._port = port
        self._answered = answered
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        assert self.transport is not None
        loop = asyncio.get_running_loop()
        try:
            _, far = await loop.create_connection(lambda: _End(self._answered), "127.0.0.1", self._port)
        except OSError:
            self.transport.abort()
            return
        far.join(self)
        self.join(far)


async def serve(listen: int, port: int, directory: Path | None = None) -> asyncio.Server:
    """A listening pipe to `port` of this machine."""
    numbers = itertools.count(1)

    def connection() -> _Near:
        if directory is None:
            return _Near(port, None, None)
        name = f"{next(numbers):04}"
        asked, answered = ((directory / f"{name}.{kind}").open("wb") for kind in ("asked", "answered"))
        return _Near(port, asked, answered)

    return await asyncio.get_running_loop().create_server(connection, "127.0.0.1", listen)


async def _main(listen: int, port: int, directory: Path | None) -> None:
    async with await serve(listen, port, directory) as server:
        print("ready", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None))
