import hashlib
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mycoswarm.core.errors import Busy, InvalidRequest, MycoError, NotFound, Refused
from mycoswarm.core.node import PROTOCOL, SwarmInfo
from mycoswarm.core.views import Joined as JoinedView
from mycoswarm.fabric import comparing
from mycoswarm.fabric.comparing import (
    ANSWER_LIFE,
    LIFE,
    MAX_ENDED,
    MAX_PER_ADDRESS,
    MAX_WAITING,
    REVEAL_WITHIN,
    Asker,
    Desk,
    words_of,
)
from mycoswarm.fabric.pairing import Joined
from mycoswarm.fabric.wire import CompareAnswer, CompareOffer, CompareReveal, CompareStart, CompareWait, Welcome
from mycoswarm.fabric.words import WORDS
from tests.fabric.keys import founded, identity

WELCOME = Welcome(b"roster", {})
SWARM = founded().swarm


class Keeper:
    """A desk, and whom it let in."""

    def __init__(self, name: str = "miu") -> None:
        self.admitted: list[Joined] = []
        self.removed: list[bytes] = []
        self.desk = Desk(identity(name).certificate, name, self.admit, self.may_come)

    def admit(self, joined: Joined) -> Welcome:
        self.admitted.append(joined)
        return WELCOME

    def may_come(self, certificate: bytes) -> None:
        if certificate in self.removed:
            raise Refused("this machine was removed")

    def words(self) -> list[tuple[str, ...]]:
        return [one.words for one in self.desk.waiting(1.0)]


def asker(name: str = "boa", called: str = "boa") -> Asker:
    return Asker(identity(name).certificate, identity(name).sign, called, 6927)


def begin(keeper: Keeper, theirs: Asker, source: str = "10.0.0.2", now: float = 0.0) -> None:
    """Up to the moment at which both screens show words."""
    offer = keeper.desk.offer(theirs.start(), source, SWARM, now)
    assert keeper.desk.reveal(theirs.reveal(offer, now), now) == CompareAnswer("waiting")


def ask(keeper: Keeper, theirs: Asker, now: float = 1.0) -> Welcome | None:
    return theirs.heard(keeper.desk.wait(theirs.wait(), now))


def test_both_screens_show_the_same_words_and_both_owners_agree() -> None:
    keeper, theirs = Keeper(), asker()
    begin(keeper, theirs)
    (waiting,) = keeper.desk.waiting(5.0)
    shown = theirs.view(5.0)
    assert (waiting.name, waiting.address, waiting.since) == ("boa", "10.0.0.2", 5.0)
    assert waiting.words == shown.words
    assert len(set(shown.words)) in (3, 4)
    assert (shown.keeper, shown.state, shown.expires_in, shown.confirmed) == ("miu", "waiting", LIFE - 5.0, False)
    assert keeper.desk.decide(waiting.run, True, 6.0).admitted
    assert ask(keeper, theirs) is None
    assert keeper.admitted == []
    theirs.say(True)
    assert theirs.view(6.0).confirmed
    assert ask(keeper, theirs) == WELCOME
    assert keeper.admitted == [Joined(identity("boa").certificate, "boa", 6927, "10.0.0.2")]
    assert keeper.desk.waiting(7.0) == ()


def test_the_joining_owner_may_be_the_first_to_agree() -> None:
    keeper, theirs = Keeper(), asker()
    begin(keeper, theirs)
    theirs.say(True)
    assert ask(keeper, theirs) is None
    # Agreed once is agreed, also where later questions say nothing of it.
    assert keeper.desk.wait(msgspec.structs.replace(theirs.wait(), same=None), 1.0).state == "waiting"
    assert keeper.admitted == []
    assert keeper.desk.decide(theirs.run, True, 2.0).admitted
    assert len(keeper.admitted) == 1
    # A lost answer is given again, and the machine is let in once.
    assert ask(keeper, theirs) == ask(keeper, theirs) == WELCOME
    assert len(keeper.admitted) == 1


@pytest.mark.parametrize("keeper_agreed", [True, False])
def test_the_joining_owners_no_ends_it_on_both_sides(keeper_agreed: bool) -> None:
    keeper, theirs = Keeper(), asker()
    begin(keeper, theirs)
    if keeper_agreed:
        keeper.desk.decide(theirs.run, True, 1.0)
    theirs.say(False)
    assert theirs.state == "refused"
    assert keeper.desk.wait(theirs.wait(), 1.0).state == "refused"
    theirs.say(True)
    assert theirs.view(1.0).state == "refused"
    assert theirs.wait().same is False
    assert keeper.desk.waiting(1.0) == ()
    with pytest.raises(NotFound):
        keeper.desk.decide(theirs.run, True, 1.0)
    assert keeper.admitted == []


