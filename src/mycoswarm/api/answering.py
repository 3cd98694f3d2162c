"""[io] The one shell round all dialects of chat: bodies in, deltas out, as a stream or in one piece, and errors."""

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from mycoswarm.api.asgi import App, Receive, Scope, Send, StreamReply, read_body, send_error, send_response, until_gone
from mycoswarm.api.choices import Chat, several
from mycoswarm.api.dialect import Arrival, Asked, Collector, Dialect, Headers, Read, Writer
from mycoswarm.api.node import NodeService
from mycoswarm.core.chat import ChatRequest, Delta, Error, Start
from mycoswarm.core.errors import ErrorBody, MycoError, from_body
from mycoswarm.core.ids import RequestId, new_request_id

_log = logging.getLogger(__name__)

OUR_BUG = ErrorBody("internal", "this node failed in the middle of the answer", "see `mycoswarm logs`")

Refuse = Callable[[MycoError], Awaitable[None]]


def reply_headers(start: Start | None, request_id: RequestId) -> list[tuple[bytes, bytes]]:
    """Who answers. Held back until an executor has accepted, so that they are true."""
    headers = [(b"x-mycoswarm-request", _header(request_id))]
    if start is not None:
        headers.append((b"x-mycoswarm-node", _header(start.node_name)))
        headers.append((b"x-mycoswarm-model", _header(start.model)))
    return headers


def _header(text: str) -> bytes:
    """`text` as a header's value: names come from other nodes, and one with a line end would forge headers."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text).encode()


async def arrive(scope: Scope, receive: Receive, request_id: RequestId) -> Arrival:
    """The request with its whole body. Raises InvalidRequest beyond the limit, ClientGone."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
    return Arrival(request_id, int(time.time()), headers, query, await read_body(receive))


def refusing(send: Send, dialect: Dialect, request_id: RequestId) -> Refuse:
    """Tells an error in the words of `dialect`, and which request it was."""

    async def refuse(problem: MycoError) -> None:
        # For the dialects that say it in the body.
        problem.data["request"] = request_id
        headers = [*reply_headers(None, request_id), *dialect.headers(request_id)]
        await send_error(send, problem, headers, dialect.error(problem), dialect.status(problem))

    return refuse


class Answer(msgspec.Struct, frozen=True):
    """A reply in one piece. who: node and model that made it, where there are any. headers: beside those of all."""

    body: bytes
    who: Start | None = None
    headers: Headers = ()


def answer_app(dialect: Dialect, answer: Callable[[Arrival], Coroutine[Any, Any, Answer]]) -> App:
    """The ASGI application of an endpoint that answers in one piece. `answer` may raise errors of `core.errors`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_request_id()
        try:
            arrival = await arrive(scope, receive, request_id)
        except MycoError as problem:
            await refusing(send, dialect, request_id)(problem)
            return
        await tell_whole(answer(arrival), dialect, request_id, receive, send)

    return app


async def tell_whole(
    answer: Coroutine[Any, Any, Answer], dialect: Dialect, request_id: RequestId, receive: Receive, send: Send
) -> None:
    """Wait for `answer` and send it, or why there is none. Ends it when the client goes away."""

    async def work() -> None:
        try:
            said = await answer
        except MycoError as problem:
            await refusing(send, dialect, request_id)(problem)
            return
        headers = [*reply_headers(said.who, request_id), *dialect.headers(request_id), *said.headers]
        await send_response(send, 200, said.body, headers)

    await until_gone(receive, work(), None)


def chat_app(node: NodeService, dialect: Dialect, read: Read) -> App:
    """The ASGI application of one endpoint of one dialect."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_request_id()
        refuse = refusing(send, dialect, request_id)
        try:
            asked = read(await arrive(scope, receive, request_id))
        except MycoError as problem:
            await refuse(problem)
            return
        await tell(node.chat, asked, receive, send, refuse, dialect.headers(request_id))

    return app


