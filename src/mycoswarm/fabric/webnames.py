"""Which names a node's web certificate is for, and which of them a keeper grants. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mycoswarm.core.ids import NodeId
from mycoswarm.core.node import NodeView
from mycoswarm.fabric.webca import MAX_NAMES, permitted

_NEVER_OTHERS = ("localhost", "127.0.0.1", "::1")
"""What everybody is to himself."""


def wanted(name: str, host: str, addresses: Iterable[str]) -> tuple[str, ...]:
    """What a node wants to be known by, each once, in a stable order.

    Args:
        name: of the node. host: what the machine calls itself, with or without a domain.
        addresses: of its interfaces, link-local ones with or without `%interface`.
    """
    host = host.lower().rstrip(".")
    first = host.partition(".")[0]
    names = ["localhost", f"{_label(name)}.local", f"{_label(first)}.local", host]
    numbers = sorted({address.partition("%")[0] for address in addresses} | {"127.0.0.1", "::1"})
    return tuple(one for one in dict.fromkeys((*names, *numbers)) if permitted(one))[:MAX_NAMES]


@dataclass(frozen=True)
class Asker:
    """A member that wants a certificate. source: the address that its request comes from."""

    node: NodeId
    source: str


def granted(
    asked: Iterable[str], asker: Asker, nodes: Iterable[NodeView], admitted: Mapping[NodeId, str]
) -> tuple[str, ...]:
    """Those of the names that a keeper signs for: none by which another machine of the swarm is known.

    A member that could have another's name certified could listen in on whoever trusts the CA. What a member says of
    itself is no reason to give it a name that another one has: anybody can call himself anything, and tell of any
    address that it is his. A keeper's signature is one (the name under which he was let in), and so is the address from
    which he asks; neither can be taken from him by others who claim it.

    Args:
        nodes: as the keeper sees them, itself included. admitted: names by the roster.
    """
    mine = {*_NEVER_OTHERS, asker.source.removeprefix("::ffff:").partition("%")[0]}
    if (name := admitted.get(asker.node)) is not None:
        mine.add(f"{_label(name)}.local")
    theirs: set[str] = set()
    for view in nodes:
        if view.id != asker.node and view.state != "removed":
            names = {view.name, admitted.get(view.id, view.name)}
            theirs |= {f"{_label(name)}.local" for name in names} | {_host(address) for address in view.addresses}
    return tuple(name for name in asked if permitted(name) and (name in mine or name not in theirs))


def _label(name: str) -> str:
    """A name as a label of DNS; what cannot stand in one becomes a hyphen."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].rstrip("-") or "node"


def _host(address: str) -> str:
    """Of HOST:PORT, an IPv6 host in brackets and with or without its interface."""
    return address.rpartition(":")[0].strip("[]").partition("%")[0]
