"""Joining by comparing words: two machines without a secret in common, and people who look at both screens.

    joining machine                                                keeper
      CompareStart  {certificate, commitment}  ─────────▶
                                               ◀─────────            CompareOffer {run, certificate, swarm, name, nonce}
      CompareReveal {run, nonce, name, port, proof}  ───▶            both now show the same four words
      CompareWait   {run, nonce, same}         ─────────▶            again and again, with what the owner says
                                               ◀─────────            the roster, once both owners have said yes

The words are 40 bits of a hash of everything said before the first CompareWait. Whoever sits in between and puts in a
certificate of his own has to settle all that he says to either side before he hears that side's nonce (the joining side
is bound by its commitment, the keeper speaks second): so he cannot choose until the words fit, and has one chance in
2⁴⁰ for each attempt. Nothing is hashed into the words that a side may still choose afterwards; the proof, a signature
of which there are many for one text, is therefore outside.

The commitment covers name and port too, the proof shows that the joining machine holds its certificate's key, and what
follows the offer goes over TLS to that certificate alone: so the nonce stays a secret of the two, and nobody else can
ask for the answer. Both owners must say yes: one alone could be shown a machine, or a swarm, that is somebody else's.

Rules of this file: strangers fill bounded lists and never push out another; names are theirs, unproven, and made
printable; `now` is injected.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable

import msgspec

from mycoswarm.core.errors import Busy, InvalidRequest, MycoError, NotFound, Refused
from mycoswarm.core.ids import SwarmId
from mycoswarm.core.node import PROTOCOL
from mycoswarm.core.views import Admitted, Comparing, ComparingState, Joined, Waiting
from mycoswarm.fabric import pairing
from mycoswarm.fabric.identity import certified_id, verify
from mycoswarm.fabric.pairing import swarm_hash
from mycoswarm.fabric.statements import MAX_NAME
from mycoswarm.fabric.wire import (
    CompareAnswer,
    CompareOffer,
    CompareReveal,
    CompareStart,
    CompareWait,
    printable,
)
from mycoswarm.fabric.words import WORDS

LIFE = 600.0
"""Seconds in which both owners must have answered: long enough to walk from one screen to the other."""
REVEAL_WITHIN = 10.0
"""Seconds between CompareOffer and CompareReveal. A program answers at once."""
MAX_WAITING = 8
"""Machines that wait for an answer, and as many that have only begun. More is a flood, and unreadable."""
MAX_PER_ADDRESS = 2
"""Of these from one address."""
ANSWER_LIFE = 60.0
"""Seconds that an end is told to the machine that asks."""
MAX_ENDED = 16

_COMMITMENT = b"mycoswarm compare commitment 1\n"
_WORDS = b"mycoswarm compare words 1\n"
_PROOF = b"mycoswarm compare proof 1\n"
_TURNED_AWAY = "the owner of the other machine said that the words differ, or that this one is not wanted"


def _commitment(certificate: bytes, nonce: bytes, name: str, port: int) -> bytes:
    return hashlib.sha256(_COMMITMENT + msgspec.json.encode([certificate, nonce, name, port])).digest()


def _transcript(start: CompareStart, offer: CompareOffer, reveal: CompareReveal) -> bytes:
    """Everything that was said, but for the proof."""
    # msgspec's JSON of fixed structs is one definite sequence of bytes for one definite meaning.
    said = msgspec.json.encode([start, offer, reveal.run, reveal.nonce, reveal.name, reveal.port])
    return hashlib.sha256(_WORDS + said).digest()


def words_of(transcript: bytes) -> tuple[str, ...]:
    """The four words that stand for the first 40 bits."""
    bits = int.from_bytes(transcript[:5])
    return tuple(WORDS[bits >> shift & 1023] for shift in (30, 20, 10, 0))


def _shown(name: str) -> str:
    """A stranger's name as it is shown, and entered into the roster."""
    return printable(name, MAX_NAME) or "nameless"


def _same_protocol(theirs: int) -> None:
    if theirs != PROTOCOL:
        raise Refused(
            f"the other machine speaks protocol {theirs}, this one {PROTOCOL}",
            "run the same version of mycoswarm on both",
        )


