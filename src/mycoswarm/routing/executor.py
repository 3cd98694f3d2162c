"""[io] Runs what this node was given: one queue per model in front of the node's engines."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass

import msgspec

from mycoswarm.core.chat import ChatRequest, Delta, Note, Priority, Start, Text, Thinking, ToolCall, Usage
from mycoswarm.core.clock import Clock
from mycoswarm.core.embed import Embedded, EmbedRequest
from mycoswarm.core.errors import Busy, UnknownModel
from mycoswarm.core.hardware import EngineKind
from mycoswarm.core.ids import EngineId, NodeId
from mycoswarm.core.node import QueueLoad
from mycoswarm.engines.engine import Engine
from mycoswarm.routing.queue import Queue

TELL_AGAIN = 2.0
"""Seconds between two notes about a place in the queue."""


class Work(msgspec.Struct, frozen=True):
    """A request with the engine that the router chose for it: the body of a peer's `POST /peer/chat`."""

    engine: EngineId
    request: ChatRequest
    attempt: int = 0


class EmbedWork(msgspec.Struct, frozen=True):
    """The same for vectors: the body of a peer's `POST /peer/embed`."""

    engine: EngineId
    request: EmbedRequest


@dataclass
class _Ticket:
    """A place in a queue. completed: it was served to its end, so the time it took counts as a service time."""

    key: tuple[EngineId, str]
    number: int
    queue: Queue
    admitted: bool
    completed: bool = False


class Executor:
    """Serves or refuses; never routes onward.

    Args:
        slots: answers that an engine of this kind writes at once.
        changed: called when a queue's figures changed, so that the node's record can follow.
    """

    def __init__(
        self,
        node: NodeId,
        name: str,
        clock: Clock,
        slots: Mapping[EngineKind, int],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._node = node
        self._name = name
        self._clock = clock
        self._slots = slots
        self._changed = changed
        self._engines: dict[EngineId, Engine] = {}
        self._queues: dict[tuple[EngineId, str], Queue] = {}
        self._turns: dict[tuple[EngineId, str], dict[int, asyncio.Event]] = {}

    def use(self, engines: Iterable[Engine]) -> None:
        """The engines of this node from now on; running answers go on."""
        self._engines = {engine.id: engine for engine in engines}
        for key, queue in list(self._queues.items()):
            if key[0] not in self._engines and not queue.running and not queue.waiting:
                del self._queues[key]
                self._turns.pop(key, None)

    def queues(self) -> tuple[QueueLoad, ...]:
        """The figures of every queue that has work, or has had some and knows its service time."""
        return tuple(
            QueueLoad(
                engine=engine,
                model=model,  # pyright: ignore[reportArgumentType] a name is a name
                running=queue.running,
                waiting=queue.waiting,
                slots=queue.slots,
                wait=round(queue.wait(), 2),
            )
            for (engine, model), queue in self._queues.items()
        )

    def busy(self, engine: EngineId) -> bool:
        """Whether anything runs on this engine or waits for it."""
        return any(queue.running or queue.waiting for (one, _), queue in self._queues.items() if one == engine)

    async def chat(self, work: Work) -> AsyncGenerator[Delta, None]:
        """The answer. Notes of kind "queue" come while it waits; closing the generator gives the slot back at once.

        Raises:
            UnknownModel: the engine is gone or no longer has the model.
            Busy: the queue is full.
        """
        engine = self._engine(work.engine)
        with self._ticket(engine, work.request.model, work.request.priority) as ticket:
            async with aclosing(self._waited(ticket)) as notes:
                async for note in notes:
                    yield note
            async with aclosing(self._run(engine, work)) as answer:
                async for delta in answer:
                    ticket.completed = ticket.completed or isinstance(delta, Usage)
                    yield delta

    async def embed(self, work: EmbedWork) -> Embedded:
        """The vectors; waits in the model's queue like a chat. Raises as `chat` does."""
        engine = self._engine(work.engine)
        with self._ticket(engine, work.request.model, "interactive") as ticket:
            async for _ in self._waited(ticket):
                pass
            embedding = await engine.embed(work.request)
            ticket.completed = True
        return Embedded(embedding, work.request.model, self._node, self._name, engine.id)

    async def count_tokens(self, work: Work) -> int | None:
        """Tokens of the prompt; None where the engine cannot tell. Raises UnknownModel as `chat` does."""
        return await self._engine(work.engine).count_tokens(work.request)

    def _engine(self, wanted: EngineId) -> Engine:
        engine = self._engines.get(wanted)
        if engine is None:
            raise UnknownModel(f"{self._name} has no engine '{wanted}' any more", "ask again", near=[])
        return engine

    @contextmanager
    def _ticket(self, engine: Engine, model: str, priority: Priority) -> Generator[_Ticket, None, None]:
        """A place in the queue of `model`, given up at the end whatever happens."""
        key = (engine.id, model)
        queue = self._queues.setdefault(key, Queue(self._slots.get(engine.kind, 1)))
        if queue.full:
            wait = queue.wait()
            raise Busy(f"the queue of {model} on {self._name} is full", "try again", retry_after=wait)
        number, admitted = queue.arrive(priority, self._clock.monotonic())
        ticket = _Ticket(key, number, queue, admitted)
        self._changed()
        try:
            yield ticket
        finally:
            self._turns.get(key, {}).pop(number, None)
            for next_one in queue.leave(number, self._clock.monotonic(), completed=ticket.completed):
                self._turns[key][next_one].set()
            self._changed()

    async def _waited(self, ticket: _Ticket) -> AsyncGenerator[Note, None]:
        """Notes until it is this ticket's turn."""
        if ticket.admitted:
            return
        queue = ticket.queue
        turn = self._turns.setdefault(ticket.key, {})[ticket.number] = asyncio.Event()
        while not turn.is_set():
            ahead = queue.position(ticket.number, self._clock.monotonic())
            wait = queue.wait(ahead)
            yield Note(
                kind="queue",
                text=f"{ahead} before this one on {self._name}, about {wait:.0f} s",
                data={"ahead": ahead, "wait": round(wait, 1), "node": self._name},
            )
            try:
                async with asyncio.timeout(TELL_AGAIN):
                    await turn.wait()
            except TimeoutError:
                continue

    async def _run(self, engine: Engine, work: Work) -> AsyncGenerator[Delta, None]:
        accepted = self._clock.monotonic()
        first: float | None = None
        async with aclosing(engine.chat(work.request)) as answer:
            async for delta in answer:
                match delta:
                    case Start():
                        yield msgspec.structs.replace(
                            delta,
                            request=work.request.id,
                            node=self._node,
                            node_name=self._name,
                            engine=str(engine.id),
                            model=work.request.model,
                            attempt=work.attempt,
                        )
                    case Text() | Thinking() | ToolCall() if first is None:
                        first = (self._clock.monotonic() - accepted) * 1000
                        yield delta
                    case Usage():
                        yield msgspec.structs.replace(delta, first_token_ms=first)
                    case _:
                        yield delta
