from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec
import pytest

from mycoswarm.core.clock import Clock
from mycoswarm.core.errors import DiskFull, InvalidRequest, MycoError, NotFound, PeerLost, Refused, WrongCode
from mycoswarm.core.ids import SwarmId
from mycoswarm.fabric import codes, joining
from mycoswarm.fabric.codes import TRIES, Code, Kind
from mycoswarm.fabric.comparing import Desk
from mycoswarm.fabric.joining import TOLD, Applicant, Comparison, Invitations, Tries, join_at, worst
from mycoswarm.fabric.pairing import Joined, Joiner, swarm_hash
from mycoswarm.fabric.store import Store
from mycoswarm.fabric.wire import (
    COMPARE_REVEAL_PATH,
    COMPARE_START_PATH,
    JOIN_FINISH_PATH,
    JOIN_START_PATH,
    CompareReveal,
    CompareStart,
    CompareWait,
    JoinFinish,
    JoinOffer,
    JoinStart,
    Welcome,
)
from tests.fabric.keys import founded, identity, with_boa

SWARM = founded().swarm


class Hand:
    """A clock whose hand is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1_000_000.0 + self.now


class Inviting:
    """miu, whose roster already has boa in it: what it gives to whoever proves himself."""

    def __init__(self, state: Path) -> None:
        self.clock = Hand()
        self.store = Store(state)
        self.admitted: list[tuple[Joined, Kind]] = []
        self.roster = with_boa().encode()
        self.invitations = self.restarted()

    def restarted(self) -> Invitations:
        return Invitations(identity("miu"), self.store, cast(Clock, self.clock), self.admit)

    def admit(self, joined: Joined, way: Kind) -> Welcome:
        self.admitted.append((joined, way))
        return Welcome(self.roster, {})

    def attempt(self, code: Code, source: str = "10.0.0.2") -> None:
        """One try with `code`, whether it is right or not."""
        joiner = Joiner(code, identity("boa").certificate, identity("boa").sign)
        self.invitations.finish(joiner.finish(self.invitations.start(joiner.start()), "boa", 1), source)


@pytest.fixture
def miu(tmp_path: Path) -> Inviting:
    return Inviting(tmp_path)


def wrong(code: Code) -> Code:
    return Code(f"{code.slot}-zoo-zoo", code.slot)


def test_each_invitation_has_a_number_of_its_own(miu: Inviting) -> None:
    first = miu.invitations.invite(SWARM, False, {1})
    second = miu.invitations.invite(SWARM, False, set())
    assert (first.slot, second.slot) == (2, 1)
    miu.invitations.open(SWARM, 60.0)
    headless = miu.invitations.invite(SWARM, True, set())
    assert miu.invitations.slots() == (0, 1, 2, headless.slot)
    miu.attempt(second)
    assert miu.invitations.slots() == (0, 2, headless.slot)
    miu.clock.now += 600.0
    assert miu.invitations.slots() == (headless.slot,)
    miu.invitations.clear()
    assert miu.invitations.slots() == ()


def test_the_way_in_is_told(miu: Inviting) -> None:
    miu.attempt(miu.invitations.invite(SWARM, False, set()))
    miu.attempt(miu.invitations.invite(SWARM, True, set()))
    miu.invitations.open(SWARM, 60.0)
    miu.attempt(codes.OPEN)
    miu.attempt(codes.OPEN)
    assert [way for _, way in miu.admitted] == ["code", "headless", "open", "open"]


def test_only_headless_codes_outlive_a_restart(miu: Inviting) -> None:
    miu.invitations.invite(SWARM, False, set())
    miu.invitations.open(SWARM, 60.0)
    headless = miu.invitations.invite(SWARM, True, set())
    again = miu.restarted()
    again.restore(SWARM)
    assert again.slots() == (headless.slot,)
    elsewhere = miu.restarted()
    elsewhere.restore(SwarmId("another"))
    assert elsewhere.slots() == ()
    miu.clock.now += codes.HEADLESS_LIFE
    late = miu.restarted()
    late.restore(SWARM)
    assert late.slots() == ()


def test_a_headless_code_is_written_off_before_it_lets_somebody_in(
    miu: Inviting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a crash right after the admission leaves a code on disk that lets in a second machine."""
    code, other = (miu.invitations.invite(SWARM, True, set()) for _ in range(2))
    on_disk: list[tuple[int, ...]] = []

    def then(joined: Joined, way: Kind) -> Welcome:
        again = miu.restarted()
        again.restore(SWARM)
        on_disk.append(again.slots())
        raise DiskFull("full")

    monkeypatch.setattr(miu.invitations, "_admit", then)
    with pytest.raises(DiskFull):
        miu.attempt(code)
    assert on_disk == [(other.slot,)]
    # It has let nobody in, so it stays good, also over a restart.
    again = miu.restarted()
    again.restore(SWARM)
    assert set(again.slots()) == {code.slot, other.slot}
    monkeypatch.undo()
    miu.attempt(code)
    assert miu.invitations.slots() == (other.slot,)


