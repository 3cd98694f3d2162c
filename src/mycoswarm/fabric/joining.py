"""[io] The two ends of joining: what this node has given out and who asks here, and the way in elsewhere."""

import logging
from collections.abc import Callable, Collection

import msgspec

from mycoswarm.core.clock import Clock
from mycoswarm.core.errors import MycoError, NotFound, PeerLost, Refused, WrongCode
from mycoswarm.core.health import Problem
from mycoswarm.core.ids import SwarmId
from mycoswarm.fabric import codes, roster
from mycoswarm.fabric.codes import Code, Kind
from mycoswarm.fabric.comparing import Asker
from mycoswarm.fabric.files import keep
from mycoswarm.fabric.identity import Identity, certified_id
from mycoswarm.fabric.pairing import Inviter, Joined, Joiner, swarm_hash
from mycoswarm.fabric.roster import Roster
from mycoswarm.fabric.store import Store
from mycoswarm.fabric.transport import JoinChannel
from mycoswarm.fabric.wire import (
    COMPARE_REVEAL_PATH,
    COMPARE_START_PATH,
    COMPARE_WAIT_PATH,
    JOIN_FINISH_PATH,
    JOIN_START_PATH,
    NO_KEEPER,
    CompareAnswer,
    CompareOffer,
    CompareReveal,
    JoinFinish,
    JoinOffer,
    JoinStart,
    JoinWelcome,
    Welcome,
    decode_join,
    printable,
)

_log = logging.getLogger(__name__)

OTHER_SWARM = "other_swarm"
"""In the data of a refusal: what is here is not the swarm that is meant."""
TOLD = 3600.0
"""Seconds for which the owner is told of an invitation that was guessed at."""

Admit = Callable[[Joined, Kind], Welcome]
"""Lets a machine in and gives what it is told. May raise any MycoError; the invitation then stays good."""


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
        self._guessed: tuple[float, str] | None = None

    def restore(self, swarm: SwarmId) -> None:
        """Take up the headless codes of an earlier start."""
        data = self._store.invitations()
        if data is None:
            return
        try:
            kept = msgspec.json.decode(data, type=tuple[_Kept, ...])
        except (msgspec.DecodeError, UnicodeError, RecursionError):
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
        self._guessed = None
        code = codes.new_headless() if headless else codes.new_spoken({*taken, *self._open})
        self._open[code.slot] = Inviter(code, self._identity.certificate, swarm, self._clock.monotonic())
        if headless:
            self._keep()
        return code

    def open(self, swarm: SwarmId, seconds: float) -> None:
        """Let in whoever asks, for a while; a second time counts from now. Ends with a restart."""
        self._guessed = None
        now = self._clock.monotonic()
        self._open[codes.OPEN_SLOT] = Inviter(codes.OPEN, self._identity.certificate, swarm, now, seconds)

    def slots(self) -> tuple[int, ...]:
        """Those whose codes can still let somebody in."""
        now = self._clock.monotonic()
        return tuple(sorted(slot for slot, inviter in self._open.items() if inviter.open(now)))

    def start(self, message: JoinStart) -> JoinOffer:
        """Raises NotFound, Refused, InvalidRequest."""
        inviter = self._open.get(message.slot)
        if inviter is None:
            number = f" with the number {message.slot}" if 0 < message.slot <= codes.MAX_SPOKEN_SLOT else ""
            raise NotFound(
                f"this node has no open invitation{number}", "`mycoswarm invite` on a member of the swarm makes one"
            )
        return inviter.offer(message, self._clock.monotonic())

    def finish(self, message: JoinFinish, source: str) -> JoinWelcome:
        """Raises NotFound, Refused, WrongCode. source: the address of who asks."""
        inviter = next((one for one in self._open.values() if one.holds(message.run)), None)
        if inviter is None:
            raise NotFound("this attempt to join is not known any more", "start it again")
        now = self._clock.monotonic()
        try:
            return inviter.welcome(message, now, lambda joined: self._let_in(joined, inviter), source)
        except WrongCode:
            if inviter.tries_left <= 0 and inviter.code.kind == "code":
                self._guessed = (now, source)
            raise

    def _let_in(self, joined: Joined, inviter: Inviter) -> Welcome:
        if inviter.code.kind != "headless":
            return self._admit(joined, inviter.code.kind)
        # A crash after this costs a code; a crash with the code still on disk would let in a second machine by it.
        self._keep(used=inviter)
        try:
            return self._admit(joined, "headless")
        except MycoError:
            keep("a headless code that was not used ends with the next start", self._keep)
            raise

    def problems(self) -> tuple[Problem, ...]:
        """What the owner should know of the codes that were given out."""
        if self._guessed is None or self._clock.monotonic() - self._guessed[0] >= TOLD:
            return ()
        source = self._guessed[1] or "an unknown address"
        return (
            Problem(
                "invitation-guessed",
                "warning",
                f"an invitation ended after three wrong tries, the last from {source}",
                "look who is at that address; `mycoswarm invite` makes a new code",
            ),
        )

    def clear(self) -> None:
        """End all codes."""
        self._open.clear()
        self._guessed = None
        self._store.keep_invitations(None)

    def _tidy(self) -> None:
        now = self._clock.monotonic()
        self._open = {slot: inviter for slot, inviter in self._open.items() if not inviter.finished(now)}

    def _keep(self, used: Inviter | None = None) -> None:
        now, wall = self._clock.monotonic(), self._clock.wall()
        kept = [
            _Kept(inviter.code.text, wall + inviter.expires - now, inviter.swarm)
            for inviter in self._open.values()
            if inviter.code.kind == "headless" and inviter.open(now) and inviter is not used
        ]
        self._store.keep_invitations(msgspec.json.encode(kept) if kept else None)


