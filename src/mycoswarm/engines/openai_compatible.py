"""[io] Any server that speaks OpenAI's API: LM Studio, vLLM, llama-server and their like."""

import difflib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Any

import msgspec

from mycoswarm.core.chat import ChatRequest, Delta, Usage
from mycoswarm.core.embed import Embedding, EmbedRequest, pack
from mycoswarm.core.errors import ContextTooLong, EngineFailed, InvalidRequest, MycoError, UnknownModel
from mycoswarm.core.hardware import EngineKind
from mycoswarm.core.ids import EngineId, ModelName
from mycoswarm.core.model import Abilities, ModelOffer, Progress, Speed
from mycoswarm.engines import probe
from mycoswarm.engines.engine import Health
from mycoswarm.engines.failure import told_in_numbers
from mycoswarm.engines.local_http import HEALTH, STREAM, LocalHttp, read
from mycoswarm.engines.names import looks_like_embedder, parameters_in, quantization_in
from mycoswarm.engines.openai_chat import count_prompt, ours_to_stop, stream_chat
from mycoswarm.engines.openai_request import chat_body
from mycoswarm.engines.prompt_size import estimate_tokens
from mycoswarm.engines.stream import Deltas
from mycoswarm.engines.toolcalls.serve import serve

_ABILITIES = Abilities(tools=True, json_schema=True)
"""Of a chat model behind such a server, as far as calls go: none of them tells, all of them take tools."""


class _Meta(msgspec.Struct):
    """llama-server's."""

    n_ctx: int | None = None
    n_params: int | None = None
    size: int | None = None
    ftype: str | None = None


class _Architecture(msgspec.Struct):
    input_modalities: list[str] | None = None


class _Model(msgspec.Struct):
    """One entry of /v1/models: OpenAI's `id`, llama-server's `meta`, vLLM's `max_model_len`."""

    id: str
    meta: _Meta | None = None
    architecture: _Architecture | None = None
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[_Model] = []


class _StudioModel(msgspec.Struct):
    """LM Studio's own list, /api/v0/models."""

    id: str
    type: str = "llm"
    state: str = ""
    quantization: str | None = None
    max_context_length: int | None = None
    loaded_context_length: int | None = None


class _StudioModels(msgspec.Struct):
    data: list[_StudioModel] = []


class _Embedding(msgspec.Struct):
    index: int
    embedding: list[float]


class _Counted(msgspec.Struct):
    """vLLM's reply to /tokenize."""

    count: int


class _EmbeddingUsage(msgspec.Struct):
    prompt_tokens: int = 0


class _Embeddings(msgspec.Struct):
    data: list[_Embedding]
    usage: _EmbeddingUsage | None = None


