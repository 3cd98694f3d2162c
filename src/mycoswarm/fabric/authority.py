"""Whose words count: who is a keeper by which right, and which statements that leaves with effect.

A pure function of the set of statements, so that everybody who holds the same ones comes to the same end, whatever
order they came in.

A node has power by an *appointment*: the recovery key and the founder by birth, others by a keeper's promotion, a new
key by the rotation of an old one. Appointments have a **seniority**: the recovery key first, then all whose
appointments go back to it, then the founder, then all whose appointments go back to him; among these the shorter chain
of promotions is the senior one, and of equally long ones that which was said earlier; a new key takes the old one's
place.

A statement counts under an appointment of its signer when it follows what the appointment says that it follows, and no
**end** of the signer's time lies before it: a removal or demotion (the statements up to its `last` count), its own
farewell, resignation or rotation (those up to it). Ends are named by hash, so that nothing can be back-dated and no
branch forged behind them; where there are several, all must be satisfied. A promotion lifts the ends that it names, but
never a removal or rotation.

Which removals and demotions count is settled first, in one pass over the appointments, the most senior first: they
count unless they lie beyond an end that a more senior one (or the signer itself) has set. Once accepted they stand: so
where two keepers remove each other the senior one's word stands. A junior's end to a senior's time takes what the
senior said beyond it except his removals, and is ignored where it would take the junior's own appointment away. Then,
with all ends settled, a second pass finds the appointments that count and everything said under them.

Of two rotations of one key neither gives a successor: only one of them can be by its owner.
"""

import heapq
from collections.abc import Iterator, Mapping

import msgspec

from mycoswarm.core.ids import NodeId
from mycoswarm.fabric.statements import (
    Admitted,
    Demoted,
    Founded,
    Left,
    Line,
    Promoted,
    Removed,
    Rotated,
    Span,
    Statement,
    founding,
    recovery_id,
    successor_of,
)

MAX_PATH = 32
"""Appointments in a chain; a longer one gives no power. Bounds the work, and nobody's household has so many keepers."""

Rank = tuple[int, int, tuple[tuple[int, str], ...], int]
"""Seniority, the most senior lowest: 0 below the recovery key and 1 below the founder, promotions in the path, the path
(sequence number and hash of each promotion), and keys that the machine had since the last of them."""


class End(msgspec.Struct, frozen=True):
    """said: hash of the statement that ends a node's time. last: of the node's last one that counts, "" for none."""

    said: str
    last: str
    final: bool


class Appointment(msgspec.Struct, frozen=True):
    """The right by which `keeper` speaks. by: the appointment under which `said` (its hash) gave it; None by birth.

    after, lifts: as in `Promoted`.
    """

    keeper: NodeId
    rank: Rank
    by: "Appointment | None" = None
    said: str = ""
    after: str = ""
    lifts: frozenset[str] = frozenset()


class Authority(msgspec.Struct, frozen=True):
    """keepers: those whose time goes on, most senior first; the recovery key, whose time never ends, is not among them.

    counting: hashes of the statements that count as a keeper's. removed: each with the last of its statements that
    count, by every removal. relied: those on which this outcome rests, besides what nodes say to end their own time:
    what counts, and the removals and demotions that were accepted with all that gave the right to say them.
    """

    recovery: NodeId | None
    keepers: tuple[NodeId, ...]
    counting: frozenset[str]
    removed: Mapping[NodeId, tuple[str, ...]]
    relied: frozenset[str]


def sole_rotations(said: Mapping[str, Statement]) -> dict[NodeId, str]:
    """By old node, the hash of its rotation, where there is only one."""
    rotations: dict[NodeId, list[str]] = {}
    for key, one in said.items():
        if isinstance(one, Rotated):
            rotations.setdefault(one.signer, []).append(key)
    return {node: keys[0] for node, keys in rotations.items() if len(keys) == 1}


def judge(said: Mapping[str, Statement], line: Line) -> Authority:
    """Whose words of `said`, a set that fits (`statements.check_set`), count."""
    return _Court(said, line).judge()


