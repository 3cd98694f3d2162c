"""Who may stand at the peer port before it is known who he is. Connections and `now` in, decisions out.

    accepted ──▶ waiting ──▶ shaking hands ──▶ stranger ──▶ gone
                                    └─────────▶ member: not the doorway's business any more

A connection is a *guest* until it has proven to be a member's. Guests are few, whoever comes: each takes a descriptor
and, from the handshake on, some 100 KB. A handshake costs milliseconds of the one thread that also serves the members,
so they begin at a bounded pace. Both are shared out by source address, so that a flood from some addresses displaces
and delays itself and not the one machine that has just been given a code. Addresses from which a member has proven
itself go first, at a pace of their own, and are shown out last.
"""

from collections import deque
from typing import Literal

from mycoswarm.fabric.allowance import Allowance

MAX_GUESTS = 128
"""Connections of unknown callers at one time: more than the members of a whole swarm that call a node just started.
Too high and a flood costs memory (some 100 KB each), too low and machines that join at one time displace each other."""
PACE, BURST = 50.0, 128.0
"""Handshakes with unknown addresses per second, and at once. At 3 ms each a flood takes 15 % of one core."""
MEMBERS_PACE, MEMBERS_BURST = 200.0, 256.0
"""The same for addresses where members are. Each of their parallel requests opens a connection of its own at first."""
MAX_KNOWN = 1024
"""Addresses of members remembered: some for each of 64, for years of DHCP."""

Step = Literal["waiting", "started"]


class Guest:
    """One connection of an unknown caller. known: a member has proven itself from this address before."""

    __slots__ = ("known", "source", "step")

    def __init__(self, source: str, known: bool) -> None:
        self.source = source
        self.known = known
        self.step: Step = "waiting"


class _Queue:
    """Waiting guests, served in turn by source."""

    def __init__(self) -> None:
        self._by_source: dict[str, deque[Guest]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_source)

    def add(self, guest: Guest) -> None:
        self._by_source.setdefault(guest.source, deque()).append(guest)

    def next(self) -> Guest:
        source, guests = next(iter(self._by_source.items()))
        guest = guests.popleft()
        # Behind all others, so that each source has its turn.
        del self._by_source[source]
        if guests:
            self._by_source[source] = guests
        return guest

    def remove(self, guest: Guest) -> None:
        guests = self._by_source[guest.source]
        guests.remove(guest)
        if not guests:
            del self._by_source[guest.source]


class Doorway:
    """The guests of one port."""

    def __init__(self, now: float, capacity: int = MAX_GUESTS) -> None:
        self._capacity = capacity
        self._guests: dict[str, dict[Guest, None]] = {}
        self._count = 0
        self._known: dict[str, None] = {}
        self._waiting = {known: _Queue() for known in (True, False)}
        self._allowances = {
            True: Allowance(MEMBERS_PACE, MEMBERS_BURST, now),
            False: Allowance(PACE, BURST, now),
        }

    def __len__(self) -> int:
        return self._count

    def enter(self, source: str) -> tuple[Guest, Guest | None]:
        """A connection from `source` was accepted. Returns it, and whom to show out because there is no room.

        That one has left already as far as the doorway is concerned.
        """
        shown_out = self.show_out() if self._count >= self._capacity else None
        guest = Guest(source, source in self._known)
        self._guests.setdefault(source, {})[guest] = None
        self._count += 1
        self._waiting[guest.known].add(guest)
        return guest, shown_out

    def show_out(self) -> Guest | None:
        """Whom to do without first: the oldest guest of the busiest source, members' addresses last."""
        if not self._guests:
            return None
        # Of equally busy sources the one that has been here longest: a flood from countless addresses ages quickly.
        busiest = max(self._guests, key=lambda source: (source not in self._known, len(self._guests[source])))
        oldest = next(iter(self._guests[busiest]))
        self.leave(oldest)
        return oldest

    def leave(self, guest: Guest) -> None:
        """It has gone, or has proven to be a member's. Nothing for one that has left already."""
        mine = self._guests.get(guest.source)
        if mine is None or guest not in mine:
            return
        del mine[guest]
        if not mine:
            del self._guests[guest.source]
        self._count -= 1
        if guest.step == "waiting":
            self._waiting[guest.known].remove(guest)

    def member_at(self, source: str) -> None:
        """A member has proven itself from this address."""
        self._known.pop(source, None)
        self._known[source] = None
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]

    def start(self, now: float) -> list[Guest]:
        """Those whose handshake may begin now."""
        starting: list[Guest] = []
        for known, queue in self._waiting.items():
            while queue and self._allowances[known].take(now):
                guest = queue.next()
                guest.step = "started"
                starting.append(guest)
        return starting

    def wait(self) -> float | None:
        """Seconds from the last `start` until the next is of use; None where nobody waits."""
        return min((self._allowances[known].wait() for known, queue in self._waiting.items() if queue), default=None)
