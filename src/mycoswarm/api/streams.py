"""[io] The routes that stream, as raw ASGI."""

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import msgspec

from mycoswarm.api import openai
from mycoswarm.api.asgi import (
    Receive,
    Scope,
    Send,
    StreamReply,
    read_body,
    send_error,
    send_response,
    until_gone,
)
from mycoswarm.api.node import NodeService
from mycoswarm.api.routes import decode_body
from mycoswarm.core.chat import ChatRequest, Delta, Error, Start, encode_delta
from mycoswarm.core.errors import ErrorBody, InvalidRequest, MycoError, from_body
from mycoswarm.core.ids import RequestId, new_request_id
from mycoswarm.core.model import Progress
from mycoswarm.core.views import PullBody

_log = logging.getLogger(__name__)
_chat_decoder = msgspec.json.Decoder(ChatRequest)
_pull_decoder = msgspec.json.Decoder(PullBody)

_OUR_BUG = ErrorBody("internal", "this node failed in the middle of the answer", "see `mycoswarm logs`")


def _header(text: str) -> bytes:
    """`text` as a header's value: names come from other nodes, and one with a line end would forge headers."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text).encode()


def _reply_headers(start: Start | None, request_id: RequestId) -> list[tuple[bytes, bytes]]:
    """Who answers. Held back until an executor has accepted, so that they are true."""
    headers = [(b"x-mycoswarm-request", _header(request_id))]
    if start is not None:
        headers.append((b"x-mycoswarm-node", _header(start.node_name)))
        headers.append((b"x-mycoswarm-model", _header(start.model)))
    return headers


class StreamRoutes:
    """The streaming endpoints over one node."""

    def __init__(self, node: NodeService) -> None:
        self._node = node

    async def chat_completions(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /v1/chat/completions`."""
        request_id = new_request_id()

        async def refuse(problem: MycoError) -> None:
            await send_error(send, problem, _reply_headers(None, request_id), openai.error_json(problem))

        wants_why = (b"x-mycoswarm-why", b"1") in scope["headers"]
        created = int(time.time())
        try:
            asked = openai.parse(await read_body(receive), request_id, why=wants_why)
        except MycoError as problem:
            await refuse(problem)
            return
        if asked.stream:
            writer = openai.ChunkWriter(request_id, created, include_usage=asked.include_usage)
            reply = StreamReply(send, b"text/event-stream; charset=utf-8", b": keep-alive\n\n")
            await self._stream(asked.request, receive, reply, writer.write, writer.end(), refuse)
            return
        collector = openai.Collector(request_id, created)

        async def collect() -> None:
            try:
                start: Start | None = None
                async with aclosing(self._node.chat(asked.request)) as deltas:
                    async for delta in deltas:
                        if isinstance(delta, Error):
                            raise from_body(delta.error)
                        if isinstance(delta, Start):
                            start = delta
                        collector.add(delta)
                await send_response(send, 200, collector.json(), _reply_headers(start, request_id))
            except MycoError as problem:
                await refuse(problem)

        await until_gone(receive, collect(), None)

    async def chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /swarm/v1/chat`: a ChatRequest in, canonical deltas out as NDJSON."""
        try:
            request = decode_body(await read_body(receive), _chat_decoder)
        except MycoError as problem:
            await send_error(send, problem)
            return
        if not request.messages:
            await send_error(send, InvalidRequest("`messages` is empty", "send at least one message"))
            return
        if not request.id:
            request = msgspec.structs.replace(request, id=new_request_id())
        reply = StreamReply(send, b"application/x-ndjson", b"\n")
        headers = _reply_headers(None, request.id)
        await self._stream(
            request, receive, reply, encode_delta, b"", lambda problem: send_error(send, problem, headers)
        )

    async def _stream(
        self,
        request: ChatRequest,
        receive: Receive,
        reply: StreamReply,
        write: Callable[[Delta], bytes],
        end: bytes,
        refuse: Callable[[MycoError], Awaitable[None]],
    ) -> None:
        reply.headers += _reply_headers(None, request.id)

        async def answer() -> None:
            try:
                async with aclosing(self._node.chat(request)) as deltas:
                    async for delta in deltas:
                        if not reply.opened:
                            match delta:
                                case Start():
                                    reply.headers += _reply_headers(delta, request.id)[1:]
                                case Error():
                                    await refuse(from_body(delta.error))
                                    return
                                case _:
                                    # A note before any executor has accepted: it waits for the headers.
                                    reply.hold(write(delta))
                                    continue
                        if data := write(delta):
                            await reply.write(data)
            except MycoError as problem:
                if not reply.opened:
                    await refuse(problem)
                    return
                await reply.write(write(Error(problem.body())))
            except Exception:  # the boundary of a stream: without this a bug ends as 200 and a bare end of file
                _log.exception("%s: the answer failed", request.id)
                if not reply.opened:
                    await refuse(MycoError(_OUR_BUG.message, _OUR_BUG.hint))
                    return
                await reply.write(write(Error(_OUR_BUG)))
            if end:
                await reply.write(end)
            await reply.end()

        await until_gone(receive, answer(), reply.beat())

    async def pull(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /swarm/v1/models/pull`: Progress lines, an error line at the end where it fails."""
        try:
            wanted = decode_body(await read_body(receive), _pull_decoder)
        except MycoError as problem:
            await send_error(send, problem)
            return
        reply = StreamReply(send, b"application/x-ndjson", b"\n")

        async def steps() -> None:
            try:
                await _write_progress(reply, self._node.pull(wanted.name, wanted.node))
            except MycoError as problem:
                if not reply.opened:
                    await send_error(send, problem)
                    return
                await reply.write(_error_line(problem.body()))
            except Exception:  # the boundary of a stream, as above
                _log.exception("pulling %s failed", wanted.name)
                if not reply.opened:
                    await send_error(send, MycoError(_OUR_BUG.message, _OUR_BUG.hint))
                    return
                await reply.write(_error_line(_OUR_BUG))
            await reply.end()

        await until_gone(receive, steps(), reply.beat())


async def _write_progress(reply: StreamReply, pull: AsyncGenerator[Progress, None]) -> None:
    async with aclosing(pull) as steps:
        async for step in steps:
            await reply.write(msgspec.json.encode(step) + b"\n")


def _error_line(body: ErrorBody) -> bytes:
    return msgspec.json.encode({"error": body}) + b"\n"
