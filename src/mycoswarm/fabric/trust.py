"""[io] The roster in force on this node, and the one order in which another one takes its place.

    disk ─▶ TLS contexts ─▶ connections of those who are out ─▶ membership ─▶ announcement

The disk comes first, so that a crash never leaves a node trusting less or more than it says it does (only who is out is
out even where that cannot be written); the announcement last, because it invites others to act on all the rest.
Whatever changes the roster (an admission, a removal, a member's news) comes through here, and takes `turn` where it
decides by the roster that it found.

A keeper asks the other keepers for their news before it signs, so that two of them rarely act without knowing of each
other; the outcome would be one all the same (`authority`). What it has signed is brought to all who are up at once.

A new key goes a way of its own (`rotate`), since its node ends and another begins: first the key is on disk beside the
old one, then in this node's roster, then the members hear of it, then it takes the old one's place. A crash before the
second step leaves the old node, one after it the new one, as `own_identity` finds at the next start; whom the news has
not reached by then hears it from `succession`.
"""

import asyncio
import contextlib
import logging
import secrets
import ssl
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mycoswarm.core.errors import InvalidRequest, MycoError, NotFound, Refused
from mycoswarm.core.health import Problem
from mycoswarm.core.ids import NodeId, SwarmId, short
from mycoswarm.core.node import SwarmInfo
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.core.views import Expelled, Rotated
from mycoswarm.fabric import membership, recovery, roster, tls
from mycoswarm.fabric.files import keep
from mycoswarm.fabric.identity import Identity, adopt_next, drop_next, load_or_create, pending_next, prepare_next
from mycoswarm.fabric.roster import Roster
from mycoswarm.fabric.store import Store
from mycoswarm.fabric.transport import PeerTransport
from mycoswarm.fabric.wire import ROSTER_PATH
from mycoswarm.telemetry.health import Health

_log = logging.getLogger(__name__)

PATIENCE = 1.0
"""Seconds that a member has to take news, or to tell its own, before an act goes on without it."""
PARTING = 0.3
"""Seconds in which a removed node may hear that it is one. It is cut off then, whatever it does with them."""
NEARLY_FULL = 0.9
"""Of a roster's room, from which on the owner is told."""


@dataclass(frozen=True)
class Effects:
    """What a new roster takes effect on, besides the disk and TLS; and whom news of it reaches.

    cut: break the connections of callers whose certificate (DER) does not pass. tell: membership.
    gone_solo: say goodbye, and end what was promised in the swarm's name. announce: the network.
    up: the other members that are reached now.
    """

    cut: Callable[[Callable[[bytes], bool]], None]
    tell: Callable[[membership.MembersChanged], None]
    gone_solo: Callable[[], None]
    announce: Callable[[], Coroutine[Any, Any, None]]
    up: Callable[[], tuple[NodeId, ...]]


def own_identity(state: Path, store: Store) -> Identity:
    """This node's identity, made at the first start. A change of key that a crash interrupted is finished or undone.

    Raises:
        Fixable: a file is damaged or can be read by others.
    """
    new = pending_next(state)
    if new is not None:
        held = store.roster()
        if held is not None and new.id in held.members():
            adopt_next(state)
        else:
            drop_next(state)
    return load_or_create(state)


