"""[io] Our own routes that stream, as raw ASGI."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from mycoswarm.api.answering import DeltaLines, reply_headers, stream, tell_steps
from mycoswarm.api.asgi import Receive, Scope, Send, StreamReply, read_body, send_error, until_gone
from mycoswarm.api.dialects import NATIVE
from mycoswarm.api.node import NodeService
from mycoswarm.api.routes import decode_body
from mycoswarm.core.chat import ChatRequest, encode_delta
from mycoswarm.core.errors import InvalidRequest, MycoError
from mycoswarm.core.ids import new_request_id
from mycoswarm.core.model import Progress
from mycoswarm.core.views import PullBody

_chat_decoder = msgspec.json.Decoder(ChatRequest)
_pull_decoder = msgspec.json.Decoder(PullBody)


class StreamRoutes:
    """The streaming endpoints over one node."""

    def __init__(self, node: NodeService) -> None:
        self._node = node

    async def chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /swarm/v1/chat`: a ChatRequest in, canonical deltas out as NDJSON."""
        try:
            request = decode_body(await read_body(receive), _chat_decoder)
        except MycoError as problem:
            await send_error(send, problem)
            return
        if not request.messages and request.prompt is None:
            await send_error(send, InvalidRequest("`messages` is empty", "send at least one message"))
            return
        if not request.id:
            request = msgspec.structs.replace(request, id=new_request_id())
        headers = reply_headers(None, request.id)

        async def refuse(problem: MycoError) -> None:
            await send_error(send, problem, headers)

        lines = DeltaLines(encode_delta)
        reply = StreamReply(send, lines.media, lines.keep_alive)
        await stream(self._node.chat, request, receive, reply, lines, refuse)

    async def pull(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /swarm/v1/models/pull`: Progress lines, an error line at the end where it fails."""
        try:
            wanted = decode_body(await read_body(receive), _pull_decoder)
        except MycoError as problem:
            await send_error(send, problem)
            return
        reply = StreamReply(send, b"application/x-ndjson", lambda: b"\n")

        async def refuse(problem: MycoError) -> None:
            await send_error(send, problem)

        lines = _lines(self._node.pull(wanted.name, wanted.node))
        await until_gone(receive, tell_steps(reply, lines, refuse, NATIVE), reply.beat())


async def _lines(pull: AsyncGenerator[Progress, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(pull) as steps:
        async for step in steps:
            yield msgspec.json.encode(step) + b"\n"
