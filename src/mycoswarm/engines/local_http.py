"""[io] What engines behind an address on the local network have in common: a session, and short JSON requests."""

import asyncio
from typing import Any

import aiohttp
import msgspec

from mycoswarm.core.errors import EngineFailed
from mycoswarm.egress import lan_session
from mycoswarm.engines.openai_chat import fetch_json

QUICK = aiohttp.ClientTimeout(total=5.0, sock_connect=2.0)
HEALTH = aiohttp.ClientTimeout(total=2.0, sock_connect=1.0)
# Between two pieces of an answer. A long prompt on a slow machine takes minutes before the first one.
STREAM = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=600.0)


class LocalHttp:
    """A lazily opened session to one address. Every request has a fresh connection: streams spoil reused ones."""

    def __init__(self, base: str, api_key: str = "") -> None:
        self.base = base.rstrip("/")
        self.headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = lan_session(QUICK, reuse=False)
        return self._session

    async def json(
        self, method: str, path: str, body: object = None, *, model: str = "", limits: aiohttp.ClientTimeout = QUICK
    ) -> Any:
        """The decoded reply, {} where there is none. Raises as `openai_chat.fetch_json` does."""
        answer = await fetch_json(self.session, method, self.base + path, model, body, self.headers, limits)
        return {} if answer is None else answer

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            # aiohttp closes transports in the next turn of the loop; without it they are reported as leaked.
            await asyncio.sleep(0)


def read(answer: object, shape: type[Any], what: str) -> Any:
    """`answer` as `shape`. Raises EngineFailed naming `what` where it does not fit."""
    try:
        return msgspec.convert(answer, shape, strict=False)
    except msgspec.ValidationError as problem:
        raise EngineFailed(f"{what} answered something unexpected: {problem}") from problem
