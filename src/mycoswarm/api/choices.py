"""[io] Several answers to one request: as many requests, told as one stream."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec

from mycoswarm.core.chat import ChatRequest, Delta, Error, Usage
from mycoswarm.core.errors import MycoError
from mycoswarm.core.ids import RequestId
from mycoswarm.core.tasks import TaskGroup

Chat = Callable[[ChatRequest], AsyncGenerator[Delta, None]]

MOST = 16
"""Answers to one request: each takes a slot of an engine."""

_AHEAD = 32
"""Deltas that wait for a slow reader, of all choices together; then the engines wait too."""


async def several(chat: Chat, request: ChatRequest, count: int) -> AsyncGenerator[Delta, None]:
    """`count` answers at once, each delta with its choice; at the end one Usage, in which the prompt counts once.

    Each answer has its own seed, counted up from the one that was asked for. The first that fails ends them all.

    Raises:
        MycoError: nothing was delivered of any.
    """
    if count == 1:
        async with aclosing(chat(request)) as deltas:
            async for delta in deltas:
                yield delta
        return
    ready: asyncio.Queue[Delta | BaseException | None] = asyncio.Queue(_AHEAD)
    tasks = TaskGroup()

    async def one(choice: int) -> None:
        try:
            async with aclosing(chat(_variant(request, choice))) as deltas:
                async for delta in deltas:
                    await ready.put(msgspec.structs.replace(delta, choice=choice))
        except Exception as problem:  # handed to the reader, who raises it: this task has nobody to tell
            await ready.put(problem)
        await ready.put(None)

    for choice in range(count):
        tasks.start(one(choice), f"choice {choice} of {request.id}")
    total = Usage()
    seq, left, told = 0, count, False
    try:
        while left:
            match await ready.get():
                case None:
                    left -= 1
                case Usage() as usage:
                    total = _sum(total, usage)
                case MycoError() as problem if told:
                    yield Error(problem.body(), seq=seq)
                    return
                case BaseException() as problem:
                    raise problem
                case delta:
                    told = True
                    yield msgspec.structs.replace(delta, seq=seq)
                    seq += 1
                    if isinstance(delta, Error):
                        return
        yield msgspec.structs.replace(total, seq=seq)
    finally:
        await tasks.close()


def _variant(request: ChatRequest, choice: int) -> ChatRequest:
    seed = request.sampling.seed
    sampling = request.sampling if seed is None else msgspec.structs.replace(request.sampling, seed=seed + choice)
    return msgspec.structs.replace(request, id=RequestId(f"{request.id}-{choice}"), sampling=sampling)


def _sum(total: Usage, usage: Usage) -> Usage:
    return Usage(
        prompt_tokens=max(total.prompt_tokens, usage.prompt_tokens),
        completion_tokens=total.completion_tokens + usage.completion_tokens,
        cached_tokens=max(total.cached_tokens, usage.cached_tokens),
    )
