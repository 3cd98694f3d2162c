import contextlib
import itertools

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from mycoswarm.core.errors import InvalidRequest, MycoError, NotFound, Refused, WrongCode
from mycoswarm.core.node import PROTOCOL
from mycoswarm.fabric import codes
from mycoswarm.fabric.codes import Code
from mycoswarm.fabric.pairing import ANSWER_LIFE, MAX_RUNS, RUN_LIFE, Inviter, Joined, Joiner, swarm_hash
from mycoswarm.fabric.wire import JoinFinish, JoinOffer, JoinStart, JoinWelcome, Welcome
from tests.fabric.keys import founded, identity

CODE = codes.parse("7-guitar-lemon")
WRONG = codes.parse("7-guitar-melon")
HELLO = ("boa", 6927)
WELCOME = Welcome(b"roster", {})


class Ledger:
    """Who was let in."""

    def __init__(self) -> None:
        self.admitted: list[Joined] = []

    def admit(self, joined: Joined) -> Welcome:
        self.admitted.append(joined)
        return WELCOME


def inviter(code: Code = CODE, now: float = 0.0) -> Inviter:
    return Inviter(code, identity("miu").certificate, founded().swarm, now)


def joiner(code: Code = CODE) -> Joiner:
    return Joiner(code, identity("boa").certificate, identity("boa").sign)


def test_the_right_code_lets_in_once() -> None:
    ours, theirs, ledger = inviter(), joiner(), Ledger()
    offer = ours.offer(theirs.start(), 1.0)
    answer = ours.welcome(theirs.finish(offer, *HELLO), 2.0, ledger.admit)
    assert theirs.welcome(answer) == WELCOME
    assert ledger.admitted == [Joined(identity("boa").certificate, "boa", 6927)]
    assert not ours.open(2.0)
    with pytest.raises(Refused, match="already let a machine in"):
        ours.offer(joiner().start(), 3.0)


def test_strangers_read_neither_names_nor_roster_nor_swarm_id() -> None:
    ours, theirs, ledger = inviter(), joiner(), Ledger()
    start = theirs.start()
    offer = ours.offer(start, 0.0)
    finish = theirs.finish(offer, "a-name-to-hide", 6927)
    answer = ours.welcome(finish, 0.0, ledger.admit)
    said = b"".join(msgspec.json.encode(one) for one in (start, offer, finish, answer))
    said += finish.sealed + answer.sealed
    for secret in (b"a-name-to-hide", b"roster", b"guitar", founded().swarm.encode()):
        assert secret not in said


def test_three_wrong_tries_end_the_code_and_say_how_many_are_left() -> None:
    ours, ledger = inviter(), Ledger()
    left: list[object] = []
    for _ in range(3):
        theirs = joiner(WRONG)
        offer = ours.offer(theirs.start(), 0.0)
        with pytest.raises(WrongCode) as caught:
            ours.welcome(theirs.finish(offer, *HELLO), 0.0, ledger.admit)
        left.append(caught.value.data["tries_left"])
    assert left == [2, 1, 0]
    with pytest.raises(Refused, match="too many wrong tries"):
        ours.offer(joiner().start(), 0.0)
    assert ledger.admitted == []


def test_wrong_tries_in_parallel_are_counted_too() -> None:
    """Whoever opens many attempts before failing any has no more guesses than one after the other."""
    ours, ledger = inviter(), Ledger()
    attempts = [joiner(WRONG) for _ in range(6)]
    finishes = [one.finish(ours.offer(one.start(), 0.0), *HELLO) for one in attempts]
    right = joiner()
    last = right.finish(ours.offer(right.start(), 0.0), *HELLO)
    outcomes: list[str] = []
    for finish in [*finishes, last]:
        with pytest.raises(MycoError) as caught:
            ours.welcome(finish, 0.0, ledger.admit)
        outcomes.append(type(caught.value).__name__)
    assert outcomes == ["WrongCode"] * 3 + ["Refused"] * 4
    assert ledger.admitted == []


