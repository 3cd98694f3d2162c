"""Joining: two nodes that share a short code become sure of each other's certificates. Messages in, messages out.

    joining node                                           inviting node
      JoinStart  {slot, certificate, X}     ─────────▶
                                            ◀─────────       JoinOffer   {run, certificate, swarm hash, Y}
      JoinFinish {run, confirm, sealed}     ─────────▶       a wrong confirm costs a try
                                            ◀─────────       JoinWelcome {confirm, sealed roster}

X, Y are SPAKE2 messages made from the code; both sides derive one key if and only if both know the code. All keys are
taken from that key *and* a hash of everything said (versions, slot, both certificates, swarm, X, Y): whoever alters a
byte in between, or puts his own certificate in, ends with other keys, and then neither confirmation nor seal opens.
He has one guess for each try of a person, and nothing that he could go on guessing at alone. Sealed with it goes the
joining machine's signature of that hash: nobody can have a certificate let in whose key he does not hold.

An open invitation is the same exchange with a code that everybody knows: then it protects from nothing but a passive
listener, and that is what its owner has asked for.

Rules of this file: the joining side proves itself first, so that a stranger who asks learns nothing from the inviting
side; a code ends with its last use (its first, unless it is open), its last wrong try, or its time; `now` is injected.
"""

import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import TypeVar, cast

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from spake2 import SPAKE2_A, SPAKE2_B, SPAKEError  # pyright: ignore[reportMissingTypeStubs]
from spake2.ed25519_basic import NotOnCurve  # pyright: ignore[reportMissingTypeStubs]

from mycoswarm.core.errors import InvalidRequest, NotFound, Refused, WrongCode
from mycoswarm.core.ids import SwarmId
from mycoswarm.core.node import PROTOCOL
from mycoswarm.fabric.codes import Code
from mycoswarm.fabric.identity import certified_id, verify
from mycoswarm.fabric.wire import Introduction, JoinFinish, JoinOffer, JoinStart, JoinWelcome, Welcome

RUN_LIFE = 30.0
"""Seconds between JoinOffer and JoinFinish. A program answers at once; what takes longer is somebody's experiment."""
MAX_RUNS = 16
"""Attempts in progress at one time; a new one pushes out the oldest, so that a flood cannot lock the owner out."""
ANSWER_LIFE = 60.0
"""Seconds that the answer to a success is repeated to the same message, for a reply that was lost on the way."""

_PROOF = b"mycoswarm join proof 1\n"
"""Precedes what a joining machine signs, so that the signature is worth nothing anywhere else."""
_NONCE = bytes(12)
"""Each key seals exactly one message, so the nonce need not vary."""


class _Keys(msgspec.Struct, frozen=True):
    joiner_confirm: bytes
    inviter_confirm: bytes
    joiner_seal: bytes
    inviter_seal: bytes
    transcript: bytes


def swarm_hash(swarm: SwarmId | str) -> str:
    """What is told to strangers instead of the swarm's id; the id's random suffix keeps it from being guessed."""
    return hashlib.sha256(b"mycoswarm swarm\n" + swarm.encode()).hexdigest()[:16]


def _derive(key: bytes, start: JoinStart, offer: JoinOffer) -> _Keys:
    # msgspec's JSON of two fixed structs is one definite sequence of bytes for one definite meaning.
    transcript = hashlib.sha256(b"mycoswarm join 1\n" + msgspec.json.encode([start, offer])).digest()
    out = HKDF(hashes.SHA256(), 128, salt=transcript, info=b"mycoswarm join keys").derive(key)
    return _Keys(out[:32], out[32:64], out[64:96], out[96:], transcript)


def _confirm(key: bytes, keys: _Keys) -> bytes:
    return hmac.digest(key, keys.transcript, "sha256")


_T = TypeVar("_T")


def _seal(key: bytes, keys: _Keys, content: msgspec.Struct) -> bytes:
    return ChaCha20Poly1305(key).encrypt(_NONCE, msgspec.json.encode(content), keys.transcript)


