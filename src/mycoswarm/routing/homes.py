"""Which node a user means, and which one a new model should live on. Pure."""

import difflib
from collections.abc import Sequence

from mycoswarm.core.errors import CannotServe, InvalidRequest, NotFound
from mycoswarm.core.ids import short
from mycoswarm.core.node import NodeView

ROOM = 1.2
"""Free disk a model must find, as a multiple of its size: a full disk breaks more than a missing model."""


def home(size: int, nodes: Sequence[NodeView], wanted: str = "") -> NodeView:
    """The node that would answer soonest with a model of `size` bytes, or the `wanted` one.

    Soonest is highest memory bandwidth: it bounds decoding. This node wins ties, being asked first.

    Raises:
        NotFound: there is no node `wanted`.
        CannotServe: no node has the embedded engine and the room; the sentence says why.
    """
    if wanted:
        nodes = [named(wanted, nodes)]
    reasons = {view.name: _refusal(size, view) for view in nodes}
    able = [view for view in nodes if not reasons[view.name]]
    if not able:
        listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise CannotServe(
            f"no node can take this model ({listed})", "free some disk space, or let another machine join"
        )
    return max(able, key=_bandwidth)


def is_node(wanted: str, node_id: str, name: str) -> bool:
    """Whether a user who types `wanted` means this node: its name, or at least 6 characters of its id."""
    return wanted.casefold() == name.casefold() or (len(wanted) >= 6 and node_id.startswith(wanted.casefold()))


def named(wanted: str, nodes: Sequence[NodeView]) -> NodeView:
    """The node that a user means by `wanted`, its name or the beginning of its id.

    Raises:
        NotFound: there is none; the hint has the nearest name.
    """
    for view in nodes:
        if is_node(wanted, view.id, view.name):
            return view
    near = difflib.get_close_matches(wanted, [view.name for view in nodes], 3, 0.4)
    hint = f"did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else "`mycoswarm nodes` lists them"
    raise NotFound(f"there is no node '{wanted}' in this swarm", hint, near=near)


def only(wanted: str, nodes: Sequence[NodeView]) -> NodeView:
    """The one node that a user means where a mistake would be dear: an id, the beginning of one, or a name.

    Raises:
        InvalidRequest: several are meant; the hint has their ids.
        NotFound: none is; the hint has the nearest name.
    """
    meant = [view for view in nodes if is_node(wanted, view.id, view.name)]
    # Its former identity, which is out for ever, has the name of a machine that was given a new key.
    found = [view for view in meant if view.state != "removed"] or meant
    if len(found) > 1:
        raise InvalidRequest(
            f"`{wanted}` may be {len(found)} machines",
            "name one by its id: " + ", ".join(short(one.id) for one in found),
        )
    return found[0] if found else named(wanted, nodes)


def _refusal(size: int, view: NodeView) -> str:
    if view.state not in ("self", "up"):
        return f"it is {view.state}"
    if view.record is None or "embedded" not in view.record.engines:
        return "it has no embedded engine"
    hardware = view.record.hardware
    if hardware is not None and hardware.disk_free < size * ROOM:
        return f"{hardware.disk_free // 1_000_000} MB of disk are free, {int(size * ROOM) // 1_000_000} MB are needed"
    return ""


def _bandwidth(view: NodeView) -> float:
    hardware = view.record.hardware if view.record else None
    return (hardware.memory_bandwidth or 0.0) if hardware else 0.0
