"""Which web CA a node may hold, which of two is in force, and when there has to be a new one. Pure.

The CA's key is made by a keeper when it is first needed, and every other keeper gets a copy, so that the loss of one
machine costs nobody anything. It never goes to anybody else, and one who is a keeper no more destroys his copy. Because
he may not, whoever stays makes a new CA then: a certificate of the old one is worth nothing to those who trust the new.

Keepers that could not reach each other may have made one each. They agree as soon as they can (`Authority.rank`).
"""

from collections.abc import Iterable

import msgspec

from mycoswarm.core.ids import NodeId
from mycoswarm.core.node import SwarmInfo
from mycoswarm.fabric.webca import Authority


def retained(held: Authority | None, swarm: SwarmInfo | None, me: NodeId) -> Authority | None:
    """What is left of the CA that a node holds, now that it is in `swarm` (None: in none).

    A node's own CA, from before it was in a swarm, stays with a keeper until it is known whether the others have one:
    the founder's becomes the swarm's, so that who trusts it need not trust another one.
    """
    if held is None:
        return None
    if swarm is None:
        return None if held.swarm else held
    if me not in swarm.keepers:
        return None
    return held if held.swarm in ("", swarm.id) else None


def merged(held: Authority | None, offered: Authority, swarm: SwarmInfo) -> Authority:
    """What a keeper holds after another keeper has shown what he holds."""
    if held is None or not held.swarm or offered.swarm != swarm.id:
        return offered if offered.swarm == swarm.id else held or offered
    if held.certificate == offered.certificate:
        return msgspec.structs.replace(held, holders=tuple(sorted({*held.holders, *offered.holders})))
    return min(held, offered, key=lambda one: one.rank)


def adopted(held: Authority, swarm: SwarmInfo, me: NodeId) -> Authority:
    """The founder's own CA as the swarm's."""
    return msgspec.structs.replace(held, swarm=swarm.id, holders=(me,))


def handed_to(held: Authority, keeper: NodeId) -> Authority:
    """The CA once `keeper` has a copy."""
    return msgspec.structs.replace(held, holders=tuple(sorted({*held.holders, keeper})))


def is_spent(held: Authority, swarm: SwarmInfo) -> bool:
    """Whether somebody has its key who is no keeper of `swarm` any more."""
    return held.swarm == swarm.id and not set(held.holders) <= set(swarm.keepers)


def renews(me: NodeId, swarm: SwarmInfo, up: Iterable[NodeId]) -> bool:
    """Whether it is this node's part to make a new one: of the keepers that are here, one."""
    return me == min({me, *(node for node in up if node in swarm.keepers)})
