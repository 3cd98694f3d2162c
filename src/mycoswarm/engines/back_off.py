"""How long a child that died rests before it is started again. Pure; times in seconds of a monotonic clock."""

from dataclasses import dataclass

PAUSES = (1.0, 2.0, 5.0, 15.0, 60.0)
"""After the first death, the second …; shorter ones let a broken model eat a processor, longer ones keep people
waiting."""

FORGIVEN_AFTER = 300.0
"""A child that lived this long begins its back-off anew."""


@dataclass
class BackOff:
    """deaths: in a row. reason: of the last one, for people; empty once the model answers again."""

    deaths: int = 0
    reason: str = ""
    _until: float = 0.0

    def failed(self, now: float, reason: str) -> float:
        """It could not be started, or died. Returns the pause that begins now."""
        pause = PAUSES[min(self.deaths, len(PAUSES) - 1)]
        self.deaths += 1
        self.reason = reason
        self._until = now + pause
        return pause

    def died(self, now: float, since: float, reason: str) -> float:
        """As `failed`, of one that had answered since `since`."""
        if now - since > FORGIVEN_AFTER:
            self.deaths = 0
        return self.failed(now, reason)

    def answers(self) -> None:
        """It was started and answers; its deaths count until it has also done some work."""
        self.reason = ""

    def worked(self) -> None:
        """It brought a piece of work to its end."""
        self.deaths = 0

    def left(self, now: float) -> float:
        """Seconds until it may be started; 0 or less: now."""
        return self._until - now
