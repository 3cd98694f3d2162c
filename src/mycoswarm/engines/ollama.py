"""[io] Ollama, by its own API: it tells more there than through its OpenAI face, and takes a context size."""

import asyncio
import difflib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import aiohttp
import msgspec

from mycoswarm.core.chat import ChatRequest, Delta, Usage
from mycoswarm.core.embed import Embedding, EmbedRequest, pack
from mycoswarm.core.errors import ContextTooLong, EngineFailed, MycoError, Refused, UnknownModel
from mycoswarm.core.hardware import EngineKind
from mycoswarm.core.ids import EngineId, ModelName
from mycoswarm.core.model import Abilities, ModelOffer, Progress, Speed
from mycoswarm.engines import probe
from mycoswarm.engines.engine import Health
from mycoswarm.engines.failure import from_reply, told_in_numbers
from mycoswarm.engines.local_http import HEALTH, STREAM, LocalHttp, read
from mycoswarm.engines.names import looks_like_embedder, parse_size
from mycoswarm.engines.ollama_request import chat_body
from mycoswarm.engines.ollama_stream import OllamaStream
from mycoswarm.engines.openai_chat import broken
from mycoswarm.engines.prompt_size import estimate_tokens
from mycoswarm.engines.stream import Deltas
from mycoswarm.engines.toolcalls.serve import serve

_log = logging.getLogger(__name__)


class _Details(msgspec.Struct):
    parameter_size: str = ""
    quantization_level: str = ""
    family: str = ""


class _Tag(msgspec.Struct):
    """An entry of /api/tags. remote_*: the model does not run here but at a vendor."""

    name: str
    size: int = 0
    digest: str = ""
    details: _Details = msgspec.field(default_factory=_Details)
    remote_host: str = ""
    remote_model: str = ""


class _Tags(msgspec.Struct):
    models: list[_Tag] | None = None


class _Running(msgspec.Struct):
    """An entry of /api/ps. size: bytes in memory; size_vram: the part of it on a GPU."""

    name: str
    size: int = 0
    size_vram: int = 0
    context_length: int | None = None


class _Ps(msgspec.Struct):
    models: list[_Running] | None = None


class _Show(msgspec.Struct):
    model_info: dict[str, Any] | None = None
    capabilities: list[str] | None = None


class _Version(msgspec.Struct):
    version: str


class _Embeddings(msgspec.Struct):
    embeddings: list[list[float]]
    prompt_eval_count: int = 0


def is_cloud(name: str) -> bool:
    """Whether a name is one that Ollama serves from its vendor's machines."""
    return name.endswith(("-cloud", ":cloud"))