class Let(msgspec.Struct, frozen=True):
    """What joining has brought. inviter: the certificate of the node that let us in; address: where it was."""

    roster: Roster
    welcome: Welcome
    inviter: bytes
    address: str


class Applicant(msgspec.Struct, frozen=True):
    """This node as it asks to be let in. port: of its peer API, 0 for none. present: hash of its swarm, or empty.

    wanted: how the hash of the swarm that is meant begins; empty where a code or an address says which one it is.
    """

    identity: Identity
    name: str
    port: int
    present: str = ""
    wanted: str = ""

    def must_want(self, swarm: str) -> None:
        """Raises Refused where `swarm` (a hash) is the one this node belongs to, or another than is meant."""
        if swarm == self.present:
            raise Refused("this machine belongs to that swarm already")
        if not swarm.startswith(self.wanted):
            # Anybody can repeat the announcement of somebody else's swarm, and let people into one of his own.
            raise Refused(
                f"the machine that answered does not belong to the swarm “{self.wanted[:8]}”, as it is announced",
                "somebody may pretend to be that swarm: use a code, which `mycoswarm invite` shows on a member of it",
                **{OTHER_SWARM: True},
            )


class Tries(msgspec.Struct):
    """What one person's try of a code may still cost, wherever its inviting node is looked for.

    denied: certificates of the nodes that have called the code wrong. None of them is asked again: one that is found at
    several addresses would count several tries for one mistake.
    left: times that knowledge of the code may still be shown. Whoever only pretends to have given it out can test one
    guess by each, and may announce himself hundreds of times.
    """

    denied: set[bytes]
    left: int


