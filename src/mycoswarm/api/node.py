"""What the API needs of the node behind it; the composition root provides it."""

from collections.abc import AsyncGenerator
from typing import Protocol

from mycoswarm.core.chat import ChatRequest, Delta
from mycoswarm.core.ids import NodeId, RequestId
from mycoswarm.core.model import Progress
from mycoswarm.core.placement import Placement
from mycoswarm.core.task import Task
from mycoswarm.core.views import Invitation, Joined, Left, Models, NodeDetail, Nodes, Removed, Running


class NodeService(Protocol):
    """This node, and through it the swarm. Methods raise errors of `core.errors`."""

    @property
    def id(self) -> NodeId: ...

    def detail(self) -> NodeDetail: ...

    def nodes(self) -> Nodes: ...

    def models(self) -> Models: ...

    def running(self) -> Running: ...

    def tasks(self) -> tuple[Task, ...]:
        """Newest first."""
        ...

    def task(self, task: RequestId) -> Task: ...

    def place(self, request: ChatRequest) -> Placement: ...

    def chat(self, request: ChatRequest) -> AsyncGenerator[Delta, None]: ...

    def pull(self, name: str, node: str) -> AsyncGenerator[Progress, None]: ...

    async def remove_model(self, name: str, node: str) -> Removed: ...

    async def invite(self, headless: bool, name: str) -> Invitation: ...

    async def join(self, code: str, address: str) -> Joined: ...

    async def leave(self) -> Left: ...

    def shut_down(self) -> None:
        """Ends the node after the present replies have gone out."""
        ...
