"""The loopback twin keeps the contract that `test_service` proves of the real transport."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from mycoswarm.core.errors import Busy, MycoError, NotFound, PeerLost
from mycoswarm.core.ids import NodeId
from mycoswarm.fabric.peer_app import Handler, PeerRequest
from mycoswarm.fabric.transport import Transport
from mycoswarm.testing.loopback_network import LoopbackNetwork
from mycoswarm.testing.virtual_clock import VirtualClock

MIU, BOA = NodeId("miu"), NodeId("boa")


def lay(*handlers: tuple[str, str, Handler]) -> tuple[LoopbackNetwork, Transport]:
    network = LoopbackNetwork()
    network.add(MIU, {(method, path): handler for method, path, handler in handlers}, "miu")
    return network, network.add(BOA, {}, "boa")


async def echo(request: PeerRequest) -> bytes:
    return b"%s %s %s" % (request.caller.encode(), request.query.encode(), request.body)


async def busy(request: PeerRequest) -> bytes:
    raise Busy("full", "wait", retry_after=2.0)


async def bug(request: PeerRequest) -> bytes:
    raise ZeroDivisionError


async def test_requests_and_their_errors() -> None:
    network, boa = lay(("POST", "/echo", echo), ("POST", "/busy", busy), ("POST", "/bug", bug))
    assert await boa.request(MIU, "POST", "/echo", b"hello") == b"boa  hello"
    with pytest.raises(Busy) as caught:
        await boa.request(MIU, "POST", "/busy")
    assert (caught.value.message, caught.value.hint, caught.value.data) == ("full", "wait", {"retry_after": 2.0})
    with pytest.raises(MycoError, match="bug"):
        await boa.request(MIU, "POST", "/bug")
    with pytest.raises(NotFound):
        await boa.request(MIU, "GET", "/echo")
    with pytest.raises(PeerLost):
        await boa.request(NodeId("nobody"), "GET", "/echo")
    network.lose(MIU)
    with pytest.raises(PeerLost):
        await boa.request(MIU, "POST", "/echo")
    network.heal(MIU)
    assert await boa.request(MIU, "POST", "/echo", b"again") == b"boa  again"


async def test_streams_break_and_are_cancelled() -> None:
    ended = asyncio.Event()

    async def count(request: PeerRequest) -> AsyncGenerator[bytes, None]:
        try:
            yield b"1\n2"
            yield b"\n\n"
            await asyncio.sleep(60)
        finally:
            ended.set()

    network, boa = lay(("POST", "/count", count))
    lines = boa.stream(MIU, "/count")
    assert [await anext(lines), await anext(lines)] == [b"1", b"2"]
    await lines.aclose()
    await asyncio.wait_for(ended.wait(), 1)
    lines = boa.stream(MIU, "/count")
    await anext(lines)
    await anext(lines)
    network.lose(MIU)
    with pytest.raises(PeerLost, match="miu went away"):
        await anext(lines)


async def test_an_error_comes_after_what_was_delivered() -> None:
    async def half(request: PeerRequest) -> AsyncGenerator[bytes, None]:
        yield b"1\n"
        raise Busy("in the middle")

    _, boa = lay(("POST", "/half", half))
    lines = boa.stream(MIU, "/half")
    assert await anext(lines) == b"1"
    with pytest.raises(Busy):
        await anext(lines)


def test_the_virtual_clock_moves_only_by_hand() -> None:
    clock = VirtualClock(wall=100.0)
    clock.advance(5.0)
    assert (clock.monotonic(), clock.wall()) == (5.0, 105.0)
    clock.set_wall(0.0)
    clock.advance(1.0)
    assert (clock.monotonic(), clock.wall()) == (6.0, 1.0)
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1.0)