class Ollama:
    """One Ollama server.

    Args:
        url: e.g. http://127.0.0.1:11434.
        context: tokens that models are loaded with; a model that is loaded with more keeps what it has.
    """

    def __init__(self, url: str, context: int = 4096) -> None:
        self._http = LocalHttp(url)
        self._context = context
        self._shown: dict[str, _Show] = {}
        self._running: dict[str, _Running] = {}
        self._speeds: dict[str, Speed] = {}

    @property
    def id(self) -> EngineId:
        return EngineId("ollama@" + self._http.base.partition("//")[2])

    @property
    def kind(self) -> EngineKind:
        return "ollama"

    @property
    def url(self) -> str:
        return self._http.base

    async def health(self) -> Health:
        try:
            answer = await self._http.json("GET", "/api/version", limits=HEALTH)
            version: _Version = read(answer, _Version, self.url)
        except MycoError as problem:
            return Health(False, None, problem.message)
        return Health(True, version.version)

    async def models(self) -> tuple[ModelOffer, ...]:
        tags, _ = await asyncio.gather(self._tags(), self._look_what_runs())
        shown = await asyncio.gather(*(self._show_if_it_can(tag) for tag in tags))
        return tuple(self._offer(tag, show) for tag, show in zip(tags, shown, strict=True))

    async def _tags(self) -> list[_Tag]:
        """Models on this machine; those that are only a door to a vendor are left out."""
        tags: _Tags = read(await self._http.json("GET", "/api/tags"), _Tags, self.url)
        return [tag for tag in tags.models or () if not (is_cloud(tag.name) or tag.remote_host or tag.remote_model)]

    async def _look_what_runs(self) -> None:
        running: _Ps = read(await self._http.json("GET", "/api/ps"), _Ps, self.url)
        self._running = {one.name: one for one in running.models or ()}

    async def _show_if_it_can(self, tag: _Tag) -> _Show:
        """One damaged or just deleted model must not hide all others."""
        try:
            return await self._show(tag)
        except MycoError as problem:
            _log.warning("%s: %s", tag.name, problem.message)
            return _Show()

    async def _show(self, tag: _Tag) -> _Show:
        key = f"{tag.name} {tag.digest}"
        if key not in self._shown:
            answer = await self._http.json("POST", "/api/show", {"model": tag.name}, model=tag.name)
            self._shown[key] = read(answer, _Show, self.url)
        return self._shown[key]

    def _offer(self, tag: _Tag, show: _Show) -> ModelOffer:
        info = show.model_info or {}
        running = self._running.get(tag.name)
        trained = info.get(f"{info.get('general.architecture')}.context_length")
        served = running.context_length if running else None
        abilities = _can(tag.name, show)
        return ModelOffer(
            name=ModelName(tag.name),
            engine=self.id,
            state="loaded" if running else "on_disk",
            # Of Ollama's manifest (weights, template, parameters): equal among Ollamas, never with a file's own hash.
            digest=f"ollama:{tag.digest}" if tag.digest else None,
            size=tag.size or None,
            parameters=_count(info.get("general.parameter_count")) or parse_size(tag.details.parameter_size),
            quantization=tag.details.quantization_level or None,
            family=tag.details.family or None,
            dimensions=_count(info.get(f"{info.get('general.architecture')}.embedding_length"))
            if abilities.embed
            else None,
            context=served or min(self._context, _count(trained) or self._context),
            needs=running.size if running and running.size else None,
            abilities=abilities,
            speed=self._speeds.get(tag.name),
        )

    async def load(self, model: str, keep: float | None = None) -> AsyncIterator[Progress]:
        tag = await self._require(model)
        yield Progress("load", model, 0, tag.size or None)
        body: dict[str, object] = {"model": model, "options": {"num_ctx": self._context_of(model)}}
        if keep is not None:
            body["keep_alive"] = -1 if keep < 0 else keep
        await self._http.json("POST", "/api/generate", body | {"stream": False}, model=model, limits=STREAM)
        yield Progress("done", model, tag.size, tag.size or None)

    async def unload(self, model: str) -> None:
        await self._look_what_runs()
        if model in self._running:
            await self._http.json("POST", "/api/generate", {"model": model, "keep_alive": 0, "stream": False})

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        if is_cloud(request.model):
            raise Refused(f"{request.model} runs on its vendor's machines, not on yours", "choose a local model")
        abilities = await self._abilities(request.model) if request.tools else Abilities()
        if request.tool_choice.mode in ("required", "named"):
            # Ollama has no word for it and would leave the choice to the model; a schema leaves none.
            abilities = msgspec.structs.replace(abilities, tools=False)
        async with aclosing(serve(request, abilities, self._answer)) as answer:
            async for delta in answer:
                yield delta

    async def _answer(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        deltas = Deltas(request.id, request.model, str(self.id))
        context = self._context_of(request.model)
        body = chat_body(request, context, thinks=self._thinks(request.model))
        try:
            async with aclosing(self._stream(request.model, body, deltas)) as answer:
                async for delta in answer:
                    if isinstance(delta, Usage):
                        learned = probe.learn(self._speeds.get(request.model), delta, hidden_cache=True)
                        self._speeds |= {request.model: learned} if learned else {}
                    yield delta
        except ContextTooLong as problem:
            raise told_in_numbers(problem, estimate_tokens(request), context) from problem
        except EngineFailed as problem:
            if not deltas.said:
                raise
            yield deltas.error(problem)

    async def _stream(self, model: str, body: dict[str, Any], deltas: Deltas) -> AsyncGenerator[Delta, None]:
        url = self.url + ("/api/generate" if "raw" in body else "/api/chat")
        try:
            async with self._http.session.post(
                url, data=msgspec.json.encode(body), timeout=STREAM, allow_redirects=False
            ) as reply:
                try:
                    if reply.status != 200:
                        raise from_reply(reply.status, await reply.read(), self.url, model)
                    yield deltas.start()
                    lines = OllamaStream(deltas)
                    async for data in reply.content.iter_any():
                        for delta in lines.feed(data):
                            yield delta
                    for delta in lines.end():
                        yield delta
                finally:
                    reply.close()
        except (aiohttp.ClientError, TimeoutError, OSError, RuntimeError) as problem:
            raise broken(url, problem, self._http.session) from problem

    async def embed(self, request: EmbedRequest) -> Embedding:
        if is_cloud(request.model):
            raise Refused(f"{request.model} runs on its vendor's machines, not on yours", "choose a local model")
        body: dict[str, object] = {"model": request.model, "input": list(request.texts), "truncate": request.truncate}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        if request.keep is not None:
            body["keep_alive"] = -1 if request.keep < 0 else request.keep
        began = time.monotonic()
        answer = await self._http.json("POST", "/api/embed", body, model=request.model, limits=STREAM)
        rows: _Embeddings = read(answer, _Embeddings, self.url)
        speed = probe.learn_vectors(self._speeds.get(request.model), rows.prompt_eval_count, time.monotonic() - began)
        self._speeds |= {request.model: speed} if speed else {}
        if len(rows.embeddings) != len(request.texts):
            raise EngineFailed(f"{self.url} gave {len(rows.embeddings)} vectors for {len(request.texts)} texts")
        return Embedding(tuple(pack(row) for row in rows.embeddings), rows.prompt_eval_count)

    async def count_tokens(self, request: ChatRequest) -> int | None:
        """Ollama has no tokenizer to ask."""
        return None

    async def close(self) -> None:
        await self._http.close()

    def _context_of(self, model: str) -> int:
        """The context to ask for. Another one than a loaded model has would make Ollama load it again."""
        running = self._running.get(model)
        if running is not None and (running.context_length or 0) >= self._context:
            return running.context_length or self._context
        for key, show in self._shown.items():
            if key.startswith(f"{model} "):
                info = show.model_info or {}
                trained = _count(info.get(f"{info.get('general.architecture')}.context_length"))
                return min(self._context, trained or self._context)
        return self._context

    def _thinks(self, model: str) -> bool:
        """Where nobody has looked yet, it may."""
        shown = [show for key, show in self._shown.items() if key.startswith(f"{model} ")]
        return not shown or shown[-1].capabilities is None or "thinking" in shown[-1].capabilities

    async def _abilities(self, model: str) -> Abilities:
        """What a model can do; asked only for a name that nobody has looked at yet."""
        if not any(key.startswith(f"{model} ") for key in self._shown):
            await self._show(await self._require(model))
        shown = next(show for key, show in reversed(self._shown.items()) if key.startswith(f"{model} "))
        return _can(model, shown)

    async def _require(self, model: str) -> _Tag:
        if is_cloud(model):
            raise Refused(f"{model} runs on its vendor's machines, not on yours", "choose a local model")
        tags = {tag.name: tag for tag in await self._tags()}
        if model not in tags:
            near = difflib.get_close_matches(model, tags, 3, 0.5)
            raise UnknownModel(f"Ollama has no model {model!r}", f"ollama pull {model}", near=near)
        return tags[model]


def _can(name: str, show: _Show) -> Abilities:
    can = set(show.capabilities) if show.capabilities is not None else _guess(name)
    return Abilities(
        chat="completion" in can,
        embed="embedding" in can,
        tools="tools" in can,
        vision="vision" in can,
        thinking="thinking" in can,
        json_schema="completion" in can,
    )


def _guess(name: str) -> set[str]:
    """Old servers do not tell what a model can do."""
    return {"embedding"} if looks_like_embedder(name) else {"completion"}


def _count(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and value > 0 else None
