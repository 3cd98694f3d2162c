"""The network of a simulated swarm: how long things take, what is lost, who cannot reach whom. Pure, seeded.

Time is counted in ticks of 1/2048 s: exact in binary, so sums never round differently, and fine enough that many
messages share one (an event loop's timers are no finer). A watch stream is TCP: what is lost is sent again and
arrives later, everything behind it waits, and a stream that stands never loses a line. So loss is delay here, until a
connection is reset or somebody loses patience.
"""

import random
from typing import Literal

import msgspec

RATE = 2048
"""Ticks in a second."""
RESEND = 0.2
"""Seconds until TCP sends a lost segment again; doubled each time."""
STALL = 0.25
"""Seconds that data still flow one way once their acknowledgements do not come back: until the first resending."""
_CASES = 4096
_LOST = -1

ProfileName = Literal["quiet", "home", "hostile"]


class Profile(msgspec.Struct, frozen=True):
    """How good a network is. Seconds; shares of 1.

    latency: one way, the best and the worst pair. jitter: mean of what is added at random. tail: added to one message
    in a hundred. loss: of segments. resets: of streams, per stream and hour. multicast_loss: of announcements.
    pace: mean seconds between two mishaps while there are any. at_once: mishaps that may overlap.
    """

    name: str
    latency: tuple[float, float] = (0.0003, 0.001)
    jitter: float = 0.0002
    tail: float = 0.001
    loss: float = 0.0
    resets: float = 0.0
    multicast_loss: float = 0.0
    twice: float = 0.0
    pace: float = 15.0
    at_once: int = 1


QUIET = Profile("quiet")
HOME = Profile(
    "home",
    latency=(0.0005, 0.004),
    jitter=0.002,
    tail=0.06,
    loss=0.002,
    resets=0.02,
    multicast_loss=0.2,
    twice=0.1,
    pace=12.0,
    at_once=2,
)
HOSTILE = Profile(
    "hostile",
    latency=(0.001, 0.03),
    jitter=0.015,
    tail=0.25,
    loss=0.02,
    resets=0.3,
    multicast_loss=0.5,
    twice=0.3,
    pace=5.0,
    at_once=4,
)
PROFILES: dict[str, Profile] = {profile.name: profile for profile in (QUIET, HOME, HOSTILE)}


def ticks(seconds: float) -> int:
    """Rounded up: what is due at a moment is never looked at before it."""
    return -int(-seconds * RATE // 1)


class Path:
    """One direction between two nodes. base: ticks.

    mended: the tick until which what follows from its having been cut may still show.
    cut: nothing passes. shut: a stream's data do not pass, because the path or the way back is cut. troubled: the tick
    until which lateness here is the network's fault.
    """

    __slots__ = ("base", "cut", "mended", "shut", "since", "troubled")

    def __init__(self, base: int) -> None:
        self.base = base
        self.cut = False
        self.shut = False
        self.since = 0
        self.troubled = 0
        self.mended = 0


class Weather:
    """Draws delays. Two with one seed draw the same."""

    def __init__(self, profile: Profile, seed: str) -> None:
        self.profile = profile
        self.chance = random.Random(seed)  # noqa: S311 - it must be repeatable, not secret
        made = random.Random(f"{seed} delays")  # noqa: S311 - it must be repeatable, not secret
        lost = round(profile.loss * _CASES)
        late = _CASES // 100
        extra = [ticks(made.expovariate(1.0 / profile.jitter)) if profile.jitter else 0 for _ in range(_CASES)]
        for case in range(_CASES - late, _CASES):
            extra[case] += ticks(profile.tail * made.random())
        for case in range(lost):
            extra[case] = _LOST
        # A table and twelve random bits: the distribution at a fifth of the price of asking for it each time.
        self.extra = extra
        self._draw = self.chance.getrandbits

    def path(self) -> Path:
        low, high = self.profile.latency
        return Path(max(1, ticks(self.chance.uniform(low, high))))

    def delay(self, path: Path, now: int) -> int:
        """Ticks that one line takes."""
        extra = self.extra[self._draw(12)]
        return path.base + extra if extra >= 0 else self.resent(path, now)

    def resent(self, path: Path, now: int) -> int:
        """Ticks that a line takes whose first segment was lost."""
        wait = RESEND
        while self.chance.random() < self.profile.loss:
            wait = 2.0 * wait + RESEND
        delay = path.base + ticks(wait)
        path.troubled = max(path.troubled, now + delay)
        return delay

    def exchange(self, out: Path, back: Path, turns: int, first: float = 1.0) -> int:
        """Ticks of a connection's opening or a request. first: seconds after which a lost SYN is repeated."""
        delay = 0.0
        for turn in range(turns):
            for path in (out, back):
                extra = self.extra[self._draw(12)]
                delay += path.base + (extra if extra >= 0 else ticks(first if turn == 0 else RESEND))
        return int(delay)

    def healed(self, path: Path, held: int, now: int) -> int:
        """Ticks until TCP tries again, after `held` ticks without a way through."""
        tried = RESEND
        while tried * RATE < held:
            tried = 2.0 * tried + RESEND
        return max(0, ticks(tried) - held) + path.base
