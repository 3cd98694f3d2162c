"""[io] The way into a swarm and out of it: by a code, an open door, or words on two screens; and moving over.

Both ends of the exchanges are in `joining`; what the new roster means for this node is in `trust`. Here is where the
other side is looked for, when this node may leave where it is, and in which order all of it happens.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from mycoswarm.core.clock import Clock
from mycoswarm.core.errors import Busy, InvalidRequest, MycoError, NotFound, PeerLost, Refused, WrongCode
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.core.views import Comparing, Joined
from mycoswarm.fabric import codes, membership
from mycoswarm.fabric.addresses import with_port
from mycoswarm.fabric.identity import Identity
from mycoswarm.fabric.joining import Applicant, Comparison, Let, Tries, join_at, worst
from mycoswarm.fabric.mdns import SOLO, Announcement
from mycoswarm.fabric.pairing import swarm_hash
from mycoswarm.fabric.reach import Reach
from mycoswarm.fabric.store import Store
from mycoswarm.fabric.trust import Trust

_log = logging.getLogger(__name__)

FIND = 5.0
"""Seconds in which an inviting node must have been heard of."""
SETTLE = 0.5
"""Seconds in which a second swarm may be heard of after the first, before the only one is taken for the one meant."""
RETRY_FIRST, RETRY_LATE = 2.0, 30.0
"""Seconds between tries of a headless join."""
ASK_EVERY = 1.0
"""Seconds between questions to the keeper whether its owner has confirmed the words."""
MAX_COMPARISONS = 4
"""Attempts to be let in by comparing that are remembered, for whoever asks how they went."""


class Departure(msgspec.Struct, frozen=True):
    """How a leave went. swarm: its name. told: of the `members` other ones, those that have taken note.

    Where some are told the rest hear it from them; where none is, the swarm goes on trusting this node.
    """

    swarm: str
    told: int
    members: int


@dataclass(frozen=True)
class Around:
    """What joining needs of the rest of the fabric.

    seen: announcements of others. peers: addresses that the owner configured. port: of the peer API; 0 where this node
    takes no connections. hint: where a member may be.
    """

    seen: Callable[[], tuple[Announcement, ...]]
    peers: Callable[[], tuple[str, ...]]
    port: Callable[[], int]
    hint: Callable[[membership.AddressHint], None]


@dataclass(frozen=True)
class _Where:
    """A node that may let this one in. swarm: how the hash of its swarm must begin; empty where anything goes."""

    addresses: tuple[str, ...]
    swarm: str = ""


class Entry:
    """How this node comes into a swarm, and leaves it. name: of it, for people."""

    def __init__(
        self,
        identity: Identity,
        name: str,
        store: Store,
        trust: Trust,
        reach: Reach,
        around: Around,
        tasks: TaskGroup,
        clock: Clock,
    ) -> None:
        self._identity = identity
        self._name = name
        self._store = store
        self._trust = trust
        self._reach = reach
        self._around = around
        self._tasks = tasks
        self._clock = clock
        self._comparisons: dict[str, _Ongoing] = {}
        self.last_departure: Departure | None = None

    async def join(self, code: str, address: str | None, move: bool, swarm: str = "") -> Joined:
        """Become a member by somebody's code, or by an open invitation where `code` is empty.

        Args:
            address: HOST[:PORT] of the inviting node.
            move: leave the present swarm for it, once the new one has let this node in.
            swarm: which open one, as it is announced (or how that begins).

        Raises:
            InvalidRequest: no code could look so, or several swarms have an open invitation.
            WrongCode: with the tries that are left in `data`. NotFound: no inviting node is there.
            Refused: a member already (without `move`), or needed where it is, or the code has ended.
        """
        parsed = codes.parse(code) if code else codes.OPEN
        typed = self._typed(address)
        async with self._trust.turn:
            self._may_join(move)
            if parsed.kind == "open":
                where = self._only(typed, lambda seen: codes.OPEN_SLOT in seen.slots, swarm)
            else:
                where = self._inviting(parsed, typed)
            return await self._let_in(await self._join(parsed, where), move)

    async def _join(self, code: codes.Code, where: AsyncGenerator[_Where, None]) -> Let:
        problems: list[MycoError] = []
        tries = Tries(set(), code.tries)
        async with aclosing(where):
            async for place in where:
                applicant = self._applicant(place.swarm)
                for one in place.addresses:
                    try:
                        return await join_at(one, self._reach.is_typed(one), code, applicant, tries)
                    except PeerLost as problem:
                        problems.append(problem)
                    except MycoError as problem:
                        problems.append(problem)
                        break
        if problems:
            raise worst(problems)
        if code.kind == "open":
            raise NotFound(
                "no open invitation is near",
                "`mycoswarm invite --open 10m` on a keeper makes one, `mycoswarm invite` a code; where multicast is "
                "blocked name that machine with --peer HOST",
            )
        raise NotFound(
            "no node with this invitation was found",
            "is it on the same network, and the code still open? Where multicast is blocked, name it: "
            "`mycoswarm join CODE --peer HOST`",
        )

    async def headless_join(self, code: str) -> None:
        """Join by `code` as soon as its inviting node can be found; a code that was used once is never used again.

        Raises:
            InvalidRequest, WrongCode, Refused: trying again is of no use.
        """
        digest = hashlib.sha256(codes.parse(code).text.encode()).hexdigest()
        if self._store.used_code() == digest:
            return
        wait = RETRY_FIRST
        # The owner may join or found a swarm by hand in the meantime.
        while self._trust.roster is None:
            try:
                answer = await self.join(code, None, move=False)
            except (InvalidRequest, WrongCode, Refused):
                raise
            except MycoError as problem:
                _log.info("not joined yet: %s", problem.message)
                await asyncio.sleep(wait)
                wait = min(RETRY_LATE, wait * 2)
            else:
                self._store.keep_used_code(digest)
                _log.info("joined “%s”", answer.swarm.name)
                return

    async def compare(self, address: str | None, swarm: str, move: bool) -> Comparing:
        """Ask a keeper to be let in by words that both screens show.

        Args:
            address: HOST[:PORT] of a keeper. swarm: which one where several are near, as they are announced.
            move: leave the present swarm for it, once the new one has let this node in.

        Raises:
            InvalidRequest: several swarms are near. NotFound: none is. Busy: too many ask there already.
            Refused: no keeper answers; a member already (without `move`), or needed where it is.
        """
        typed = self._typed(address)
        self._may_join(move)
        problems: list[MycoError] = []
        where = self._only(typed, lambda seen: seen.swarm != SOLO, swarm)
        async with aclosing(where):
            async for place in where:
                for one in place.addresses:
                    comparison = Comparison(one, self._reach.is_typed(one), self._applicant(place.swarm))
                    try:
                        await comparison.begin(self._clock.monotonic())
                    except PeerLost as problem:
                        problems.append(problem)
                    except MycoError as problem:
                        # Whatever it says: the announcement may be anybody's, and must not end the search.
                        problems.append(problem)
                        break
                    else:
                        return self._compare(comparison, move)
        if problems:
            raise worst(problems)
        raise NotFound("no swarm is near", "where multicast is blocked name a keeper: `mycoswarm join --peer HOST`")

    def comparing(self, run: str) -> Comparing:
        """How it stands with one attempt. Raises NotFound."""
        asker, now = self._ongoing(run).comparison.asker, self._clock.monotonic()
        asker.look(now)
        return asker.view(now)

    async def compared(self, run: str, same: bool) -> Comparing:
        """What this node's owner says of the words. Raises NotFound."""
        ongoing = self._ongoing(run)
        ongoing.comparison.asker.say(same)
        ongoing.said.set()
        return ongoing.comparison.asker.view(self._clock.monotonic())

    def _compare(self, comparison: Comparison, move: bool) -> Comparing:
        self._abandon()
        asker = comparison.asker
        while len(self._comparisons) >= MAX_COMPARISONS:
            del self._comparisons[next(iter(self._comparisons))]
        ongoing = self._comparisons[asker.run] = _Ongoing(comparison, asyncio.Event())
        self._tasks.start(self._follow(ongoing, move), "join by comparing words")
        return asker.view(self._clock.monotonic())

    def _abandon(self) -> None:
        """One at a time: nobody can compare two lists of words at once."""
        for ongoing in self._comparisons.values():
            ongoing.comparison.asker.end("ended", "another attempt was begun")
            ongoing.said.set()

    def _ongoing(self, run: str) -> "_Ongoing":
        ongoing = self._comparisons.get(run)
        if ongoing is None:
            raise NotFound("this attempt to join is not known any more", "start it again")
        return ongoing

    async def _follow(self, ongoing: "_Ongoing", move: bool) -> None:
        """Ask the keeper until it is decided; the owner's word goes out at once."""
        comparison, asker = ongoing.comparison, ongoing.comparison.asker
        # Also once more after the end where the owner's no has not been told yet.
        while asker.state == "waiting" or ongoing.said.is_set():
            try:
                async with asyncio.timeout(ASK_EVERY):
                    await ongoing.said.wait()
            except TimeoutError:
                pass
            ongoing.said.clear()
            try:
                let = await comparison.ask()
                if let is not None:
                    async with self._trust.turn:
                        asker.end("joined", joined=await self._let_in(let, move))
            except (PeerLost, Busy) as problem:
                _log.info("the keeper does not answer now: %s", problem.message)
            except MycoError as problem:
                asker.end("refused", problem.message)
            asker.look(self._clock.monotonic())

    def _present(self) -> str:
        held = self._trust.roster
        return swarm_hash(held.swarm) if held is not None else ""

    def _applicant(self, wanted: str) -> Applicant:
        return Applicant(self._identity, self._name, self._around.port(), self._present(), wanted)

    def _typed(self, address: str | None) -> str | None:
        typed = with_port(address) if address else None
        if typed is not None:
            self._reach.typed(typed)
        return typed

    # Where the other side is.

    async def _inviting(self, code: codes.Code, address: str | None) -> AsyncGenerator[_Where, None]:
        """Nodes that may have given out `code`, as they are heard of."""
        if address is not None:
            yield _Where((address,))
            return
        tried: set[tuple[str, ...]] = set()
        deadline = self._clock.monotonic() + FIND
        while not tried and self._clock.monotonic() < deadline:
            announced = [seen.addresses for seen in self._around.seen() if code.slot in seen.slots]
            for addresses in announced + [(peer,) for peer in self._around.peers()]:
                if addresses not in tried:
                    tried.add(addresses)
                    yield _Where(addresses)
            if not tried:
                await asyncio.sleep(0.2)

    async def _only(
        self, address: str | None, wanted: Callable[[Announcement], bool], swarm: str
    ) -> AsyncGenerator[_Where, None]:
        """Wanted nodes of the one other swarm that is near (its hash begins so).

        Raises:
            InvalidRequest: there are several.
        """
        if address is not None:
            yield _Where((address,), swarm)
            return
        present = self._present()
        deadline = self._clock.monotonic() + FIND
        settled = False
        while True:
            found: dict[str, list[tuple[str, ...]]] = {}
            for seen in self._around.seen():
                if seen.swarm != present and seen.swarm.startswith(swarm) and wanted(seen):
                    found.setdefault(seen.swarm, []).append(seen.addresses)
            if (found and settled) or self._clock.monotonic() >= deadline:
                break
            # Those that the owner configured are asked where nobody is heard; a network may carry no multicast.
            settled = bool(found)
            await asyncio.sleep(SETTLE)
        if len(found) > 1:
            choices = ", ".join(f"{one} (at {nodes[0][0]})" for one, nodes in sorted(found.items()))
            raise InvalidRequest(
                f"several swarms are near: {choices}", "name a machine of the one that you mean: --peer HOST"
            )
        for one, nodes in found.items():
            for addresses in nodes:
                yield _Where(addresses, one)
        if not found:
            for peer in self._around.peers():
                yield _Where((peer,), swarm)

    # Coming and going.

    def _may_join(self, move: bool) -> None:
        """Raises Refused where this node belongs to a swarm that it is not to leave, or must not."""
        held = self._trust.roster
        if held is None:
            return
        others = len(held.members()) - 1
        company = "in which it is alone" if not others else f"with {others} other machine{'s' if others > 1 else ''}"
        if not move:
            raise Refused(
                f"this machine belongs to “{held.name}”, {company}",
                "`mycoswarm join CODE --move` takes it out of there and into the other one",
            )
        if others and held.keepers() == (self._identity.id,):
            raise Refused(
                f"this machine is the only keeper of “{held.name}”: without it nobody could be let in there any more",
                "make another one first: `mycoswarm keeper add NODE`",
            )

    async def _let_in(self, let: Let, move: bool) -> Joined:
        self._may_join(move)
        former = self._trust.roster
        if former is None:
            await self._trust.take(let.roster)
        else:
            told = await self._trust.move(let.roster)
            self.last_departure = Departure(former.name, told, len(former.members()) - 1)
            self._warn(self.last_departure)
        inviter = let.roster.node_of(let.inviter)
        if inviter is not None:
            self._around.hint(membership.AddressHint(inviter, let.address))
        for node, addresses in let.welcome.addresses.items():
            for address in addresses:
                self._around.hint(membership.AddressHint(node, address))
        swarm = self._trust.swarm
        assert swarm is not None
        return Joined(swarm, former.name if former is not None else "")

    async def leave(self, force: bool) -> Departure:
        """Leave the swarm and forget it. The members that are up hear of it first.

        Raises:
            Refused: solo; or the only keeper while others belong to it (unless `force`).
        """
        async with self._trust.turn:
            held = self._trust.roster
            if held is None:
                raise Refused("this node belongs to no swarm", "`mycoswarm join CODE` joins one")
            if held.keepers() == (self._identity.id,) and len(held.members()) > 1 and not force:
                raise Refused(
                    "this node is the swarm's only keeper: without it nobody could be let in any more",
                    "make another one first (`mycoswarm keeper add NODE`), or let the other machines leave before it",
                )
            told = await self._trust.leave()
            self.last_departure = Departure(held.name, told, len(held.members()) - 1)
            self._warn(self.last_departure)
        return self.last_departure

    def _warn(self, departure: Departure) -> None:
        if departure.members and not departure.told:
            _log.warning(
                "none of the other %d members of “%s” could be told that this node has left: they go on trusting it",
                departure.members,
                departure.swarm,
            )


@dataclass(frozen=True)
class _Ongoing:
    """said: set as soon as the owner has said something that the keeper does not know."""

    comparison: Comparison
    said: asyncio.Event
