"""A piece of work as its users can ask after it."""

from typing import Literal

import msgspec

from mycoswarm.core.ids import NodeId, RequestId

TaskState = Literal["queued", "running", "done", "failed", "cancelled", "unknown"]


class Task(msgspec.Struct, frozen=True, omit_defaults=True):
    """Times are seconds since 1970 by the entry node's clock. delivered: deltas of text that went to the client."""

    id: RequestId
    kind: Literal["chat", "embed", "pull"]
    state: TaskState
    model: str = ""
    entry: NodeId = NodeId("")
    node: NodeId = NodeId("")
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
    delivered: int = 0
    error: str = ""
