"""[io] Letting machines into the swarm: invitations given out, strangers answered, words confirmed.

The exchanges are in `pairing` (a code) and `comparing` (words on two screens); what an admission means for this node is
in `trust`. Here is who may let in whom, and what is counted of those who come. The way in elsewhere is `entry`.
"""

import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec

from mycoswarm.core.clock import Clock
from mycoswarm.core.errors import Busy, InvalidRequest, MycoError, NotFound, Refused, WrongCode
from mycoswarm.core.health import Problem
from mycoswarm.core.ids import NodeId
from mycoswarm.core.views import Admitted, Invitation, Waiting
from mycoswarm.fabric import codes, pairing
from mycoswarm.fabric.addresses import joined
from mycoswarm.fabric.comparing import Desk
from mycoswarm.fabric.identity import Identity, certified_id
from mycoswarm.fabric.joining import Invitations
from mycoswarm.fabric.mdns import Announcement, own_addresses
from mycoswarm.fabric.roster import Roster
from mycoswarm.fabric.statements import MAX_NAME
from mycoswarm.fabric.store import Store
from mycoswarm.fabric.trust import Trust
from mycoswarm.fabric.wire import (
    COMPARE_REVEAL_PATH,
    COMPARE_START_PATH,
    COMPARE_WAIT_PATH,
    JOIN_FINISH_PATH,
    JOIN_START_PATH,
    NO_KEEPER,
    CompareReveal,
    CompareStart,
    CompareWait,
    JoinFinish,
    JoinStart,
    Welcome,
    decode_join,
    printable,
)
from mycoswarm.telemetry.health import Health

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Surroundings:
    """What letting others in needs of the rest of the fabric.

    seen: announcements of others. port: of the peer API; 0 where this node takes no connections. addresses: where
    members were reached. announce: this node anew.
    """

    seen: Callable[[], tuple[Announcement, ...]]
    port: Callable[[], int]
    addresses: Callable[[], dict[NodeId, tuple[str, ...]]]
    announce: Callable[[], Coroutine[Any, Any, None]]


