"""How much of what strangers multicast is read at all. Pure: `now` comes with every packet.

Anybody on the network may send to the group of multicast DNS, under any sender address. Reading a packet costs a tenth
of a millisecond and a place in caches, so there is an allowance for each sender, which one machine that floods uses up
for itself, and one for all together, which bounds what a flood with made-up senders costs. What is not about us is not
read: printers and television sets fill no cache here.
"""

from typing import Literal

from mycoswarm.fabric.allowance import FairAllowance

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


class Flood:
    """Judges the packets of one multicast group."""

    def __init__(self, now: float) -> None:
        self._senders = FairAllowance((SENDER_RATE, SENDER_BURST), (ALL_RATE, ALL_BURST), now, MAX_SENDERS)

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
        cost = max(1.0, records / RECORDS_FOR_ONE) if is_response else 1.0
        return "read" if self._senders.take(sender, now, cost) else "rate"
