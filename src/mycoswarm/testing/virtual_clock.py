"""A clock that a test moves by hand."""


class VirtualClock:
    """Stands still until `advance`. wall: seconds since 1970 at the beginning."""

    def __init__(self, wall: float = 1_800_000_000.0) -> None:
        self._passed = 0.0
        self._wall = wall

    def monotonic(self) -> float:
        return self._passed

    def wall(self) -> float:
        return self._wall + self._passed

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._passed += seconds

    def set_wall(self, wall: float) -> None:
        """Somebody sets the machine's date; ages must not notice."""
        self._wall = wall - self._passed
