"""Our own dialect under `/swarm/v1`: the routes over a node. Thin: the node does the work and raises the errors.

Problems and metrics are free like the lists: they name machines and addresses, as `nodes` does, and nothing that was
said or asked; a Prometheus on this machine then needs no secret of its own.
"""

from typing import Any

import msgspec

from mycoswarm import __version__
from mycoswarm.api.node import NodeService
from mycoswarm.api.routes import NDJSON, PROMETHEUS, Call, Query, Route
from mycoswarm.api.streams import StreamRoutes
from mycoswarm.core.chat import ChatRequest, Delta
from mycoswarm.core.ids import RequestId
from mycoswarm.core.model import Progress
from mycoswarm.core.task import Task
from mycoswarm.core.views import (
    HealthReport,
    Models,
    NodeDetail,
    NodeHistory,
    Nodes,
    PullBody,
    Removed,
    Routed,
    Running,
    Tasks,
)

_BASE = "/swarm/v1"
_ON_NODE = Query("node", "id or name of the node; without it the one that has the model")


class Healthy(msgspec.Struct, frozen=True):
    """`GET /healthz`."""

    status: str
    node: str
    version: str


class Ending(msgspec.Struct, frozen=True):
    """Answer of `POST /swarm/v1/shutdown`."""

    status: str


def routes(node: NodeService) -> tuple[Route, ...]:
    """Lists, health, models, and the two streams."""
    streams = StreamRoutes(node)

    async def healthz(_: Call) -> Healthy:
        return Healthy("ok", node.id, __version__)

    async def metrics(_: Call) -> bytes:
        return node.metrics().encode()

    async def health(_: Call) -> HealthReport:
        return node.health()

    async def detail(_: Call) -> NodeDetail:
        return node.detail()

    async def nodes(_: Call) -> Nodes:
        return node.nodes()

    async def history(call: Call) -> NodeHistory:
        return await node.history(call.path["node"])

    async def models(_: Call) -> Models:
        return node.models()

    async def running(_: Call) -> Running:
        return node.running()

    async def tasks(_: Call) -> Tasks:
        return Tasks(node.tasks())

    async def task(call: Call) -> Task:
        return node.task(RequestId(call.path["id"]))

    async def route(call: Call) -> Routed:
        return Routed(node.place(call.body))

    async def remove(call: Call) -> Removed:
        return await node.remove_model(call.path["name"], call.query.get("node", ""))

    async def shutdown(_: Call) -> Ending:
        node.shut_down()
        return Ending("ending")

    def read(path: str, name: str, summary: str, reply: Any, answer: Any) -> Route:
        return Route(
            method="GET", path=path, name=name, summary=summary, tag="swarm", reply=reply, answer=answer, scope="read"
        )

    return (
        read("/healthz", "healthz", "The node answers", Healthy, healthz),
        Route(
            method="GET",
            path="/metrics",
            name="metrics",
            summary="Everything that is counted or measured, for Prometheus",
            tag="swarm",
            reply={"type": "string"},
            answer=metrics,
            scope="read",
            media=PROMETHEUS,
        ),
        read(f"{_BASE}/node", "node", "This node", NodeDetail, detail),
        read(f"{_BASE}/nodes", "nodes", "Every node of the swarm", Nodes, nodes),
        read(f"{_BASE}/nodes/{{node}}", "node_history", "One node and its changes of state", NodeHistory, history),
        read(f"{_BASE}/health", "health", "Every known problem with what to do, the worst first", HealthReport, health),
        read(f"{_BASE}/models", "models", "Every model of the swarm, and what could be fetched", Models, models),
        read(f"{_BASE}/ps", "ps", "Loaded models and running work", Running, running),
        read(f"{_BASE}/tasks", "tasks", "What became of this node's requests", Tasks, tasks),
        read(f"{_BASE}/tasks/{{id}}", "task", "One request; `unknown` where nothing is known of it", Task, task),
        Route(
            method="POST",
            path=f"{_BASE}/route",
            name="route",
            summary="Where a request would go now, with every term and every rejection's reason; nothing is run",
            tag="swarm",
            body=ChatRequest,
            reply=Routed,
            answer=route,
            scope="inference",
        ),
        Route(
            method="POST",
            path=f"{_BASE}/chat",
            name="chat",
            summary="Chat: a request in, one JSON line a delta out",
            tag="swarm",
            body=ChatRequest,
            reply=Delta,
            media=NDJSON,
            app=streams.chat,
            scope="inference",
        ),
        Route(
            method="POST",
            path=f"{_BASE}/shutdown",
            name="shutdown",
            summary="End this node",
            tag="swarm",
            reply=Ending,
            answer=shutdown,
        ),
        Route(
            method="POST",
            path=f"{_BASE}/models/pull",
            name="pull",
            summary="Fetch a model onto the best or a named node",
            tag="models",
            body=PullBody,
            reply=Progress,
            media=NDJSON,
            app=streams.pull,
        ),
        Route(
            method="DELETE",
            path=f"{_BASE}/models/{{name...}}",
            name="remove_model",
            summary="Delete a model from a node's disk",
            tag="models",
            reply=Removed,
            answer=remove,
            query=(_ON_NODE,),
        ),
    )
