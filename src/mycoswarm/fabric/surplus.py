"""How much of what a roster is told it keeps.

Everything that has effect is kept: what counts (`authority.judge`), and what it names as the last that counts. Each of
these has a room of its own, the recovery key, the founder, all other keepers, and their removals, so that no room of a
senior one can be filled by a junior. Rooms for what has effect overflow only by the deeds of keepers in office, and
such rosters are refused as a whole: what counts is never dropped. As soon as a removal or demotion of such a keeper is
merged in, what it said beyond the named `last` has no effect any more, and is surplus.

The surplus, farewells and rotations of members among it, is told by everybody, also by machines that were removed and
by thieves of old keys; it may not close the roster to the others. So it is never refused but cut, by a rule that knows
no order of arrival: of each signer's the first word, then of each the second, and so on, until the room is full. First
its words about its own end (its farewell of the latest term, its rotations) with what they hang on, then the others by
number and hash. Nodes that were let in by words that count come before those that were not. So whoever floods the room
displaces his own words only, and the few that an honest machine has are always there. Of rotations of one key no more
than two stay: two already void each other.

What a cut leaves is a set that fits, and cutting it again changes nothing. While nobody's authority changes, cutting
is exact: what is displaced in one set is displaced in each that holds it, so merging stays associative. Where a merge
changes it (gives effect to words that were cut elsewhere, or cuts a keeper's own end), the way may matter for surplus:
everybody who goes on meeting comes to one set, but words that nobody holds any more are gone.

What remains possible: a keeper in office, or a thief with its key, can fill the keepers' room, and the removals' room
with removals, and tell two halves of a swarm so much that they cannot merge; until the founder or the recovery key
removes or demotes it, which heals that. A founder in office can fill the founder's room: the recovery key's is left.
"""

from collections.abc import Iterable, Mapping

from mycoswarm.core.errors import InvalidRequest
from mycoswarm.core.ids import NodeId
from mycoswarm.fabric import statements
from mycoswarm.fabric.authority import Authority, sole_rotations
from mycoswarm.fabric.statements import (
    FOUNDER_ROOM,
    KEEPERS_ROOM,
    MAX_ROTATIONS,
    RECOVERY_ROOM,
    REMOVALS_ROOM,
    SURPLUS_ROOM,
    Admitted,
    Demoted,
    Founded,
    Left,
    Promoted,
    Removed,
    Rotated,
    Statement,
    Supports,
    fitting,
    founding,
    successor_of,
)


def cut(said: Mapping[str, Statement], authority: Authority) -> dict[str, Statement]:
    """Those of `said`, a set that fits, that are kept; `said` itself where there is room for all."""
    spare = _extra_rotations(said)
    effective = _effective(said, authority)
    surplus: dict[NodeId, list[str]] = {}
    for key, one in said.items():
        if key not in effective and key not in spare:
            surplus.setdefault(one.signer, []).append(key)
    dropped = set(spare)
    if sum(map(len, surplus.values())) > SURPLUS_ROOM:
        known = _known(said, authority)
        queue: list[tuple[bool, int, NodeId, str]] = []
        for signer, keys in surplus.items():
            first = _own_ends(said, keys)
            ordered = sorted((key not in first, said[key].seq, key) for key in keys)
            queue.extend((signer not in known, place, signer, key) for place, (_, _, key) in enumerate(ordered))
        dropped.update(key for *_, key in sorted(queue)[SURPLUS_ROOM:])
    if not dropped:
        return dict(said)
    kept = fitting({key: one for key, one in said.items() if key not in dropped})
    # Words that rest on each other in so long a row are nobody's honest ones, and not worth the work.
    return {key: said[key] for key in effective - dropped} if kept is None else kept


