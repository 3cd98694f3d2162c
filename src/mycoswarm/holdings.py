"""[io] The models that this node holds, and by asking its peers those of the swarm: shown, loaded, unloaded, made.

What a name means is decided here, at the node that was asked; what is done is done by the node that has the model.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

import msgspec

from mycoswarm.core.chat import ChatRequest, message
from mycoswarm.core.errors import InvalidRequest, PeerLost, UnknownModel
from mycoswarm.core.ids import EngineId, NodeId
from mycoswarm.core.model import Progress
from mycoswarm.core.placement import Placement
from mycoswarm.core.preset import Recipe
from mycoswarm.core.views import ModelDetail, ModelFacts, ModelPlace, Models
from mycoswarm.engines.engine import Engine
from mycoswarm.fabric import bodies
from mycoswarm.fabric.peer_app import PeerRequest
from mycoswarm.fabric.service import Fabric
from mycoswarm.models import making
from mycoswarm.models.blobs import Blobs
from mycoswarm.models.store import ModelStore
from mycoswarm.routing.executor import Executor
from mycoswarm.routing.placement import same_model

SHOW_PATH = "/peer/models/show"
LOAD_PATH = "/peer/models/load"
UNLOAD_PATH = "/peer/models/unload"
CREATE_PATH = "/peer/models/create"

EMBEDDED = EngineId("embedded")
_IN_MEMORY = ("loaded", "loading")
_UNLOAD_SECONDS = 30.0
_NEWS_SECONDS = 5.0
"""What another node has done is known here when its next record comes, a fraction of a second later. A program that was
told that it is done asks for it at once."""
_T = TypeVar("_T")


class Held(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model on an engine of the node that is asked: the body of a peer's requests. keep: as `ChatRequest.keep`."""

    engine: EngineId
    model: str
    keep: float | None = None


class Unloaded(msgspec.Struct, frozen=True):
    """A peer's answer. now: false where an answer under way is waited for."""

    now: bool