async def join_at(address: str, typed: bool, code: Code, applicant: Applicant, tries: Tries | None = None) -> Let:
    """Join by the node at HOST:PORT. Raises WrongCode, Refused, NotFound, PeerLost, InvalidRequest.

    Args:
        typed: the owner named the address; else only one of the local network is dialled.
        tries: of this code until now; what this one costs is taken from it.
    """
    channel = JoinChannel(address, typed)
    joiner = Joiner(code, applicant.identity.certificate, applicant.identity.sign)
    offer = decode_join(await _post(channel, JOIN_START_PATH, joiner.start()), JoinOffer)
    applicant.must_want(offer.swarm)
    tries = tries or Tries(set(), code.tries)
    if offer.certificate in tries.denied:
        raise NotFound("this node has called the code wrong already")
    if tries.left <= 0:
        raise Refused(
            "several nodes near claim to have given out this code, and none of those that were asked knew it",
            "name the one that shows it: `mycoswarm join CODE --peer HOST`",
        )
    tries.left -= 1
    finish = joiner.finish(offer, applicant.name, applicant.port)
    channel.pin(offer.certificate, certified_id(offer.certificate))
    try:
        answer = await _post(channel, JOIN_FINISH_PATH, finish)
    except PeerLost:
        # The code may be used up by now; the inviting node repeats its answer to the same message for a while.
        answer = await _post(channel, JOIN_FINISH_PATH, finish)
    except WrongCode:
        tries.denied.add(offer.certificate)
        raise
    welcome = joiner.welcome(decode_join(answer, JoinWelcome))
    return _accepted(welcome, offer.swarm, offer.certificate, applicant, address)


class Comparison:
    """One attempt to be let in by comparing words, with the keeper at `address`. `begin`, then `ask` until it ends."""

    def __init__(self, address: str, typed: bool, applicant: Applicant) -> None:
        identity = applicant.identity
        self.asker = Asker(identity.certificate, identity.sign, applicant.name, applicant.port)
        self._address = address
        self._channel = JoinChannel(address, typed)
        self._applicant = applicant

    async def begin(self, now: float) -> None:
        """From here on there are words to compare. Raises Refused, Busy, NotFound, PeerLost, InvalidRequest."""
        offer = decode_join(await _post(self._channel, COMPARE_START_PATH, self.asker.start()), CompareOffer)
        self._applicant.must_want(offer.swarm)
        reveal: CompareReveal = self.asker.reveal(offer, now)
        self._channel.pin(offer.certificate, certified_id(offer.certificate))
        decode_join(await _post(self._channel, COMPARE_REVEAL_PATH, reveal), CompareAnswer)

    async def ask(self) -> Let | None:
        """Tell the keeper what our owner says and hear how it stands; what joining has brought, once it is so.

        Raises:
            WrongCode: the keeper's roster does not fit. Else what the keeper refuses with, and PeerLost.
        """
        answer = decode_join(await _post(self._channel, COMPARE_WAIT_PATH, self.asker.wait()), CompareAnswer)
        welcome = self.asker.heard(answer)
        if welcome is None:
            return None
        return _accepted(welcome, self.asker.swarm, self.asker.keeper, self._applicant, self._address)


def worst(problems: list[MycoError]) -> MycoError:
    """Of several failures the one that tells most: an answer of who could let us in, rather than another, or none."""
    return min(
        problems,
        key=lambda one: (
            isinstance(one, PeerLost),
            isinstance(one, NotFound),
            NO_KEEPER in one.data,
            OTHER_SWARM in one.data,
        ),
    )


async def _post(channel: JoinChannel, path: str, message: msgspec.Struct) -> bytes:
    try:
        return await channel.post(path, msgspec.json.encode(message))
    except MycoError as problem:
        # Written by somebody who has proven nothing yet: no control characters of his on our owner's terminal.
        problem.message, problem.hint = printable(problem.message, 300), printable(problem.hint, 300)
        problem.args = (problem.message,)
        raise


def _accepted(welcome: Welcome, swarm: str, inviter: bytes, applicant: Applicant, address: str) -> Let:
    """What was received, if it is what was promised. swarm: its hash. Raises WrongCode, InvalidRequest."""
    given = roster.decode(welcome.roster)
    mine = given.node_of(applicant.identity.certificate)
    if swarm_hash(given.swarm) != swarm or mine is None or given.node_of(inviter) not in given.keepers():
        raise WrongCode(
            "the inviting node sent a roster that does not fit",
            "something between the two machines may alter their messages; try again with a new invitation",
        )
    return Let(given, welcome, inviter, address)