class Trust:
    """Whom this node trusts. `load`, then the rest.

    Args:
        name: of this node, for people.
        context: the peer port's, which lets in who is trusted here.
    """

    def __init__(
        self,
        identity: Identity,
        name: str,
        store: Store,
        context: ssl.SSLContext,
        transport: PeerTransport,
        effects: Effects,
        tasks: TaskGroup,
        health: Health,
    ) -> None:
        self._identity = identity
        self._name = name
        self._store = store
        self._context = context
        self._transport = transport
        self._effects = effects
        self._tasks = tasks
        self._health = health
        self._roster: Roster | None = None
        self._leaving = False
        self._signed: Roster | None = None
        """What this node has signed and not yet put in force: news are judged together with it."""
        self._replaced = False
        """Another key has taken this one's place: the roster on disk is the new node's, and news are for it."""
        self.removed_from = ""
        """Name of the swarm that has removed this node; empty where none has, or it has joined another since."""
        # Founding, joining and leaving take their time, and each decides by the roster that it finds at first.
        self.turn = asyncio.Lock()

    @property
    def roster(self) -> Roster | None:
        """The one in force; None while this node is solo."""
        return self._roster

    def load(self) -> None:
        """Take up the roster of the last run. Raises Fixable for a damaged or newer one."""
        held = self._store.roster()
        if held is None:
            self.removed_from = self._store.removed_from(self._identity.id)
        elif self._identity.id not in held.members():
            # Whose key was taken away was never in it: he is a new node, and nobody has removed him.
            self.removed_from = held.name if self._identity.id in held.removed() else ""
        else:
            self._roster = held
            for member in held.members().values():
                tls.trust(self._context, member.certificate)
            self._forget_removal()
        if self._roster is None or len(self._roster.members()) > 1:
            self._forget_phrase()

    # What is asked of it on every request.

    def caller(self, certificate: bytes) -> NodeId | None:
        """The member with exactly this certificate (DER)."""
        return self._roster.node_of(certificate) if self._roster is not None else None

    def certificate(self, node: NodeId) -> bytes | None:
        """DER; None for who is no member."""
        member = self._roster.members().get(node) if self._roster is not None else None
        return member.certificate if member is not None else None

    def called(self, node: NodeId) -> str:
        """What people call it."""
        member = self._roster.members().get(node) if self._roster is not None else None
        return member.name if member is not None else short(node)

    def written(self) -> bytes:
        """The roster as members are given it."""
        # Only members get so far, and there are members only where there is a roster.
        return self._roster.encode() if self._roster is not None else b"{}"

    @property
    def swarm(self) -> SwarmInfo | None:
        """The swarm this node belongs to, None while it is solo."""
        held = self._roster
        if held is None:
            return None
        founded_here = roster.founder_of(held.swarm) == self._identity.id
        return SwarmInfo(held.swarm, held.name, len(held.members()), held.keepers(), founded_here)

    def problems(self) -> tuple[Problem, ...]:
        """What the owner should know of the swarm's trust."""
        found: list[Problem] = []
        if self.removed_from:
            found.append(
                Problem(
                    "removed",
                    "error",
                    f"this machine was removed from '{self.removed_from}'",
                    "to come back as a new machine: mycoswarm leave --purge --keep-models, then mycoswarm up and join",
                )
            )
        held = self._roster
        if held is None:
            return tuple(found)
        members, keepers = held.members(), held.keepers()
        found.extend(
            Problem(
                "forked-log",
                "warning",
                f"{self.called(node)} has signed two different histories of the swarm",
                "was it restored from a backup? If not, somebody has its key: `mycoswarm remove` takes it out",
            )
            for node in held.forked()
            # Of who is out the owner need not hear for ever.
            if node in members
        )
        if not keepers:
            found.append(
                Problem(
                    "no-keeper",
                    "error",
                    f"'{held.name}' has no keeper any more, so nobody can be let in or removed",
                    "`mycoswarm keeper recover` with the recovery phrase makes this machine one",
                )
            )
        elif len(members) > 1 and len(keepers) == 1:
            only = "this machine" if keepers[0] == self._identity.id else self.called(keepers[0])
            found.append(
                Problem(
                    "one-keeper",
                    "warning",
                    f"{only} is the swarm's only keeper",
                    "`mycoswarm keeper add NODE` makes another one, so that its loss does not close the swarm",
                )
            )
        if held.fullness() > NEARLY_FULL:
            found.append(
                Problem(
                    "roster-full",
                    "warning",
                    f"the roster of '{held.name}' holds {len(held)} changes; {held.fullness():.0%} of its room is full",
                    "once it is full nobody can be let in: found a new swarm before, and let the machines join it",
                )
            )
        return tuple(found)

    # How it changes.

    async def take(self, new: Roster) -> None:
        """Make `new` the roster in force."""
        if self._replaced:
            return
        if self._identity.id not in new.members():
            self.removed_from = new.name
            keep(
                "that this machine was removed is not remembered",
                lambda: self._store.keep_removed_from(self._identity.id, new.name),
            )
            await self.go_solo()
            return
        known = self._roster.members() if self._roster is not None else {}
        try:
            self._store.keep_roster(new)
        except MycoError as problem:
            if known.keys() <= new.members().keys():
                raise
            # A full disk must not be what keeps somebody in who was put out; it is written with the next change.
            _log.error("a removal holds until the next start only, for it cannot be written: %s", problem.message)
        self._roster = new
        self._forget_removal()
        if len(new.members()) > 1:
            self._forget_phrase()
        for node, member in new.members().items():
            if node not in known or known[node].certificate != member.certificate:
                tls.trust(self._context, member.certificate)
        await self._cut_strangers(set(known))
        self.tell_membership()
        await self._effects.announce()

    def _must_be_current(self) -> None:
        """Raises Refused where another key has taken this one's place: its words would fork its log."""
        if self._replaced:
            raise Refused("this machine has just taken a new key", "ask again in a moment, when it has started with it")

    async def go_solo(self) -> None:
        """Belong to no swarm any more, and forget the one that there was."""
        self._store.keep_roster(None)
        await self._part()

    async def leave(self) -> int:
        """Say farewell and go solo; how many of the members have taken note. Raises Refused where this node is solo."""
        self._must_be_current()
        self._leaving = True
        try:
            told = await self._say_farewell()
            await self.go_solo()
        finally:
            self._leaving = False
        return told

    async def move(self, new: Roster) -> int:
        """Leave the swarm for another, which has let this node in; how many of the former one have taken note."""
        self._must_be_current()
        # From here on a crash finds this node where it is wanted; a disk that is full leaves it where it was.
        self._store.keep_roster(new)
        self._leaving = True
        try:
            told = await self._say_farewell()
            await self._part()
        finally:
            self._leaving = False
        await self.take(new)
        return told

    async def _part(self) -> None:
        known = set(self._roster.members()) if self._roster is not None else set[NodeId]()
        keep("the addresses of former members are not forgotten", lambda: self._store.keep_addresses({}))
        self._forget_phrase()
        self._roster = None
        self._effects.gone_solo()
        self.tell_membership()
        await self._cut_strangers(known)
        await self._effects.announce()

    async def found(self, name: str) -> str:
        """Found a swarm called `name` (its node's, where empty) as its only member and keeper; its recovery phrase."""
        swarm = SwarmId(f"{self._identity.id}-{secrets.token_hex(10)}")
        called = name or f"{self._name}'s swarm"
        phrase = recovery.new_phrase()
        key = await asyncio.to_thread(recovery.key_of, phrase)
        # Before the swarm is there: the phrase cannot be made again, and its answer may get lost.
        self._store.keep_phrase(phrase)
        mine = self._identity
        await self.take(roster.found(swarm, called, mine.certificate, self._name, mine.sign, key.public))
        return phrase

    def phrase(self) -> str:
        """The recovery phrase of a swarm that no other machine has joined yet; "" from then on."""
        return self._store.phrase()

    def _forget_phrase(self) -> None:
        keep("the recovery phrase is not destroyed", lambda: self._store.keep_phrase(""))

    def _forget_removal(self) -> None:
        self.removed_from = ""
        keep("a former removal is not forgotten", self._store.forget_removal)

    def admit(self, certificate: bytes, name: str) -> Roster:
        """Let a machine in, and return the roster that it is to be given. Raises Refused, InvalidRequest."""
        self._must_be_current()
        held = self._said()
        if held is None or self._leaving:
            raise Refused("this node has left the swarm of the invitation")
        new = held.admit(certificate, name, self._identity.id, self._identity.sign)
        # On disk and in TLS before the answer leaves: the newcomer connects as soon as it has it.
        self._store.keep_roster(new)
        self._roster = new
        self._forget_phrase()
        tls.trust(self._context, certificate)
        self.tell_membership()
        self._tasks.start(self._effects.announce(), "announce")
        return new

    async def merge(self, data: bytes) -> None:
        """Take in what a member's roster says beyond ours. Raises InvalidRequest, Refused where it does not verify."""
        # Members that have heard our farewell send it back; it must not be taken for a removal by somebody else.
        if self._roster is None or self._leaving or self._replaced:
            return
        mine = self._said() or self._roster
        merged = mine.merge(roster.decode(data, mine))
        if merged.digest != self._roster.digest:
            await self.take(merged)

    def _said(self) -> Roster | None:
        """The roster in force, and with it what this node has signed besides: its next word follows on that."""
        if self._roster is None or self._signed is None:
            return self._roster
        return self._roster.merge(self._signed)

    async def take_news(self, member: NodeId, data: bytes) -> None:
        """Take in what a member brings. Raises InvalidRequest, Refused where it does not verify, and counts that."""
        called = self.called(member)
        try:
            await self.merge(data)
        except (InvalidRequest, Refused):
            self._health.count("mycoswarm_rosters_refused_total", source=called)
            raise

    async def pull(self, node: NodeId) -> None:
        """Take in what a member's roster says beyond ours, by asking it."""
        try:
            data = await self._transport.request(node, "GET", ROSTER_PATH)
            await self.take_news(node, data)
        except MycoError as problem:
            _log.warning("the roster of %s was not taken: %s", self.called(node), problem.message)

    async def remove(self, node: NodeId) -> Expelled:
        """Take a member out for ever. Raises Refused, naming who may; NotFound."""
        async with self.turn:
            held = await self._newest()
            member = held.members().get(node)
            if member is None:
                raise NotFound(f"{short(node)} is no member of '{held.name}'", "`mycoswarm nodes` shows who is")
            new = held.remove(node, self._identity.id, self._identity.sign)
            told = await self._enact(new)
            return Expelled(node, member.name, told, len(new.members()) - 1)

    async def add_keeper(self, node: NodeId) -> SwarmInfo:
        """Let a member sign, too. Raises Refused, naming who may."""
        return await self._alter(lambda held: held.promote(node, self._identity.id, self._identity.sign))

    async def remove_keeper(self, node: NodeId) -> SwarmInfo:
        """Make a keeper (or this node itself) an ordinary member. Raises Refused, naming who may."""
        return await self._alter(lambda held: held.demote(node, self._identity.id, self._identity.sign))

    async def recover(self, phrase: str, without: tuple[NodeId, ...]) -> SwarmInfo:
        """Make this node a keeper by the recovery phrase, and take `without` out for ever.

        Raises:
            InvalidRequest: a word is none of any phrase. Refused: it is another swarm's, or this node has no swarm.
        """
        key = await asyncio.to_thread(recovery.key_of, phrase)
        return await self._alter(lambda held: held.recover(self._identity.id, without, key.id, key.sign))

    async def rotate(self) -> Rotated:
        """Give this machine a new key, and tell the swarm. When this returns the key on disk is the new one.

        This object still is the old node, whom nobody trusts any more: close it, and start the new one.

        Raises:
            Refused: this node has no swarm, reaches no other member, or has done it too often.
            DiskFull, NotWritable: nothing has changed.
        """
        async with self.turn:
            held = await self._newest()
            if len(held.members()) > 1 and not self._effects.up():
                # Who does not know of the new key refuses it, and so could never be told of it by it.
                raise Refused(
                    "no other member is reached now, so none would learn of the new key",
                    "`mycoswarm nodes` shows when one is up again",
                )
            state = self._identity.key_file.parent
            try:
                new = prepare_next(state)
                rotated = held.rotate(self._identity.id, self._identity.sign, new.certificate, new.sign)
                self._store.keep_roster(rotated)
            except MycoError:
                drop_next(state)
                raise
            self._replaced = True
            await self._bring_to(self._effects.up(), rotated.encode(), PATIENCE)
            adopt_next(state)
            return Rotated(self._identity.id, new.id)

    async def _alter(self, change: Callable[[Roster], Roster]) -> SwarmInfo:
        async with self.turn:
            held = await self._newest()
            new = change(held)
            if new is not held:
                await self._enact(new)
            swarm = self.swarm
            assert swarm is not None
            return swarm

    async def _newest(self) -> Roster:
        """The roster, with the news of the keepers that are up. Raises Refused where this node is solo."""
        self._must_be_current()
        if self._roster is not None:
            keepers = set(self._roster.keepers()).intersection(self._effects.up())
            await asyncio.gather(*(self._ask(keeper) for keeper in keepers))
        if self._roster is None:
            raise Refused("this node belongs to no swarm", "`mycoswarm join CODE` joins one")
        return self._roster

    async def _ask(self, keeper: NodeId) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.pull(keeper), PATIENCE)

    async def _enact(self, new: Roster) -> int:
        """Put in force what this node has signed, and tell everybody; how many members have it within PATIENCE."""
        assert self._roster is not None
        data = new.encode()
        out = self._roster.members().keys() - new.members().keys()
        # What is signed is on disk before anybody hears of it: signed twice, it would be two histories.
        self._store.keep_roster(new)
        self._signed = new
        try:
            # While they are still reached: a machine that is put out should know why nobody speaks to it any more.
            await self._bring_to(out.intersection(self._effects.up()), data, PARTING)
        finally:
            self._signed = None
        if self._roster is None:
            raise Refused("this machine was itself removed from the swarm at the same time", "join it again")
        await self.take(self._roster.merge(new))
        return await self._bring_to(self._effects.up(), data, PATIENCE)

    async def _bring_to(self, nodes: Iterable[NodeId], data: bytes, patience: float) -> int:
        """Bring a roster to members; how many have taken it within `patience` seconds."""
        return sum(await asyncio.gather(*(self._brought(node, data, patience) for node in nodes)))

    async def _brought(self, node: NodeId, data: bytes, patience: float) -> bool:
        try:
            await self._transport.request(node, "POST", ROSTER_PATH, data, timeout=patience)
        except MycoError as problem:
            _log.info("%s has not taken the news yet: %s", self.called(node), problem.message)
            return False
        return True

    async def _say_farewell(self) -> int:
        """Tell the members that are up that this node leaves; how many of them have taken note."""
        held = self._roster
        if held is None:
            raise Refused("this node belongs to no swarm", "`mycoswarm join CODE` joins one")
        try:
            farewell = held.leave(self._identity.id, self._identity.sign).encode()
        except InvalidRequest as problem:
            # No room for it. Nobody is to be kept in a swarm by that, nor between two of them.
            _log.warning("the farewell to '%s' cannot be said: %s", held.name, problem.message)
            return 0
        return sum(await asyncio.gather(*(self._bring(node, farewell) for node in self._effects.up())))

    async def _bring(self, node: NodeId, farewell: bytes) -> bool:
        """Tell a member that this node has left. Returns whether it has taken note."""
        # Its reading the news is what breaks this connection, so an answer is not to be expected.
        with contextlib.suppress(MycoError):
            await self._transport.request(node, "POST", ROSTER_PATH, farewell, timeout=1.0)
        # Who has taken note refuses this node from then on; whatever else happens proves nothing.
        try:
            await self._transport.request(node, "GET", ROSTER_PATH, timeout=1.0)
        except Refused:
            return True
        except MycoError as problem:
            _log.info("%s may not know that this node leaves: %s", self.called(node), problem.message)
        return False

    def tell_membership(self) -> None:
        """Who belongs to the swarm now."""
        held = self._roster
        if held is None:
            self._effects.tell(membership.MembersChanged((), frozenset(), ""))
            return
        members = tuple(membership.Member(one.id, one.name) for one in held.members().values())
        self._effects.tell(membership.MembersChanged(members, held.removed(), held.digest, held.causes()))

    async def _cut_strangers(self, known: set[NodeId]) -> None:
        for node in known:
            if self.certificate(node) is None:
                await self._transport.forget(node)
        self._effects.cut(lambda certificate: self.caller(certificate) is not None)