class _Court:
    """The two passes, and what they share."""

    def __init__(self, said: Mapping[str, Statement], line: Line) -> None:
        self._said = said
        self._line = line
        self._rotations = frozenset(sole_rotations(said).values())
        self._by_signer: dict[NodeId, list[str]] = {}
        self._ends: dict[NodeId, list[End]] = {}
        # What an end was accepted by may itself fall later, to a junior's word; the end stands, so it must stay known.
        self._relied: set[str] = set()
        # By identity: the appointment itself is in the value, so that no other one can take its number.
        self._spans: dict[int, tuple[Appointment, int, Span]] = {}
        begun = founding(said.values())
        self._founder = begun.signer
        self._recovery = recovery_id(begun.recovery) if begun.recovery else None
        for key, one in said.items():
            match one:
                case Left():
                    self._end(one.signer, End(key, key, False))
                case Rotated():
                    self._end(one.signer, End(key, key, True))
                    self._by_signer.setdefault(one.signer, []).append(key)
                case Demoted() if one.node == one.signer:
                    self._end(one.signer, End(key, key, False))
                case Admitted() | Removed() | Promoted() | Demoted():
                    self._by_signer.setdefault(one.signer, []).append(key)
                case Founded():
                    pass

    def judge(self) -> Authority:
        removals: dict[NodeId, list[str]] = {}
        self._walk(removals)
        appointments, counting = self._walk(None)
        keepers: list[NodeId] = []
        for appointment in appointments:
            if (
                appointment.keeper != self._recovery
                and appointment.keeper not in keepers
                and self._goes_on(appointment)
            ):
                keepers.append(appointment.keeper)
        removed = {node: tuple(lasts) for node, lasts in removals.items()}
        return Authority(
            self._recovery, tuple(keepers), frozenset(counting), removed, frozenset(counting | self._relied)
        )

    def _walk(self, removals: dict[NodeId, list[str]] | None) -> tuple[list[Appointment], set[str]]:
        """Every appointment that holds, most senior first, and what counts under them.

        removals: the first pass: gathers the removals that count, and lets ends take effect as they are accepted.
        """
        held: list[Appointment] = []
        by_keeper: dict[NodeId, list[Appointment]] = {}
        counting: set[str] = set()
        judged: set[str] = set()
        given: set[str] = set()
        ahead: list[tuple[Rank, Appointment]] = []
        if self._recovery is not None:
            heapq.heappush(ahead, ((0, 0, (), 0), Appointment(self._recovery, (0, 0, (), 0))))
        heapq.heappush(ahead, ((1, 0, (), 0), Appointment(self._founder, (1, 0, (), 0))))
        while ahead:
            _, now = heapq.heappop(ahead)
            if not self._holds(now):
                # Another right of the same keeper may still carry what this one no longer does.
                for other in by_keeper.get(now.by.keeper, ()) if now.by is not None else ():
                    if self._holds(other) and self._counts(now.said, other):
                        again = self._appointed(now.said, other)
                        heapq.heappush(ahead, (again.rank, again))
                        break
                else:
                    given.discard(now.said)
                continue
            held.append(now)
            by_keeper.setdefault(now.keeper, []).append(now)
            under = [key for key in self._by_signer.get(now.keeper, ()) if self._counts(key, now)]
            counting.update(under)
            for key in under:
                one = self._said[key]
                if removals is not None and key not in judged and isinstance(one, Removed | Demoted):
                    judged.add(key)
                    if not self._undermines(one, now):
                        self._end(one.node, End(key, one.last, isinstance(one, Removed)))
                        self._relied.update((key, *_steps(now)))
                        if isinstance(one, Removed):
                            removals.setdefault(one.node, []).append(one.last)
                appoints = isinstance(one, Promoted) or key in self._rotations
                if appoints and key not in given and now.rank[1] + now.rank[3] < MAX_PATH:
                    given.add(key)
                    made = self._appointed(key, now)
                    heapq.heappush(ahead, (made.rank, made))
        return held, counting

    def _end(self, node: NodeId, end: End) -> None:
        self._ends.setdefault(node, []).append(end)

    def _appointed(self, key: str, by: Appointment) -> Appointment:
        """What the promotion or rotation `key`, said under `by`, makes of its subject."""
        one = self._said[key]
        below, length, path, keys = by.rank
        if isinstance(one, Promoted):
            rank = (below, length + 1, (*path, (one.seq, key)), 0)
            return Appointment(one.node, rank, by, key, one.after, frozenset(one.lifts))
        assert isinstance(one, Rotated)
        # The machine stays what it is, so a new key is as senior as the old one was.
        return Appointment(successor_of(one), (below, length, path, keys + 1), by, key)

    def _holds(self, appointment: Appointment) -> bool:
        """Whether each step of its chain counts, by the ends accepted so far."""
        while (by := appointment.by) is not None:
            if not self._counts(appointment.said, by):
                return False
            appointment = by
        return True

    def _counts(self, key: str, under: Appointment) -> bool:
        """Whether a statement of the appointment's keeper counts under it, by the ends accepted so far."""
        return self._line.after(key, under.after) and self._line.reaches(key, self._span(under))

    def _span(self, under: Appointment) -> Span:
        """The last words that the appointment's keeper had. Kept, so that a keeper's many statements cost little."""
        ends = self._ends.get(under.keeper, ())
        kept = self._spans.get(id(under))
        if kept is None or kept[1] != len(ends):
            lasts = [end.last for end in ends if end.final or end.said not in under.lifts]
            kept = self._spans[id(under)] = (under, len(ends), self._line.span(lasts))
        return kept[2]

    def _undermines(self, one: Removed | Demoted, under: Appointment) -> bool:
        """Whether its effect would be to take away the right by which it was said."""
        step = under
        while (by := step.by) is not None:
            if by.keeper == one.node and not self._line.up_to(step.said, one.last):
                return True
            step = by
        return False

    def _goes_on(self, appointment: Appointment) -> bool:
        ends = self._ends.get(appointment.keeper, ())
        return not any(end.final or end.said not in appointment.lifts for end in ends)


def _steps(appointment: Appointment) -> Iterator[str]:
    """The promotions and rotations that gave it."""
    while appointment.by is not None:
        yield appointment.said
        appointment = appointment.by