def _open(key: bytes, keys: _Keys, sealed: bytes, kind: type[_T]) -> _T | None:
    # What was sealed may still be nonsense: whoever knows the code may seal what he likes.
    with contextlib.suppress(InvalidTag, msgspec.DecodeError, UnicodeError, RecursionError):
        return msgspec.json.decode(ChaCha20Poly1305(key).decrypt(_NONCE, sealed, keys.transcript), type=kind)
    return None


def _password(code: Code) -> bytes:
    return b"mycoswarm code\n" + code.text.encode()


class Joiner:
    """The joining side of one attempt. Call `start`, `finish`, `welcome` once each, in this order."""

    def __init__(self, code: Code, certificate: bytes, sign: Callable[[bytes], bytes]) -> None:
        self._code = code
        self._certificate = certificate
        self._sign = sign
        self._spake = SPAKE2_A(_password(code))
        self._start: JoinStart | None = None
        self._keys: _Keys | None = None

    def start(self) -> JoinStart:
        self._start = JoinStart(PROTOCOL, self._code.slot, self._certificate, _share(self._spake))
        return self._start

    def finish(self, offer: JoinOffer, name: str, port: int) -> JoinFinish:
        """Raises Refused for another protocol, WrongCode for an offer that cannot be meant seriously."""
        assert self._start is not None
        if offer.protocol != PROTOCOL:
            raise Refused(
                f"the inviting node speaks protocol {offer.protocol}, this one {PROTOCOL}",
                "run the same version of mycoswarm on both",
            )
        certified_id(offer.certificate)
        keys = _derive(_finish(self._spake, offer.share), self._start, offer)
        self._keys = keys
        introduction = Introduction(name, port, self._sign(_PROOF + keys.transcript))
        return JoinFinish(offer.run, _confirm(keys.joiner_confirm, keys), _seal(keys.joiner_seal, keys, introduction))

    def welcome(self, answer: JoinWelcome) -> Welcome:
        """What the inviting node sends. Raises WrongCode unless it knew the code and nobody altered a byte."""
        assert self._keys is not None
        proven = hmac.compare_digest(answer.confirm, _confirm(self._keys.inviter_confirm, self._keys))
        opened = _open(self._keys.inviter_seal, self._keys, answer.sealed, Welcome) if proven else None
        if opened is None:
            raise WrongCode(
                "the node that answered could not prove that it knows the code",
                "something between the two machines alters their messages, or pretends to be the inviting one",
            )
        return opened


class _Run(msgspec.Struct):
    """One attempt. answered: once it succeeded, what it was answered and to what."""

    started: float
    keys: _Keys
    certificate: bytes
    answered: tuple[JoinFinish, JoinWelcome, float] | None = None


class Joined(msgspec.Struct, frozen=True):
    """A machine that has proven to be allowed in. name: printable. source: the address it called from, a hint."""

    certificate: bytes
    name: str
    port: int
    source: str = ""


Admit = Callable[[Joined], Welcome]
"""Lets it in and gives what it is told. May raise any MycoError; the code then stays good."""


