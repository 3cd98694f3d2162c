"""[io] An engine that costs nothing and paces exactly: OpenAI's streams over a bare asyncio protocol.

    python -m tests.bench.engine PORT TOKENS MS

What is added to its times is the path's and not its own, so it must be quicker than anything it measures.
"""

import asyncio
import json
import sys

MARK = b'"content": "tok'
"""What every token's event holds, and nothing else does."""

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _event(body: bytes) -> bytes:
    line = b"data: " + body + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(line), line)


def _token(number: int) -> bytes:
    choice = {"index": 0, "delta": {"content": f"tok{number} "}, "finish_reason": None}
    return _event(json.dumps({"id": "x", "object": "chat.completion.chunk", "choices": [choice]}).encode())


def _continued(number: int) -> bytes:
    choice = {"index": 0, "text": f"tok{number} ", "finish_reason": None}
    return _event(json.dumps({"id": "x", "object": "text_completion", "choices": [choice]}).encode())


_LAST = _event(
    json.dumps({"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}).encode()
) + _event(b'{"id": "x", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 16}}')
_DONE = _event(b"[DONE]") + b"0\r\n\r\n"


class Connection(asyncio.Protocol):
    """One keep-alive connection; a request is complete when its body is."""

    def __init__(self, tokens: int, pause: float) -> None:
        self._chat = [_token(number) for number in range(tokens)]
        self._completion = [_continued(number) for number in range(tokens)]
        self._tokens = self._chat
        self._pause = pause
        self._buffer = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        lowered = head.lower()
        length = 0
        if b"content-length:" in lowered:
            length = int(lowered.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        if head.startswith(b"GET /v1/models"):
            body = b'{"object": "list", "data": [{"id": "paced", "object": "model"}]}'
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        elif head.startswith(b"POST"):
            self._tokens = self._completion if head.startswith(b"POST /v1/completions") else self._chat
            self._transport.write(_HEAD)
            self._say(0)
        else:
            self._transport.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")

    def _say(self, number: int) -> None:
        if number == len(self._tokens):
            self._transport.write(_LAST + _DONE)
            return
        self._transport.write(self._tokens[number])
        self._timer = asyncio.get_running_loop().call_later(self._pause, self._say, number + 1)


async def main(port: int, tokens: int, pause: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Connection(tokens, pause), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
