"""The pipe changes nothing, keeps both directions, and ends with whichever side ends first."""

import asyncio
import contextlib
from pathlib import Path

from tests.clients.pipe import serve

PATIENCE = 3.0


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data.upper())
        await writer.drain()
    writer.close()


async def test_bytes_pass_both_ways_and_are_kept(tmp_path: Path) -> None:
    async with (
        asyncio.timeout(PATIENCE),
        await asyncio.start_server(_echo, "127.0.0.1", 0) as server,
        await serve(0, server.sockets[0].getsockname()[1], tmp_path) as pipe,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", pipe.sockets[0].getsockname()[1])
        sent = b"hello " * 200_000
        writer.write(sent)
        assert await reader.readexactly(len(sent)) == sent.upper()
        writer.close()
        await writer.wait_closed()
        while (tmp_path / "0001.answered").stat().st_size < len(sent):
            await asyncio.sleep(0.01)
    assert (tmp_path / "0001.asked").read_bytes() == sent
    assert (tmp_path / "0001.answered").read_bytes() == sent.upper()


async def test_an_end_behind_it_ends_the_near_side() -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with (
        asyncio.timeout(PATIENCE),
        await asyncio.start_server(refuse, "127.0.0.1", 0) as server,
        await serve(0, server.sockets[0].getsockname()[1]) as pipe,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", pipe.sockets[0].getsockname()[1])
        assert await reader.read() == b""
        writer.close()


async def test_nobody_behind_it_ends_the_connection() -> None:
    async with asyncio.timeout(PATIENCE):
        nobody = await asyncio.start_server(_echo, "127.0.0.1", 0)
        port = nobody.sockets[0].getsockname()[1]
        nobody.close()
        await nobody.wait_closed()
        async with await serve(0, port) as pipe:
            reader, writer = await asyncio.open_connection("127.0.0.1", pipe.sockets[0].getsockname()[1])
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