class Inviter:
    """The inviting side of one code."""

    def __init__(self, code: Code, certificate: bytes, swarm: SwarmId, now: float, life: float | None = None) -> None:
        self.code = code
        self.swarm = swarm
        self.expires = now + (code.life if life is None else life)
        self.uses_left = code.uses
        self.tries_left = code.tries
        self._certificate = certificate
        self._runs: dict[str, _Run] = {}

    def open(self, now: float) -> bool:
        """Whether the code can still let somebody in."""
        return self.uses_left > 0 and self.tries_left > 0 and now < self.expires

    def finished(self, now: float) -> bool:
        """Whether it may be forgotten: nobody can still be owed its answer or the reason for its end."""
        if self.uses_left <= 0:
            return now >= self._last_answer() + ANSWER_LIFE
        return now >= self.expires + ANSWER_LIFE

    def holds(self, run: str) -> bool:
        """Whether `run` is an attempt of this code."""
        return run in self._runs

    def offer(self, start: JoinStart, now: float) -> JoinOffer:
        """Raises Refused where the code is used up or out of time, InvalidRequest for a message that is none."""
        if start.protocol != PROTOCOL:
            raise Refused(
                f"this node speaks protocol {PROTOCOL}, the joining one {start.protocol}",
                "run the same version of mycoswarm on both",
            )
        self._must_be_open(now)
        certified_id(start.certificate)
        spake = SPAKE2_B(_password(self.code))
        offer = JoinOffer(PROTOCOL, secrets.token_hex(16), self._certificate, swarm_hash(self.swarm), _share(spake))
        self._runs = {name: run for name, run in self._runs.items() if now - run.started < RUN_LIFE}
        while len(self._runs) >= MAX_RUNS:
            del self._runs[next(iter(self._runs))]
        self._runs[offer.run] = _Run(now, _derive(_finish(spake, start.share), start, offer), start.certificate)
        return offer

    def welcome(self, finish: JoinFinish, now: float, admit: Admit, source: str = "") -> JoinWelcome:
        """Raises WrongCode with the tries that are left, Refused for a code that has ended, what `admit` raises."""
        run = self._runs.get(finish.run)
        if run is not None and run.answered is not None:
            asked, answer, when = run.answered
            if asked == finish and now - when < ANSWER_LIFE:
                return answer
        self._must_be_open(now)
        if run is None or now - run.started >= RUN_LIFE:
            raise NotFound("this attempt to join is not known any more", "start it again")
        keys = run.keys
        proven = hmac.compare_digest(finish.confirm, _confirm(keys.joiner_confirm, keys))
        introduction = _open(keys.joiner_seal, keys, finish.sealed, Introduction) if proven else None
        owner = introduction is not None and verify(run.certificate, introduction.proof, _PROOF + keys.transcript)
        if introduction is None or not owner:
            del self._runs[finish.run]
            self.tries_left -= 1
            raise _wrong(self.tries_left)
        answer_content = admit(Joined(run.certificate, introduction.name, introduction.port, source))
        self.uses_left -= 1
        answer = JoinWelcome(_confirm(keys.inviter_confirm, keys), _seal(keys.inviter_seal, keys, answer_content))
        run.answered = (finish, answer, now)
        if self.uses_left <= 0:
            self._runs = {finish.run: run}
        return answer

    def _last_answer(self) -> float:
        return max((run.answered[2] for run in self._runs.values() if run.answered is not None), default=0.0)

    def _must_be_open(self, now: float) -> None:
        again = "`mycoswarm invite` on a member makes a new one"
        if self.uses_left <= 0:
            raise Refused("this code has already let a machine in", again)
        if self.tries_left <= 0:
            raise Refused("this code has ended after too many wrong tries", again)
        if now >= self.expires:
            raise Refused("this code has expired", again)


def _share(spake: SPAKE2_A | SPAKE2_B) -> bytes:
    return cast(bytes, spake.start())  # pyright: ignore[reportUnknownMemberType]


def _finish(spake: SPAKE2_A | SPAKE2_B, share: bytes) -> bytes:
    try:
        return spake.finish(share)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    except (SPAKEError, NotOnCurve, ValueError, AssertionError) as problem:
        raise InvalidRequest("the other side's message is not of this way of joining") from problem


def _wrong(left: int) -> WrongCode:
    if left <= 0:
        return WrongCode(
            "the code was wrong for the last time and has ended",
            "`mycoswarm invite` on a member makes a new one",
            tries_left=0,
        )
    times = "one more try" if left == 1 else f"{left} more tries"
    return WrongCode("the code is wrong", f"{times}; compare it with what `mycoswarm invite` shows", tries_left=left)
