"""A small OpenAI-compatible server for tests: answers as LM Studio, vLLM or llama-server do."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class OpenAIServer:
    """models: the entries of /v1/models. extra: further GET paths and their JSON. headers: on every reply.

    says: the deltas of every chat's answer, instead of `words` words. refusal: of every chat.
    """

    models: list[dict[str, Any]]
    extra: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    api_key: str = ""
    words: int = 10
    says: tuple[dict[str, Any], ...] = ()
    pause: float = 0.001
    cut_after: int | None = None
    refusal: dict[str, Any] | None = None
    requests: list[dict[str, Any]] = field(default_factory=list)
    cancelled: int = 0

    def _denied(self, request: web.Request) -> bool:
        return bool(self.api_key) and request.headers.get("Authorization") != f"Bearer {self.api_key}"

    async def _get(self, request: web.Request) -> web.Response:
        if self._denied(request):
            return web.json_response({"error": {"message": "no key"}}, status=401, headers=self.headers)
        if request.path == "/v1/models":
            return web.json_response({"object": "list", "data": self.models}, headers=self.headers)
        if request.path in self.extra:
            return web.json_response(self.extra[request.path], headers=self.headers)
        return web.json_response({"error": "not found"}, status=404, headers=self.headers)

    async def _post(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        if self._denied(request):
            return web.json_response({"error": {"message": "no key"}}, status=401)
        match request.path:
            case "/v1/embeddings":
                rows = [{"index": i, "embedding": [float(len(t)), 0.5]} for i, t in enumerate(body["input"])]
                return web.json_response({"data": rows[::-1]})
            case "/apply-template":
                return web.json_response({"prompt": " ".join(m["content"] for m in body["messages"])})
            case "/tokenize":
                if "content" in body:
                    return web.json_response({"tokens": list(range(len(body["content"].split())))})
                # vLLM's takes the whole request.
                text = body.get("prompt") or " ".join(m["content"] for m in body["messages"])
                return web.json_response({"count": len(text.split()), "max_model_len": 4096})
            case _ if self.refusal is not None:
                return web.json_response(self.refusal, status=400)
            case _:
                return await self._chat(request, raw=request.path == "/v1/completions")

    async def _chat(self, request: web.Request, *, raw: bool) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        try:
            for delta in self.says:
                await reply.write(_event({"choices": [{"index": 0, "delta": delta}]}))
            for number in range(0 if self.says else self.words):
                if number == self.cut_after:
                    assert request.transport is not None
                    request.transport.abort()
                    return reply
                said = {"text": f"w{number} "} if raw else {"delta": {"content": f"w{number} "}}
                timings = {"prompt_n": 3, "predicted_n": number + 1}
                await reply.write(_event({"choices": [{"index": 0, **said}], "timings": timings}))
                await asyncio.sleep(self.pause)
        except (ConnectionError, asyncio.CancelledError):
            self.cancelled += 1
            raise
        last = {"text": ""} if raw else {"delta": {}}
        await reply.write(_event({"choices": [{"index": 0, **last, "finish_reason": "stop"}]}))
        await reply.write(_event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": self.words}}))
        await reply.write(b"data: [DONE]\n\n")
        return reply

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve it; yields its address."""
        app = web.Application()
        app.add_routes([web.get("/{path:.*}", self._get), web.post("/{path:.*}", self._post)])
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


def _event(value: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()
