"""[io] The two HTTP calls that every OpenAI-style engine is used by: a streamed chat, and a plain JSON request."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import msgspec

from mycoswarm.core.chat import ChatRequest, Delta
from mycoswarm.core.errors import EngineFailed, InvalidRequest
from mycoswarm.engines.failure import from_reply, refused_by_template
from mycoswarm.engines.folding import fold
from mycoswarm.engines.openai_request import chat_body
from mycoswarm.engines.stream import Deltas, OpenAIStream

_JSON = {"Content-Type": "application/json"}
_MAX_REPLY = 64 << 20

Post = Callable[[str, object], Awaitable[dict[str, Any]]]
"""A path and a body, to the decoded reply."""

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"


async def stream_chat(
    session: aiohttp.ClientSession,
    base: str,
    body: Mapping[str, Any],
    deltas: Deltas,
    headers: Mapping[str, str],
    limits: aiohttp.ClientTimeout,
    stops: tuple[str, ...] = (),
) -> AsyncGenerator[Delta, None]:
    """POST `body`, a chat or a raw prompt, and yield the answer, Start first. Closing it closes the connection, which
    frees the engine's slot.

    Args:
        stops: stop strings to look for here, not by the engine.

    Raises:
        EngineFailed: unreachable, broken off, or nonsense; `deltas.said` tells whether anything was yielded before.
        ContextTooLong, InvalidRequest, UnknownModel, Busy: the engine refused, before Start.
    """
    model = str(body.get("model", ""))
    url = base + (COMPLETIONS if "prompt" in body else CHAT)
    try:
        async with session.post(
            url, data=msgspec.json.encode(body), headers={**_JSON, **headers}, timeout=limits, allow_redirects=False
        ) as reply:
            try:
                if reply.status != 200:
                    raise from_reply(reply.status, await reply.content.read(_MAX_REPLY), base, model)
                yield deltas.start()
                events = OpenAIStream(deltas, stops)
                async for data in reply.content.iter_any():
                    for delta in events.feed(data):
                        yield delta
                    if events.stopped:
                        break
                for delta in events.end():
                    yield delta
            finally:
                # Never back into the pool: after an event stream its next user would fail.
                reply.close()
    except (aiohttp.ClientError, TimeoutError, OSError, RuntimeError) as problem:
        raise broken(base, problem, session) from problem


def ours_to_stop(body: dict[str, Any]) -> tuple[str, ...]:
    """Takes the stop strings out of a body for llama.cpp, which does not tell which of them it met. It tells the usage
    with every token instead, because its last event is not waited for once one is met."""
    stops = tuple(body.pop("stop", ()))
    if stops:
        body["timings_per_token"] = True
    return stops


async def count_prompt(post: Post, request: ChatRequest) -> int:
    """Prompt tokens as llama.cpp's server counts them in an answer: the same body rendered, its result tokenised."""
    prompt = request.prompt
    if prompt is None:
        body = chat_body(request, request.model)
        try:
            prompt = (await post("/apply-template", body))["prompt"]
        except InvalidRequest as refusal:
            if not refused_by_template(refusal):
                raise
            body = chat_body(msgspec.structs.replace(request, messages=fold(request.messages)), request.model)
            prompt = (await post("/apply-template", body))["prompt"]
    answer = await post("/tokenize", {"content": prompt, "add_special": True, "parse_special": True})
    return len(answer["tokens"])


async def fetch_json(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    model: str,
    body: object,
    headers: Mapping[str, str],
    limits: aiohttp.ClientTimeout,
) -> Any:
    """The decoded JSON reply. Raises as `stream_chat` does."""
    data = None if body is None else msgspec.json.encode(body)
    try:
        async with session.request(
            method, url, data=data, headers={**_JSON, **headers}, timeout=limits, allow_redirects=False
        ) as reply:
            text = await reply.read()
            if reply.status != 200:
                raise from_reply(reply.status, text, url, model)
            return msgspec.json.decode(text) if text else None
    except msgspec.DecodeError as problem:
        raise EngineFailed(f"{url} answered something that is not JSON") from problem
    except (aiohttp.ClientError, TimeoutError, OSError, RuntimeError) as problem:
        raise broken(url, problem, session) from problem


def broken(url: str, problem: Exception, session: aiohttp.ClientSession) -> Exception:
    """The error for a connection that could not be made or broke off; a bug of ours stays what it is."""
    if isinstance(problem, RuntimeError):
        # aiohttp's word for a session that was closed while somebody read from it.
        return EngineFailed(f"{url} is no longer used by this node", "ask again") if session.closed else problem
    if isinstance(problem, TimeoutError):
        return EngineFailed(f"{url} did not answer in time", "is it overloaded, or stopped?")
    if isinstance(problem, aiohttp.ClientConnectorError):
        return EngineFailed(
            f"{url} cannot be reached: {problem.os_error.strerror or problem.os_error}", "is it running?"
        )
    return EngineFailed(f"{url} broke off: {problem or type(problem).__name__}")
