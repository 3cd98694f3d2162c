"""[io] Several answers to one request: as many requests, told as one stream."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing

import msgspec

from mycoswarm.core.chat import ChatRequest, Delta, Error, Start, Usage
from mycoswarm.core.errors import MycoError
from mycoswarm.core.ids import RequestId
from mycoswarm.core.tasks import TaskGroup

Chat = Callable[[ChatRequest], AsyncGenerator[Delta, None]]

MOST = 16
"""Answers to one request: each takes a slot of an engine."""

_AHEAD = 32
"""Deltas that wait for a slow reader, of all choices together; then the engines wait too."""


async def several(
    chat: Chat, request: ChatRequest, count: int, prompts: Sequence[str] = ()
) -> AsyncGenerator[Delta, None]:
    """`count` answers at once by one model, each delta with its choice; at the end one Usage, in which a prompt counts
    once.

    Each answer has its own seed, counted up from the one that was asked for. The first that fails ends them all.

    Args:
        prompts: raw prompts in place of the request's own; each has `count` answers, one prompt's after the other's.

    Raises:
        MycoError: nothing was delivered of any.
    """
    total = count * max(1, len(prompts))
    if total == 1:
        if prompts:
            request = msgspec.structs.replace(request, prompt=prompts[0])
        async with aclosing(chat(request)) as deltas:
            async for delta in deltas:
                yield delta
        return
    ready: asyncio.Queue[Delta | BaseException | None] = asyncio.Queue(_AHEAD)
    model: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    tasks = TaskGroup()

    async def one(choice: int) -> None:
        try:
            # One reply names one model: where the choice is the swarm's, the first answer's is everybody's.
            named = msgspec.structs.replace(request, model=await model) if choice else request
            async with aclosing(chat(_variant(named, choice, count, prompts))) as deltas:
                async for delta in deltas:
                    if isinstance(delta, Start) and not model.done():
                        model.set_result(_same_model(request.model, delta.model))
                    await ready.put(msgspec.structs.replace(delta, choice=choice))
        except Exception as problem:  # handed to the reader, who raises it: this task has nobody to tell
            await ready.put(problem)
        if not model.done():
            model.set_result(request.model)
        await ready.put(None)

    for choice in range(total):
        tasks.start(one(choice), f"choice {choice} of {request.id}")
    used: dict[int, Usage] = {}
    seq, left, told = 0, total, False
    try:
        while left:
            match await ready.get():
                case None:
                    left -= 1
                case Usage() as usage:
                    prompt = usage.choice // count
                    used[prompt] = _same_prompt(used.get(prompt, Usage()), usage)
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
        yield _sum(used.values(), seq)
    finally:
        await tasks.close()


def _same_model(asked: str, told: str) -> str:
    """The name by which the model that answers is asked again, by the same node where one was named."""
    if "@" in told:
        # Asked by this name, it would be looked for on a node.
        return asked
    _, at, node = asked.rpartition("@")
    return f"{told}@{node}" if at else told


def _variant(request: ChatRequest, choice: int, count: int, prompts: Sequence[str]) -> ChatRequest:
    prompt, answer = divmod(choice, count)
    seed = request.sampling.seed
    sampling = request.sampling if seed is None else msgspec.structs.replace(request.sampling, seed=seed + answer)
    return msgspec.structs.replace(
        request,
        id=RequestId(f"{request.id}-{choice}"),
        sampling=sampling,
        prompt=prompts[prompt] if prompts else request.prompt,
    )


def _same_prompt(total: Usage, usage: Usage) -> Usage:
    return Usage(
        prompt_tokens=max(total.prompt_tokens, usage.prompt_tokens),
        completion_tokens=total.completion_tokens + usage.completion_tokens,
        cached_tokens=max(total.cached_tokens, usage.cached_tokens),
    )


def _sum(used: Iterable[Usage], seq: int) -> Usage:
    each = tuple(used)
    return Usage(
        prompt_tokens=sum(one.prompt_tokens for one in each),
        completion_tokens=sum(one.completion_tokens for one in each),
        cached_tokens=sum(one.cached_tokens for one in each),
        seq=seq,
    )