class Asker:
    """The joining side of one attempt: `start`, `reveal`, then `wait` and `heard` until `state` is another one."""

    def __init__(self, certificate: bytes, sign: Callable[[bytes], bytes], name: str, port: int) -> None:
        self.state: ComparingState = "waiting"
        self.run = ""
        self.swarm = ""
        """Hash of the keeper's swarm."""
        self.keeper = b""
        """The keeper's certificate (DER)."""
        self._certificate = certificate
        self._sign = sign
        self._name = name
        self._port = port
        self._nonce = secrets.token_bytes(32)
        self._start = CompareStart(PROTOCOL, certificate, _commitment(certificate, self._nonce, name, port))
        self._words: tuple[str, ...] = ()
        self._keeper_name = ""
        self._expires = 0.0
        self._same: bool | None = None
        self._joined: Joined | None = None
        self._why = ""

    def start(self) -> CompareStart:
        return self._start

    def reveal(self, offer: CompareOffer, now: float) -> CompareReveal:
        """Raises Refused for another protocol, InvalidRequest for an offer that cannot be meant seriously."""
        _same_protocol(offer.protocol)
        if certified_id(offer.certificate) == certified_id(self._certificate):
            raise InvalidRequest("this machine has been given its own address")
        bare = CompareReveal(offer.run, self._nonce, self._name, self._port, b"")
        transcript = _transcript(self._start, offer, bare)
        self.run, self.swarm, self.keeper = offer.run, offer.swarm, offer.certificate
        self._words = words_of(transcript)
        self._keeper_name = _shown(offer.name)
        self._expires = now + LIFE
        return msgspec.structs.replace(bare, proof=self._sign(_PROOF + transcript))

    def say(self, same: bool) -> None:
        """What this side's owner says. A no is final, a yes may still become one."""
        if self.state == "waiting" and self._same is not False:
            self._same = same
            if not same:
                self.end("refused", "you said that the words differ")

    def wait(self) -> CompareWait:
        return CompareWait(self.run, self._nonce, self._same)

    def heard(self, answer: CompareAnswer) -> pairing.Welcome | None:
        """What the keeper answers; the roster where both sides have agreed. Its taking is the caller's: `end`."""
        match answer.state:
            case "waiting":
                return None
            case "refused":
                self.end("refused", printable(answer.why, 500) or _TURNED_AWAY)
                return None
            case "joined":
                if self._same is not True or answer.welcome is None:
                    self.end("refused", "the other machine let this one in before you said that the words are the same")
                    return None
                return answer.welcome

    def end(self, state: ComparingState, why: str = "", joined: Joined | None = None) -> None:
        """Once ended it stays so; what the keeper then hears is a no."""
        if self.state == "waiting":
            self.state, self._why, self._joined = state, why, joined
            if state != "joined":
                self._same = False

    def look(self, now: float) -> None:
        """Ends with its time."""
        if now >= self._expires:
            self.end("ended", "nobody confirmed the words in time")

    def view(self, now: float) -> Comparing:
        """For this side's owner."""
        return Comparing(
            self.run,
            self._words,
            self._keeper_name,
            max(0.0, self._expires - now),
            self.state,
            self._same is True,
            self._joined,
            self._why,
        )


class _Caller(msgspec.Struct):
    """A machine that asks. mine, theirs: what each side's owner has said. answer: at the end, and since when."""

    source: str
    since: float
    start: CompareStart
    offer: CompareOffer
    reveal: CompareReveal | None = None
    words: tuple[str, ...] = ()
    mine: bool | None = None
    theirs: bool | None = None
    answer: CompareAnswer | None = None
    ended: float = 0.0

    @property
    def name(self) -> str:
        return _shown(self.reveal.name) if self.reveal is not None else ""


