"""[io] Runs what this node was given: one queue per model in front of the node's engines."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing

import msgspec

from mycoswarm.core.chat import ChatRequest, Delta, Note, Start, Text, Thinking, ToolCall, Usage
from mycoswarm.core.clock import Clock
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
        engine = self._engines.get(work.engine)
        if engine is None:
            raise UnknownModel(f"{self._name} has no engine '{work.engine}' any more", "ask again", near=[])
        key = (work.engine, work.request.model)
        queue = self._queues.setdefault(key, Queue(self._slots.get(engine.kind, 1)))
        if queue.full:
            wait = queue.wait()
            raise Busy(f"the queue of {work.request.model} on {self._name} is full", "try again", retry_after=wait)
        ticket, admitted = queue.arrive(work.request.priority, self._clock.monotonic())
        self._changed()
        completed = False
        try:
            if not admitted:
                turn = self._turns.setdefault(key, {})[ticket] = asyncio.Event()
                while not turn.is_set():
                    ahead = queue.position(ticket, self._clock.monotonic())
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
            async with aclosing(self._run(engine, work)) as answer:
                async for delta in answer:
                    completed = completed or isinstance(delta, Usage)
                    yield delta
        finally:
            self._turns.get(key, {}).pop(ticket, None)
            for next_one in queue.leave(ticket, self._clock.monotonic(), completed=completed):
                self._turns[key][next_one].set()
            self._changed()

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