def test_asking_without_proof_costs_no_try_and_tells_nothing() -> None:
    ours = inviter()
    for _ in range(3 * MAX_RUNS):
        ours.offer(joiner(WRONG).start(), 0.0)
    assert ours.tries_left == 3


def test_a_code_ends_with_its_time() -> None:
    ours, theirs = inviter(), joiner()
    offer = ours.offer(theirs.start(), codes.SPOKEN_LIFE - 1.0)
    with pytest.raises(Refused, match="expired"):
        ours.welcome(theirs.finish(offer, *HELLO), codes.SPOKEN_LIFE, Ledger().admit)
    with pytest.raises(Refused, match="expired"):
        ours.offer(joiner().start(), codes.SPOKEN_LIFE)
    assert not ours.finished(codes.SPOKEN_LIFE)
    assert ours.finished(codes.SPOKEN_LIFE + ANSWER_LIFE)


def test_an_attempt_ends_with_its_time() -> None:
    ours, theirs = inviter(), joiner()
    offer = ours.offer(theirs.start(), 0.0)
    with pytest.raises(NotFound):
        ours.welcome(theirs.finish(offer, *HELLO), RUN_LIFE, Ledger().admit)
    assert ours.tries_left == 3


def test_a_lost_reply_is_repeated_to_the_same_message_only() -> None:
    ours, theirs, ledger = inviter(), joiner(), Ledger()
    finish = theirs.finish(ours.offer(theirs.start(), 0.0), *HELLO)
    first = ours.welcome(finish, 0.0, ledger.admit)
    assert ours.welcome(finish, ANSWER_LIFE - 1.0, ledger.admit) == first
    assert len(ledger.admitted) == 1
    with pytest.raises(Refused):
        ours.welcome(msgspec.structs.replace(finish, sealed=b"x"), 1.0, ledger.admit)
    with pytest.raises(Refused):
        ours.welcome(finish, ANSWER_LIFE, ledger.admit)


def test_a_refused_admission_leaves_the_code_good() -> None:
    ours, theirs = inviter(), joiner()

    def refuse(joined: Joined) -> Welcome:
        raise Refused("not now")

    finish = theirs.finish(ours.offer(theirs.start(), 0.0), *HELLO)
    with pytest.raises(Refused, match="not now"):
        ours.welcome(finish, 0.0, refuse)
    assert ours.open(0.0)


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _alter(message: object, field: str) -> object:
    """`message` with one byte or character of `field` changed; a certificate is exchanged for a stranger's."""
    value = getattr(message, field)
    match value:
        case bytes() if field == "certificate":
            changed: object = identity("mallory").certificate
        case bytes():
            changed = _flip(value, len(value) // 2)
        case str():
            changed = ("0" if value[0] != "0" else "1") + value[1:]
        case _:
            changed = value + 1
    return msgspec.structs.replace(message, **{field: changed})  # type: ignore[type-var]


_ALTERED = [
    (kind, field) for kind in (JoinStart, JoinOffer, JoinFinish, JoinWelcome) for field in kind.__struct_fields__
]


@pytest.mark.parametrize(("kind", "field"), _ALTERED)
def test_a_man_in_the_middle_alters_one_field_and_nobody_joins(kind: type, field: str) -> None:
    ours, theirs, ledger = inviter(), joiner(), Ledger()

    def carry(message: object) -> object:
        return _alter(message, field) if isinstance(message, kind) else message

    def attempt() -> None:
        offer = ours.offer(carry(theirs.start()), 0.0)  # type: ignore[arg-type]
        finish = theirs.finish(carry(offer), *HELLO)  # type: ignore[arg-type]
        answer = ours.welcome(carry(finish), 0.0, ledger.admit)  # type: ignore[arg-type]
        theirs.welcome(carry(answer))  # type: ignore[arg-type]

    with pytest.raises(MycoError):
        attempt()
    # An altered welcome is found by the joining side; everything before it by the inviting one.
    assert len(ledger.admitted) == (1 if kind is JoinWelcome else 0)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([JoinStart, JoinOffer, JoinFinish, JoinWelcome]), st.integers(0, 5000), st.integers(0, 7))
