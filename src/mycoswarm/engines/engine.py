"""The protocol every engine is spoken to by: embedded llama.cpp, Ollama, any OpenAI-compatible server."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol

import msgspec

from mycoswarm.core.chat import ChatRequest, Delta
from mycoswarm.core.embed import Embedding, EmbedRequest
from mycoswarm.core.hardware import EngineKind
from mycoswarm.core.ids import EngineId
from mycoswarm.core.model import ModelOffer, Progress


class Health(msgspec.Struct, frozen=True):
    """ok: answers requests now. reason: one sentence when it does not."""

    ok: bool
    version: str | None = None
    reason: str = ""


class Engine(Protocol):
    """One engine of this node.

    Every method raises only errors of `core.errors`: EngineFailed when it cannot be reached, dies or answers nonsense,
    UnknownModel, ContextTooLong, ModelCorrupt, Busy.
    """

    @property
    def id(self) -> EngineId: ...

    @property
    def kind(self) -> EngineKind: ...

    @property
    def url(self) -> str:
        """Where it answers; empty for the embedded engine while nothing is loaded."""
        ...

    async def health(self) -> Health:
        """Never raises; at most 2 s."""
        ...

    async def models(self) -> tuple[ModelOffer, ...]:
        """Everything it holds, with state, size and abilities as far as it tells."""
        ...

    def load(self, model: str, keep: float | None = None) -> AsyncIterator[Progress]:
        """Bring `model` into memory, where it is not there. keep: seconds that it then stays, as `ChatRequest.keep`."""
        ...

    async def unload(self, model: str) -> None:
        """Free its memory. Does nothing when it is not loaded."""
        ...

    def chat(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """The answer as canonical deltas: Start, then what the model says, Finish, Usage.

        `request.model` is this engine's own name. Closing the generator cancels the work on the engine. A failure
        before the first text is raised; one after it is an Error delta. Loads the model where need be.
        """
        ...

    async def embed(self, request: EmbedRequest) -> Embedding:
        """One vector a text, in order. `request.model` is this engine's own name.

        Raises ContextTooLong where a text does not fit and `truncate` is not asked for.
        """
        ...

    async def count_tokens(self, request: ChatRequest) -> int | None:
        """Prompt tokens by the model's own template and tokenizer; None where the engine cannot tell cheaply."""
        ...

    async def close(self) -> None:
        """End children and connections."""
        ...
