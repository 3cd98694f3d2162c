"""An engine whose answers are written down beforehand, in process; for tests of everything above engines."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mycoswarm.core.chat import ChatRequest, Delta, Usage
from mycoswarm.core.embed import Embedding, EmbedRequest, pack
from mycoswarm.core.errors import MycoError, UnknownModel
from mycoswarm.core.hardware import EngineKind
from mycoswarm.core.ids import EngineId, ModelName
from mycoswarm.core.model import ModelOffer, Progress
from mycoswarm.engines.engine import Health
from mycoswarm.engines.stream import Deltas

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True)
class Script:
    """One answer.

    pieces: texts, one delta each. before, between: seconds ahead of the first and of every other one.
    refuse: raised before Start. fail: after all pieces, as an Error delta; before the first one it is raised.
    """

    pieces: tuple[str, ...] = ("Hello", " from", " the", " script", ".")
    before: float = 0.0
    between: float = 0.0
    usage: Usage = field(default_factory=lambda: Usage(prompt_tokens=8, completion_tokens=5))
    refuse: MycoError | None = None
    fail: MycoError | None = None


@dataclass
class ScriptedEngine:
    """An Engine. `scripts` are used up in turn, the last one stays; tests read the lists.

    Args:
        sleep: how it waits; the virtual clock's in tests of time.
    """

    offers: tuple[ModelOffer, ...]
    scripts: list[Script] = field(default_factory=lambda: [Script()])
    name: str = "scripted"
    sleep: Sleep = asyncio.sleep
    healthy: Health = field(default_factory=lambda: Health(True, "1"))
    asked: list[ChatRequest] = field(default_factory=list)
    embedded: list[EmbedRequest] = field(default_factory=list)
    cancelled: list[ChatRequest] = field(default_factory=list)
    finished: list[ChatRequest] = field(default_factory=list)
    closed: bool = False

    @property
    def id(self) -> EngineId:
        return EngineId(self.name)

    @property
    def kind(self) -> EngineKind:
        return "openai"

    @property
    def url(self) -> str:
        return f"scripted://{self.name}"

    async def health(self) -> Health:
        return self.healthy

    async def models(self) -> tuple[ModelOffer, ...]:
        return self.offers

    async def load(self, model: str) -> AsyncIterator[Progress]:
        self._set_state(model, "loaded")
        yield Progress("done", model)

    async def unload(self, model: str) -> None:
        self._set_state(model, "on_disk")

    def _set_state(self, model: str, state: str) -> None:
        self._offer(model)
        self.offers = tuple(
            msgspec.structs.replace(offer, state=state) if offer.name == model else offer for offer in self.offers
        )

    def _offer(self, model: str) -> ModelOffer:
        for offer in self.offers:
            if offer.name == model:
                return offer
        raise UnknownModel(f"the scripted engine has no model {model!r}", near=[])

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        self._offer(request.model)
        self.asked.append(request)
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        if script.refuse is not None:
            raise script.refuse
        deltas = Deltas(request.id, request.model, self.name)
        try:
            yield deltas.start()
            await self.sleep(script.before)
            for index, piece in enumerate(script.pieces):
                if index:
                    await self.sleep(script.between)
                yield deltas.text(piece)
            if script.fail is not None:
                if not script.pieces:
                    raise script.fail
                yield deltas.error(script.fail)
                return
            yield deltas.finish("stop")
            yield deltas.usage(script.usage)
            self.finished.append(request)
        except (GeneratorExit, asyncio.CancelledError):
            self.cancelled.append(request)
            raise

    async def embed(self, request: EmbedRequest) -> Embedding:
        """Vectors that depend on nothing but the text's length."""
        self._offer(request.model)
        self.embedded.append(request)
        return Embedding(tuple(pack((float(len(text)), 1.0)) for text in request.texts), len(request.texts))

    async def count_tokens(self, request: ChatRequest) -> int | None:
        """Words of the messages or of the raw prompt."""
        return sum(len(text.split()) for text in (request.prompt or "", *(one.text for one in request.messages)))

    async def close(self) -> None:
        self.closed = True


def offer(name: str, engine: str = "scripted", **fields: Any) -> ModelOffer:
    """A loaded model; `fields` are further ones of ModelOffer."""
    given: dict[str, Any] = {"state": "loaded"} | fields
    return ModelOffer(name=ModelName(name), engine=EngineId(engine), **given)
