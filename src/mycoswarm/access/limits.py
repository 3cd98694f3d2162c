"""How much a key may ask, and how often somebody may be wrong. Pure: `now` comes with each question."""

from mycoswarm.access.keys import Key
from mycoswarm.core.errors import Busy
from mycoswarm.fabric.allowance import Allowance, FairAllowance

WRONG_EACH = 0.1, 10.0
"""Wrong keys from one address: per second, and at once. A program with an old key tries a few times and gives up."""
WRONG_TOGETHER = 5.0, 100.0
"""From all addresses together."""
SLOT_WAIT = 2.0
"""Seconds after which a caller may try again when all answers of his key are under way."""


class Limits:
    """What each key has asked lately and is being answered now."""

    def __init__(self, now: float) -> None:
        self._rates: dict[str, tuple[int, Allowance]] = {}
        self._answers: dict[str, int] = {}
        self._wrong = FairAllowance(WRONG_EACH, WRONG_TOGETHER, now)

    def request(self, key: Key, now: float) -> None:
        """One more request. Raises Busy where the key has had its share of this minute."""
        if not key.rate:
            return
        rate, allowance = self._rates.get(key.id, (0, None))
        if allowance is None or rate != key.rate:
            # A minute's worth at once, so that a program which asks in bursts is not held up by the second.
            allowance = Allowance(key.rate / 60.0, float(key.rate), now)
            self._rates[key.id] = (key.rate, allowance)
        if not allowance.take(now):
            raise Busy(
                f"the key {key.name} may ask {key.rate} times a minute",
                "wait a little, or give it a higher --rate",
                retry_after=allowance.wait(),
            )

    def begin(self, key: Key) -> None:
        """One more answer; `end` must follow. Raises Busy where the key has as many as it may."""
        answers = self._answers.get(key.id, 0)
        if key.concurrent and answers >= key.concurrent:
            raise Busy(
                f"the key {key.name} may have {key.concurrent} answers at one time",
                "wait for one to end, or give it a higher --concurrent",
                retry_after=SLOT_WAIT,
            )
        self._answers[key.id] = answers + 1

    def end(self, key: Key) -> None:
        """An answer is over."""
        left = self._answers.pop(key.id, 1) - 1
        if left > 0:
            self._answers[key.id] = left

    def wrong(self, source: str, now: float) -> bool:
        """Somebody at `source` has shown a wrong key. Returns whether he may hear so, rather than to wait."""
        return self._wrong.take(source, now)

    def forget(self, key: Key) -> None:
        """It has been removed."""
        self._rates.pop(key.id, None)
