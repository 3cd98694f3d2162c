"""What became of every request of this node: answerable until it expires, and honest about what it has forgotten."""

import msgspec

from mycoswarm.core.clock import Clock
from mycoswarm.core.ids import NodeId, RequestId
from mycoswarm.core.task import Task, TaskState

KEPT = 1000
"""Ended tasks that are remembered; 1,000 take about 1 MB."""

LIFETIME = 3600.0
"""Seconds that an ended task is answerable."""

ENDED: tuple[TaskState, ...] = ("done", "failed", "cancelled")


class TaskBook:
    """The tasks of one entry node, newest last."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tasks: dict[RequestId, Task] = {}
        self._expires: dict[RequestId, float] = {}

    def open(self, task: Task) -> None:
        """Remember a new task. A client that uses an id again has given up what it meant before."""
        self._forget()
        self._expires.pop(task.id, None)
        self._tasks[task.id] = msgspec.structs.replace(task, created=self._clock.wall())

    def running(self, task: RequestId, node: NodeId, model: str) -> None:
        """An executor has accepted it."""
        self._change(task, state="running", node=node, model=model, started=self._clock.wall())

    def delivered(self, task: RequestId, count: int) -> None:
        """So many deltas of content have gone to the client."""
        self._change(task, delivered=count)

    def end(self, task: RequestId, state: TaskState, error: str = "") -> None:
        """It is over. Only the first end of a task counts."""
        known = self._tasks.get(task)
        if known is None or known.ended is not None:
            return
        self._change(task, state=state, error=error, ended=self._clock.wall())
        self._expires[task] = self._clock.monotonic() + LIFETIME

    def get(self, task: RequestId) -> Task:
        """The task; state "unknown" for one that never was here or has expired."""
        self._forget()
        return self._tasks.get(task) or Task(id=task, kind="chat", state="unknown")

    def all(self) -> tuple[Task, ...]:
        """Newest first."""
        self._forget()
        return tuple(reversed(self._tasks.values()))

    def open_ones(self) -> tuple[Task, ...]:
        """Those that have not ended, newest first."""
        return tuple(task for task in self.all() if task.state not in ENDED)

    def _change(self, task: RequestId, **fields: object) -> None:
        if known := self._tasks.get(task):
            self._tasks[task] = msgspec.structs.replace(known, **fields)

    def _forget(self) -> None:
        """Ended tasks are in the order of their ends, so those that have expired come first."""
        now = self._clock.monotonic()
        while self._expires:
            task, expires = next(iter(self._expires.items()))
            if len(self._expires) <= KEPT and expires > now:
                return
            del self._expires[task]
            del self._tasks[task]
