"""Calls that the engine's own parser found: gathered whole, repaired like any other. Pure."""

from collections.abc import Iterator

from mycoswarm.engines.toolcalls import lenient
from mycoswarm.engines.toolcalls.repair import Call, Hopeless, Written, repair
from mycoswarm.engines.toolcalls.toolbox import Toolbox


class Native:
    """The calls of one answer, in the order in which they began."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox
        self._open: dict[int, tuple[str, str, list[str]]] = {}

    def begin(self, index: int, call_id: str, name: str) -> None:
        """A call has begun."""
        self._open[index] = (call_id, name, [])

    def args(self, index: int, text: str) -> None:
        """More of its arguments."""
        if index in self._open:
            self._open[index][2].append(text)

    def complete(self, *, last: bool, cut: bool = False) -> Iterator[tuple[str, Call | Hopeless]]:
        """The calls that are whole, each with its id: all but the newest, and that one too when it is the `last`.

        One that cannot be repaired goes out as the model wrote it, behind a word on why. cut: the answer reached its
        limit, so that a last call which is no JSON is half a call, and nobody's to run.
        """
        while len(self._open) > (0 if last else 1):
            index = next(iter(self._open))
            call_id, name, pieces = self._open.pop(index)
            text = "".join(pieces)
            if cut and not self._open and not _whole(text):
                yield call_id, Hopeless(name, f"the answer was cut off in the middle of a call of {name}")
                return
            result = repair(Written(name, text), self._toolbox)
            yield call_id, result
            if isinstance(result, Hopeless):
                yield call_id, Call(name, text or "{}")


def _whole(text: str) -> bool:
    try:
        lenient.strict(text or "{}")
    except lenient.Unreadable:
        return False
    return True