class Holdings:
    """What the composition root's node does with models.

    Args:
        models: the swarm's, as known now.
        place: where a request would go.
        engines: of this node.
        changed: tell everybody what this node has now.
    """

    def __init__(
        self,
        fabric: Fabric,
        store: ModelStore,
        executor: Executor,
        models: Callable[[], Models],
        place: Callable[[ChatRequest], Placement],
        engines: Callable[[], Sequence[Engine]],
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._fabric = fabric
        self._store = store
        self._blobs = Blobs(store.directory / ".blobs")
        self._executor = executor
        self._models = models
        self._place = place
        self._engines = engines
        self._changed = changed

    def serve(self) -> None:
        """Answer peers from now on."""
        self._fabric.add_handler("POST", SHOW_PATH, self._peer_show)
        self._fabric.add_handler("POST", LOAD_PATH, self._peer_load)
        self._fabric.add_handler("POST", UNLOAD_PATH, self._peer_unload)
        self._fabric.add_handler("POST", CREATE_PATH, self._peer_create)

    async def show(self, name: str) -> ModelDetail:
        """What is known of the model that would be asked by `name`. Raises UnknownModel and what `choose` raises."""
        place = self._meant(name)
        held = Held(place.offer.engine, place.offer.name)
        if self._here(place):
            return ModelDetail(place, await self._show_here(held))
        reply = await self._fabric.transport.request(place.node, "POST", SHOW_PATH, msgspec.json.encode(held))
        return ModelDetail(place, bodies.answered(reply, ModelFacts, place.node_name))

    async def load(self, name: str, keep: float | None) -> ModelPlace:
        """Bring it into memory where it would be asked."""
        place = self._asked(name)
        held = Held(place.offer.engine, place.offer.name, keep)
        if self._here(place):
            await self._load_here(held)
            return place
        body = msgspec.json.encode(held)
        last = ""
        async with aclosing(self._fabric.transport.stream(place.node, LOAD_PATH, body)) as lines:
            async for line in lines:
                last = bodies.answered(line, Progress, place.node_name).stage
        if last != "done":
            raise PeerLost(f"{place.node_name} went away while it loaded {name}", "try again")
        await self._until(lambda: self._state(place) in _IN_MEMORY)
        return place

    async def unload(self, name: str) -> None:
        """Take it out of memory wherever it is. An answer under way is not ended. Raises UnknownModel."""
        self._meant(name)
        for place in self._named(name):
            if place.offer.state not in _IN_MEMORY:
                continue
            held = Held(place.offer.engine, place.offer.name)
            if self._here(place):
                await self._unload_here(held)
            else:
                body = msgspec.json.encode(held)
                reply = await self._fabric.transport.request(
                    place.node, "POST", UNLOAD_PATH, body, timeout=_UNLOAD_SECONDS
                )
                if bodies.answered(reply, Unloaded, place.node_name).now:
                    await self._until(lambda place=place: self._state(place) not in _IN_MEMORY)

    async def create(self, recipe: Recipe) -> AsyncGenerator[Progress, None]:
        """Make a model; one that has its name there is replaced.

        Raises:
            InvalidRequest: its name is taken elsewhere, its source lies in an engine that is not ours; see `making`.
        """
        making.check_name(recipe.name)
        node = self._fabric.id
        if recipe.source:
            source = self._source(recipe.source)
            node = source.node
            recipe = msgspec.structs.replace(recipe, source=source.offer.name)
        taken = [place for place in self._named(recipe.name) if not (place.node == node and _ours(place))]
        if taken:
            raise InvalidRequest(
                f"{taken[0].node_name} has a model named {taken[0].offer.name} already",
                "choose another name, or delete that one first",
            )
        if node == self._fabric.id:
            async with aclosing(self._create_here(recipe)) as steps:
                async for step in steps:
                    yield step
            return
        name = next(view.name for view in self._fabric.nodes() if view.id == node)
        last = ""
        async with aclosing(self._fabric.transport.stream(node, CREATE_PATH, msgspec.json.encode(recipe))) as lines:
            async for line in lines:
                step = bodies.answered(line, Progress, name)
                last = step.stage
                if last == "done":
                    await self._until(lambda: bool(self._named(recipe.name)))
                yield step
        if last != "done":
            raise PeerLost(f"{name} went away while it made {recipe.name}", "try again")

    async def removed(self, name: str, node: NodeId) -> None:
        """Wait until it is known here that `node` has deleted a model."""
        await self._until(lambda: all(place.node != node or not _ours(place) for place in self._named(name)))

    async def has_blob(self, digest: str) -> bool:
        """Whether a file with that digest is here, uploaded or as a model. Raises InvalidRequest."""
        found = await asyncio.to_thread(self._blobs.find, digest)
        return found is not None or await asyncio.to_thread(making.holder_of, self._store, digest) is not None

    async def put_blob(self, digest: str, pieces: AsyncIterator[bytes], size: int | None) -> None:
        """Take an upload in. Raises what `Blobs.put` raises."""
        await self._blobs.put(digest, pieces, size)

    # What peers ask

    async def _peer_show(self, request: PeerRequest) -> bytes:
        return msgspec.json.encode(await self._show_here(bodies.asked(request.body, Held)))

    async def _peer_load(self, request: PeerRequest) -> AsyncGenerator[bytes, None]:
        held = bodies.asked(request.body, Held)
        await self._load_here(held)
        yield msgspec.json.encode(Progress("done", held.model)) + b"\n"

    async def _peer_unload(self, request: PeerRequest) -> bytes:
        return msgspec.json.encode(Unloaded(await self._unload_here(bodies.asked(request.body, Held))))

    async def _peer_create(self, request: PeerRequest) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._create_here(bodies.asked(request.body, Recipe))) as steps:
            async for step in steps:
                yield msgspec.json.encode(step) + b"\n"

    # On this node

    async def _show_here(self, held: Held) -> ModelFacts:
        if held.engine != EMBEDDED:
            return ModelFacts()
        return await asyncio.to_thread(lambda: making.facts(self._store.get(held.model)))

    async def _load_here(self, held: Held) -> None:
        engine = self._engine(held.engine)
        async for _ in engine.load(held.model, held.keep):
            pass
        await self._changed()

    async def _unload_here(self, held: Held) -> bool:
        """Whether it has left memory now, not after an answer."""
        key = (held.engine, held.model)
        engine = self._engine(held.engine)
        busy = any(queue.running for queue in self._executor.queues() if (queue.engine, queue.model) == key)
        if busy:
            # It must not end somebody's answer: it goes when that is over.
            async for _ in engine.load(held.model, 0.0):
                pass
        else:
            await engine.unload(held.model)
        await self._changed()
        return not busy

    async def _create_here(self, recipe: Recipe) -> AsyncGenerator[Progress, None]:
        files = {file.name: file for file in await asyncio.to_thread(self._store.files)}
        known = next((file for name, file in files.items() if same_model(recipe.name, name)), None)
        if known is not None:
            recipe = msgspec.structs.replace(recipe, name=known.name)
        async with aclosing(making.make(self._store, self._blobs, recipe)) as steps:
            async for step in steps:
                if step.stage == "done":
                    made = await asyncio.to_thread(self._store.get, recipe.name)
                    if known is not None and known.digest != made.digest:
                        # What is in memory under this name is another model now.
                        await self._engine(EMBEDDED).unload(recipe.name)
                    # Before "done" goes out, so that whoever made it can ask it at once.
                    await self._changed()
                yield step

    def _engine(self, wanted: EngineId) -> Engine:
        engine = next((engine for engine in self._engines() if engine.id == wanted), None)
        if engine is None:
            raise UnknownModel(f"there is no engine '{wanted}' any more", "ask again", near=[])
        return engine

    async def _until(self, known: Callable[[], bool]) -> None:
        """Until this node has heard, or for as long as news takes at most: what was asked for is done all the same."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_NEWS_SECONDS):
                while not known():  # noqa: ASYNC110 a few looks at most
                    await asyncio.sleep(0.02)

    def _state(self, place: ModelPlace) -> str:
        return next(
            (
                one.offer.state
                for one in self._named(place.offer.name)
                if (one.node, one.offer.engine) == (place.node, place.offer.engine)
            ),
            "",
        )

    # What a name means

    def _here(self, place: ModelPlace) -> bool:
        return place.node == self._fabric.id

    def _named(self, name: str) -> list[ModelPlace]:
        """The places of nodes that are up which have a model of that name: this node's first, then by id."""
        found = [
            place
            for view in self._models().models
            if same_model(name, view.name)
            for place in view.places
            if place.reachable
        ]
        return sorted(found, key=lambda place: (not self._here(place), place.node, place.offer.engine))

    def _meant(self, name: str) -> ModelPlace:
        """By its name, else by what the name stands for."""
        return next(iter(self._named(name)), None) or self._chosen(name)

    def _asked(self, name: str) -> ModelPlace:
        """The place that a request by that name would go to."""
        named = self._named(name)
        # Where a question would go says nothing of models that take none.
        return named[0] if named and not named[0].offer.abilities.chat else self._chosen(name)

    def _chosen(self, name: str) -> ModelPlace:
        placement = self._place(ChatRequest(name, (message("user", "hi"),)))
        assert placement.chosen is not None, "a placement without a place is an error"
        best = placement.candidates[placement.chosen]
        for place in self._named(best.model):
            if (place.node, place.offer.engine) == (best.node, best.engine):
                return place
        raise UnknownModel(f"{best.node_name} has {best.model} no more", "ask again", near=[])

    def _source(self, name: str) -> ModelPlace:
        """Where the bytes of a model lie that a new one is made of."""
        places = self._named(name)
        for place in places:
            if _ours(place):
                return place
        if places:
            where = places[0]
            raise InvalidRequest(
                f"{where.offer.name} lies in another engine ({where.offer.engine}) of {where.node_name}",
                "make the new model there",
            )
        raise UnknownModel(f"no node has a model named '{name}'", "pull it first", near=[])


def _ours(place: ModelPlace) -> bool:
    return place.offer.engine == EMBEDDED
