import asyncio

from mycoswarm.core.ids import NodeId
from mycoswarm.fabric import link as link_module
from mycoswarm.fabric.link import Link


async def test_what_was_said_goes_out_in_order_and_before_the_end() -> None:
    link = Link(NodeId("a"), dialled=True, address="x:1")
    link.send(b"1\n")
    link.send(b"2\n")
    outgoing = link.outgoing()
    assert await anext(outgoing) == b"1\n2\n"
    link.send(b"goodbye\n")
    link.close()
    link.send(b"after the end\n")
    assert [data async for data in outgoing] == [b"goodbye\n"]


async def test_it_waits_for_something_to_say() -> None:
    link = Link(NodeId("a"), dialled=False, address="")
    asyncio.get_running_loop().call_later(0.02, link.send, b"late\n")
    assert await asyncio.wait_for(anext(link.outgoing()), 1) == b"late\n"


async def test_a_peer_that_does_not_read_is_given_up() -> None:
    link = Link(NodeId("a"), dialled=False, address="")
    for _ in range(link_module.MAX_WAITING // 1024 + 1):
        link.send(bytes(1024))
    assert link.closed
