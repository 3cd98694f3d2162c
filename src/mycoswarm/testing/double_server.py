"""[io] What the doubles of other people's engines share: an HTTP server on a port."""

import asyncio
from typing import Protocol

from aiohttp import web


class Double(Protocol):
    """Something that can be served."""

    def application(self) -> web.Application: ...


async def start(double: Double, host: str = "127.0.0.1", port: int = 0) -> tuple[web.AppRunner, int]:
    """Serve it; returns what to `cleanup()` and the port it got."""
    runner = web.AppRunner(double.application(), access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    return runner, int(runner.addresses[0][1])


async def serve(double: Double, name: str, host: str, port: int) -> None:
    """Serve it until the process is ended; says where on stdout."""
    runner, taken = await start(double, host, port)
    print(f"{name} on {host}:{taken}", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
