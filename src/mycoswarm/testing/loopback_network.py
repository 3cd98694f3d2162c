"""A network inside one process: the twin of `fabric.transport.PeerTransport`, with the same contract and no sockets.

Handlers are those that the real peer API takes. Errors cross it as bytes, as on the wire; a reader that leaves a stream
cancels its handler; `lose` breaks what is open and refuses what comes, until `heal`.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import msgspec

from mycoswarm.core.errors import ErrorBody, MycoError, NotFound, PeerLost, from_body
from mycoswarm.core.ids import NodeId
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.fabric.peer_app import Handler, PeerRequest
from mycoswarm.fabric.wire import MAX_BODY, Lines


class _End:
    """After the last line."""


_Arrived = bytes | MycoError | _End


class _Exchange:
    """One request or stream on its way: what has arrived of it, in order."""

    def __init__(self, ends: tuple[NodeId, NodeId]) -> None:
        self.ends = ends
        self.arrived: asyncio.Queue[_Arrived] = asyncio.Queue()


class LoopbackNetwork:
    """All nodes of a test, and what is broken between them."""

    def __init__(self) -> None:
        self._handlers: dict[NodeId, Mapping[tuple[str, str], Handler]] = {}
        self._names: dict[NodeId, str] = {}
        self._lost: set[NodeId] = set()
        self._open: set[_Exchange] = set()

    def add(self, node: NodeId, handlers: Mapping[tuple[str, str], Handler], name: str = "") -> "LoopbackTransport":
        """A member with these handlers (looked up at each request); the result is its way to the others."""
        self._handlers[node] = handlers
        self._names[node] = name or node
        return LoopbackTransport(self, node)

    def lose(self, node: NodeId) -> None:
        """The machine is gone: its streams break in the middle."""
        self._lost.add(node)
        for exchange in self._open:
            if node in exchange.ends:
                far = exchange.ends[1]
                exchange.arrived.put_nowait(PeerLost(f"{self._names[far]} went away in the middle of an answer"))

    def heal(self, node: NodeId) -> None:
        """It is back."""
        self._lost.discard(node)

    def handler(self, caller: NodeId, node: NodeId, method: str, path: str) -> Handler:
        """Who answers. Raises PeerLost, NotFound."""
        if node not in self._handlers or node in self._lost or caller in self._lost:
            name = self._names.get(node, node)
            raise PeerLost(f"{name} cannot be reached", "is it running, and on this network?", started=False)
        handler = self._handlers[node].get((method, path))
        if handler is None:
            raise NotFound(f"this node answers nothing at {path}", "is its version an older one?")
        return handler

    async def exchange(
        self, caller: NodeId, node: NodeId, method: str, path: str, body: bytes
    ) -> AsyncGenerator[bytes, None]:
        """The pieces of an answer, until it ends or breaks."""
        handler = self.handler(caller, node, method, path)
        path, _, query = path.partition("?")
        exchange = _Exchange((caller, node))
        self._open.add(exchange)
        tasks = TaskGroup()
        tasks.start(_answer(handler, PeerRequest(caller, path, query, body), exchange), f"{method} {path}")
        try:
            while True:
                match await exchange.arrived.get():
                    case bytes() as piece:
                        yield piece
                    case MycoError() as problem:
                        raise problem
                    case _End():
                        return
        finally:
            self._open.discard(exchange)
            await tasks.close()


class LoopbackTransport:
    """One node's `Transport`."""

    def __init__(self, network: LoopbackNetwork, node: NodeId) -> None:
        self._network = network
        self._node = node

    async def request(
        self,
        node: NodeId,
        method: str,
        path: str,
        body: bytes = b"",
        timeout: float = 10.0,  # noqa: ASYNC109 - as in the protocol
    ) -> bytes:
        try:
            async with (
                asyncio.timeout(timeout),
                aclosing(self._network.exchange(self._node, node, method, path, body)) as pieces,
            ):
                return b"".join([piece async for piece in pieces])
        except TimeoutError as problem:
            raise PeerLost(f"{node} has been silent for too long", "ask again", started=False) from problem

    async def stream(self, node: NodeId, path: str, body: bytes = b"") -> AsyncGenerator[bytes, None]:
        lines = Lines(MAX_BODY)
        async with aclosing(self._network.exchange(self._node, node, "POST", path, body)) as pieces:
            async for piece in pieces:
                for line in lines.feed(piece):
                    yield line


async def _answer(handler: Handler, request: PeerRequest, exchange: _Exchange) -> None:
    try:
        result = handler(request)
        if isinstance(result, AsyncGenerator):
            async with aclosing(result) as pieces:
                async for piece in pieces:
                    exchange.arrived.put_nowait(piece)
        else:
            exchange.arrived.put_nowait(await result)
    except MycoError as problem:
        exchange.arrived.put_nowait(_over_the_wire(problem))
    except BaseException:
        exchange.arrived.put_nowait(MycoError("the other node met a bug while answering", "its log says more"))
        raise
    else:
        exchange.arrived.put_nowait(_End())


def _over_the_wire(problem: MycoError) -> MycoError:
    return from_body(msgspec.json.decode(msgspec.json.encode(problem.body()), type=ErrorBody))
