"""How long an idle model stays in memory. Pure; times in seconds of a monotonic clock."""

from dataclasses import dataclass


@dataclass
class Stay:
    """habit: idle seconds after which it leaves, where no request said otherwise; negative: never.

    used: when it was last used. running: who uses it now.
    """

    habit: float
    used: float
    running: int = 0
    _keep: float | None = None

    def begin(self, keep: float | None) -> None:
        """Somebody uses it. keep: seconds that this request wants it to stay afterwards; the latest request rules."""
        self.running += 1
        self._keep = keep

    def look(self) -> None:
        """Somebody uses it for a moment, and has no say in how long it stays. `end` ends this too."""
        self.running += 1

    def end(self, now: float) -> None:
        """That use is over."""
        self.running -= 1
        self.used = now

    @property
    def seconds(self) -> float:
        """Idle seconds after which it leaves; negative: never."""
        return self.habit if self._keep is None else self._keep

    def left(self, now: float) -> float | None:
        """Seconds until it leaves, 0 or less: now. None: it is in use, or stays for ever."""
        if self.running or self.seconds < 0:
            return None
        return self.seconds - (now - self.used)
