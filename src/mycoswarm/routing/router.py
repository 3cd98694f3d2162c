"""[io] Takes a request at the entry node and brings back the answer of whichever node is done soonest."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

import msgspec

from mycoswarm.core.chat import (
    ChatRequest,
    Delta,
    Error,
    Finish,
    Logprobs,
    Note,
    Start,
    Text,
    Thinking,
    ToolArgs,
    ToolCall,
    Usage,
    decode_delta,
)
from mycoswarm.core.embed import Embedded, EmbedRequest
from mycoswarm.core.errors import (
    Busy,
    Cancelled,
    CannotServe,
    ContextTooLong,
    InvalidRequest,
    MycoError,
    PeerLost,
    from_body,
)
from mycoswarm.core.ids import NodeId, new_request_id
from mycoswarm.core.node import NodeView
from mycoswarm.core.placement import Placement
from mycoswarm.core.task import Task
from mycoswarm.core.views import Counted
from mycoswarm.fabric.bodies import answered
from mycoswarm.fabric.transport import Transport
from mycoswarm.routing.door import check
from mycoswarm.routing.estimate import demand
from mycoswarm.routing.executor import EmbedWork, Executor, Work
from mycoswarm.routing.placement import Choice, Place, PlaceKey, Policy, Request, choose
from mycoswarm.routing.tasks import TaskBook

_log = logging.getLogger(__name__)

SAME_EVERYWHERE = (InvalidRequest, Cancelled)
"""Failures that every place would share. Any other, a full disk or a bug there included, is that of one place."""

CHAT_PATH = "/peer/chat"
EMBED_PATH = "/peer/embed"
COUNT_PATH = "/peer/count"

COUNT_SECONDS = 120.0
"""A model that is not in memory must be loaded before its tokenizer can be asked."""

_T = TypeVar("_T")


class Tokens(msgspec.Struct, frozen=True):
    """A peer's answer to `COUNT_PATH`. None: its engine cannot tell."""

    tokens: int | None