def check_room(said: Mapping[str, Statement], authority: Authority) -> None:
    """Raises InvalidRequest where more has effect than there is room for."""
    recovery, founder, keepers, removals = occupied(said, authority)
    if (
        recovery > RECOVERY_ROOM
        or founder > FOUNDER_ROOM
        or keepers > KEEPERS_ROOM
        or keepers + removals > KEEPERS_ROOM + REMOVALS_ROOM
        or len(said) > statements.MAX_STATEMENTS
    ):
        raise InvalidRequest(
            f"the roster holds more than there is room for: {len(said)} changes",
            "if a machine floods it, the founder's machine or `mycoswarm keeper recover` can remove it",
        )


def occupied(said: Mapping[str, Statement], authority: Authority) -> tuple[int, int, int, int]:
    """What has effect, by room: the recovery key's, the founder's, other keepers', their removals and demotions."""
    founders = _founders(said)
    recovery = founder = keepers = removals = 0
    for key in _effective(said, authority):
        one = said[key]
        if one.signer == authority.recovery:
            recovery += 1
        elif one.signer in founders:
            founder += 1
        elif isinstance(one, Removed | Demoted):
            removals += 1
        else:
            keepers += 1
    return recovery, founder, keepers, removals


def _effective(said: Mapping[str, Statement], authority: Authority) -> set[str]:
    """What counts, what that names, and what these cannot do without."""
    wanted = [key for key, one in said.items() if isinstance(one, Founded)]
    for key in authority.relied:
        wanted.append(key)
        match said[key]:
            case Removed(last=other) | Demoted(last=other) | Promoted(after=other) if other in said:
                wanted.append(other)
            case _:
                pass
    supports = Supports(said)
    found: set[str] = set()
    while wanted:
        key = wanted.pop()
        if key not in found:
            found.add(key)
            wanted.extend(supports.of(said[key]))
    return found


def _with_past(said: Mapping[str, Statement], keys: Iterable[str]) -> set[str]:
    """These and all that they hang on."""
    found: set[str] = set()
    for key in keys:
        while key and key not in found:
            found.add(key)
            key = said[key].prev
    return found


def _founders(said: Mapping[str, Statement]) -> set[NodeId]:
    """The founder's keys, one after the other."""
    rotations = sole_rotations(said)
    node = founding(said.values()).signer
    found: set[NodeId] = set()
    while node not in found:
        found.add(node)
        rotated = said.get(rotations.get(node, ""))
        if isinstance(rotated, Rotated):
            node = successor_of(rotated)
    return found


def _known(said: Mapping[str, Statement], authority: Authority) -> set[NodeId]:
    """Who was let in by words that count, and who took over from such a one."""
    rotations = sole_rotations(said)
    layer = _founders(said)
    for key in authority.counting:
        one = said[key]
        if isinstance(one, Admitted):
            layer.add(one.node)
    found: set[NodeId] = set()
    for _ in range(MAX_ROTATIONS + 1):
        found |= layer
        heirs = (said[rotations[node]] for node in layer if node in rotations)
        layer = {successor_of(one) for one in heirs if isinstance(one, Rotated)} - found
    return found


def _own_ends(said: Mapping[str, Statement], keys: Iterable[str]) -> set[str]:
    """Of one signer's statements its farewell of the latest term and its rotations, with what these hang on."""
    left: tuple[int, int, str] | None = None
    ends: list[str] = []
    for key in keys:
        one = said[key]
        if isinstance(one, Rotated):
            ends.append(key)
        elif isinstance(one, Left):
            mine = (-one.term, one.seq, key)
            left = mine if left is None else min(left, mine)
    return _with_past(said, ends if left is None else [*ends, left[2]])


def _extra_rotations(said: Mapping[str, Statement]) -> set[str]:
    """Those beyond the first two of one key, by number and hash."""
    rotations: dict[NodeId, list[tuple[int, str]]] = {}
    for key, one in said.items():
        if isinstance(one, Rotated):
            rotations.setdefault(one.signer, []).append((one.seq, key))
    return {key for mine in rotations.values() for _, key in sorted(mine)[2:]}
