"""What the API needs of the node behind it; the composition root provides it."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol

from mycoswarm.core.chat import ChatRequest, Delta
from mycoswarm.core.embed import Embedded, EmbedRequest
from mycoswarm.core.ids import NodeId, RequestId
from mycoswarm.core.model import Progress
from mycoswarm.core.node import SwarmInfo
from mycoswarm.core.placement import Placement
from mycoswarm.core.preset import Recipe
from mycoswarm.core.task import Task
from mycoswarm.core.views import (
    Admitted,
    Comparing,
    Counted,
    Expelled,
    HealthReport,
    Invitation,
    Joined,
    Left,
    ModelDetail,
    ModelPlace,
    Models,
    NodeDetail,
    NodeHistory,
    Nodes,
    Removed,
    Rotated,
    Running,
    WaitingMachines,
)


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

    async def embed(self, request: EmbedRequest) -> Embedded: ...

    async def count_tokens(self, request: ChatRequest) -> Counted: ...

    def pull(self, name: str, node: str) -> AsyncGenerator[Progress, None]: ...

    async def remove_model(self, name: str, node: str) -> Removed: ...

    async def show_model(self, name: str) -> ModelDetail: ...

    async def load_model(self, name: str, keep: float | None) -> ModelPlace:
        """Bring it into memory where it would be asked. keep: as `ChatRequest.keep`."""
        ...

    async def unload_model(self, name: str) -> None:
        """Take it out of memory wherever it is, as soon as nobody uses it."""
        ...

    def create_model(self, recipe: Recipe) -> AsyncGenerator[Progress, None]: ...

    async def has_blob(self, digest: str) -> bool: ...

    async def put_blob(self, digest: str, pieces: AsyncIterator[bytes], size: int | None) -> None: ...

    async def history(self, node: str) -> NodeHistory: ...

    def health(self) -> HealthReport: ...

    def metrics(self) -> str:
        """In Prometheus' text format."""
        ...

    async def invite(self, headless: bool, name: str, open_for: float) -> Invitation: ...

    async def join(self, code: str, address: str, swarm: str, move: bool) -> Joined: ...

    async def compare(self, address: str, swarm: str, move: bool) -> Comparing: ...

    def comparing(self, run: str) -> Comparing: ...

    async def compared(self, run: str, same: bool) -> Comparing: ...

    def waiting(self) -> WaitingMachines: ...

    async def admit(self, run: str, same: bool) -> Admitted: ...

    async def leave(self) -> Left: ...

    async def expel(self, node: str) -> Expelled: ...

    async def add_keeper(self, node: str) -> SwarmInfo: ...

    async def remove_keeper(self, node: str) -> SwarmInfo: ...

    async def recover(self, phrase: str, without: tuple[str, ...]) -> SwarmInfo: ...

    async def rotate(self) -> Rotated: ...

    def shut_down(self) -> None:
        """Ends the node after the present replies have gone out."""
        ...