class Admission:
    """Who is let in by this node. name: of it, for people."""

    def __init__(
        self,
        identity: Identity,
        name: str,
        store: Store,
        trust: Trust,
        surroundings: Surroundings,
        clock: Clock,
        health: Health,
    ) -> None:
        self._identity = identity
        self._trust = trust
        self._surroundings = surroundings
        self._clock = clock
        self._health = health
        self._invitations = Invitations(identity, store, clock, self._admit)
        self._desk = Desk(identity.certificate, name, lambda newcomer: self._admit(newcomer, "compare"), self._may_come)

    def restore(self) -> None:
        """Take up the headless codes of an earlier start."""
        if (held := self._trust.roster) is not None:
            self._invitations.restore(held.swarm)

    def slots(self) -> tuple[int, ...]:
        """What is announced: the open invitations of this node."""
        return self._invitations.slots()

    def problems(self) -> tuple[Problem, ...]:
        """What the owner should know of those who tried to come in."""
        return self._invitations.problems()

    def clear(self) -> None:
        """End all that was promised in the name of the swarm."""
        self._invitations.clear()
        self._desk.clear()

    async def invite(self, headless: bool, name: str, open_for: float) -> Invitation:
        """A code that lets one machine in, or the door open for a while; founds a swarm where this node is solo.

        Raises:
            Refused: this node is no keeper, or private. InvalidRequest: open for too long, or headless and open.
        """
        if not self._surroundings.port():
            raise Refused(
                "this node takes no connections, so nobody could join by it", "start it with `mycoswarm up` first"
            )
        if open_for and headless:
            raise InvalidRequest("an open invitation has no code that could be a headless one", "leave one of them out")
        # Not `>`: what is no number at all must not be for ever.
        if not 0.0 <= open_for <= codes.MAX_OPEN:
            raise InvalidRequest(
                f"an invitation may be open for at most {codes.MAX_OPEN / 60:.0f} minutes",
                "repeat it when it has ended",
            )
        async with self._trust.turn:
            founded = self._trust.roster is None
            if not founded:
                self._must_be_keeper()
            phrase = await self._trust.found(name) if founded else self._trust.phrase()
            held = self._must_be_keeper()
            if open_for:
                self._invitations.open(held.swarm, open_for)
                text, life = "", open_for
            else:
                taken = {slot for seen in self._surroundings.seen() for slot in seen.slots}
                code = self._invitations.invite(held.swarm, headless, taken)
                text, life = code.text, code.life
            await self._surroundings.announce()
            return Invitation(text, life, held.name, founded, phrase)

    def answer(self, path: str, body: bytes, source: str) -> bytes:
        """A stranger's message of joining. source: the address it came from; attempts that fail are counted with it.

        Raises:
            MycoError: what he is told instead.
        """
        try:
            match path:
                case _ if path == JOIN_START_PATH:
                    said = self._invitations.start(decode_join(body, JoinStart))
                case _ if path == JOIN_FINISH_PATH:
                    said = self._invitations.finish(decode_join(body, JoinFinish), source)
                case _ if path == COMPARE_START_PATH:
                    start = decode_join(body, CompareStart)
                    said = self._desk.offer(start, source, self._must_admit().swarm, self._clock.monotonic())
                case _ if path == COMPARE_REVEAL_PATH:
                    said = self._desk.reveal(decode_join(body, CompareReveal), self._clock.monotonic())
                case _ if path == COMPARE_WAIT_PATH:
                    said = self._desk.wait(decode_join(body, CompareWait), self._clock.monotonic())
                case _:
                    raise NotFound("there is nothing at this address")
        except MycoError as problem:
            # Asking a member that is no keeper is how a machine finds the one that is.
            if NO_KEEPER not in problem.data:
                self._health.count("mycoswarm_joins_refused_total", source, reason=_reason(problem))
            raise
        return msgspec.json.encode(said)

    def waiting(self) -> tuple[Waiting, ...]:
        """Machines that ask to be let in by comparing words, the one that has waited longest first."""
        return self._desk.waiting(self._clock.monotonic())

    async def admit(self, run: str, same: bool) -> Admitted:
        """What this node's owner says of one of them; it is let in once its own owner has said the same.

        Raises:
            NotFound: it does not wait any more. Refused: this node is no keeper.
        """
        async with self._trust.turn:
            if same:
                self._must_be_keeper()
            source = self._desk.source(run)
            answer = self._desk.decide(run, same, self._clock.monotonic())
            if not same:
                # The one trace that a man in the middle of a comparison leaves.
                self._health.count("mycoswarm_joins_refused_total", source, reason="words_differ")
            return answer

    def _admit(self, newcomer: pairing.Joined, way: str) -> Welcome:
        name = printable(newcomer.name, MAX_NAME)
        new = self._trust.admit(newcomer.certificate, name)
        self._health.count("mycoswarm_joins_total", newcomer.source, way=way)
        _log.info("let in “%s” from %s (%s)", name, newcomer.source or "an unknown address", way)
        addresses = self._surroundings.addresses()
        addresses[self._identity.id] = tuple(joined(one, self._surroundings.port()) for one in own_addresses())[:4]
        return Welcome(new.encode(), addresses)

    def _may_come(self, certificate: bytes) -> None:
        self._must_admit().may_come(certified_id(certificate))

    def _must_admit(self) -> Roster:
        """Of one who compares words: what a stranger is told of this node. Raises Refused."""
        held = self._trust.roster
        if held is None:
            raise Refused(
                "this machine belongs to no swarm", "`mycoswarm invite` on it founds one", **{NO_KEEPER: True}
            )
        if self._identity.id not in held.keepers():
            # Without names: who asks has not proven anything yet.
            raise Refused(
                "this machine is a member of the swarm, and only its keepers let others in",
                "ask a keeper, or use a code that `mycoswarm invite` shows there",
                **{NO_KEEPER: True},
            )
        return held

    def _must_be_keeper(self) -> Roster:
        held = self._trust.roster
        if held is None:
            raise Refused("this machine belongs to no swarm", "`mycoswarm invite` founds one")
        held.must_be_keeper(self._identity.id)
        return held


def _reason(problem: MycoError) -> str:
    """Of a refusal, as it is counted."""
    match problem:
        case WrongCode():
            return "wrong_code"
        case InvalidRequest():
            return "malformed"
        case Busy():
            return "busy"
        case NotFound():
            return "unknown"
        case Refused():
            return "ended"
        case _:
            return "failed"
