"""[io] A double of Ollama, made from its documented API, for machines where the real one cannot run.

    python -m mycoswarm.testing.ollama_double --port 11434 --model gemma3:27b=27.4B --token-ms 20

It streams NDJSON one word a line, over time; leaves zero fields out; gives durations in ns, tool arguments as objects,
errors as {"error": …}. Its answers are deterministic and say which model gave them. Nothing here is a language model.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from mycoswarm.engines.names import looks_like_embedder, parse_size
from mycoswarm.testing.double_server import serve

VERSION = "0.13.5"
_DEFAULT_KEEP_ALIVE = 300.0
_DEFAULT_CONTEXT = 4096
_TRAINED_CONTEXT = 131_072
_BYTES_PER_PARAMETER = 0.6
_EMBEDDING_LENGTH = 16
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class DoubleModel:
    """A model it claims to have. parameters: as Ollama writes them, e.g. `27.4B`."""

    name: str
    parameters: str
    capabilities: tuple[str, ...] = ("completion", "tools")
    trained_context: int = _TRAINED_CONTEXT

    @property
    def count(self) -> int:
        return parse_size(self.parameters) or 0

    @property
    def size(self) -> int:
        return int(self.count * _BYTES_PER_PARAMETER)

    @property
    def digest(self) -> str:
        return hashlib.sha256(f"{self.name} {self.parameters}".encode()).hexdigest()

    @property
    def family(self) -> str:
        return self.name.partition(":")[0].rstrip("0123456789.-") or "model"


@dataclass
class _Loaded:
    context: int
    until: float | None


@dataclass
class OllamaDouble:
    """The server's state; tests read `requests` and set the `fail_*` fields.

    token_ms: pause before each word. load_ms: of loading a model. prefill_ms: before the first word.
    fail_after: words after which a chat breaks with an error line; hang_up_after: after which its connection is cut.
    busy: the queue is full. says: pieces of every chat's answer, instead of its own words and calls. The model of an
    answer is named in its first words.
    """

    models: dict[str, DoubleModel]
    token_ms: float = 10.0
    load_ms: float = 0.0
    prefill_ms: float = 0.0
    fail_after: int | None = None
    hang_up_after: int | None = None
    busy: bool = False
    says: tuple[str, ...] = ()
    loaded: dict[str, _Loaded] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    cancelled: int = 0
    """Chats whose client went away before their end."""

    def application(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20)
        app.add_routes(
            [
                web.get("/", self._root),
                web.get("/api/version", self._version),
                web.get("/api/tags", self._tags),
                web.get("/api/ps", self._ps),
                web.get("/v1/models", self._openai_models),
                web.post("/api/show", self._show),
                web.post("/api/chat", self._chat),
                web.post("/api/generate", self._generate),
                web.post("/api/embed", self._embed),
                web.post("/api/embeddings", self._embeddings),
                web.post("/api/pull", self._pull),
                web.delete("/api/delete", self._delete),
            ]
        )
        return app

    async def _root(self, _request: web.Request) -> web.Response:
        return web.Response(text="Ollama is running")

    async def _version(self, _request: web.Request) -> web.Response:
        return web.json_response({"version": VERSION})

    async def _tags(self, _request: web.Request) -> web.Response:
        entries = [
            {
                "name": model.name,
                "model": model.name,
                "modified_at": _now(),
                "size": model.size,
                "digest": model.digest,
                "details": _details(model),
            }
            for model in self.models.values()
        ]
        return web.json_response({"models": entries})

    async def _ps(self, _request: web.Request) -> web.Response:
        self._expire()
        entries = [
            {
                "name": name,
                "model": name,
                "size": int(self.models[name].size * 1.1),
                "digest": self.models[name].digest,
                "details": _details(self.models[name]),
                "expires_at": _stamp(state.until if state.until is not None else time.time() + 1e9),
                "size_vram": int(self.models[name].size * 1.1),
                "context_length": state.context,
            }
            for name, state in self.loaded.items()
        ]
        return web.json_response({"models": entries})

    async def _openai_models(self, _request: web.Request) -> web.Response:
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "library"} for name in self.models]
        return web.json_response({"object": "list", "data": data})

    async def _show(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        model = self._model(body)
        return web.json_response(
            {
                "modelfile": f"FROM {model.name}",
                "template": "{{ .Prompt }}",
                "details": _details(model),
                "model_info": {
                    "general.architecture": model.family,
                    "general.parameter_count": model.count,
                    f"{model.family}.context_length": model.trained_context,
                    f"{model.family}.embedding_length": _EMBEDDING_LENGTH,
                },
                "capabilities": list(model.capabilities),
                "modified_at": _now(),
            }
        )

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request)
        model = self._model(body)
        messages = body.get("messages") or []
        if body.get("keep_alive") in (0, "0") and not messages:
            self.loaded.pop(model.name, None)
            return web.json_response(_final(model.name, "unload") | {"message": {"role": "assistant", "content": ""}})
        load_ns = await self._load(model, body)
        if not messages:
            return web.json_response(_final(model.name, "load") | {"message": {"role": "assistant", "content": ""}})
        prompt = sum(max(1, len(str(message.get("content", "")).split())) for message in messages)
        if prompt > self.loaded[model.name].context and body.get("truncate") is False:
            raise _failed(400, "the input length exceeds the context length")
        if body.get("tools") and "tools" not in model.capabilities:
            raise _failed(400, f"registry.ollama.ai/library/{model.name} does not support tools")
        asked = next((message for message in reversed(messages) if message.get("role") == "user"), {})
        pieces = [{"role": "assistant", "content": word} for word in answer(model.name, str(asked.get("content", "")))]
        if self.says:
            pieces = [{"role": "assistant", "content": piece} for piece in self.says]
        wants_call = (
            body.get("tools") and not self.says and not any(message.get("role") == "tool" for message in messages)
        )
        if wants_call:
            function = body["tools"][0]["function"]
            needed = function.get("parameters", {}).get("required", [])
            call = {"function": {"name": function["name"], "arguments": dict.fromkeys(needed, "double")}}
            pieces = [{"role": "assistant", "content": "", "tool_calls": [call]}]
        return await self._answer(request, body, model, "message", pieces, prompt, load_ns)

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request)
        model = self._model(body)
        if body.get("keep_alive") in (0, "0") and not body.get("prompt"):
            self.loaded.pop(model.name, None)
            return web.json_response(_final(model.name, "unload") | {"response": ""})
        load_ns = await self._load(model, body)
        prompt = str(body.get("prompt") or "")
        if not prompt:
            return web.json_response(_final(model.name, "load") | {"response": ""})
        pieces = answer(model.name, prompt)
        return await self._answer(request, body, model, "response", pieces, len(prompt.split()), load_ns)

    async def _answer(
        self,
        request: web.Request,
        body: Mapping[str, Any],
        model: DoubleModel,
        key: str,
        pieces: Iterable[Any],
        prompt: int,
        load_ns: int,
    ) -> web.StreamResponse:
        """Words over time; one JSON document where the client does not stream."""
        limit = (body.get("options") or {}).get("num_predict")
        every = list(pieces)
        kept = every if limit is None or limit < 0 else every[:limit]
        reason = "stop" if len(kept) == len(every) else "length"
        began = time.monotonic_ns()
        await asyncio.sleep(self.prefill_ms / 1000)
        prefilled = time.monotonic_ns()
        line = {"model": model.name, "created_at": _now()}

        def final() -> dict[str, Any]:
            ended = time.monotonic_ns()
            counts = {
                "total_duration": ended - began + load_ns,
                "load_duration": load_ns,
                "prompt_eval_count": prompt,
                "prompt_eval_duration": max(prefilled - began, 1),
                "eval_count": len(kept),
                "eval_duration": max(ended - prefilled, 1),
            }
            return _final(model.name, reason) | {name: value for name, value in counts.items() if value}

        empty: Any = "" if key == "response" else {"role": "assistant", "content": ""}
        if body.get("stream", True) is False:
            await asyncio.sleep(self.token_ms * len(kept) / 1000)
            whole: Any = (
                "".join(kept) if key == "response" else kept[0] | {"content": "".join(p["content"] for p in kept)}
            )
            return web.json_response(final() | {key: whole})
        reply = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await reply.prepare(request)
        try:
            async for index, piece in _paced(kept, self.token_ms / 1000):
                if index == self.fail_after:
                    await reply.write(_line({"error": "an error was encountered while running the model"}))
                    return reply
                if index == self.hang_up_after and request.transport is not None:
                    request.transport.abort()
                    return reply
                await reply.write(_line(line | {key: piece, "done": False}))
            await reply.write(_line(final() | {key: empty}))
        except (ConnectionError, asyncio.CancelledError):
            self.cancelled += 1
            raise
        return reply

    async def _embed(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        model = self._model(body)
        if "embedding" not in model.capabilities:
            raise _failed(501, "this model does not support embeddings")
        await self._load(model, body)
        given = body.get("input") or []
        texts = [given] if isinstance(given, str) else given
        vectors = [_vector(text) for text in texts]
        return web.json_response({"model": model.name, "embeddings": vectors, "prompt_eval_count": len(texts)})

    async def _embeddings(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        self._model(body)
        return web.json_response({"embedding": _vector(str(body.get("prompt", "")))})

    async def _pull(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request)
        name = str(body.get("model") or body.get("name") or "")
        reply = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await reply.prepare(request)
        model = DoubleModel(name, "1B")
        await reply.write(_line({"status": "pulling manifest"}))
        for done in (0, model.size // 2, model.size):
            step = {"status": f"pulling {model.digest[:12]}", "digest": f"sha256:{model.digest}", "total": model.size}
            await reply.write(_line(step | ({"completed": done} if done else {})))
        self.models[name] = model
        await reply.write(_line({"status": "success"}))
        return reply

    async def _delete(self, request: web.Request) -> web.Response:
        model = self._model(await self._body(request))
        del self.models[model.name]
        self.loaded.pop(model.name, None)
        return web.Response()

    async def _body(self, request: web.Request) -> dict[str, Any]:
        try:
            body = json.loads(await request.read() or b"{}")
        except ValueError as problem:
            raise _failed(400, f"invalid JSON: {problem}") from None
        self.requests.append((request.path, body))
        if self.busy and request.path in ("/api/chat", "/api/generate", "/api/embed"):
            raise _failed(503, "server busy, please try again. maximum pending requests exceeded")
        return body

    def _model(self, body: Mapping[str, Any]) -> DoubleModel:
        name = str(body.get("model") or body.get("name") or "")
        if not name:
            raise _failed(400, "model is required")
        full = name if ":" in name else name + ":latest"
        found = self.models.get(name) or self.models.get(full)
        if found is None:
            raise _failed(404, f"model '{name}' not found")
        return found

    async def _load(self, model: DoubleModel, body: Mapping[str, Any]) -> int:
        """Load it, or keep it loaded. Another context than it has means loading anew. Returns ns."""
        self._expire()
        wanted = int((body.get("options") or {}).get("num_ctx") or 0)
        state = self.loaded.get(model.name)
        began = time.monotonic_ns()
        if state is None or (wanted and wanted != state.context):
            await asyncio.sleep(self.load_ms / 1000)
            state = _Loaded(wanted or _DEFAULT_CONTEXT, None)
        keep = _seconds(body.get("keep_alive"))
        state.until = None if keep < 0 else time.time() + keep
        self.loaded[model.name] = state
        return time.monotonic_ns() - began

    def _expire(self) -> None:
        now = time.time()
        for name in [name for name, state in self.loaded.items() if state.until is not None and state.until < now]:
            del self.loaded[name]


def answer(model: str, asked: str) -> list[str]:
    """The words of an answer, spaces included; joined they are the text."""
    text = f"This is {model} speaking. You said: {asked[:200]}. I count:"
    words = [word + " " for word in text.split()]
    return [*words, *(f"{number} " for number in range(1, 16)), "done."]


async def _paced(pieces: Iterable[Any], seconds: float) -> AsyncIterator[tuple[int, Any]]:
    for index, piece in enumerate(pieces):
        await asyncio.sleep(seconds)
        yield index, piece


def _details(model: DoubleModel) -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": model.family,
        "families": [model.family],
        "parameter_size": model.parameters,
        "quantization_level": "Q4_K_M",
    }


def _final(model: str, reason: str) -> dict[str, Any]:
    return {"model": model, "created_at": _now(), "done": True, "done_reason": reason}


def _vector(text: str) -> list[float]:
    digest = hashlib.sha256(text.encode()).digest()
    raw = [byte / 255 - 0.5 for byte in digest[:_EMBEDDING_LENGTH]]
    length = sum(value * value for value in raw) ** 0.5
    return [value / length for value in raw]


def _seconds(value: Any) -> float:
    """Ollama's keep_alive: seconds, or text with a unit; negative is for ever."""
    if value is None:
        return _DEFAULT_KEEP_ALIVE
    if isinstance(value, int | float):
        return float(value)
    for unit in ("ms", "s", "m", "h"):
        if value.endswith(unit):
            return float(value.removesuffix(unit)) * _UNITS[unit]
    return float(value)