@pytest.mark.parametrize("joiner_agreed", [True, False])
def test_the_keepers_no_ends_it_on_both_sides(joiner_agreed: bool) -> None:
    keeper, theirs = Keeper(), asker()
    begin(keeper, theirs)
    if joiner_agreed:
        theirs.say(True)
        ask(keeper, theirs)
    answer = keeper.desk.decide(theirs.run, False, 1.0)
    assert (answer.name, answer.admitted) == ("boa", False)
    assert ask(keeper, theirs) is None
    assert theirs.view(1.0).state == "refused"
    assert "other machine" in theirs.view(1.0).why
    assert keeper.admitted == []


def test_a_yes_that_becomes_a_no_is_a_no() -> None:
    keeper, theirs = Keeper(), asker()
    begin(keeper, theirs)
    theirs.say(True)
    ask(keeper, theirs)
    theirs.say(False)
    ask(keeper, theirs)
    with pytest.raises(NotFound):
        keeper.desk.decide(theirs.run, True, 1.0)
    assert keeper.admitted == []


def test_a_keeper_that_cannot_admit_tells_both_owners() -> None:
    def refuse(joined: Joined) -> Welcome:
        raise Refused("this machine was removed")

    for keeper_first in (True, False):
        keeper, theirs = Keeper(), asker()
        keeper.desk = Desk(identity("miu").certificate, "miu", refuse, keeper.may_come)
        begin(keeper, theirs)
        theirs.say(True)
        if keeper_first:
            keeper.desk.decide(theirs.run, True, 1.0)
        else:
            ask(keeper, theirs)
            with pytest.raises(Refused, match="was removed"):
                keeper.desk.decide(theirs.run, True, 1.0)
        ask(keeper, theirs)
        assert (theirs.state, theirs.view(1.0).why) == ("refused", "this machine was removed")


def test_an_answer_that_nobody_asked_for_is_not_taken() -> None:
    keeper, theirs = Keeper(), asker()
    begin(keeper, theirs)
    assert theirs.heard(CompareAnswer("joined", welcome=WELCOME)) is None
    assert theirs.state == "refused"


def test_the_words_end_with_their_time() -> None:
    keeper, theirs = Keeper(), asker()
    begin(keeper, theirs)
    theirs.look(LIFE - 1.0)
    assert theirs.state == "waiting"
    assert len(keeper.desk.waiting(LIFE - 1.0)) == 1
    assert keeper.desk.waiting(LIFE) == ()
    with pytest.raises(NotFound):
        keeper.desk.decide(theirs.run, True, LIFE)
    with pytest.raises(NotFound):
        keeper.desk.wait(theirs.wait(), LIFE)
    theirs.look(LIFE)
    assert theirs.view(LIFE).state == "ended"


def test_a_machine_that_joined_stays_joined() -> None:
    theirs = asker()
    joined = JoinedView(SwarmInfo(SWARM, "miu's swarm", 2, (), founded_here=False))
    theirs.end("joined", joined=joined)
    theirs.look(LIFE)
    theirs.say(False)
    assert (theirs.view(0.0).state, theirs.view(0.0).joined) == ("joined", joined)


def test_an_answer_is_kept_for_a_while() -> None:
    keeper, theirs = Keeper(), asker()
    begin(keeper, theirs)
    keeper.desk.decide(theirs.run, False, 10.0)
    assert keeper.desk.wait(theirs.wait(), 10.0 + ANSWER_LIFE - 1.0).state == "refused"
    with pytest.raises(NotFound):
        keeper.desk.wait(theirs.wait(), 10.0 + ANSWER_LIFE)


def test_leaving_the_swarm_ends_all() -> None:
    keeper, theirs = Keeper(), asker()
    begin(keeper, theirs)
    keeper.desk.clear()
    with pytest.raises(NotFound):
        keeper.desk.decide(theirs.run, True, 1.0)
    with pytest.raises(NotFound):
        keeper.desk.wait(theirs.wait(), 1.0)


# Strangers who fill the list.


