"""Time, injected: real in the product, virtual in tests."""

import time
from typing import Protocol

_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class Clock(Protocol):
    """Where a decision gets its `now` from."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back, and goes on while the machine is suspended."""
        ...

    def wall(self) -> float:
        """Seconds since 1970, as this machine believes. For people and logs only: it may be wrong by years."""
        ...


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        # Linux stops CLOCK_MONOTONIC in suspend: a laptop would wake believing that it heard everybody a moment ago.
        return time.clock_gettime(_BOOTTIME) if _BOOTTIME is not None else time.monotonic()

    def wall(self) -> float:
        return time.time()
