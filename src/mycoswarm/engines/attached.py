"""[io] The engines of this node: its own ones, and others as they come and go.

An engine is not gone because it was slow once: it keeps its offers and its running answers until it has been missed
MISSES looks in a row, and its connections are closed only when nothing runs on it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from mycoswarm.core.errors import MycoError
from mycoswarm.core.hardware import EngineFound
from mycoswarm.core.ids import EngineId
from mycoswarm.core.model import ModelOffer
from mycoswarm.engines.engine import Engine

_log = logging.getLogger(__name__)

MISSES = 3
"""Looks in a row. Fewer, and a busy machine loses its engine; more, and a stopped one is offered for a minute."""

Find = Callable[[], Awaitable[tuple[EngineFound, ...]]]
Build = Callable[[Iterable[EngineFound]], tuple[Engine, ...]]


class _Other:
    """An engine that somebody else runs."""

    def __init__(self, found: EngineFound, engine: Engine) -> None:
        self.found = found
        self.engine = engine
        self.missed = 0


class Attached:
    """Which engines there are, and what they hold.

    Args:
        own: those that live and end with this node; they need not be found.
        find, build: where other engines are, and objects for them (`engines.find`).
        busy: whether anything runs on an engine now.
        changed: called when `offers` or `found` are others than before.
    """

    def __init__(
        self,
        own: Sequence[Engine],
        find: Find,
        build: Build,
        busy: Callable[[EngineId], bool],
        changed: Callable[[], None],
    ) -> None:
        self._own = tuple(own)
        self._find = find
        self._build = build
        self._busy = busy
        self._changed = changed
        self._others: dict[str, _Other] = {}
        self._retired: list[Engine] = []
        self._offers: dict[EngineId, tuple[ModelOffer, ...]] = {}
        # One at a time: an answer that took long must not overwrite one that was asked for later.
        self._asking = asyncio.Lock()
        self._looking = asyncio.Lock()

    @property
    def all(self) -> tuple[Engine, ...]:
        """Those that may be given work, the node's own first."""
        return (*self._own, *self.others)

    @property
    def others(self) -> tuple[Engine, ...]:
        """Those that somebody else runs."""
        return tuple(other.engine for other in self._others.values())

    @property
    def found(self) -> tuple[EngineFound, ...]:
        """The others, as they were last found."""
        return tuple(other.found for other in self._others.values())

    @property
    def offers(self) -> Mapping[EngineId, tuple[ModelOffer, ...]]:
        """What each engine that answers holds."""
        return self._offers

    async def look(self) -> None:
        """See who came and went, and ask all what they hold."""
        async with self._looking:
            before = self.found
            found = {one.url: one for one in await self._find()}
            for url, other in list(self._others.items()):
                now = found.pop(url, None)
                if now is None:
                    other.missed += 1
                elif (now.kind, now.version) == (other.found.kind, other.found.version):
                    other.found, other.missed = now, 0
                    continue
                if now is not None or other.missed >= MISSES:
                    self._retired.append(self._others.pop(url).engine)
                if now is not None:
                    found[url] = now
            for engine, one in zip(self._build(found.values()), found.values(), strict=True):
                self._others[one.url] = _Other(one, engine)
            await self._close_retired()
            if self.found != before:
                self._changed()
            await self.ask(self.all)

    async def ask(self, engines: Iterable[Engine] | None = None) -> None:
        """Take over what `engines` (the node's own, where none are named) say they hold."""
        asked = self._own if engines is None else tuple(engines)
        async with self._asking:
            answers = await asyncio.gather(*(_held(engine) for engine in asked))
            present = {engine.id for engine in self.all}
            offers = {engine: held for engine, held in self._offers.items() if engine in present}
            for engine, held in zip(asked, answers, strict=True):
                if held is not None and engine.id in present:
                    offers[engine.id] = held
            if offers != self._offers:
                self._offers = offers
                self._changed()

    async def close(self) -> None:
        """End children and connections of all of them."""
        await asyncio.gather(*(engine.close() for engine in (*self.all, *self._retired)), return_exceptions=True)

    async def _close_retired(self) -> None:
        """An object for an engine that came back under another version has the same id; its answers run on the old."""
        for engine in list(self._retired):
            if not self._busy(engine.id):
                self._retired.remove(engine)
                await engine.close()


async def _held(engine: Engine) -> tuple[ModelOffer, ...] | None:
    """What `engine` holds; None where it does not answer."""
    try:
        return await engine.models() if (await engine.health()).ok else None
    except MycoError as problem:
        _log.warning("%s: %s", engine.id, problem.message)
        return None
