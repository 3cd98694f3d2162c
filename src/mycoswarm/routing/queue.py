"""The executor's queue for one model: who is admitted, who waits, for how long. Pure: tickets in, tickets out.

Interactive tickets go before batch; a batch ticket that has waited AGEING seconds counts as interactive, so a busy
household cannot starve it.
"""

from dataclasses import dataclass, field

from mycoswarm.core.chat import Priority

AGEING = 60.0
"""Seconds. Much lower and batch work is felt by people; much higher and a night's work may not move at all."""

SMOOTHING = 0.2
"""Weight of the newest service time; higher follows a change of load sooner and one odd answer too much."""


@dataclass
class _Waiting:
    ticket: int
    priority: Priority
    since: float


@dataclass
class Queue:
    """slots: answers written at once. limit: tickets that may wait before newcomers are turned away."""

    slots: int
    limit: int = 512
    service: float = 0.0
    _running: dict[int, float] = field(default_factory=dict[int, float])
    _waiting: list[_Waiting] = field(default_factory=list[_Waiting])
    _next: int = 0

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        return len(self._waiting) >= self.limit

    def arrive(self, priority: Priority, now: float) -> tuple[int, bool]:
        """A new ticket, and whether it may run at once. The caller has looked at `full`."""
        ticket = self._next
        self._next += 1
        if len(self._running) < self.slots and not self._waiting:
            self._running[ticket] = now
            return ticket, True
        self._waiting.append(_Waiting(ticket, priority, now))
        return ticket, False

    def leave(self, ticket: int, now: float, *, completed: bool = True) -> list[int]:
        """`ticket` has ended or given up; the tickets that may run from now on.

        Args:
            completed: its answer came to its end. Failures and early leavers teach nothing about the time one takes.
        """
        started = self._running.pop(ticket, None)
        if started is not None and completed:
            took = now - started
            self.service = took if self.service == 0.0 else self.service + SMOOTHING * (took - self.service)
        self._waiting = [one for one in self._waiting if one.ticket != ticket]
        admitted: list[int] = []
        while self._waiting and len(self._running) < self.slots:
            head = min(self._waiting, key=lambda one: self._rank(one, now))
            self._waiting.remove(head)
            self._running[head.ticket] = now
            admitted.append(head.ticket)
        return admitted

    def position(self, ticket: int, now: float) -> int:
        """How many waiting tickets go before this one; 0 for the next, and for one that runs."""
        own = next((one for one in self._waiting if one.ticket == ticket), None)
        if own is None:
            return 0
        return sum(self._rank(one, now) < self._rank(own, now) for one in self._waiting)

    def wait(self, ahead: int | None = None) -> float:
        """Seconds until a slot is free for a ticket with `ahead` others before it; None: for one that came now."""
        before = self.waiting if ahead is None else ahead
        if self.running < self.slots and before == 0:
            return 0.0
        return (before + 1) * self.service / self.slots

    def _rank(self, one: _Waiting, now: float) -> tuple[int, int]:
        aged = now - one.since >= AGEING
        return (0 if one.priority == "interactive" or aged else 1, one.ticket)
