"""[io] The two ends of joining: the codes that this node has given out, and the way in by somebody else's."""

import logging
from collections.abc import Collection
from typing import TypeVar

import msgspec

from mycoswarm.core.clock import Clock
from mycoswarm.core.errors import InvalidRequest, MycoError, NotFound, PeerLost, WrongCode
from mycoswarm.core.ids import SwarmId
from mycoswarm.fabric import codes, roster
from mycoswarm.fabric.codes import Code
from mycoswarm.fabric.identity import Identity, certified_id
from mycoswarm.fabric.pairing import Admit, Inviter, Joiner, swarm_hash
from mycoswarm.fabric.roster import Roster
from mycoswarm.fabric.store import Store
from mycoswarm.fabric.transport import JoinChannel
from mycoswarm.fabric.wire import (
    JOIN_FINISH_PATH,
    JOIN_START_PATH,
    Introduction,
    JoinFinish,
    JoinOffer,
    JoinStart,
    JoinWelcome,
    Welcome,
)

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class _Kept(msgspec.Struct, frozen=True):
    """expires: seconds since 1970, by this machine's clock: a restart has no other."""

    code: str
    expires: float
    swarm: SwarmId


class Invitations:
    """The codes of this node, by slot. admit: lets a machine in that has proven itself."""

    def __init__(self, identity: Identity, store: Store, clock: Clock, admit: Admit) -> None:
        self._identity = identity
        self._store = store
        self._clock = clock
        self._admit = admit
        self._open: dict[int, Inviter] = {}

    def restore(self, swarm: SwarmId) -> None:
        """Take up the headless codes of an earlier start."""
        data = self._store.invitations()
        if data is None:
            return
        try:
            kept = msgspec.json.decode(data, type=tuple[_Kept, ...])
        except msgspec.DecodeError:
            _log.warning("the kept invitations are damaged; make new ones with `mycoswarm invite --headless`")
            return
        now, wall = self._clock.monotonic(), self._clock.wall()
        for one in kept:
            life = min(one.expires - wall, codes.HEADLESS_LIFE)
            if one.swarm == swarm and life > 0:
                code = codes.parse(one.code)
                self._open[code.slot] = Inviter(code, self._identity.certificate, swarm, now, life)

    def invite(self, swarm: SwarmId, headless: bool, taken: Collection[int]) -> Code:
        """A new code. taken: slots that others announce."""
        self._tidy()
        code = codes.new_headless() if headless else codes.new_spoken({*taken, *self._open})
        self._open[code.slot] = Inviter(code, self._identity.certificate, swarm, self._clock.monotonic())
        if headless:
            self._keep()
        return code

    def slots(self) -> tuple[int, ...]:
        """Those whose codes can still let somebody in."""
        now = self._clock.monotonic()
        return tuple(sorted(slot for slot, inviter in self._open.items() if inviter.open(now)))

    def start(self, message: JoinStart) -> JoinOffer:
        inviter = self._open.get(message.slot)
        if inviter is None:
            number = f" with the number {message.slot}" if message.slot <= codes.MAX_SPOKEN_SLOT else ""
            raise NotFound(
                f"this node has no open invitation{number}", "`mycoswarm invite` on a member of the swarm makes one"
            )
        return inviter.offer(message, self._clock.monotonic())

    def finish(self, message: JoinFinish) -> JoinWelcome:
        inviter = next((one for one in self._open.values() if one.holds(message.run)), None)
        if inviter is None:
            raise NotFound("this attempt to join is not known any more", "start it again")
        used = inviter.used
        answer = inviter.welcome(message, self._clock.monotonic(), self._admit)
        if inviter.code.headless and not used:
            self._keep()
        return answer

    def clear(self) -> None:
        """End all codes."""
        self._open.clear()
        self._store.keep_invitations(None)

    def _tidy(self) -> None:
        now = self._clock.monotonic()
        self._open = {slot: inviter for slot, inviter in self._open.items() if not inviter.finished(now)}

    def _keep(self) -> None:
        now, wall = self._clock.monotonic(), self._clock.wall()
        kept = [
            _Kept(inviter.code.text, wall + inviter.expires - now, inviter.swarm)
            for inviter in self._open.values()
            if inviter.code.headless and inviter.open(now)
        ]
        self._store.keep_invitations(msgspec.json.encode(kept) if kept else None)


class Let(msgspec.Struct, frozen=True):
    """What joining has brought. address: at which the inviting node was."""

    roster: Roster
    welcome: Welcome
    inviter: bytes
    address: str


async def join_at(address: str, typed: bool, code: Code, identity: Identity, introduction: Introduction) -> Let:
    """Join by the node at HOST:PORT. Raises WrongCode, Refused, NotFound, PeerLost, InvalidRequest.

    Args:
        typed: the owner named the address; else only one of the local network is dialled.
    """
    channel = JoinChannel(address, typed)
    joiner = Joiner(code, identity.certificate)
    offer = _decode(await channel.post(JOIN_START_PATH, msgspec.json.encode(joiner.start())), JoinOffer)
    finish = msgspec.json.encode(joiner.finish(offer, introduction))
    channel.pin(offer.certificate, certified_id(offer.certificate))
    try:
        answer = await channel.post(JOIN_FINISH_PATH, finish)
    except PeerLost:
        # The code may be used up by now; the inviting node repeats its answer to the same message for a while.
        answer = await channel.post(JOIN_FINISH_PATH, finish)
    welcome = joiner.welcome(_decode(answer, JoinWelcome))
    given = roster.decode(welcome.roster)
    if swarm_hash(given.swarm) != offer.swarm or identity.id not in given.members():
        raise WrongCode("the inviting node sent a roster that does not fit", "`mycoswarm invite` there, and try again")
    return Let(given, welcome, offer.certificate, address)


def worst(problems: list[MycoError]) -> MycoError:
    """Of several failures the one that tells most: somebody's answer rather than nobody's."""
    return min(problems, key=lambda one: (isinstance(one, PeerLost), isinstance(one, NotFound)))


def _decode(data: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as problem:
        raise InvalidRequest(
            "the inviting node's answer is not one of joining", "run the same version of mycoswarm on both"
        ) from problem
