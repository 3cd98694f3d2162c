"""[io] What the fabric keeps on disk: the roster, addresses that worked, how often this node was started.

roster.json      must be right: a damaged or newer one stops the start with a clear error and is left untouched
addresses.json   a cache: a damaged one is as good as none
incarnation      a count of starts; the wall clock may be wrong, and a record must outrank those of earlier starts
recovery-phrase  secret; only while the swarm is this node alone, so that its owner can be shown it again
removed          which node was removed by which swarm, whose roster is gone by then
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mycoswarm.core.errors import Fixable, InvalidRequest
from mycoswarm.core.ids import NodeId
from mycoswarm.fabric import roster
from mycoswarm.fabric.files import read_private, remove, write_private
from mycoswarm.fabric.roster import Roster

_log = logging.getLogger(__name__)
_Addresses = dict[NodeId, tuple[str, ...]]


class Store:
    """The files in one state directory."""

    def __init__(self, state: Path) -> None:
        self._roster = state / "roster.json"
        self._addresses = state / "addresses.json"
        self._incarnation = state / "incarnation"
        self._invitations = state / "invitations.json"
        self._used_code = state / "joined"
        self._phrase = state / "recovery-phrase"
        self._removed = state / "removed"

    def roster(self) -> Roster | None:
        """The roster, None while this node is solo. Raises Fixable for a damaged or newer one."""
        data = read_private(self._roster)
        if data is None:
            return None
        try:
            return roster.decode(data)
        except InvalidRequest as problem:
            raise Fixable(
                f"the roster in {self._roster} cannot be used: {problem.message}",
                problem.hint or "bring it back from a backup, or remove it to start outside the swarm and join again",
            ) from problem

    def keep_roster(self, kept: Roster | None) -> None:
        """Write it, or forget it."""
        if kept is None:
            remove(self._roster)
        else:
            write_private(self._roster, kept.encode())

    def addresses(self) -> _Addresses:
        data = read_private(self._addresses)
        if data is None:
            return {}
        try:
            return msgspec.json.decode(data, type=_Addresses)
        except msgspec.DecodeError:
            _log.warning("%s is damaged; starting without remembered addresses", self._addresses)
            return {}

    def keep_addresses(self, addresses: Mapping[NodeId, tuple[str, ...]]) -> None:
        write_private(self._addresses, msgspec.json.encode(dict(addresses)))

    def next_incarnation(self) -> int:
        """One more than at the last start."""
        data = read_private(self._incarnation)
        last = int(data) if data is not None and data.strip().isdigit() else 0
        self.keep_incarnation(last + 1)
        return last + 1

    def keep_incarnation(self, incarnation: int) -> None:
        write_private(self._incarnation, b"%d\n" % incarnation)

    def invitations(self) -> bytes | None:
        """The open headless invitations, as `keep_invitations` was given them."""
        return read_private(self._invitations)

    def keep_invitations(self, data: bytes | None) -> None:
        """A headless code lives for a day, longer than many a node runs."""
        if data is None:
            remove(self._invitations)
        else:
            write_private(self._invitations, data)

    def phrase(self) -> str:
        """The recovery phrase, while it is kept."""
        return (read_private(self._phrase) or b"").decode("ascii", "replace").strip()

    def keep_phrase(self, phrase: str) -> None:
        """Write it, or destroy it where it is empty."""
        if phrase:
            write_private(self._phrase, phrase.encode() + b"\n")
        else:
            remove(self._phrase)

    def removed_from(self, node: NodeId) -> str:
        """Name of the swarm that has removed this node; empty where none has, or it was another one's key."""
        who, _, swarm = (read_private(self._removed) or b"").decode("utf-8", "replace").strip().partition(" ")
        return swarm if who == node else ""

    def keep_removed_from(self, node: NodeId, swarm: str) -> None:
        """For the next start: the roster that says so is gone by then."""
        write_private(self._removed, f"{node} {swarm}\n".encode())

    def forget_removal(self) -> None:
        """This node belongs to a swarm."""
        remove(self._removed)

    def used_code(self) -> str:
        """Hash of the last headless code by which this node joined."""
        return (read_private(self._used_code) or b"").decode("ascii", "replace").strip()

    def keep_used_code(self, digest: str) -> None:
        """A code in a file or variable is still there after it was used, and must not bring back who has left."""
        write_private(self._used_code, digest.encode() + b"\n")