def _failed(status: int, message: str) -> web.HTTPException:
    kinds: dict[int, type[web.HTTPException]] = {
        400: web.HTTPBadRequest,
        404: web.HTTPNotFound,
        501: web.HTTPNotImplemented,
        503: web.HTTPServiceUnavailable,
    }
    return kinds[status](text=json.dumps({"error": message}), content_type="application/json")


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _now() -> str:
    return _stamp(time.time())


def parse_model(text: str) -> DoubleModel:
    """`NAME=SIZE`, e.g. `gemma3:27b=27.4B`; a name of an embedding model makes it one."""
    name, _, parameters = text.partition("=")
    if parse_size(parameters) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=SIZE, e.g. gemma3:27b=27.4B")
    return DoubleModel(name, parameters, ("embedding",) if looks_like_embedder(name) else ("completion", "tools"))


def main() -> None:
    """The command line above."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=11434)
    parser.add_argument("--model", type=parse_model, action="append", default=[], metavar="NAME=SIZE")
    parser.add_argument("--token-ms", type=float, default=20.0)
    parser.add_argument("--load-ms", type=float, default=0.0)
    parser.add_argument("--prefill-ms", type=float, default=0.0)
    arguments = parser.parse_args()
    models = {model.name: model for model in arguments.model}
    double = OllamaDouble(models, arguments.token_ms, arguments.load_ms, arguments.prefill_ms)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(double, "ollama double", arguments.host, arguments.port))


if __name__ == "__main__":
    main()
