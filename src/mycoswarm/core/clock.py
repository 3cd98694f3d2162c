"""Time, injected: real in the product, virtual in tests."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where a decision gets its `now` from."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back. For ages and timeouts."""
        ...

    def wall(self) -> float:
        """Seconds since 1970, as this machine believes. For people and logs only: it may be wrong by years."""
        ...


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()
