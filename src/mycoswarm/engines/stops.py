"""Stop strings, matched by ourselves: engines that match them do not tell which one it was. Text in, text out."""

from collections.abc import Sequence


class Stops:
    """Holds text back while it may be the beginning of a stop string. `met` is the one that ended the text."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""
        self.met: str | None = None

    def feed(self, text: str) -> str:
        """What of all text so far can be said now. Nothing more comes once `met` is set."""
        if not self._stops or self.met is not None:
            return "" if self.met is not None else text
        text = self._held + text
        # The first that is complete wins, however the text was cut; of two that end together, the longer.
        ends = ((at + len(stop), at, stop) for stop in self._stops if (at := text.find(stop)) >= 0)
        if (found := min(ends, default=None)) is not None:
            self._held, self.met = "", found[2]
            return text[: found[1]]
        begin = self._maybe(text)
        self._held = text[begin:]
        return text[:begin]

    def end(self) -> str:
        """What was held back, where the text has ended by itself."""
        held, self._held = self._held, ""
        return held

    def _maybe(self, text: str) -> int:
        """Where a stop string may have begun."""
        for begin in range(max(0, len(text) - self._longest + 1), len(text)):
            if any(stop.startswith(text[begin:]) for stop in self._stops):
                return begin
        return len(text)
