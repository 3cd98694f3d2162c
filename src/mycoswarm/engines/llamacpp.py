"""[io] The embedded engine: llama.cpp in one supervised child process per loaded model."""

import asyncio
import hashlib
import importlib.util
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil

from mycoswarm.core.chat import ChatRequest, Delta, ImagePart, Usage
from mycoswarm.core.clock import Clock, SystemClock
from mycoswarm.core.embed import Embedding, EmbedRequest, pack
from mycoswarm.core.errors import (
    Busy,
    EngineFailed,
    InvalidRequest,
    ModelCorrupt,
    MycoError,
    UnknownModel,
)
from mycoswarm.core.hardware import EngineKind
from mycoswarm.core.ids import EngineId, ModelName
from mycoswarm.core.model import ModelOffer, ModelState, Progress, Speed
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.egress import unix_session
from mycoswarm.engines import preset, probe
from mycoswarm.engines.back_off import BackOff
from mycoswarm.engines.child import Child
from mycoswarm.engines.engine import Health
from mycoswarm.engines.failure import refused_by_template
from mycoswarm.engines.fit import Fit, fit
from mycoswarm.engines.folding import fold
from mycoswarm.engines.llamacpp_child import ChildConfig
from mycoswarm.engines.model_file import ModelFile, ModelFiles
from mycoswarm.engines.openai_chat import count_prompt, fetch_json, ours_to_stop, stream_chat
from mycoswarm.engines.openai_request import chat_body
from mycoswarm.engines.stay import Stay
from mycoswarm.engines.stream import Deltas
from mycoswarm.engines.toolcalls.serve import prepared, serve

_log = logging.getLogger(__name__)

PROMPT_CACHE = 256 << 20
"""Bytes of RAM for prompts that left their slots; llama.cpp's own default is 8 GiB."""
_HEARTBEAT_SECONDS = 5.0
_HEARTBEAT_TIMEOUT = aiohttp.ClientTimeout(total=15.0)
_HEARTBEATS_MISSED = 3
"""A loaded machine answers /health late; three in a row unanswered for 15 s each is a hang, and the child is ended."""
_BASE = "http://engine"
"""Of every address: which socket is meant is the session's affair, the host name is only for the protocol."""
_QUICK = aiohttp.ClientTimeout(total=10.0)
_ENDLESS = aiohttp.ClientTimeout(total=None)


@dataclass
class _Loaded:
    """A model in memory."""

    file: ModelFile
    child: Child
    config: ChildConfig
    session: aiohttp.ClientSession
    load_rate: float
    since: float
    stay: Stay


