"""How much of what strangers multicast is read at all. Pure: `now` comes with every packet.

Anybody on the network may send to the group of multicast DNS, under any sender address. Reading a packet costs a tenth
of a millisecond and a place in caches, so there is an allowance for each sender, which one machine that floods uses up
for itself, and one for all together, which bounds what a flood with made-up senders costs. What is not about us is not
read: printers and television sets fill no cache here.
"""

from typing import Literal

import msgspec

LABEL = b"_mycoswarm"
"""In every packet that concerns us, uncompressed at its first mention."""
MAX_PACKET = 9000
MAX_RECORDS = 64
"""In one response; a node's own has about ten."""
RECORDS_FOR_ONE = 8
"""Records that cost as much as one packet."""
SENDER_RATE, SENDER_BURST = 30.0, 200.0
"""Packets a second. A node that starts in a swarm of 64 hears some 20 of each in its first seconds."""
ALL_RATE, ALL_BURST = 300.0, 2000.0
MAX_SENDERS = 256
"""Senders that have an allowance of their own; the one that has been silent for longest makes room."""

Verdict = Literal["read", "foreign", "size", "rate"]


class Allowance(msgspec.Struct):
    """A token bucket: `rate` a second, saved up to `burst`."""

    rate: float
    burst: float
    left: float
    at: float

    def take(self, cost: float, now: float) -> bool:
        """Whether `cost` may be spent now."""
        self.left = min(self.burst, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left < cost:
            return False
        self.left -= cost
        return True


class Flood:
    """Judges the packets of one multicast group."""

    def __init__(self, now: float) -> None:
        self._all = Allowance(ALL_RATE, ALL_BURST, ALL_BURST, now)
        self._senders: dict[str, Allowance] = {}

    def judge(self, data: bytes, sender: str, now: float) -> Verdict:
        """What to do with a packet. sender: its address without port."""
        if len(data) < 12 or LABEL not in data:
            return "foreign"
        answers = int.from_bytes(data[6:8], "big")
        records = sum(int.from_bytes(data[at : at + 2], "big") for at in (4, 6, 8, 10))
        # A query may list the answers that are known already, in a swarm of 64 that many; they are stored nowhere.
        is_response = bool(data[2] & 0x80)
        if len(data) > MAX_PACKET or (is_response and max(answers, records) > MAX_RECORDS):
            return "size"
        allowance = self._senders.pop(sender, None)
        if allowance is None:
            allowance = Allowance(SENDER_RATE, SENDER_BURST, SENDER_BURST, now)
            if len(self._senders) >= MAX_SENDERS:
                del self._senders[next(iter(self._senders))]
        self._senders[sender] = allowance
        cost = max(1.0, records / RECORDS_FOR_ONE) if is_response else 1.0
        return "read" if allowance.take(cost, now) and self._all.take(cost, now) else "rate"