def test_a_full_disk_lets_nobody_in_rather_than_half(miu: Inviting, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _ = (miu.invitations.invite(SWARM, True, set()) for _ in range(2))

    def full(data: object) -> None:
        raise DiskFull("full")

    monkeypatch.setattr(miu.store, "keep_invitations", full)
    with pytest.raises(DiskFull):
        miu.attempt(code)
    assert miu.admitted == []
    monkeypatch.undo()
    miu.attempt(code)
    assert len(miu.admitted) == 1


@pytest.mark.parametrize("damaged", [b"", b"[{", b'[{"code":"\xff"}]', b"[" * 100_000])
def test_damaged_invitations_are_no_reason_not_to_start(miu: Inviting, damaged: bytes) -> None:
    miu.store.keep_invitations(damaged)
    miu.invitations.restore(SWARM)
    assert miu.invitations.slots() == ()


def test_the_owner_is_told_of_a_code_that_was_guessed_at(miu: Inviting) -> None:
    code = miu.invitations.invite(SWARM, False, set())
    for left in (2, 1, 0):
        assert miu.invitations.problems() == ()
        with pytest.raises(WrongCode) as caught:
            miu.attempt(wrong(code), f"10.0.0.{left}")
        assert caught.value.data["tries_left"] == left
    (problem,) = miu.invitations.problems()
    assert problem.message == "an invitation ended after three wrong tries, the last from 10.0.0.0"
    assert "mycoswarm invite" in problem.action
    miu.clock.now += TOLD - 1.0
    assert len(miu.invitations.problems()) == 1
    miu.clock.now += 1.0
    assert miu.invitations.problems() == ()


@pytest.mark.parametrize("then", ["invite", "open", "clear"])
def test_the_next_invitation_ends_the_telling(miu: Inviting, then: str) -> None:
    code = miu.invitations.invite(SWARM, False, set())
    for _ in range(3):
        with pytest.raises(WrongCode):
            miu.attempt(wrong(code))
    assert miu.invitations.problems()
    match then:
        case "invite":
            miu.invitations.invite(SWARM, False, set())
        case "open":
            miu.invitations.open(SWARM, 1.0)
        case _:
            miu.invitations.clear()
    assert miu.invitations.problems() == ()


def test_what_nobody_offers(miu: Inviting) -> None:
    with pytest.raises(NotFound, match="no open invitation with the number 7"):
        miu.invitations.start(JoinStart(1, 7, b"", b""))
    for slot in (0, 12345):
        with pytest.raises(NotFound, match=r"no open invitation$"):
            miu.invitations.start(JoinStart(1, slot, b"", b""))
    with pytest.raises(NotFound):
        miu.invitations.finish(JoinFinish("x", b"", b""), "")


def test_of_several_failures_somebodys_answer_tells_most() -> None:
    lost, unknown, refused = PeerLost("a"), NotFound("b"), Refused("c")
    problems: list[MycoError] = [lost, unknown, refused]
    assert worst(problems) is refused
    assert worst(problems[:2]) is unknown


# The way in, over a channel that is one only by name.


class Line:
    """Stands for `JoinChannel`: answers as miu does. lose: replies that get lost. alter: what somebody makes of one."""

    def __init__(self, miu: Inviting) -> None:
        self.miu = miu
        self.desk = Desk(
            identity("miu").certificate, "miu", lambda joined: miu.admit(joined, "code"), lambda certificate: None
        )
        self.lose: list[str] = []
        self.alter: Callable[[str, bytes], bytes] = lambda path, reply: reply
        self.pinned: list[bytes | None] = []
        self._pin: bytes | None = None

    def __call__(self, address: str, typed: bool) -> "Line":
        return self

    def pin(self, certificate: bytes, node: str) -> None:
        self._pin = certificate

    async def post(self, path: str, body: bytes) -> bytes:
        self.pinned.append(self._pin)
        now = self.miu.clock.now
        match path:
            case _ if path == JOIN_START_PATH:
                answer = self.miu.invitations.start(msgspec.json.decode(body, type=JoinStart))
            case _ if path == JOIN_FINISH_PATH:
                answer = self.miu.invitations.finish(msgspec.json.decode(body, type=JoinFinish), "10.0.0.2")
            case _ if path == COMPARE_START_PATH:
                answer = self.desk.offer(msgspec.json.decode(body, type=CompareStart), "10.0.0.2", SWARM, now)
            case _ if path == COMPARE_REVEAL_PATH:
                answer = self.desk.reveal(msgspec.json.decode(body, type=CompareReveal), now)
            case _:
                answer = self.desk.wait(msgspec.json.decode(body, type=CompareWait), now)
        if path in self.lose:
            self.lose.remove(path)
            raise PeerLost("the reply was lost")
        return self.alter(path, msgspec.json.encode(answer))


@pytest.fixture
def line(miu: Inviting, monkeypatch: pytest.MonkeyPatch) -> Line:
    made = Line(miu)
    monkeypatch.setattr(joining, "JoinChannel", made)
    return made


def boa(present: str = "") -> Applicant:
    return Applicant(identity("boa"), "boa", 6927, present)


async def test_the_roster_that_comes_is_the_one_that_was_promised(miu: Inviting, line: Line) -> None:
    let = await join_at("10.0.0.1:1", False, miu.invitations.invite(SWARM, False, set()), boa())
    assert (let.roster.digest, let.inviter, let.address) == (
        with_boa().digest,
        identity("miu").certificate,
        "10.0.0.1:1",
    )
    # The proof goes to nobody but the holder of the certificate that it is for.
    assert line.pinned == [None, identity("miu").certificate]


async def test_a_lost_answer_costs_nothing(miu: Inviting, line: Line) -> None:
    line.lose = [JOIN_FINISH_PATH]
    let = await join_at("10.0.0.1:1", False, miu.invitations.invite(SWARM, False, set()), boa())
    assert let.roster.digest == with_boa().digest
    assert len(miu.admitted) == 1


async def test_who_pretends_to_have_given_out_a_code_has_few_guesses(miu: Inviting, line: Line) -> None:
    """Each proof that he is shown tells him whether one guess was right; he announces himself ever again."""
    code, tries = miu.invitations.invite(SWARM, False, set()), Tries(set(), TRIES)
    for certificate in ("p0", "p1", "p2"):

        def another(path: str, reply: bytes, certificate: str = certificate) -> bytes:
            offer = msgspec.json.decode(reply, type=JoinOffer)
            return msgspec.json.encode(msgspec.structs.replace(offer, certificate=identity(certificate).certificate))

        line.alter = another
        with pytest.raises(WrongCode):
            await join_at("10.0.0.1:1", False, code, boa(), tries)
    line.alter = lambda path, reply: reply
    line.pinned.clear()
    with pytest.raises(Refused, match="claim to have given out this code"):
        await join_at("10.0.0.1:1", False, miu.invitations.invite(SWARM, False, set()), boa(), tries)
    assert len(line.pinned) == 1, "asked, and shown nothing"


async def test_a_guess_costs_a_try_also_where_he_breaks_off(miu: Inviting, line: Line) -> None:
    code, tries = miu.invitations.invite(SWARM, False, set()), Tries(set(), TRIES)
    line.lose = [JOIN_FINISH_PATH] * 2
    with pytest.raises(PeerLost):
        await join_at("10.0.0.1:1", False, code, boa(), tries)
    assert (tries.left, tries.denied) == (TRIES - 1, set())


async def test_nobody_joins_where_he_is(miu: Inviting, line: Line) -> None:
    code = miu.invitations.invite(SWARM, False, set())
    with pytest.raises(Refused, match="already"):
        await join_at("10.0.0.1:1", False, code, boa(present=swarm_hash(SWARM)))
    with pytest.raises(Refused, match="already"):
        await Comparison("10.0.0.1:1", False, boa(present=swarm_hash(SWARM))).begin(0.0)
    assert miu.invitations.slots() == (code.slot,)


@pytest.mark.parametrize("roster", ["without this node", "without the inviting node's right", "nonsense"])
async def test_a_roster_that_does_not_fit_is_not_taken(miu: Inviting, line: Line, roster: str) -> None:
    code = miu.invitations.invite(SWARM, False, set())
    match roster:
        case "without this node":
            miu.roster = founded().encode()
        case "nonsense":
            miu.roster = b"[" * 100
        case _:
            # boa itself is a member, and not one that could have let anybody in.
            naru = Invitations(identity("boa"), miu.store, cast(Clock, miu.clock), miu.admit)
            miu.invitations = naru
            code = naru.invite(SWARM, False, set())
    with pytest.raises((WrongCode, InvalidRequest)):
        await join_at("10.0.0.1:1", False, code, boa())


@pytest.mark.parametrize("path", [JOIN_START_PATH, JOIN_FINISH_PATH])
@pytest.mark.parametrize("reply", [b"", b"{}", b"\xff", b'{"run":"\xff"}', b"[" * 100_000])
async def test_an_answer_that_is_none(miu: Inviting, line: Line, path: str, reply: bytes) -> None:
    code = miu.invitations.invite(SWARM, False, set())
    line.alter = lambda at, answer: reply if at == path else answer
    with pytest.raises(InvalidRequest):
        await join_at("10.0.0.1:1", False, code, boa())


async def test_comparing_brings_the_same(miu: Inviting, line: Line) -> None:
    comparison = Comparison("10.0.0.1:1", False, boa())
    await comparison.begin(0.0)
    (waiting,) = line.desk.waiting(0.0)
    assert waiting.words == comparison.asker.view(0.0).words
    assert await comparison.ask() is None
    line.desk.decide(waiting.run, True, 0.0)
    comparison.asker.say(True)
    let = await comparison.ask()
    assert let is not None
    assert let.roster.digest == with_boa().digest
    assert line.pinned == [None, *[identity("miu").certificate] * 3]


async def test_a_swarm_that_is_not_the_one_compared_is_not_taken(miu: Inviting, line: Line) -> None:
    comparison = Comparison("10.0.0.1:1", False, boa())
    await comparison.begin(0.0)
    (waiting,) = line.desk.waiting(0.0)
    line.desk.decide(waiting.run, True, 0.0)
    comparison.asker.say(True)
    comparison.asker.swarm = swarm_hash("another")
    with pytest.raises(WrongCode, match="does not fit"):
        await comparison.ask()
