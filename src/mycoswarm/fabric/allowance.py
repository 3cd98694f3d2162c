"""How often something may happen: buckets of tokens, one for all or one for each source. Pure: `now` comes with each.

Whoever can send can send as much as the cable carries. An allowance bounds what that costs; one for each source besides
lets a flood from few use up what is theirs, and not what is there for all.
"""

MAX_SOURCES = 1024
"""Sources told apart by default: some addresses for each of 64 members, for years of DHCP."""


class Allowance:
    """A bucket into which `pace` tokens flow each second, up to `burst`; full at first."""

    def __init__(self, pace: float, burst: float, now: float) -> None:
        self._pace = pace
        self._burst = burst
        self._left = burst
        self._at = now

    def take(self, now: float, cost: float = 1.0) -> bool:
        """Whether `cost` may be spent now."""
        self._left = min(self._burst, self._left + (now - self._at) * self._pace)
        self._at = now
        if self._left < cost:
            return False
        self._left -= cost
        return True

    def charge(self, now: float, cost: float) -> None:
        """Spend what something has cost that is done already, also if that is more than is there."""
        self.take(now, 0.0)
        self._left -= cost

    def wait(self, cost: float = 1.0) -> float:
        """Seconds until `cost` is there again, from the moment at which `take` failed."""
        return max(0.0, (cost - self._left) / self._pace)


class FairAllowance:
    """One for each source, and one for all together. each, together: pace and burst.

    The source that has been silent for longest makes room where there are more than `sources`.
    """

    def __init__(
        self, each: tuple[float, float], together: tuple[float, float], now: float, sources: int = MAX_SOURCES
    ) -> None:
        self._each = each
        self._together = Allowance(*together, now)
        self._most = sources
        self._sources: dict[str, Allowance] = {}

    def __len__(self) -> int:
        """Sources that are told apart now."""
        return len(self._sources)

    def take(self, source: str, now: float, cost: float = 1.0) -> bool:
        """Whether `source` may spend `cost` now."""
        mine = self._sources.pop(source, None) or Allowance(*self._each, now)
        # Behind all others: the one that was heard longest ago is forgotten first.
        self._sources[source] = mine
        if len(self._sources) > self._most:
            del self._sources[next(iter(self._sources))]
        return mine.take(now, cost) and self._together.take(now, cost)
