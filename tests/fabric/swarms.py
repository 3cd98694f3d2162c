"""[io] Fabrics in one process, over real sockets on this machine."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from mycoswarm.core.model import ModelOffer
from mycoswarm.core.node import NodeRecord
from mycoswarm.core.paths import resolve
from mycoswarm.core.settings import Settings
from mycoswarm.fabric.service import Fabric


def fabric(
    home: Path,
    name: str,
    announce: str = "yes",
    models: tuple[ModelOffer, ...] = (),
    port: int = 0,
    peers: tuple[str, ...] = (),
) -> Fabric:
    """A node that is not started yet; the same home is the same node."""
    made = Fabric(
        resolve({"MYCOSWARM_HOME": str(home / name)}),
        name,
        Settings(peer_port=port, announce=announce, peers=peers),
        lambda: NodeRecord(made.id, name, 0, 0, "0", models=models),
    )
    return made


def address(of: Fabric) -> str:
    return f"127.0.0.1:{of.peer_port}"


async def until(done: Callable[[], bool], limit: float = 5.0) -> float:
    """Seconds until it is so."""
    start = time.monotonic()
    while not done():
        assert time.monotonic() - start < limit, f"not so after {limit} s"
        await asyncio.sleep(0.005)
    return time.monotonic() - start


def state(of: Fabric, name: str) -> str:
    return next((view.state for view in of.nodes() if view.name == name), "absent")


def why(of: Fabric, name: str) -> str:
    return next((view.why for view in of.nodes() if view.name == name), "absent")


def all_up(*nodes: Fabric) -> bool:
    return all(
        len(node.nodes()) == len(nodes) and all(view.state in ("up", "self") for view in node.nodes()) for node in nodes
    )


async def join(keeper: Fabric, *others: Fabric) -> None:
    for other in others:
        await other.join((await keeper.invite()).code, address(keeper))