class OpenAICompatible:
    """One such server.

    Args:
        url: without /v1, e.g. http://127.0.0.1:1234.
        kind: what the finder took it for.
        api_key: sent as a bearer token; empty where it wants none.
    """

    def __init__(self, url: str, kind: EngineKind = "openai", *, version: str | None = None, api_key: str = "") -> None:
        self._http = LocalHttp(url.rstrip("/").removesuffix("/v1"), api_key)
        self._kind: EngineKind = kind
        self._version = version
        self._speeds: dict[str, Speed] = {}
        self._known: list[str] = []
        self._contexts: dict[str, int] = {}

    @property
    def id(self) -> EngineId:
        return EngineId(f"{self._kind}@{self._http.base.partition('//')[2]}")

    @property
    def kind(self) -> EngineKind:
        return self._kind

    @property
    def url(self) -> str:
        return self._http.base

    async def health(self) -> Health:
        try:
            await self._http.json("GET", "/v1/models", limits=HEALTH)
        except MycoError as problem:
            return Health(False, self._version, problem.message)
        return Health(True, self._version)

    async def models(self) -> tuple[ModelOffer, ...]:
        if self._kind == "lmstudio":
            try:
                studio: _StudioModels = read(await self._http.json("GET", "/api/v0/models"), _StudioModels, self.url)
                return self._keep(self._studio_offer(model) for model in studio.data)
            except (UnknownModel, EngineFailed):
                # Older ones have no list of their own; what all of them have is the list below.
                pass
        plain: _Models = read(await self._http.json("GET", "/v1/models"), _Models, self.url)
        return self._keep(self._offer(model) for model in plain.data)

    def _keep(self, offers: Iterable[ModelOffer]) -> tuple[ModelOffer, ...]:
        """Remember which models there are and how much they take, for the requests to come."""
        held = tuple(offers)
        self._known = [offer.name for offer in held]
        self._contexts = {offer.name: offer.context for offer in held if offer.context is not None}
        return held

    def _offer(self, model: _Model) -> ModelOffer:
        meta = model.meta or _Meta()
        modalities = (model.architecture.input_modalities if model.architecture else None) or []
        embeds = looks_like_embedder(model.id)
        return ModelOffer(
            name=ModelName(model.id),
            engine=self.id,
            # These servers hold what they list; LM Studio loads on demand without saying.
            state="on_disk" if self._kind == "lmstudio" else "loaded",
            size=meta.size,
            parameters=meta.n_params or parameters_in(model.id),
            quantization=meta.ftype or quantization_in(model.id),
            context=model.max_model_len or meta.n_ctx,
            abilities=Abilities(
                chat=not embeds, embed=embeds, tools=not embeds, vision="image" in modalities, json_schema=not embeds
            ),
            speed=self._speeds.get(model.id),
        )

    def _studio_offer(self, model: _StudioModel) -> ModelOffer:
        embeds = model.type == "embeddings"
        return ModelOffer(
            name=ModelName(model.id),
            engine=self.id,
            state="loaded" if model.state == "loaded" else "on_disk",
            parameters=parameters_in(model.id),
            quantization=model.quantization,
            context=model.loaded_context_length or model.max_context_length,
            abilities=Abilities(
                chat=not embeds, embed=embeds, tools=not embeds, vision=model.type == "vlm", json_schema=not embeds
            ),
            speed=self._speeds.get(model.id),
        )

    async def load(self, model: str) -> AsyncIterator[Progress]:
        """Nothing to do: these servers load what they are asked for, or hold one model from their start."""
        await self._require(model)
        yield Progress("done", model)

    async def unload(self, model: str) -> None:
        """Their API has no word for it."""
        raise InvalidRequest(f"{self.url} cannot be told to unload {model}", "unload it in that program")

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        # llama-server answers to any name with what it has; the others load without a word or fail late.
        await self._require(request.model)
        async with aclosing(serve(request, _ABILITIES, self._answer)) as answer:
            async for delta in answer:
                yield delta

    async def _answer(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        body = chat_body(request, request.model)
        await self._clamp(body, request)
        stops = ours_to_stop(body) if self._kind == "llama-server" else ()
        deltas = Deltas(request.id, request.model, str(self.id))
        try:
            async with aclosing(
                stream_chat(self._http.session, self.url, body, deltas, self._http.headers, STREAM, stops)
            ) as answer:
                async for delta in answer:
                    if isinstance(delta, Usage):
                        learned = probe.learn(self._speeds.get(request.model), delta)
                        self._speeds |= {request.model: learned} if learned else {}
                    yield delta
        except ContextTooLong as problem:
            raise told_in_numbers(problem, estimate_tokens(request), self._contexts.get(request.model)) from problem
        except EngineFailed as problem:
            if not deltas.said:
                raise
            yield deltas.error(problem)

    async def _clamp(self, body: dict[str, Any], request: ChatRequest) -> None:
        """Some refuse an answer that might not fit beside its prompt, and programs ask for 32,000 tokens of habit."""
        context, wanted = self._contexts.get(request.model), request.max_tokens
        if context is None or wanted is None:
            return
        prompt = estimate_tokens(request)
        # By a wide berth, for the estimate is no better than that: a count costs a round trip.
        if wanted + 2 * prompt > context:
            counted = await self.count_tokens(request)
            body["max_tokens"] = max(1, min(wanted, context - (2 * prompt if counted is None else counted)))

    async def embed(self, request: EmbedRequest) -> Embedding:
        body: dict[str, object] = {"model": request.model, "input": list(request.texts)}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        answer = await self._http.json("POST", "/v1/embeddings", body, model=request.model, limits=STREAM)
        rows: _Embeddings = read(answer, _Embeddings, self.url)
        if len(rows.data) != len(request.texts):
            raise EngineFailed(f"{self.url} gave {len(rows.data)} vectors for {len(request.texts)} texts")
        vectors = tuple(pack(row.embedding) for row in sorted(rows.data, key=lambda row: row.index))
        return Embedding(vectors, rows.usage.prompt_tokens if rows.usage else 0)

    async def count_tokens(self, request: ChatRequest) -> int | None:
        async def post(path: str, body: object) -> dict[str, Any]:
            return await self._http.json("POST", path, body, model=request.model)

        if self._kind == "llama-server":
            return await count_prompt(post, request)
        if self._kind == "vllm":
            counted: _Counted = read(await post("/tokenize", chat_body(request, request.model)), _Counted, self.url)
            return counted.count
        return None

    async def close(self) -> None:
        await self._http.close()

    async def _require(self, model: str) -> None:
        """Asked anew only for a name that the last list did not have: a round trip before each answer is felt."""
        if model in self._known:
            return
        plain: _Models = read(await self._http.json("GET", "/v1/models"), _Models, self.url)
        known = self._known = [one.id for one in plain.data]
        if model not in known:
            near = difflib.get_close_matches(model, known, 3, 0.5)
            raise UnknownModel(f"{self.url} has no model {model!r}", "`mycoswarm models` lists them", near=near)
