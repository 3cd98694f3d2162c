"""[io] A server in OpenAI's dialect whose answers are a script, for tests that need an engine which does as it is told.

    python -m mycoswarm.testing.scripted_server --port 8000 --model writer=write --model paced=echo:64 --token-ms 20

A node attaches it by `engines = ["127.0.0.1:8000"]`. Nothing here is a language model; see `scripted_answers`.
"""

import argparse
import asyncio
import contextlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from mycoswarm.testing.double_server import serve
from mycoswarm.testing.scripted_answers import Answer, chat, completion, vector

_SCRIPT = re.compile(r"write|call|embed|echo:\d+")
_DIMENSIONS = 8
_CONTEXT = 131_072


@dataclass
class ScriptedServer:
    """The server's state; tests read `requests`.

    models: the script of each. token_ms: pause before each piece. context: tokens that every model is served with.
    vision: whether they say that they see images.
    """

    models: dict[str, str]
    token_ms: float = 0.0
    context: int = _CONTEXT
    vision: bool = False
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    cancelled: int = 0
    """Answers whose client went away before their end."""

    def application(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20)
        app.add_routes(
            [
                web.get("/v1/models", self._list),
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/completions", self._completions),
                web.post("/v1/embeddings", self._embeddings),
            ]
        )
        return app

    async def _list(self, _request: web.Request) -> web.Response:
        modalities = ["text", "image"] if self.vision else ["text"]
        data = [
            {
                "id": name,
                "object": "model",
                "created": 0,
                "owned_by": "script",
                "max_model_len": self.context,
                "architecture": {"input_modalities": modalities},
            }
            for name in self.models
        ]
        return web.json_response({"object": "list", "data": data})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body, script = await self._asked(request)
        answer = chat(script, body)
        if not body.get("stream"):
            await asyncio.sleep(self.token_ms * answer.tokens / 1000)
            return web.json_response(_whole_chat(body, answer))
        return await self._stream(request, body, answer, list(_chat_chunks(body, answer)))

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        body, script = await self._asked(request)
        answer = completion(script, body)
        if not body.get("stream"):
            await asyncio.sleep(self.token_ms * answer.tokens / 1000)
            choice = {"index": 0, "text": "".join(answer.words), "logprobs": None, "finish_reason": answer.finish}
            return web.json_response(_head(body, "text_completion") | {"choices": [choice], "usage": _usage(answer)})
        chunks = [{"index": 0, "text": word, "logprobs": None, "finish_reason": None} for word in answer.words]
        chunks.append({"index": 0, "text": "", "logprobs": None, "finish_reason": answer.finish})
        head = _head(body, "text_completion")
        return await self._stream(request, body, answer, [head | {"choices": [chunk]} for chunk in chunks])

    async def _stream(
        self, request: web.Request, body: dict[str, Any], answer: Answer, chunks: list[dict[str, Any]]
    ) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        try:
            due = time.monotonic()
            for chunk in chunks:
                # By a clock and not by pauses in a row: what a piece costs to send does not make the next one late.
                due += self.token_ms / 1000
                if (ahead := due - time.monotonic()) > 0:
                    await asyncio.sleep(ahead)
                await reply.write(_event(chunk))
        except (ConnectionError, asyncio.CancelledError):
            self.cancelled += 1
            raise
        if (body.get("stream_options") or {}).get("include_usage"):
            head = {key: value for key, value in chunks[-1].items() if key != "choices"}
            await reply.write(_event(head | {"choices": [], "usage": _usage(answer)}))
        await reply.write(b"data: [DONE]\n\n")
        return reply

    async def _embeddings(self, request: web.Request) -> web.Response:
        body, _ = await self._asked(request)
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        length = body.get("dimensions") or _DIMENSIONS
        rows = [{"object": "embedding", "index": i, "embedding": vector(text, length)} for i, text in enumerate(texts)]
        tokens = sum(len(text.split()) for text in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return web.json_response({"object": "list", "data": rows, "model": body["model"], "usage": usage})

    async def _asked(self, request: web.Request) -> tuple[dict[str, Any], str]:
        """The body, and the script of its model."""
        body: dict[str, Any] = await request.json()
        self.requests.append((request.path, body))
        script = self.models.get(str(body.get("model")))
        if script is None:
            error = {"message": f"The model `{body.get('model')}` does not exist", "code": "model_not_found"}
            raise web.HTTPNotFound(text=json.dumps({"error": error}), content_type="application/json")
        return body, script


def _head(body: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "scripted", "object": kind, "created": 0, "model": body["model"]}


def _usage(answer: Answer) -> dict[str, Any]:
    total = answer.prompt + answer.tokens
    return {"prompt_tokens": answer.prompt, "completion_tokens": answer.tokens, "total_tokens": total}


def _whole_chat(body: dict[str, Any], answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.words) or None}
    if answer.calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": "".join(call.arguments)}}
            for call in answer.calls
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}
    return _head(body, "chat.completion") | {"choices": [choice], "usage": _usage(answer)}


def _chat_chunks(body: dict[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
    """One event a piece: the role first, then words or calls, then the reason of the end."""
    head = _head(body, "chat.completion.chunk")
    wanted = bool(body.get("logprobs"))

    def event(delta: dict[str, Any], finish: str | None = None, logprobs: Any = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return head | {"choices": [choice]}

    yield event({"role": "assistant", "content": ""})
    for word in answer.words:
        yield event({"content": word}, logprobs=_logprobs(word, body.get("top_logprobs") or 0) if wanted else None)
    for index, call in enumerate(answer.calls):
        function = {"name": call.name, "arguments": ""}
        yield event({"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": function}]})
        for piece in call.arguments:
            yield event({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield event({}, answer.finish)


def _logprobs(word: str, alternatives: int) -> dict[str, Any]:
    def token(text: str, logprob: float) -> dict[str, Any]:
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

    top = [token(word if number == 0 else f"alternative{number}", -0.25 - number) for number in range(alternatives)]
    return {"content": [token(word, -0.25) | {"top_logprobs": top}]}


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def parse_model(text: str) -> tuple[str, str]:
    """`NAME=SCRIPT`."""
    name, _, script = text.rpartition("=")
    if not name or not _SCRIPT.fullmatch(script):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=SCRIPT; scripts are write, call, embed and echo:N")
    return name, script


def main() -> None:
    """The command line above."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--model", type=parse_model, action="append", default=[], metavar="NAME=SCRIPT")
    parser.add_argument("--token-ms", type=float, default=0.0)
    parser.add_argument("--context", type=int, default=_CONTEXT)
    parser.add_argument("--vision", action="store_true")
    arguments = parser.parse_args()
    server = ScriptedServer(dict(arguments.model), arguments.token_ms, arguments.context, arguments.vision)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(server, "scripted server", arguments.host, arguments.port))


if __name__ == "__main__":
    main()
