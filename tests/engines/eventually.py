"""Waiting for something that happens on its own time."""

import asyncio
from collections.abc import Callable


async def eventually(true: Callable[[], bool], seconds: float) -> None:
    """Return as soon as `true()`; fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)