class Router:
    """The entry node's part of every request.

    Args:
        nodes: the swarm as known now, this node among them.
        rng: tells equal places apart; seeded in tests.
    """

    def __init__(
        self,
        node: NodeId,
        executor: Executor,
        transport: Transport,
        nodes: Callable[[], Sequence[NodeView]],
        policy: Policy,
        book: TaskBook,
        rng: random.Random | None = None,
    ) -> None:
        self._node = node
        self._executor = executor
        self._transport = transport
        self._nodes = nodes
        self._policy = policy
        self._book = book
        self._rng = rng or random.Random()  # noqa: S311 it breaks ties, it keeps no secret
        self._booked: Counter[PlaceKey] = Counter()

    def place(self, request: ChatRequest) -> Placement:
        """Where `request` would go now. Raises what `choose` raises."""
        return self._choose(request).explained

    def _choose(self, request: Request) -> Choice:
        return choose(request, self._nodes(), self._policy, self._booked, self._rng)

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """The answer as one canonical stream: notes while it waits, then Start, content, Finish, Usage.

        Until the first delta of content a failed place is replaced by the next best; after it a failure ends the
        stream with an Error delta. Closing the generator cancels the work wherever it runs.

        Raises:
            MycoError: nothing was delivered and nothing will be.
        """
        check(request)
        if not request.id:
            request = msgspec.structs.replace(request, id=new_request_id())
        self._book.open(Task(request.id, "chat", "queued", request.model, self._node))
        seq = 0
        try:
            async with aclosing(self._attempts(request)) as deltas:
                async for delta in deltas:
                    if isinstance(delta, Error):
                        # Before it goes out: a reader that leaves at an error has not cancelled anything.
                        self._book.end(request.id, "failed", delta.error.message)
                    yield msgspec.structs.replace(delta, seq=seq)
                    seq += 1
            self._book.end(request.id, "done")
        except MycoError as problem:
            self._book.end(request.id, "failed", problem.message)
            raise
        except (GeneratorExit, asyncio.CancelledError):
            self._book.end(request.id, "cancelled", Cancelled.code)
            raise
        finally:
            # Not ended yet: a bug is on its way out.
            self._book.end(request.id, "failed", MycoError.code)

    async def _attempts(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        choice = self._choose(request)
        if request.why:
            explained = choice.explained
            yield Note("placement", text=explained.reason, data=msgspec.to_builtins(explained))
        problem: MycoError | None = None
        busy: list[Busy] = []
        for attempt, place in enumerate(choice.order):
            if problem is not None:
                _log.info("%s: %s; trying %s", request.id, problem.message, place.name)
                yield Note("retry", text=f"{problem.message}; trying {place.name}")
            started = over = False
            self._booked[place.key] += 1
            try:
                async with aclosing(self._one(request, place, attempt)) as answer:
                    async for delta in answer:
                        started = started or not isinstance(delta, Note)
                        over = over or isinstance(delta, Usage)
                        yield delta
                return
            except MycoError as failure:
                if over:
                    # The answer is whole; how the connection ended is nothing to its reader.
                    return
                if started:
                    yield Error(failure.body())
                    return
                rest = choice.order[attempt + 1 :]
                if isinstance(failure, SAME_EVERYWHERE) and not _may_differ(failure, place, rest):
                    raise
                problem = failure
                if isinstance(failure, Busy):
                    busy.append(failure)
            finally:
                self._unbook(place.key)
        assert problem is not None, "a choice has at least one place"
        raise _exhausted(request.model, choice, problem, busy)

    async def embed(self, request: EmbedRequest) -> Embedded:
        """The vectors of the place that is done soonest; a failed place is replaced by the next best.

        Raises:
            MycoError: no place could.
        """
        check(request)
        if not request.id:
            request = msgspec.structs.replace(request, id=new_request_id())
        self._book.open(Task(request.id, "embed", "queued", request.model, self._node))

        async def at(place: Place) -> Embedded:
            work = EmbedWork(place.offer.engine, msgspec.structs.replace(request, model=place.offer.name))
            self._book.running(request.id, place.node, place.offer.name)
            return await (self._executor.embed(work) if place.here else self._embed_there(place, work))

        try:
            embedded = await self._first(request, at)
        except MycoError as problem:
            self._book.end(request.id, "failed", problem.message)
            raise
        except asyncio.CancelledError:
            self._book.end(request.id, "cancelled", Cancelled.code)
            raise
        self._book.end(request.id, "done")
        return embedded

    async def count_tokens(self, request: ChatRequest) -> Counted:
        """Tokens of the prompt, by the tokenizer of the model that would answer; estimated where no engine tells.

        Raises:
            MycoError: no place could answer this request.
        """

        check(request)

        async def at(place: Place) -> Counted:
            work = Work(place.offer.engine, msgspec.structs.replace(request, model=place.offer.name))
            if place.here:
                tokens = await self._executor.count_tokens(work)
            else:
                body = msgspec.json.encode(work)
                reply = await self._transport.request(place.node, "POST", COUNT_PATH, body, timeout=COUNT_SECONDS)
                tokens = answered(reply, Tokens, place.name).tokens
            exact = tokens is not None
            return Counted(demand(request).prompt if tokens is None else tokens, exact, place.offer.name, place.name)

        return await self._first(request, at)

    async def _embed_there(self, place: Place, work: EmbedWork) -> Embedded:
        """As a stream of one line, which stays alive however long the far side takes."""
        async with aclosing(self._transport.stream(place.node, EMBED_PATH, msgspec.json.encode(work))) as lines:
            async for line in lines:
                if line.strip():
                    return answered(line, Embedded, place.name)
        raise PeerLost(f"{place.name} went away before its answer", "ask again")

    async def _first(self, request: Request, at: Callable[[Place], Awaitable[_T]]) -> _T:
        """What the best place gives that does not fail."""
        choice = self._choose(request)
        problem: MycoError | None = None
        busy: list[Busy] = []
        for number, place in enumerate(choice.order):
            if problem is not None:
                _log.info("%s: %s; trying %s", request.id, problem.message, place.name)
            self._booked[place.key] += 1
            try:
                return await at(place)
            except MycoError as failure:
                rest = choice.order[number + 1 :]
                if isinstance(failure, SAME_EVERYWHERE) and not _may_differ(failure, place, rest):
                    raise
                problem = failure
                if isinstance(failure, Busy):
                    busy.append(failure)
            finally:
                self._unbook(place.key)
        assert problem is not None, "a choice has at least one place"
        raise _exhausted(request.model, choice, problem, busy)

    def _unbook(self, key: PlaceKey) -> None:
        self._booked[key] -= 1
        if self._booked[key] <= 0:
            del self._booked[key]

    async def _one(self, request: ChatRequest, place: Place, attempt: int) -> AsyncGenerator[Delta, None]:
        """One attempt at one place. Its Start is held back until content follows, because Start is the promise that
        no other place will be tried. A peer that breaks the rules of a stream does not make this one break them."""
        held: Start | None = None
        content = texts = 0
        over = False
        work = Work(place.offer.engine, msgspec.structs.replace(request, model=place.offer.name, why=False), attempt)
        source = self._executor.chat(work) if place.here else self._remote(place, work)
        async with aclosing(source) as deltas:
            async for delta in deltas:
                if over:
                    # Read to its end all the same, so that the connection can be used again.
                    continue
                match delta:
                    case Start() if content > 0:
                        continue
                    case Start():
                        held = delta
                        self._book.running(request.id, place.node, place.offer.name)
                    case Error() if content == 0:
                        raise from_body(delta.error)
                    case Note():
                        yield delta
                    case Text() | Thinking() | ToolCall() | ToolArgs() | Logprobs() | Finish() | Usage() | Error():
                        if content == 0:
                            if held is None:
                                raise PeerLost(f"{place.name} answered without a beginning", "is its version newer?")
                            yield held
                        content += 1
                        if isinstance(delta, Text):
                            texts += 1
                            self._book.delivered(request.id, texts)
                        yield delta
                        if isinstance(delta, Error):
                            return
                        over = isinstance(delta, Usage)

    async def _remote(self, place: Place, work: Work) -> AsyncGenerator[Delta, None]:
        finished = False
        async with aclosing(self._transport.stream(place.node, CHAT_PATH, msgspec.json.encode(work))) as lines:
            async for line in lines:
                if not line.strip():
                    continue
                try:
                    delta = decode_delta(line)
                except msgspec.DecodeError as problem:
                    raise PeerLost(
                        f"{place.name} answered something that is not a delta", "is its version newer?"
                    ) from problem
                finished = finished or isinstance(delta, Usage | Error)
                yield delta
        if not finished:
            raise PeerLost(f"{place.name} went away in the middle of the answer", "ask again")


def _exhausted(model: str, choice: Choice, problem: MycoError, busy: Sequence[Busy]) -> MycoError:
    """Every place has failed, `problem` being the last failure."""
    if len(busy) == len(choice.order):
        return min(busy, key=lambda one: one.data.get("retry_after", 0.0))
    if len(choice.order) == 1 and not isinstance(problem, PeerLost):
        return problem
    said = CannotServe(
        f"no node can serve '{model}': {problem.message}", problem.hint or "`mycoswarm nodes` shows who is up"
    )
    said.__cause__ = problem
    return said


def _may_differ(failure: MycoError, place: Place, rest: Sequence[Place]) -> bool:
    """Whether one of the remaining places may take what this one refused: prompts are only estimated until the engine
    counts them, and contexts differ."""
    if not isinstance(failure, ContextTooLong) or place.offer.context is None:
        return False
    return any(one.offer.context is None or one.offer.context > place.offer.context for one in rest)