async def tell(chat: Chat, asked: Asked, receive: Receive, send: Send, refuse: Refuse, headers: Headers = ()) -> None:
    """Answer `asked`: streamed where it has a writer, else in one piece. Ends the work when the client goes away."""
    if asked.writer is not None:
        reply = StreamReply(send, asked.writer.media, asked.writer.keep_alive)
        reply.headers += headers
        await stream(chat, asked.request, receive, reply, asked.writer, refuse, asked.choices, asked.prompts)
        return
    assert asked.collector is not None, "an answer is streamed or collected"
    work = _collect(chat, asked, asked.collector, send, refuse, headers)
    await until_gone(receive, work, None)


async def _collect(
    chat: Chat,
    asked: Asked,
    collector: Collector,
    send: Send,
    refuse: Refuse,
    headers: Headers,
) -> None:
    try:
        start: Start | None = None
        async with aclosing(several(chat, asked.request, asked.choices, asked.prompts)) as deltas:
            async for delta in deltas:
                if isinstance(delta, Error):
                    raise from_body(delta.error)
                if isinstance(delta, Start):
                    start = start or delta
                collector.add(delta)
        await send_response(send, 200, collector.body(), [*reply_headers(start, asked.request.id), *headers])
    except MycoError as problem:
        await refuse(problem)


async def stream(
    chat: Chat,
    request: ChatRequest,
    receive: Receive,
    reply: StreamReply,
    writer: Writer,
    refuse: Refuse,
    choices: int = 1,
    prompts: Sequence[str] = (),
) -> None:
    """Stream the answer; a failure before its first word is a reply of its own, one after it an event in it."""
    reply.headers += reply_headers(None, request.id)

    async def answer() -> None:
        named = False
        try:
            async with aclosing(several(chat, request, choices, prompts)) as deltas:
                async for delta in deltas:
                    if isinstance(delta, Start) and not named:
                        named = True
                        if reply.opened:
                            reply.hold(writer.late(delta))
                        else:
                            reply.headers += reply_headers(delta, request.id)[1:]
                    elif not reply.opened:
                        if isinstance(delta, Error):
                            await refuse(from_body(delta.error))
                            return
                        if not named:
                            # A note before any executor has accepted: it waits for the headers.
                            reply.hold(writer.write(delta))
                            continue
                    if data := writer.write(delta):
                        await reply.write(data)
        except MycoError as problem:
            if not reply.opened:
                await refuse(problem)
                return
            await reply.write(writer.write(Error(problem.body())))
        except Exception:  # the boundary of a stream: without this a bug ends as 200 and a bare end of file
            _log.exception("%s: the answer failed", request.id)
            if not reply.opened:
                await refuse(MycoError(OUR_BUG.message, OUR_BUG.hint))
                return
            await reply.write(writer.write(Error(OUR_BUG)))
        if end := writer.end():
            await reply.write(end)
        await reply.end()

    await until_gone(receive, answer(), reply.beat())


async def tell_steps(reply: StreamReply, lines: AsyncGenerator[bytes, None], refuse: Refuse, dialect: Dialect) -> None:
    """Tell a long action that is no answer, line by line; an error as `stream` tells it, as a line in the words of
    `dialect`."""
    try:
        async with aclosing(lines):
            async for data in lines:
                if data:
                    await reply.write(data)
    except MycoError as known:
        problem = known
    except Exception:  # the boundary of a stream, as of `stream`
        _log.exception("a long action failed")
        problem = MycoError(OUR_BUG.message, OUR_BUG.hint)
    else:
        await reply.end()
        return
    if not reply.opened:
        await refuse(problem)
        return
    await reply.write(dialect.error(problem) + b"\n")
    await reply.end()


class DeltaLines:
    """Our own dialect's writer: the deltas themselves, one line each."""

    media = b"application/x-ndjson"

    def __init__(self, encode: Callable[[Delta], bytes]) -> None:
        self._encode = encode

    def keep_alive(self) -> bytes:
        return b"\n"

    def late(self, start: Start) -> bytes:
        """Nothing: the Start itself says it."""
        return b""

    def write(self, delta: Delta) -> bytes:
        return self._encode(delta)

    def end(self) -> bytes:
        return b""
