"""[io] Our own dialect under `/swarm/v1`: lists, membership and models as Litestar handlers."""

from typing import Annotated, Any

from litestar import Router, delete, get, post
from litestar.params import Parameter

from mycoswarm.api.node import NodeService
from mycoswarm.core.ids import RequestId
from mycoswarm.core.task import Task
from mycoswarm.core.views import (
    Invitation,
    InviteBody,
    JoinBody,
    Joined,
    Left,
    Models,
    NodeDetail,
    Nodes,
    Removed,
    Running,
    Tasks,
)


def routes(node: NodeService) -> Router:
    """The handlers, all of them thin: `node` does the work and raises the errors."""

    @get("/node", summary="This node", tags=["swarm"])
    async def detail() -> NodeDetail:
        return node.detail()

    @get("/nodes", summary="Every node of the swarm", tags=["swarm"])
    async def nodes() -> Nodes:
        return node.nodes()

    @get("/models", summary="Every model of the swarm, and what could be fetched", tags=["swarm"])
    async def models() -> Models:
        return node.models()

    @get("/ps", summary="Loaded models and running work", tags=["swarm"])
    async def running() -> Running:
        return node.running()

    @get("/tasks", summary="What became of this node's requests", tags=["swarm"])
    async def tasks() -> Tasks:
        return Tasks(node.tasks())

    @get("/tasks/{task_id:str}", summary="One request; state `unknown` where nothing is known of it", tags=["swarm"])
    async def task(task_id: str) -> Task:
        return node.task(RequestId(task_id))

    @post("/invite", status_code=200, summary="A code that lets one machine in; founds the swarm", tags=["membership"])
    async def invite(data: InviteBody) -> Invitation:
        return await node.invite(data.headless, data.name)

    @post("/join", status_code=200, summary="Join a swarm by a code", tags=["membership"])
    async def join(data: JoinBody) -> Joined:
        return await node.join(data.code, data.address)

    @post("/leave", status_code=200, summary="Leave the swarm", tags=["membership"])
    async def leave() -> Left:
        return await node.leave()

    @delete("/models/{name:path}", status_code=200, summary="Delete a model from a node's disk", tags=["models"])
    async def remove(
        name: str, on_node: Annotated[str, Parameter(query="node", description="id or name; empty: here")] = ""
    ) -> Removed:
        return await node.remove_model(name.removeprefix("/"), on_node)

    @post("/shutdown", status_code=202, summary="End this node", tags=["swarm"])
    async def shutdown() -> dict[str, Any]:
        node.shut_down()
        return {"status": "ending"}

    return Router(
        "/swarm/v1",
        route_handlers=[
            detail, nodes, models, running, tasks, task, invite, join, leave, remove, shutdown
        ],
    )  # fmt: skip
