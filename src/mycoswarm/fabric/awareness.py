"""How slow this node itself is, so that it lengthens its own patience before it accuses others. No I/O, no clock.

The measure is its own timer: a tick that was due at t and came at t + 0.4 means that whatever others sent in that time
may have waited as long, unread, in this machine's own queues. (Lifeguard, a set of changes to the SWIM protocol, calls
the idea local health awareness.)

    late by                        taken for              consequence
    a fraction of a second, often  swapping, a busy CPU   `slack`: silences may be longer, by a multiple of it
    more than ASLEEP               stopped, suspended     that time does not count as anybody's silence
    more than GONE                 suspended for long     the others have given it up: all streams are opened anew
"""

ASLEEP = 0.5
"""Seconds that a tick may come late before they are taken out of everybody's silence."""
GONE = 5.0
"""Seconds after which nobody waits for this node any more, so that its streams are dead, whatever the kernel says."""
TICK_NOISE = 0.05
"""Seconds that any timer may be late on a healthy machine; below it nothing is lengthened."""
MULTIPLE = 3.0
"""Seconds of patience for a second of lateness: a beat waits here to be read, and there to be answered."""
MEMORY = 10.0
"""Seconds in which the worst lateness is not forgotten: a machine that swaps does so in bursts."""
MOST = 6.0
"""Seconds of slack at most, or a machine that crawls would never notice that another is gone."""


class Awareness:
    """The worst lateness of the last MEMORY seconds."""

    def __init__(self) -> None:
        self._worst = 0.0
        self._at = float("-inf")

    def late(self, seconds: float, now: float) -> None:
        """A tick came so many seconds after it was due."""
        if seconds >= self._worst or now - self._at > MEMORY:
            self._worst, self._at = seconds, now

    def slack(self, now: float) -> float:
        """Seconds by which silences of others may be longer than usual."""
        if self._worst <= TICK_NOISE or now - self._at > MEMORY:
            return 0.0
        return min(MOST, MULTIPLE * self._worst)