def test_whoever_alters_a_bit_of_any_message_ends_it(kind: type, at: int, bit: int) -> None:
    ours, theirs, ledger = inviter(), joiner(), Ledger()
    changed: list[bool] = []

    def carry(message: msgspec.Struct) -> msgspec.Struct:
        if type(message) is not kind:
            return message
        data = msgspec.json.encode(message)
        where = at % len(data)
        data = data[:where] + bytes([data[where] ^ 1 << bit]) + data[where + 1 :]
        try:
            altered = msgspec.json.decode(data, type=kind)
        except (msgspec.DecodeError, UnicodeError) as problem:
            raise InvalidRequest("no message of joining") from problem
        changed.append(altered != message)
        return altered

    outcome = None
    with contextlib.suppress(MycoError):
        offer = ours.offer(carry(theirs.start()), 0.0)  # type: ignore[arg-type]
        finish = theirs.finish(carry(offer), *HELLO)  # type: ignore[arg-type]
        answer = ours.welcome(carry(finish), 0.0, ledger.admit)  # type: ignore[arg-type]
        outcome = theirs.welcome(carry(answer))  # type: ignore[arg-type]
    # Base64 has spellings that mean the same bytes: those change nothing.
    if changed != [False]:
        assert outcome is None
        assert len(ledger.admitted) == (1 if kind is JoinWelcome else 0)


def test_nobody_has_a_certificate_let_in_whose_key_he_does_not_hold() -> None:
    """Also not with the right code: he could make the owner admit a machine that never asked."""
    ours, ledger = inviter(), Ledger()
    thief = Joiner(CODE, identity("boa").certificate, identity("mallory").sign)
    finish = thief.finish(ours.offer(thief.start(), 0.0), *HELLO)
    with pytest.raises(WrongCode):
        ours.welcome(finish, 0.0, ledger.admit)
    assert ledger.admitted == []
    assert ours.tries_left == 2


def test_an_open_invitation_lets_several_in_until_its_end() -> None:
    ours, ledger = Inviter(codes.OPEN, identity("miu").certificate, founded().swarm, 0.0, 100.0), Ledger()
    # Their messages interleave, as those of machines that are switched on at one time do.
    theirs = [Joiner(codes.OPEN, identity(name).certificate, identity(name).sign) for name in ("boa", "naru")]
    offers = [ours.offer(one.start(), 1.0) for one in theirs]
    finishes = [one.finish(offer, *HELLO) for one, offer in zip(theirs, offers, strict=True)]
    for one, finish in zip(theirs, finishes, strict=True):
        answer = ours.welcome(finish, 1.0, ledger.admit, "10.0.0.2")
        assert one.welcome(answer) == WELCOME
        assert ours.welcome(finish, 2.0, ledger.admit) == answer
    assert [one.certificate for one in ledger.admitted] == [identity(name).certificate for name in ("boa", "naru")]
    assert ledger.admitted[0].source == "10.0.0.2"
    assert ours.open(99.0)
    with pytest.raises(Refused, match="expired"):
        ours.offer(joiner(codes.OPEN).start(), 100.0)


def test_an_open_invitation_is_not_without_end() -> None:
    ours, ledger = Inviter(codes.OPEN, identity("miu").certificate, founded().swarm, 0.0), Ledger()
    for _ in range(codes.OPEN_USES):
        theirs = joiner(codes.OPEN)
        ours.welcome(theirs.finish(ours.offer(theirs.start(), 0.0), *HELLO), 0.0, ledger.admit)
    assert not ours.open(0.0)
    with pytest.raises(Refused, match="already"):
        ours.offer(joiner(codes.OPEN).start(), 0.0)