@dataclass
class _Known:
    """What is remembered of a model beyond one load."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    load: "asyncio.Task[_Loaded | MycoError] | None" = None
    speed: Speed | None = None
    needs: int | None = None
    rest: BackOff = field(default_factory=BackOff)
    file: ModelFile | None = None
    """The file that all this was learned of; another one under the name starts anew."""
    checked: int | None = None
    """Modification time in ns at which its bytes were last found right."""

    @property
    def loading(self) -> bool:
        return self.load is not None and not self.load.done()


class LlamaCpp:
    """The embedded engine.

    Args:
        models: where it looks its model files up.
        context: tokens of context of one answer; a model trained for fewer gets fewer.
        slots: answers that one model writes at the same time; fewer where memory is short.
        threads: 0 takes the physical cores.
        keep_loaded: idle seconds after which a model leaves memory; negative keeps it.
        gate: why this machine cannot run it (no AVX2 …), None where it can.
    """

    def __init__(
        self,
        models: ModelFiles,
        *,
        context: int = 4096,
        slots: int = 4,
        threads: int = 0,
        keep_loaded: float = 300.0,
        gate: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._models = models
        self._context = context
        self._slots = max(1, slots)
        self._threads = threads or psutil.cpu_count(logical=False) or 1
        self._keep_loaded = keep_loaded
        self._gate = gate or _missing()
        self._clock = clock or SystemClock()
        self._loaded: dict[str, _Loaded] = {}
        self._known: dict[str, _Known] = {}
        self._tasks = TaskGroup()
        self._room = asyncio.Lock()
        self.bandwidth: float | None = None
        """Bytes/s of this machine's memory, once somebody has measured it: speeds of models never loaded follow."""
        self.changed: Callable[[], None] = lambda: None
        """Called when a model has left memory without being told to, so that nobody counts on it any more."""
        self._runtime: Path | None = None
        self._closed = False

    @property
    def id(self) -> EngineId:
        return EngineId("embedded")

    @property
    def kind(self) -> EngineKind:
        return "embedded"

    @property
    def url(self) -> str:
        return ""

    @property
    def slots(self) -> int:
        """Answers that one model writes at the same time, where memory allows."""
        return self._slots

    async def health(self) -> Health:
        if self._gate is not None:
            return Health(False, None, self._gate)
        return Health(True, metadata.version("xllamacpp"))

    def child_pids(self) -> dict[str, int]:
        """Process ids by model, for `doctor` and tests."""
        return {name: one.child.pid for name, one in self._loaded.items() if one.child.pid is not None}

    async def models(self) -> tuple[ModelOffer, ...]:
        if self._gate is not None:
            return ()
        files = await asyncio.to_thread(self._models.files)
        available = psutil.virtual_memory().available + self._evictable()
        return tuple(self._offer(file, available) for file in files)

    def _offer(self, file: ModelFile, available: int) -> ModelOffer:
        known, loaded = self._remember(file.name), self._loaded.get(file.name)
        state: ModelState
        reason = ""
        if loaded is not None:
            state = "loaded"
            known.needs = loaded.child.resident() or known.needs
        elif known.loading:
            state = "loading"
        elif file.damaged:
            state, reason = "unfit", f"{file.damaged}; to mend it: {file.mend}"
        else:
            fits = self._fit(file, available)
            state, reason = ("on_disk", known.rest.reason) if fits.slots else ("unfit", fits.reason)
        return ModelOffer(
            name=ModelName(file.name),
            engine=self.id,
            state=state,
            digest=file.digest,
            size=file.size,
            parameters=file.parameters,
            quantization=file.quantization,
            family=file.family,
            dimensions=file.dimensions if file.abilities.embed else None,
            context=self._context_of(file),
            needs=known.needs or self._fit(file, available).needs,
            abilities=file.abilities,
            speed=known.speed or self._guess(file),
            instruct=file.instruct,
            reason=reason,
        )

    def _guess(self, file: ModelFile) -> Speed | None:
        return None if self.bandwidth is None else probe.estimate(file.size, self.bandwidth)

    async def load(self, model: str, keep: float | None = None) -> AsyncIterator[Progress]:
        file = await self._file(model)
        if model not in self._loaded:
            yield Progress("load", model, 0, file.size)
            loaded = await self._ensure(file)
            known = self._remember(model)
            if file.abilities.chat and (known.speed is None or not known.speed.measured):
                yield Progress("probe", model, file.size, file.size)
                await self._probe(loaded)
        if (here := self._loaded.get(model)) is not None:
            with self._using(here, keep):
                pass
        yield Progress("done", model, file.size, file.size)

    async def unload(self, model: str) -> None:
        known = self._known.get(model)
        if known is None:
            return
        async with known.lock:
            if known.load is not None:
                await asyncio.shield(known.load)
            if (loaded := self._loaded.pop(model, None)) is not None:
                await self._stop(loaded)

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        file = await self._file(request.model)
        request = preset.apply(file.preset, request)
        self._check(request, file)
        loaded = await self._ensure(file)
        with self._using(loaded, request.keep):
            async with aclosing(serve(request, file.abilities, partial(self._answer, loaded))) as answer:
                async for delta in answer:
                    if isinstance(delta, Usage):
                        known = self._remember(file.name)
                        known.speed = probe.learn(known.speed, delta, loaded.load_rate)
                        known.rest.worked()
                    yield delta

    async def _answer(self, loaded: _Loaded, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        deltas = Deltas(request.id, request.model, str(self.id))
        try:
            async with aclosing(self._folded_if_need_be(loaded, request, deltas)) as answer:
                async for delta in answer:
                    yield delta
        except EngineFailed as problem:
            error = await self._cause(loaded) or problem
            if not deltas.said:
                raise error from problem
            yield deltas.error(error)

    async def _folded_if_need_be(
        self, loaded: _Loaded, request: ChatRequest, deltas: Deltas
    ) -> AsyncGenerator[Delta, None]:
        """Some templates take one order of messages only. Their refusal comes before Start, and costs nothing."""
        folded = msgspec.structs.replace(request, messages=fold(request.messages))
        for asked in (request, folded):
            body = chat_body(asked, loaded.file.name)
            # The rest of the context bounds an answer anyway; what is asked beyond it only costs the engine a look.
            body["max_tokens"] = min(body.get("max_tokens", loaded.config.context), loaded.config.context)
            stops = ours_to_stop(body)
            try:
                async with aclosing(
                    stream_chat(loaded.session, _BASE, body, deltas, _headers(loaded), _ENDLESS, stops)
                ) as answer:
                    async for delta in answer:
                        yield delta
                return
            except InvalidRequest as refusal:
                if asked is folded or folded == request or not refused_by_template(refusal):
                    raise

    async def embed(self, request: EmbedRequest) -> Embedding:
        model = request.model
        file = await self._file(model)
        if not file.abilities.embed:
            raise InvalidRequest(f"{model} is no embedding model", "`mycoswarm models` shows which are")
        if request.dimensions not in (None, file.dimensions):
            raise InvalidRequest(f"the vectors of {model} have one length only", "leave `dimensions` out")
        loaded = await self._ensure(file)
        with self._using(loaded, request.keep):
            began = self._clock.monotonic()
            answer = await self._post(loaded, "/v1/embeddings", {"input": list(request.texts)}, _ENDLESS)
            took = self._clock.monotonic() - began
        try:
            rows = sorted(answer["data"], key=lambda row: row["index"])
            vectors = tuple(pack(float(number) for number in row["embedding"]) for row in rows)
            tokens = int(answer["usage"]["prompt_tokens"])
        except (KeyError, TypeError, ValueError) as problem:
            raise EngineFailed(f"{model} gave embeddings that cannot be read: {problem}") from problem
        known = self._remember(file.name)
        known.speed = probe.learn_vectors(known.speed, tokens, took, loaded.load_rate)
        return Embedding(vectors, tokens)

    async def count_tokens(self, request: ChatRequest) -> int | None:
        """Exactly what an answer's usage would say; loads the model where need be."""
        # Not the loaded one's: what goes with a file can change while it is in memory.
        file = await self._file(request.model)
        request = preset.apply(file.preset, request)
        self._check(request, file)
        loaded = await self._ensure(file)

        async def post(path: str, body: object) -> dict[str, Any]:
            return await self._post(loaded, path, body, _QUICK)

        with self._looking(loaded):
            return await count_prompt(post, prepared(request, file.abilities))

    async def close(self) -> None:
        self._closed = True
        await self._tasks.close()
        loaded, self._loaded = list(self._loaded.values()), {}
        await asyncio.gather(*(self._stop(one) for one in loaded))
        if self._runtime is not None:
            shutil.rmtree(self._runtime, ignore_errors=True)

    # Looking models up

    def _remember(self, name: str) -> _Known:
        return self._known.setdefault(name, _Known())

    async def _file(self, model: str) -> ModelFile:
        if self._gate is not None:
            raise EngineFailed(f"the embedded engine cannot run here: {self._gate}")
        files = {file.name: file for file in await asyncio.to_thread(self._models.files)}
        if model not in files:
            # llama.cpp would answer to any name with whatever it has loaded.
            raise UnknownModel(f"the embedded engine has no model {model!r}", "`mycoswarm models` lists them", near=[])
        if files[model].damaged:
            raise ModelCorrupt(files[model].damaged, files[model].mend)
        return files[model]

    def _check(self, request: ChatRequest, file: ModelFile) -> None:
        """Refuse what llama.cpp would silently ignore."""
        if not file.abilities.chat:
            raise InvalidRequest(f"{file.name} is an embedding model and does not chat", "ask another model")
        prepared(request, file.abilities)
        if not file.abilities.vision and any(
            isinstance(part, ImagePart) for message in request.messages for part in message.parts
        ):
            raise InvalidRequest(f"{file.name} cannot look at images", "ask a model that can")

    def _context_of(self, file: ModelFile) -> int:
        return min(self._context, file.context) if file.context else self._context

    def _fit(self, file: ModelFile, available: int) -> Fit:
        return fit(file, self._context_of(file), self._slots, PROMPT_CACHE, available)

    def _evictable(self) -> int:
        """Bytes that idle models would give back."""
        return sum(one.child.rss() or 0 for one in self._loaded.values() if not one.stay.running)

    # Loading

    async def _ensure(self, file: ModelFile) -> _Loaded:
        """The model in memory, loaded now if need be. Raises EngineFailed, ModelCorrupt, Busy."""
        known = self._remember(file.name)
        async with known.lock:
            if known.file is not None and known.file != file:
                known.speed, known.needs, known.rest = None, None, BackOff()
            known.file = file
            loaded = self._loaded.get(file.name)
            if loaded is not None and loaded.child.alive:
                return loaded
            rest = known.rest.left(self._clock.monotonic())
            if rest > 0:
                raise EngineFailed(f"{known.rest.reason}; it is started again in {rest:.0f} s", "try again then")
            if self._closed:
                raise EngineFailed("the embedded engine is shutting down")
            if known.load is None or known.load.done():
                known.load = self._tasks.start(self._load(file, known), f"load {file.name}")
            load = known.load
        # Shielded: whoever asked may go away, and the next one who asks wants the model too.
        outcome = await asyncio.shield(load)
        if isinstance(outcome, MycoError):
            raise outcome
        return outcome

    async def _load(self, file: ModelFile, known: _Known) -> "_Loaded | MycoError":
        """Load it; what went wrong is returned, because several may wait for this."""
        try:
            # One at a time: two that looked at the same free memory would both take it.
            async with self._room:
                loaded = await self._start(file, known)
        except EngineFailed as problem:
            known.rest.failed(self._clock.monotonic(), problem.message)
            return problem
        except (ModelCorrupt, Busy) as problem:
            return problem
        except OSError as problem:
            # No process, no descriptor, no temporary directory to be had: this machine's state, not a bug.
            failed = EngineFailed(
                f"{file.name} could not be loaded: {problem.strerror or problem}", "free what is short"
            )
            known.rest.failed(self._clock.monotonic(), failed.message)
            return failed
        self._loaded[file.name] = loaded
        self._tasks.start(self._supervise(loaded), f"supervise {file.name}")
        return loaded

    async def _start(self, file: ModelFile, known: _Known) -> _Loaded:
        await self._check_bytes(file, known)
        fits = await self._make_room(file)
        context = self._context_of(file)
        # Unix socket paths end at about 100 bytes, so not below the state directory, whose path the owner chose;
        # llama.cpp takes a host name for a socket by its ending.
        if self._runtime is None or not self._runtime.exists():
            self._runtime = Path(tempfile.mkdtemp(prefix="mycoswarm-"))
        home = Path(tempfile.mkdtemp(prefix="m-", dir=self._runtime))
        child = Child(file.name, "mycoswarm.engines.llamacpp_child")
        config = ChildConfig(
            model=str(file.path),
            socket=str(home / "engine.sock"),
            api_key=secrets.token_urlsafe(32),
            parent=os.getpid(),
            context=context,
            slots=fits.slots,
            threads=self._threads,
            prompt_cache=PROMPT_CACHE,
            embed=file.abilities.embed,
            mean_pooling=not file.pooled,
        )
        began = self._clock.monotonic()
        try:
            await child.start(config)
        except EngineFailed as problem:
            await child.stop()
            await self._raise_if_corrupt(file, problem)
            raise
        now = self._clock.monotonic()
        known.needs = child.resident() or known.needs
        known.rest.answers()
        rate = file.size / max(now - began, 0.001)
        _log.info("loaded %s in %.2f s, %d slots of %d tokens", file.name, now - began, fits.slots, context)
        session = unix_session(Path(config.socket), _QUICK)
        return _Loaded(file, child, config, session, rate, now, Stay(self._keep_loaded, now))

    async def _make_room(self, file: ModelFile) -> Fit:
        """Memory for `file`, if need be by ending models that nobody uses, longest idle first."""
        while True:
            fits = self._fit(file, psutil.virtual_memory().available)
            if fits.slots:
                return fits
            idle = [one for one in self._loaded.values() if not one.stay.running]
            if not idle:
                break
            victim = min(idle, key=lambda one: one.stay.used)
            _log.info("unloading %s to make room for %s", victim.file.name, file.name)
            del self._loaded[victim.file.name]
            await self._stop(victim)
        message = f"{file.name} does not fit into memory: it {fits.reason}"
        if self._loaded:
            raise Busy(message, "it will when the models in use are idle", retry_after=10)
        raise EngineFailed(message, "use a smaller model, or lower `context` or `slots` in the settings")

    async def _check_bytes(self, file: ModelFile, known: _Known) -> None:
        """Hash a file once when its time is not the one that its digest was taken at."""
        try:
            stat = await asyncio.to_thread(file.path.stat)
        except OSError:
            raise _damaged(file, "model.gguf is missing") from None
        if stat.st_size != file.size:
            raise _damaged(file, f"{stat.st_size} of {file.size} bytes are there")
        if file.digest is None or stat.st_mtime_ns in (file.stamp, known.checked):
            return
        if await asyncio.to_thread(_digest, file.path) != file.digest:
            raise _damaged(file, "its bytes are not those that were pulled")
        known.checked = stat.st_mtime_ns

    @staticmethod
    async def _raise_if_corrupt(file: ModelFile, problem: EngineFailed) -> None:
        if file.digest is not None and await asyncio.to_thread(_digest, file.path) != file.digest:
            raise _damaged(file, "its bytes are not those that were pulled") from problem

    async def _probe(self, loaded: _Loaded) -> None:
        """Measure a model nobody has asked anything yet; a failure here is the next request's to report."""
        request = msgspec.structs.replace(probe.PROBE, model=loaded.file.name)
        with self._looking(loaded):
            async with aclosing(self._answer(loaded, request)) as answer:
                async for delta in answer:
                    if isinstance(delta, Usage):
                        known = self._remember(loaded.file.name)
                        known.speed = probe.learn(known.speed, delta, loaded.load_rate)

    # Living and ending

    @contextmanager
    def _using(self, loaded: _Loaded, keep: float | None = None) -> Iterator[None]:
        loaded.stay.begin(keep)
        try:
            yield
        finally:
            loaded.stay.end(self._clock.monotonic())

    @contextmanager
    def _looking(self, loaded: _Loaded) -> Iterator[None]:
        """As `_using`, of what nobody asked the model to stay for: the last request's word stands."""
        loaded.stay.look()
        try:
            yield
        finally:
            loaded.stay.end(self._clock.monotonic())

    async def _supervise(self, loaded: _Loaded) -> None:
        """Watch one loaded model until it is gone; ends it when idle for long or hung, starts it again when it died."""
        missed = 0
        while not await loaded.child.ended_within(self._next_look(loaded)):
            if self._expired(loaded):
                await self._unload_if_idle(loaded)
                return
            missed = 0 if await self._beats(loaded) else missed + 1
            if missed >= _HEARTBEATS_MISSED:
                _log.warning("%s does not answer its heartbeat any more; ending it", loaded.file.name)
                loaded.child.kill()
        if loaded.child.stopping:
            return
        known, name = self._remember(loaded.file.name), loaded.file.name
        failure = loaded.child.failure("died")
        pause = known.rest.died(self._clock.monotonic(), loaded.since, failure.message)
        if self._loaded.get(name) is loaded:
            del self._loaded[name]
        await self._stop(loaded)
        self.changed()
        _log.warning("%s; starting it again in %.0f s", failure.message, pause)
        await asyncio.sleep(pause)
        try:
            await self._ensure(loaded.file)
        except (EngineFailed, ModelCorrupt, Busy) as problem:
            _log.warning("%s", problem.message)

    def _next_look(self, loaded: _Loaded) -> float:
        left = loaded.stay.left(self._clock.monotonic())
        return _HEARTBEAT_SECONDS if left is None else min(_HEARTBEAT_SECONDS, max(left, 0.05))

    def _expired(self, loaded: _Loaded) -> bool:
        left = loaded.stay.left(self._clock.monotonic())
        return left is not None and left <= 0

    async def _unload_if_idle(self, loaded: _Loaded) -> None:
        async with self._remember(loaded.file.name).lock:
            if self._expired(loaded) and self._loaded.get(loaded.file.name) is loaded:
                del self._loaded[loaded.file.name]
                _log.info("unloading %s, idle for %.0f s", loaded.file.name, loaded.stay.seconds)
                await self._stop(loaded)
                self.changed()

    async def _beats(self, loaded: _Loaded) -> bool:
        try:
            async with loaded.session.get(_BASE + "/health", timeout=_HEARTBEAT_TIMEOUT) as reply:
                return reply.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def _cause(self, loaded: _Loaded) -> EngineFailed | None:
        """Why an answer broke off, where the reason is the child's end: it is heard of a moment after."""
        if loaded.child.stopping:
            return EngineFailed(f"{loaded.file.name} was unloaded in the middle of an answer", "ask again")
        if await loaded.child.ended_within(0.5):
            return loaded.child.failure("died in the middle of an answer")
        return None

    @staticmethod
    async def _stop(loaded: _Loaded) -> None:
        # In this order, so that an answer under way hears of a lost connection and not of a closed session.
        await loaded.child.stop()
        await loaded.session.close()
        with suppress(OSError):
            socket = Path(loaded.config.socket)
            socket.unlink(missing_ok=True)
            socket.parent.rmdir()

    async def _post(self, loaded: _Loaded, path: str, body: object, limits: aiohttp.ClientTimeout) -> dict[str, Any]:
        return await fetch_json(loaded.session, "POST", _BASE + path, loaded.file.name, body, _headers(loaded), limits)


def _headers(loaded: _Loaded) -> dict[str, str]:
    return {"Authorization": f"Bearer {loaded.config.api_key}"}


def _missing() -> str | None:
    if importlib.util.find_spec("xllamacpp") is None:
        return 'the engine is not installed: pip install "mycoswarm[engine]"'
    return None


def _damaged(file: ModelFile, why: str) -> ModelCorrupt:
    return ModelCorrupt(f"the model file of {file.name} is damaged: {why}", _mend(file.name))


def _mend(model: str) -> str:
    return f"mycoswarm rm {model} && mycoswarm pull {model}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