def test_a_stranger_cannot_push_out_others() -> None:
    keeper, honest = Keeper(), asker()
    begin(keeper, honest)
    for number in range(MAX_WAITING - 1):
        begin(keeper, asker("mallory"), f"10.0.1.{number // MAX_PER_ADDRESS}")
    for source in ("10.0.0.2", "10.0.9.9"):
        with pytest.raises(Busy):
            begin(keeper, asker("mallory"), source)
    waiting = keeper.desk.waiting(0.0)
    assert len(waiting) == MAX_WAITING
    assert waiting[0].run == honest.run
    # As soon as the owner turns one away, another may come.
    keeper.desk.decide(waiting[-1].run, False, 0.0)
    begin(keeper, asker(), "10.0.9.9")


def test_one_address_has_few_places() -> None:
    keeper = Keeper()
    for _ in range(MAX_PER_ADDRESS):
        begin(keeper, asker(), "10.0.0.2")
    with pytest.raises(Busy, match="at this address"):
        keeper.desk.offer(asker().start(), "10.0.0.2", SWARM, 0.0)
    begin(keeper, asker(), "10.0.0.3")


def test_those_who_only_begin_are_few_and_soon_forgotten() -> None:
    keeper = Keeper()
    for number in range(MAX_WAITING):
        keeper.desk.offer(asker().start(), f"10.0.0.{number}", SWARM, 0.0)
    with pytest.raises(Busy):
        keeper.desk.offer(asker().start(), "10.0.9.9", SWARM, 0.0)
    assert keeper.desk.waiting(0.0) == ()
    late = asker()
    offer = keeper.desk.offer(late.start(), "10.0.9.9", SWARM, REVEAL_WITHIN)
    with pytest.raises(NotFound):
        keeper.desk.reveal(late.reveal(offer, 0.0), 3 * REVEAL_WITHIN)


def test_the_list_is_bounded_where_many_begin_before_any_reveals() -> None:
    keeper = Keeper()
    revealed = [asker() for _ in range(MAX_WAITING - 1)]
    for number, one in enumerate(revealed):
        begin(keeper, one, f"10.0.0.{number}")
    late = [asker(), asker()]
    offers = [keeper.desk.offer(one.start(), f"10.0.1.{n}", SWARM, 0.0) for n, one in enumerate(late)]
    keeper.desk.reveal(late[0].reveal(offers[0], 0.0), 0.0)
    with pytest.raises(Busy):
        keeper.desk.reveal(late[1].reveal(offers[1], 0.0), 0.0)


def test_what_has_ended_is_bounded_too() -> None:
    keeper = Keeper()
    ended = [asker() for _ in range(MAX_ENDED + 2)]
    for one in ended:
        begin(keeper, one)
        keeper.desk.decide(one.run, False, 0.0)
    with pytest.raises(NotFound):
        keeper.desk.wait(ended[0].wait(), 0.0)
    assert keeper.desk.wait(ended[-1].wait(), 0.0).state == "refused"


@pytest.mark.parametrize(
    ("called", "shown"),
    [
        ("boa", "boa"),
        ("\x1b[2Jboa\r\n", "[2Jboa"),
        ("a\u202eb", "a b"),
        ("x" * 150, "x" * 64),
        ("\n", "nameless"),
        ("", "nameless"),
    ],
)
def test_a_strangers_name_is_made_printable(called: str, shown: str) -> None:
    keeper, theirs = Keeper(), asker(called=called)
    begin(keeper, theirs)
    assert keeper.desk.waiting(0.0)[0].name == shown
    theirs.say(True)
    ask(keeper, theirs)
    assert keeper.desk.decide(theirs.run, True, 0.0).name == shown
    assert keeper.admitted[0].name == shown


# Attacks.


def test_a_man_in_the_middle_with_a_certificate_of_his_own_shows_other_words() -> None:
    """He is a keeper to the one and a joining machine to the other: two runs, two sets of words."""
    keeper, theirs = Keeper(), asker()
    false_keeper, false_joiner = Keeper("mallory"), asker("mallory", "boa")
    begin(false_keeper, theirs)
    begin(keeper, false_joiner)
    assert false_keeper.desk.waiting(0.0)[0].words == theirs.view(0.0).words
    assert keeper.desk.waiting(0.0)[0].words != theirs.view(0.0).words


