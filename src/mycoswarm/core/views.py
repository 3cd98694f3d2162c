"""The bodies of `/swarm/v1`: what the node tells its own user. The command line's `--json` prints these unchanged."""

from typing import Literal

import msgspec

from mycoswarm.core.health import Problem
from mycoswarm.core.ids import NodeId
from mycoswarm.core.model import ModelOffer
from mycoswarm.core.node import NearbySwarm, NodeView, StateChange, SwarmInfo
from mycoswarm.core.placement import Placement
from mycoswarm.core.preset import Preset
from mycoswarm.core.task import Task


class NodeDetail(msgspec.Struct, frozen=True, omit_defaults=True):
    """`GET /swarm/v1/node`: this node. private: started by a command for itself, not announced.

    lan: addresses of the user API for other machines, https://…; empty where it listens on loopback only.
    """

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
    lan: tuple[str, ...] = ()


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


class NodeHistory(msgspec.Struct, frozen=True, omit_defaults=True):
    """`GET /swarm/v1/nodes/{node}` (id, start of an id, or name). changes: of its state as seen here, newest first.

    added_by: the keeper that let it in; its own id where it founded the swarm; empty where it is no member.
    """

    node: NodeView
    changes: tuple[StateChange, ...]
    added_by: NodeId = NodeId("")


class HealthReport(msgspec.Struct, frozen=True):
    """`GET /swarm/v1/health`: every known problem, the worst first; empty where all is well."""

    problems: tuple[Problem, ...]


class InviteBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`POST /swarm/v1/invite`. name: of the swarm, when this founds it.

    open: seconds for which whoever asks is let in without a code; 0 for a code.
    """

    headless: bool = False
    name: str = ""
    open: float = 0.0


class Invitation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Its answer. expires_in: seconds. founded: this call made the swarm. code: empty for an open invitation.

    phrase: the recovery phrase, given with every invitation until another machine has joined, and kept nowhere then.
    """

    code: str
    expires_in: float
    swarm: str
    founded: bool = False
    phrase: str = ""


class JoinBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`POST /swarm/v1/join`. address: HOST[:PORT] of the inviting node where multicast is blocked.

    code: empty to use an open invitation. move: leave the present swarm for it, once the new one has let us in.
    swarm: which open one (`NearbySwarm.swarm`); whoever else answers under its announcement is refused.
    """

    code: str = ""
    address: str = ""
    move: bool = False
    swarm: str = ""


class Joined(msgspec.Struct, frozen=True, omit_defaults=True):
    """Its answer. moved_from: the name of the swarm that was left for it."""

    swarm: SwarmInfo
    moved_from: str = ""


class CompareBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`POST /swarm/v1/join/compare`: ask to be let in without a code, by words that both screens show.

    swarm: which one where several are near (`NearbySwarm.swarm`). address, move: as in `JoinBody`.
    """

    address: str = ""
    swarm: str = ""
    move: bool = False


ComparingState = Literal["waiting", "joined", "refused", "ended"]


class Comparing(msgspec.Struct, frozen=True, omit_defaults=True):
    """Its answer, and that of `GET /swarm/v1/join/compare/{run}` and of `POST …/{run}` with a `CompareSame`.

    words: the four that the keeper's screen must show as well. keeper: what the other machine calls itself, unproven
    until the words were compared. confirmed: by this side. joined: once both sides have agreed. why: of a refusal.
    """

    run: str
    words: tuple[str, ...]
    keeper: str
    expires_in: float
    state: ComparingState = "waiting"
    confirmed: bool = False
    joined: Joined | None = None
    why: str = ""


class CompareSame(msgspec.Struct, frozen=True):
    """`POST /swarm/v1/join/compare/{run}`: whether both screens show the same words."""

    same: bool


class Waiting(msgspec.Struct, frozen=True, omit_defaults=True):
    """A machine that asks to be let in by comparing words. name: what it calls itself. since: seconds ago."""

    run: str
    name: str
    address: str
    words: tuple[str, ...]
    since: float


class WaitingMachines(msgspec.Struct, frozen=True):
    """`GET /swarm/v1/waiting`: oldest first."""

    waiting: tuple[Waiting, ...]


class AdmitBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`POST /swarm/v1/admit`. run: of a `Waiting`. same: both screens show the same words; else it is turned away."""

    run: str
    same: bool


class Admitted(msgspec.Struct, frozen=True):
    """Its answer. admitted: false where it was turned away."""

    name: str
    admitted: bool


class Left(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answer of `POST /swarm/v1/leave`. swarm: the name of the one left.

    told: of the `members` other machines, those that took note; where none did, they go on trusting this one.
    """

    swarm: str
    told: int = 0
    members: int = 0


class Expelled(msgspec.Struct, frozen=True):
    """Answer of `DELETE /swarm/v1/nodes/{node}`: the machine is out of the swarm for ever.

    told: of the `members` other machines, those that know already; the rest hear it as soon as they are reached.
    """

    node: NodeId
    name: str
    told: int
    members: int


class KeeperBody(msgspec.Struct, frozen=True):
    """`POST /swarm/v1/keepers`: make a member a keeper. `DELETE /swarm/v1/keepers/{node}` ends it. Both: SwarmInfo."""

    node: str


class RecoverBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`POST /swarm/v1/recover`: make this node a keeper by the recovery phrase; answers SwarmInfo.

    without: ids or names of keepers to remove for ever at the same time (lost or stolen ones).
    """

    phrase: str
    without: tuple[str, ...] = ()


class Rotated(msgspec.Struct, frozen=True):
    """Answer of `POST /swarm/v1/rotate`: this node has a new key and starts again under its new id."""

    before: NodeId
    after: NodeId


class PullBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`POST /swarm/v1/models/pull`; answers NDJSON lines of Progress, an `{"error": …}` line on failure.

    node: id or name; empty: the best of the swarm for this model.
    """

    name: str
    node: str = ""


class Counted(msgspec.Struct, frozen=True):
    """Tokens of a prompt. exact: by the tokenizer of `model`; else estimated from its bytes. node: its name."""

    tokens: int
    exact: bool
    model: str
    node: str


class ModelFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the holder of a model knows of it beside its offer; empty where its engine does not tell.

    header: scalars of the file's head by their own keys, without the chat template. modified: seconds since 1970.
    """

    header: dict[str, int | float | bool | str] = {}
    template: str = ""
    licence: str = ""
    preset: Preset = Preset()
    modified: float = 0.0


class ModelDetail(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model on the node that would be asked about it."""

    place: ModelPlace
    facts: ModelFacts = ModelFacts()


class Removed(msgspec.Struct, frozen=True):
    """Answer of `DELETE /swarm/v1/models/{name}?node=`. freed: bytes."""

    name: str
    node: NodeId
    freed: int


class Routed(msgspec.Struct, frozen=True):
    """Answer of `POST /swarm/v1/route` (body: a ChatRequest): where it would go now; nothing is run."""

    placement: Placement
