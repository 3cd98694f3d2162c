"""The bodies of `/swarm/v1`: what the node tells its own user. The command line's `--json` prints these unchanged."""

import msgspec

from mycoswarm.core.ids import NodeId
from mycoswarm.core.model import ModelOffer
from mycoswarm.core.node import NearbySwarm, NodeView, SwarmInfo
from mycoswarm.core.placement import Placement
from mycoswarm.core.task import Task


class NodeDetail(msgspec.Struct, frozen=True, omit_defaults=True):
    """`GET /swarm/v1/node`: this node. private: started by a command for itself, not announced."""

    view: NodeView
    version: str
    pid: int
    uptime: float
    port: int
    peer_port: int | None
    private: bool = False
    swarm: SwarmInfo | None = None
    nearby: tuple[NearbySwarm, ...] = ()
    warnings: tuple[str, ...] = ()


class Nodes(msgspec.Struct, frozen=True):
    """`GET /swarm/v1/nodes`: this node first, then the others by name."""

    nodes: tuple[NodeView, ...]


class ModelPlace(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model on one node. reachable: the node is up."""

    node: NodeId
    node_name: str
    reachable: bool
    offer: ModelOffer


class ModelView(msgspec.Struct, frozen=True):
    name: str
    places: tuple[ModelPlace, ...]


class CatalogEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model that `pull` knows. Sizes in bytes: download, and on disk."""

    name: str
    summary: str
    licence: str
    download: int
    size: int
    instruct: bool = True


class Models(msgspec.Struct, frozen=True, omit_defaults=True):
    """`GET /swarm/v1/models`: what the swarm has, and what could be fetched."""

    models: tuple[ModelView, ...]
    catalog: tuple[CatalogEntry, ...] = ()


class Running(msgspec.Struct, frozen=True, omit_defaults=True):
    """`GET /swarm/v1/ps`: loaded models with their load, and the tasks of this node that are not ended."""

    loaded: tuple[ModelPlace, ...]
    tasks: tuple[Task, ...] = ()


class Tasks(msgspec.Struct, frozen=True):
    """`GET /swarm/v1/tasks`: newest first. `GET /swarm/v1/tasks/{id}` is one Task, also for an unknown id."""

    tasks: tuple[Task, ...]


class InviteBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`POST /swarm/v1/invite`. name: of the swarm, when this founds it."""

    headless: bool = False
    name: str = ""


class Invitation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Its answer. expires_in: seconds. founded: this call made the swarm."""

    code: str
    expires_in: float
    swarm: str
    founded: bool = False


class JoinBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`POST /swarm/v1/join`. address: HOST[:PORT] of the inviting node where multicast is blocked."""

    code: str
    address: str = ""


class Joined(msgspec.Struct, frozen=True):
    """Its answer."""

    swarm: SwarmInfo


class Left(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answer of `POST /swarm/v1/leave`. swarm: the name of the one left.

    told: of the `members` other machines, those that took note; where none did, they go on trusting this one.
    """

    swarm: str
    told: int = 0
    members: int = 0


class PullBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`POST /swarm/v1/models/pull`; answers NDJSON lines of Progress, an `{"error": …}` line on failure.

    node: id or name; empty: the best of the swarm for this model.
    """

    name: str
    node: str = ""


class Removed(msgspec.Struct, frozen=True):
    """Answer of `DELETE /swarm/v1/models/{name}?node=`. freed: bytes."""

    name: str
    node: NodeId
    freed: int


class Routed(msgspec.Struct, frozen=True):
    """Answer of `POST /swarm/v1/route` (body: a ChatRequest): where it would go now; nothing is run."""

    placement: Placement