def test_a_man_in_the_middle_cannot_answer_with_a_nonce_chosen_afterwards() -> None:
    """Who hears the keeper's nonce first and then looks for one of his own that gives the wanted words is refused."""
    keeper, false_joiner = Keeper(), asker("mallory")
    offer = keeper.desk.offer(false_joiner.start(), "10.0.0.2", SWARM, 0.0)
    good = false_joiner.reveal(offer, 0.0)
    for changed in ({"nonce": hashlib.sha256(b"another").digest()}, {"name": "naru"}, {"port": 1}):
        other = msgspec.structs.replace(good, **changed)
        proof = identity("mallory").sign(comparing._PROOF + comparing._transcript(false_joiner.start(), offer, other))
        keeper2, joiner2 = Keeper(), asker("mallory")
        offer2 = keeper2.desk.offer(joiner2.start(), "10.0.0.2", SWARM, 0.0)
        moved = msgspec.structs.replace(other, run=offer2.run, proof=proof)
        with pytest.raises(InvalidRequest, match="something else than it had promised"):
            keeper2.desk.reveal(moved, 0.0)
        assert keeper2.desk.waiting(0.0) == ()


def test_nobody_has_a_certificate_let_in_whose_key_he_does_not_hold() -> None:
    keeper = Keeper()
    thief = Asker(identity("boa").certificate, identity("mallory").sign, "boa", 6927)
    offer = keeper.desk.offer(thief.start(), "10.0.0.2", SWARM, 0.0)
    with pytest.raises(InvalidRequest, match="something else than it had promised"):
        keeper.desk.reveal(thief.reveal(offer, 0.0), 0.0)
    assert keeper.desk.waiting(0.0) == ()


def test_who_was_removed_is_told_so_before_anybody_compares() -> None:
    keeper, theirs = Keeper(), asker()
    keeper.removed.append(identity("boa").certificate)
    # Not to somebody else who only knows its certificate.
    thief = Asker(identity("boa").certificate, identity("mallory").sign, "boa", 6927)
    with pytest.raises(InvalidRequest):
        keeper.desk.reveal(thief.reveal(keeper.desk.offer(thief.start(), "10.0.0.2", SWARM, 0.0), 0.0), 0.0)
    offer = keeper.desk.offer(theirs.start(), "10.0.0.2", SWARM, 0.0)
    with pytest.raises(Refused, match="was removed"):
        keeper.desk.reveal(theirs.reveal(offer, 0.0), 0.0)
    assert keeper.desk.waiting(0.0) == ()


def test_only_who_knows_the_nonce_hears_the_answer() -> None:
    keeper, theirs = Keeper(), asker()
    begin(keeper, theirs)
    keeper.desk.decide(theirs.run, True, 0.0)
    for nonce in (bytes(32), hashlib.sha256(b"x").digest()):
        with pytest.raises(NotFound):
            keeper.desk.wait(CompareWait(theirs.run, nonce, True), 0.0)
    assert keeper.admitted == []


def test_messages_of_one_attempt_are_worth_nothing_in_another() -> None:
    keeper, theirs = Keeper(), asker()
    offer = keeper.desk.offer(theirs.start(), "10.0.0.2", SWARM, 0.0)
    reveal = theirs.reveal(offer, 0.0)
    keeper.desk.reveal(reveal, 0.0)
    # The same message once more is a lost answer; in another run it is nothing.
    assert keeper.desk.reveal(reveal, 0.0) == CompareAnswer("waiting")
    again = keeper.desk.offer(theirs.start(), "10.0.0.2", SWARM, 0.0)
    with pytest.raises(InvalidRequest):
        keeper.desk.reveal(msgspec.structs.replace(reveal, run=again.run), 0.0)
    other = Keeper()
    with pytest.raises(NotFound):
        other.desk.reveal(reveal, 0.0)
    with pytest.raises(NotFound):
        keeper.desk.reveal(msgspec.structs.replace(reveal, port=1), 0.0)
    assert len(keeper.desk.waiting(0.0)) == 1