class Desk:
    """The keeper's side: the machines that ask to be let in.

    admit: lets in one that both owners have agreed upon. may_come: raises Refused for the certificate of one that could
    not be let in whatever they say, so that nobody waits for it.
    """

    def __init__(self, certificate: bytes, name: str, admit: pairing.Admit, may_come: Callable[[bytes], None]) -> None:
        self._certificate = certificate
        self._name = name
        self._admit = admit
        self._may_come = may_come
        self._callers: dict[str, _Caller] = {}

    def offer(self, start: CompareStart, source: str, swarm: SwarmId, now: float) -> CompareOffer:
        """Raises Refused for another protocol, InvalidRequest for nonsense, Busy where too many ask."""
        _same_protocol(start.protocol)
        certified_id(start.certificate)
        self._tidy(now)
        live = [one for one in self._callers.values() if one.answer is None]
        if sum(one.source == source for one in live) >= MAX_PER_ADDRESS:
            raise Busy(
                "machines at this address are already waiting to be let in",
                "answer them on the keeper's screen, or try again later",
                retry_after=LIFE,
            )
        begun = sum(one.reveal is None for one in live)
        if begun >= MAX_WAITING or len(live) - begun >= MAX_WAITING:
            raise _full()
        offer = CompareOffer(
            PROTOCOL,
            secrets.token_hex(16),
            self._certificate,
            swarm_hash(swarm),
            self._name,
            secrets.token_bytes(32),
        )
        self._callers[offer.run] = _Caller(source, now, start, offer)
        return offer

    def reveal(self, message: CompareReveal, now: float) -> CompareAnswer:
        """From now on its owner and ours have something to compare. Raises NotFound, InvalidRequest, Refused, Busy."""
        self._tidy(now)
        caller = self._callers.get(message.run)
        if caller is None or (caller.reveal is not None and caller.reveal != message):
            raise _unknown()
        if caller.reveal is not None:
            # The same once more: its answer was lost.
            return caller.answer or CompareAnswer("waiting")
        if sum(one.reveal is not None and one.answer is None for one in self._callers.values()) >= MAX_WAITING:
            raise _full()
        certificate = caller.start.certificate
        transcript = _transcript(caller.start, caller.offer, message)
        committed = _commitment(certificate, message.nonce, message.name, message.port)
        if not hmac.compare_digest(committed, caller.start.commitment) or not verify(
            certificate, message.proof, _PROOF + transcript
        ):
            del self._callers[message.run]
            raise InvalidRequest(
                "the joining machine said something else than it had promised",
                "something between the two machines may alter their messages",
            )
        try:
            # Not before the proof: who was removed is nobody's business but its own.
            self._may_come(certificate)
        except MycoError:
            del self._callers[message.run]
            raise
        caller.reveal = message
        caller.words = words_of(transcript)
        caller.since = now
        return CompareAnswer("waiting")

    def wait(self, message: CompareWait, now: float) -> CompareAnswer:
        """How it stands with one of them. Raises NotFound."""
        self._tidy(now)
        caller = self._callers.get(message.run)
        if caller is None or caller.reveal is None or not hmac.compare_digest(caller.reveal.nonce, message.nonce):
            raise _unknown()
        if caller.answer is None and message.same is not None:
            caller.theirs = message.same
            if not message.same:
                self._end(
                    caller, CompareAnswer("refused", "the joining machine's owner said that the words differ"), now
                )
            elif caller.mine:
                try:
                    self._let_in(caller, now)
                except MycoError as problem:
                    self._end(caller, CompareAnswer("refused", problem.message[:500]), now)
        return caller.answer or CompareAnswer("waiting")

    def waiting(self, now: float) -> tuple[Waiting, ...]:
        """Those of whom our owner has not said anything yet, the one that has waited longest first."""
        self._tidy(now)
        return tuple(
            Waiting(caller.offer.run, caller.name, caller.source, caller.words, max(0.0, now - caller.since))
            for caller in self._callers.values()
            if caller.reveal is not None and caller.answer is None and caller.mine is None
        )

    def source(self, run: str) -> str:
        """Where one of them is; empty for one that is not known."""
        caller = self._callers.get(run)
        return caller.source if caller is not None else ""

    def decide(self, run: str, same: bool, now: float) -> Admitted:
        """What our owner says of one. It is let in as soon as its own owner has said the same. Raises NotFound."""
        self._tidy(now)
        caller = self._callers.get(run)
        if caller is None or caller.reveal is None or caller.answer is not None:
            raise NotFound("this machine does not wait any more", "let it ask again")
        if not same:
            self._end(caller, CompareAnswer("refused", _TURNED_AWAY), now)
            return Admitted(caller.name, False)
        caller.mine = True
        if caller.theirs:
            try:
                self._let_in(caller, now)
            except MycoError as problem:
                self._end(caller, CompareAnswer("refused", problem.message[:500]), now)
                raise
        return Admitted(caller.name, True)

    def clear(self) -> None:
        """Nobody is let in any more."""
        self._callers.clear()

    def _let_in(self, caller: _Caller, now: float) -> None:
        assert caller.reveal is not None
        welcome = self._admit(pairing.Joined(caller.start.certificate, caller.name, caller.reveal.port, caller.source))
        self._end(caller, CompareAnswer("joined", welcome=welcome), now)

    def _end(self, caller: _Caller, answer: CompareAnswer, now: float) -> None:
        caller.answer, caller.ended = answer, now

    def _tidy(self, now: float) -> None:
        ended = [run for run, one in self._callers.items() if one.answer is not None]
        surplus = set(ended[: max(0, len(ended) - MAX_ENDED)])
        self._callers = {run: one for run, one in self._callers.items() if run not in surplus and now < _until(one)}


def _until(caller: _Caller) -> float:
    """When it may be forgotten."""
    if caller.answer is not None:
        return caller.ended + ANSWER_LIFE
    return caller.since + (REVEAL_WITHIN if caller.reveal is None else LIFE)


def _full() -> Busy:
    return Busy(
        "too many machines ask to be let in at once",
        "answer those that wait on the keeper's screen, or use a code: `mycoswarm invite`",
        retry_after=REVEAL_WITHIN,
    )


def _unknown() -> NotFound:
    return NotFound("this attempt to join is not known any more", "start it again")