def test_what_is_sealed_with_the_right_code_may_still_be_nonsense() -> None:
    ours, ledger = inviter(), Ledger()
    for nonsense in (b"", b"\xff", b"[" * 100_000, b'{"name":"\xff","port":1,"proof":""}', b'{"name":"boa"}'):
        theirs = joiner()
        finish = theirs.finish(ours.offer(theirs.start(), 0.0), *HELLO)
        keys = theirs._keys
        assert keys is not None
        sealed = ChaCha20Poly1305(keys.joiner_seal).encrypt(bytes(12), nonsense, keys.transcript)
        ours.tries_left = 3
        with pytest.raises(WrongCode):
            ours.welcome(msgspec.structs.replace(finish, sealed=sealed), 0.0, ledger.admit)
    assert ledger.admitted == []


def test_a_man_in_the_middle_with_certificates_of_his_own() -> None:
    """He runs one attempt with each side and carries their proofs over: neither believes him."""
    ours, theirs, ledger = inviter(), joiner(), Ledger()
    start = theirs.start()
    to_inviter = msgspec.structs.replace(start, certificate=identity("mallory").certificate)
    offer = ours.offer(to_inviter, 0.0)
    to_joiner = msgspec.structs.replace(offer, certificate=identity("mallory").certificate)
    finish = theirs.finish(to_joiner, *HELLO)
    with pytest.raises(WrongCode):
        ours.welcome(finish, 0.0, ledger.admit)
    assert ledger.admitted == []


def test_messages_of_one_attempt_are_worth_nothing_in_another() -> None:
    ours, theirs, ledger = inviter(), joiner(), Ledger()
    start = theirs.start()
    finish = theirs.finish(ours.offer(start, 0.0), *HELLO)
    again = ours.offer(start, 0.0)
    with pytest.raises(WrongCode):
        ours.welcome(msgspec.structs.replace(finish, run=again.run), 0.0, ledger.admit)
    # The next code of the same words would not know them either.
    with pytest.raises(NotFound):
        inviter().welcome(finish, 0.0, ledger.admit)
    assert ledger.admitted == []


def test_a_pretender_who_does_not_know_the_code_is_found_out() -> None:
    theirs = joiner()
    pretender = Inviter(WRONG, identity("mallory").certificate, founded().swarm, 0.0)
    finish = theirs.finish(pretender.offer(theirs.start(), 0.0), *HELLO)
    with pytest.raises(WrongCode):
        pretender.welcome(finish, 0.0, Ledger().admit)
    with pytest.raises(WrongCode, match="could not prove"):
        theirs.welcome(JoinWelcome(bytes(32), bytes(64)))


@pytest.mark.parametrize(
    "share", [b"", b"A", b"A" + bytes(32), b"A" + b"\xff" * 32, b"B" + bytes(32), b"Z" * 33, b"A" * 99]
)
def test_nonsense_for_a_share_is_refused_without_cost(share: bytes) -> None:
    ours = inviter()
    start = JoinStart(PROTOCOL, 7, identity("boa").certificate, share)
    with pytest.raises(InvalidRequest):
        ours.offer(start, 0.0)
    assert ours.tries_left == 3


def test_the_joiners_own_share_sent_back_is_refused() -> None:
    theirs = joiner()
    start = theirs.start()
    offer = JoinOffer(PROTOCOL, "run", identity("miu").certificate, "s", start.share)
    with pytest.raises(InvalidRequest):
        theirs.finish(offer, *HELLO)


def test_another_protocol_is_said() -> None:
    with pytest.raises(Refused, match="protocol"):
        inviter().offer(msgspec.structs.replace(joiner().start(), protocol=PROTOCOL + 1), 0.0)
    theirs = joiner()
    offer = inviter().offer(theirs.start(), 0.0)
    with pytest.raises(Refused, match="protocol"):
        theirs.finish(msgspec.structs.replace(offer, protocol=PROTOCOL + 1), *HELLO)


def test_swarm_hashes_differ() -> None:
    hashes = {swarm_hash(f"{founder}-{suffix}") for founder, suffix in itertools.product("ab", "01")}
    assert len(hashes) == 4