def _altered(data: bytes, at: int, bit: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


Carry = Callable[[str, bytes], bytes]


def _carried(carry: Carry, message: msgspec.Struct) -> msgspec.Struct:
    kind = type(message)
    try:
        return msgspec.json.decode(carry(kind.__name__, msgspec.json.encode(message)), type=kind)
    except (msgspec.DecodeError, UnicodeError) as problem:
        raise InvalidRequest("no message of joining") from problem


def _play(keeper: Keeper, theirs: Asker, carry: Carry) -> Welcome | None:
    """One whole attempt in which both owners compare, and say yes only where the words are the same."""
    offer = keeper.desk.offer(_carried(carry, theirs.start()), "10.0.0.2", SWARM, 0.0)  # type: ignore[arg-type]
    reveal = theirs.reveal(_carried(carry, offer), 0.0)  # type: ignore[arg-type]
    keeper.desk.reveal(_carried(carry, reveal), 0.0)  # type: ignore[arg-type]
    (waiting,) = keeper.desk.waiting(0.0)
    same = waiting.words == theirs.view(0.0).words
    keeper.desk.decide(waiting.run, same, 0.0)
    theirs.say(same)
    answer = keeper.desk.wait(_carried(carry, theirs.wait()), 0.0)  # type: ignore[arg-type]
    return theirs.heard(answer)


def test_the_attempt_that_is_altered_below_works_as_it_is() -> None:
    keeper = Keeper()
    assert _play(keeper, asker(), lambda kind, data: data) == WELCOME
    assert len(keeper.admitted) == 1


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["CompareStart", "CompareOffer", "CompareReveal"]), st.integers(0, 5000), st.integers(0, 7))
def test_whoever_alters_a_byte_before_the_words_ends_it(kind: str, at: int, bit: int) -> None:
    keeper, theirs = Keeper(), asker()
    changed: list[bool] = []

    def carry(name: str, data: bytes) -> bytes:
        if name != kind:
            return data
        altered = _altered(data, at, bit)
        try:
            # Another spelling of the same message ("\/", or the spare bits of the end of base64) is no attack.
            said = {one.__name__: one for one in (CompareStart, CompareOffer, CompareReveal)}[name]
            changed.append(msgspec.json.decode(altered, type=said) != msgspec.json.decode(data, type=said))
        except (ValueError, UnicodeError):
            changed.append(True)
        return altered

    try:
        outcome = _play(keeper, theirs, carry)
    except MycoError:
        outcome = None
    if changed == [True]:
        assert outcome is None
        assert keeper.admitted == []


def test_every_field_counts() -> None:
    keeper, theirs = Keeper(), asker()
    start = theirs.start()
    offer = keeper.desk.offer(start, "10.0.0.2", SWARM, 0.0)
    reveal = theirs.reveal(offer, 0.0)
    base = comparing._transcript(start, offer, reveal)
    mallory = identity("mallory").certificate
    for message, field, value in (
        (start, "certificate", mallory),
        (start, "commitment", bytes(32)),
        (start, "protocol", 2),
        (offer, "run", "x"),
        (offer, "certificate", mallory),
        (offer, "swarm", "x"),
        (offer, "name", "x"),
        (offer, "nonce", bytes(32)),
        (offer, "protocol", 2),
        (reveal, "run", "x"),
        (reveal, "nonce", bytes(32)),
        (reveal, "name", "x"),
        (reveal, "port", 1),
    ):
        said = [msgspec.structs.replace(one, **{field: value}) if one is message else one
                for one in (start, offer, reveal)]  # fmt: skip
        assert comparing._transcript(*said) != base, field  # type: ignore[arg-type]
    # There are many signatures of one text: hashed into the words, one could be chosen until they fit.
    assert comparing._transcript(start, offer, msgspec.structs.replace(reveal, proof=b"x")) == base


def test_the_words_are_forty_bits() -> None:
    assert words_of(bytes(32)) == words_of(bytes(5) + b"\xff" * 27)
    seen = {words_of(bytes(at) + bytes([1 << bit]) + bytes(31 - at)) for at in range(5) for bit in range(8)}
    assert len(seen) == 40
    assert words_of(bytes.fromhex("ffffffffff") + bytes(27)) == (WORDS[1023],) * 4


def test_another_protocol_and_nonsense_are_refused() -> None:
    keeper, theirs = Keeper(), asker()
    start = theirs.start()
    with pytest.raises(Refused, match="protocol"):
        keeper.desk.offer(msgspec.structs.replace(start, protocol=PROTOCOL + 1), "", SWARM, 0.0)
    with pytest.raises(InvalidRequest):
        keeper.desk.offer(msgspec.structs.replace(start, certificate=b"x"), "", SWARM, 0.0)
    offer = keeper.desk.offer(start, "", SWARM, 0.0)
    with pytest.raises(Refused, match="protocol"):
        theirs.reveal(msgspec.structs.replace(offer, protocol=PROTOCOL + 1), 0.0)
    with pytest.raises(InvalidRequest, match="own address"):
        theirs.reveal(msgspec.structs.replace(offer, certificate=identity("boa").certificate), 0.0)


def test_the_messages_are_small() -> None:
    keeper, theirs = Keeper(), asker(called="x" * 200)
    offer = keeper.desk.offer(theirs.start(), "", SWARM, 0.0)
    reveal = theirs.reveal(offer, 0.0)
    for message in (theirs.start(), offer, reveal, theirs.wait()):
        assert isinstance(message, CompareStart | CompareOffer | CompareReveal | CompareWait)
        assert len(msgspec.json.encode(message)) < 2048
