"""The one place that starts asyncio tasks: kept, named, ended, and never silent when they fail."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class TaskGroup:
    """Background tasks with one owner: `start` keeps a reference, `close` cancels and awaits them all.

    Unlike asyncio.TaskGroup a failed task does not end its siblings; its error is logged with the task's name.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, coroutine: Coroutine[Any, Any, _T], name: str) -> asyncio.Task[_T]:
        """Run `coroutine` in the background under `name`."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("background task %r failed", task.get_name(), exc_info=error)

    async def close(self) -> None:
        """Cancel what still runs and wait for it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def repeat(step: Callable[[], Coroutine[Any, Any, None]], pause: float, name: str) -> None:
    """Run `step` for ever, `pause` seconds after each end. A step that fails is logged, and the next one comes."""
    while True:
        try:
            await step()
        except Exception:  # the boundary of a background loop: one bad turn must not be its last
            _log.exception("%s failed; it is tried again in %g s", name, pause)
        await asyncio.sleep(pause)
