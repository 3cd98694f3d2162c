"""Joining over real sockets. What is announced is put in by hand: other runs on this machine announce things too."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from mycoswarm.core.errors import Busy, InvalidRequest, MycoError, NotFound, PeerLost, Refused, WrongCode
from mycoswarm.core.node import PROTOCOL, NearbySwarm
from mycoswarm.core.views import Comparing
from mycoswarm.fabric import codes, entry
from mycoswarm.fabric.comparing import MAX_PER_ADDRESS
from mycoswarm.fabric.mdns import SOLO, Announcement
from mycoswarm.fabric.pairing import swarm_hash
from mycoswarm.fabric.service import Fabric
from mycoswarm.fabric.wire import COMPARE_START_PATH, COMPARE_WAIT_PATH, JOIN_START_PATH, CompareWait
from tests.fabric.swarms import address, all_up, fabric, join, state, until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "FIND", 0.6)
    monkeypatch.setattr(entry, "SETTLE", 0.1)
    monkeypatch.setattr(entry, "ASK_EVERY", 0.1)


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[tuple[Fabric, Fabric, Fabric]]:
    """miu, boa and naru, each alone."""
    nodes = fabric(tmp_path, "miu"), fabric(tmp_path, "boa"), fabric(tmp_path, "naru")
    for node in nodes:
        await node.start()
        hears(node)
    yield nodes
    for node in nodes:
        await node.close()


def announced(node: Fabric) -> Announcement:
    held = node._trust.roster
    swarm = swarm_hash(held.swarm) if held is not None else SOLO
    return Announcement(PROTOCOL, f"{node.id[:8]}.0", swarm, node._admission.slots(), (address(node),))


def hears(node: Fabric, *others: Fabric) -> None:
    """From now on `node` hears the announcements of `others` and of nobody else."""
    around = node._entry._around
    object.__setattr__(around, "seen", lambda: tuple(announced(other) for other in others))


def member(node: Fabric, of: Fabric) -> bool:
    return node.swarm is not None and of.swarm is not None and node.swarm.id == of.swarm.id


async def ended(node: Fabric, comparing: Comparing) -> Comparing:
    await until(lambda: node.comparing(comparing.run).state != "waiting")
    return node.comparing(comparing.run)


# Comparing words.


@pytest.mark.parametrize("keeper_first", [True, False])
async def test_both_say_yes(
    three: tuple[Fabric, Fabric, Fabric], keeper_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    miu, boa, _ = three
    caplog.set_level(logging.INFO)
    await miu.invite()
    shown = await boa.compare(address(miu))
    (waiting,) = miu.waiting()
    assert (waiting.name, waiting.address, waiting.words) == ("boa", "127.0.0.1", shown.words)
    assert (shown.state, shown.keeper) == ("waiting", "miu")
    for owner in ("keeper", "joiner") if keeper_first else ("joiner", "keeper"):
        assert not member(boa, miu)
        if owner == "keeper":
            answer = await miu.admit(waiting.run, same=True)
            assert (answer.name, answer.admitted) == ("boa", True)
        else:
            assert (await boa.compared(shown.run, same=True)).confirmed
            await asyncio.sleep(0.3)
    done = await ended(boa, shown)
    assert done.state == "joined"
    assert done.joined is not None
    assert (done.joined.swarm.name, done.joined.moved_from) == ("miu's swarm", "")
    await until(lambda: all_up(miu, boa))
    assert miu.waiting() == ()
    assert miu._health.total("mycoswarm_joins_total", way="compare") == 1
    assert miu._health.total("mycoswarm_joins_refused_total") == 0
    assert "let in “boa” from 127.0.0.1 (compare)" in caplog.text


@pytest.mark.parametrize("who", ["keeper", "joiner"])
async def test_one_says_no(three: tuple[Fabric, Fabric, Fabric], who: str) -> None:
    miu, boa, _ = three
    await miu.invite()
    shown = await boa.compare(address(miu))
    if who == "keeper":
        await boa.compared(shown.run, same=True)
        assert not (await miu.admit(shown.run, same=False)).admitted
    else:
        await miu.admit(shown.run, same=True)
        assert (await boa.compared(shown.run, same=False)).state == "refused"
    done = await ended(boa, shown)
    assert done.state == "refused"
    assert done.why
    await until(lambda: miu._admission._desk.waiting(miu._clock.monotonic()) == ())
    await asyncio.sleep(0.3)
    with pytest.raises(NotFound):
        await miu.admit(shown.run, same=True)
    assert boa.swarm is None
    assert miu.swarm is not None
    assert miu.swarm.members == 1
    # What this side's owner says is told as what it may be; what the other says, anybody could have said.
    assert miu._health.total("mycoswarm_joins_refused_total", reason="words_differ") == (who == "keeper")
    told = [one.message for one in miu._health.problems() if one.id == "joins-refused"]
    assert any("words" in one and "127.0.0.1" in one for one in told) == (who == "keeper")


async def test_a_second_attempt_ends_the_first_on_both_sides(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, boa, _ = three
    await miu.invite()
    first = await boa.compare(address(miu))
    second = await boa.compare(address(miu))
    assert boa.comparing(first.run).state == "ended"
    await until(lambda: [one.run for one in miu.waiting()] == [second.run])


async def test_a_member_that_is_no_keeper_names_nobody_and_the_next_one_is_asked(
    three: tuple[Fabric, Fabric, Fabric],
) -> None:
    miu, boa, naru = three
    await join(miu, boa)
    with pytest.raises(Refused, match="only its keepers let others in") as caught:
        await naru.compare(address(boa))
    assert "miu" not in caught.value.message + caught.value.hint
    await boa.leave()
    with pytest.raises(Refused, match="belongs to no swarm"):
        await naru.compare(address(boa))
    await join(miu, boa)
    hears(naru, boa, miu)
    shown = await naru.compare()
    assert [one.run for one in miu.waiting()] == [shown.run]
    # How a machine finds the keeper is no attack.
    assert boa._health.total("mycoswarm_joins_refused_total") == 0
    with pytest.raises(Refused, match="only a keeper"):
        await boa.admit(shown.run, same=True)


async def test_several_swarms_side_by_side(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, boa, naru = three
    await miu.invite()
    await boa.invite()
    hears(naru, miu, boa)
    with pytest.raises(InvalidRequest, match="several swarms are near") as caught:
        await naru.compare()
    assert announced(miu).swarm in caught.value.message
    assert address(boa) in caught.value.message
    shown = await naru.compare(swarm=announced(boa).swarm)
    assert (len(miu.waiting()), len(boa.waiting())) == (0, 1)
    await naru.compared(shown.run, same=True)
    await boa.admit(shown.run, same=True)
    assert (await ended(naru, shown)).state == "joined"
    assert member(naru, boa)
    assert not member(naru, miu)
    await until(lambda: all_up(boa, naru))
    hears(miu)
    with pytest.raises(NotFound, match="no swarm is near"):
        await miu.compare(swarm="nowhere", move=True)


async def test_the_keepers_departure_ends_the_comparison(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, boa, _ = three
    await miu.invite()
    shown = await boa.compare(address(miu))
    await miu.leave()
    done = await ended(boa, shown)
    assert (done.state, boa.swarm) == ("refused", None)
    assert miu.waiting() == ()


async def test_who_founds_a_swarm_while_comparing_is_not_moved(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, boa, _ = three
    await miu.invite()
    shown = await boa.compare(address(miu))
    await boa.invite()
    await boa.compared(shown.run, same=True)
    await miu.admit(shown.run, same=True)
    done = await ended(boa, shown)
    assert done.state == "refused"
    assert "belongs to “boa's swarm”" in done.why
    assert not member(boa, miu)


async def test_unknown_runs(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, boa, _ = three
    await miu.invite()
    with pytest.raises(NotFound):
        await miu.admit("x", same=True)
    with pytest.raises(NotFound):
        boa.comparing("x")
    with pytest.raises(NotFound):
        await boa.compared("x", same=True)


async def test_who_was_removed_does_not_wait_in_vain(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, boa, _ = three
    await join(miu, boa)
    await until(lambda: all_up(miu, boa))
    await miu.remove(boa.id)
    await until(lambda: boa.swarm is None)
    with pytest.raises(Refused, match="does not come back under its old identity"):
        await boa.compare(address(miu))
    assert miu.waiting() == ()


# Open to whoever asks.


async def test_who_repeats_the_announcement_of_a_swarm_gets_nobody_into_his_own(
    three: tuple[Fabric, Fabric, Fabric],
) -> None:
    miu, boa, mallory = three
    await miu.invite(open_for=60.0)
    await mallory.invite(open_for=60.0)
    lie = msgspec.structs.replace(announced(mallory), swarm=announced(miu).swarm)
    object.__setattr__(boa._entry._around, "seen", lambda: (lie,))
    for swarm in ("", announced(miu).swarm, announced(miu).swarm[:8]):
        with pytest.raises(Refused, match="does not belong to the swarm"):
            await boa.join(swarm=swarm)
    with pytest.raises(Refused, match="does not belong to the swarm"):
        await boa.compare()
    with pytest.raises(Refused, match="does not belong to the swarm"):
        await boa.join("", address(mallory), swarm=announced(miu).swarm)
    assert boa.swarm is None
    # Nor does he keep anybody out of the true one.
    object.__setattr__(boa._entry._around, "seen", lambda: (lie, announced(miu)))
    for _ in range(MAX_PER_ADDRESS):
        assert (await boa.compare()).keeper == "miu"
    assert (await boa.join()).swarm.name == "miu's swarm"


async def test_an_open_invitation_lets_in_who_asks(
    three: tuple[Fabric, Fabric, Fabric], caplog: pytest.LogCaptureFixture
) -> None:
    miu, boa, naru = three
    caplog.set_level(logging.INFO)
    for node in (boa, naru):
        hears(node, miu)
    with pytest.raises(NotFound, match="no open invitation is near") as caught:
        await boa.join()
    assert "invite --open" in caught.value.hint
    invitation = await miu.invite(open_for=60.0)
    assert (invitation.code, invitation.expires_in, invitation.founded) == ("", 60.0, True)
    assert [near.open for near in _nearby(boa, miu)] == [True]
    assert (await boa.join()).swarm.name == "miu's swarm"
    assert (await naru.join("", address(miu))).swarm.members == 3
    await until(lambda: all_up(miu, boa, naru))
    assert miu._health.total("mycoswarm_joins_total", way="open") == 2
    assert "let in “boa” from 127.0.0.1 (open)" in caplog.text


def _nearby(node: Fabric, *others: Fabric) -> list[NearbySwarm]:
    node._seen = lambda: tuple(announced(other) for other in others)
    return list(node.nearby())


async def test_an_open_invitation_ends_with_its_time_a_restart_and_with_leaving(tmp_path: Path) -> None:
    miu, boa = fabric(tmp_path, "miu"), fabric(tmp_path, "boa")
    await miu.start()
    await boa.start()
    await miu.invite(open_for=0.2)
    await asyncio.sleep(0.25)
    assert announced(miu).slots == ()
    with pytest.raises(Refused, match="expired"):
        await boa.join("", address(miu))
    await miu.invite(open_for=60.0)
    assert announced(miu).slots == (codes.OPEN_SLOT,)
    await miu.close()
    miu = fabric(tmp_path, "miu")
    await miu.start()
    assert announced(miu).slots == ()
    with pytest.raises(NotFound, match="no open invitation"):
        await boa.join("", address(miu))
    await miu.invite(open_for=60.0)
    await miu.leave()
    with pytest.raises(NotFound, match="no open invitation"):
        await boa.join("", address(miu))
    assert boa.swarm is None
    await boa.close()
    await miu.close()


async def test_two_open_swarms_are_not_guessed_between(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, boa, naru = three
    await miu.invite(open_for=60.0)
    await boa.invite(open_for=60.0)
    hears(naru, miu, boa)
    with pytest.raises(InvalidRequest, match="several swarms are near") as caught:
        await naru.join()
    assert "--peer" in caught.value.hint
    assert naru.swarm is None


async def test_an_invitation_is_open_for_a_sensible_time(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, *_ = three
    for wrong in (-1.0, 3601.0, float("inf"), float("nan")):
        with pytest.raises(InvalidRequest, match="at most 60 minutes"):
            await miu.invite(open_for=wrong)
    with pytest.raises(InvalidRequest, match="headless"):
        await miu.invite(headless=True, open_for=60.0)
    assert miu.swarm is None


# Moving over.


async def test_a_machine_that_is_alone_moves_over(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, boa, _ = three
    await boa.invite()
    code = (await miu.invite()).code
    with pytest.raises(Refused, match="this machine belongs to “boa's swarm”, in which it is alone") as caught:
        await boa.join(code, address(miu))
    assert "`mycoswarm join CODE --move`" in caught.value.hint
    joined = await boa.join(code, address(miu), move=True)
    assert (joined.swarm.name, joined.moved_from) == ("miu's swarm", "boa's swarm")
    await until(lambda: all_up(miu, boa))
    # The codes of the swarm that was left are worth nothing.
    assert announced(boa).slots == ()


async def test_a_wrong_code_loses_nothing(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, boa, naru = three
    await join(boa, naru)
    await until(lambda: all_up(boa, naru))
    before = naru._trust.roster
    slot, first, second = (await miu.invite()).code.split("-")
    wrong = f"{slot}-{second}-{first}" if first != second else f"{slot}-{first}-lemon"
    with pytest.raises(WrongCode):
        await naru.join(wrong, address(miu), move=True)
    with pytest.raises(PeerLost):
        await naru.join(wrong, "127.0.0.1:9", move=True)
    assert naru._trust.roster is before
    assert all_up(boa, naru)


async def test_the_former_members_hear_of_a_move(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, boa, naru = three
    await join(boa, naru)
    await until(lambda: all_up(boa, naru))
    code = (await miu.invite()).code
    assert (await naru.join(code, address(miu), move=True)).moved_from == "boa's swarm"
    assert state(boa, "naru") == "removed"
    assert naru.last_departure is not None
    assert (naru.last_departure.told, naru.last_departure.members) == (1, 1)
    await until(lambda: all_up(miu, naru))
    assert not [one for one in naru.problems() if one.id == "removed"]


async def test_the_only_keeper_of_others_does_not_move(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, boa, naru = three
    await join(boa, naru)
    code = (await miu.invite()).code
    for attempt in (
        boa.join(code, address(miu), move=True),
        boa.compare(address(miu), move=True),
    ):
        with pytest.raises(Refused, match="this machine is the only keeper of “boa's swarm”") as caught:
            await attempt
        assert "keeper add" in caught.value.hint
    assert member(naru, boa)


async def test_nobody_moves_to_where_he_is(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, boa, _ = three
    await join(miu, boa)
    code = (await miu.invite()).code
    with pytest.raises(Refused, match="belongs to that swarm already"):
        await boa.join(code, address(miu), move=True)
    with pytest.raises(Refused, match="belongs to that swarm already"):
        await boa.compare(address(miu), move=True)
    assert member(boa, miu)


async def test_moving_over_by_words(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, boa, _ = three
    await miu.invite()
    await boa.invite()
    with pytest.raises(Refused, match="in which it is alone"):
        await boa.compare(address(miu))
    hears(boa, boa, miu)
    shown = await boa.compare(move=True)
    await boa.compared(shown.run, same=True)
    await miu.admit(shown.run, same=True)
    done = await ended(boa, shown)
    assert done.joined is not None
    assert (done.joined.moved_from, done.joined.swarm.name) == ("boa's swarm", "miu's swarm")
    await until(lambda: all_up(miu, boa))


async def test_a_headless_machine_that_has_a_swarm_stays_there(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, boa, _ = three
    code = (await miu.invite(headless=True)).code
    await boa.invite()
    hears(boa, miu)
    await asyncio.wait_for(boa.headless_join(code), 5)
    assert not member(boa, miu)
    await boa.leave()
    await asyncio.wait_for(boa.headless_join(code), 5)
    assert member(boa, miu)
    assert miu._health.total("mycoswarm_joins_total", way="headless") == 1


# What the owner is told, and what is counted.


async def test_three_wrong_tries_are_told_to_the_owner(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, boa, _ = three
    slot, first, second = (await miu.invite()).code.split("-")
    wrong = f"{slot}-{second}-{first}" if first != second else f"{slot}-{first}-lemon"

    def told() -> list[str]:
        return [one.message for one in miu.problems() if one.id == "invitation-guessed"]

    for left in (2, 1, 0):
        assert told() == []
        with pytest.raises(WrongCode) as caught:
            await boa.join(wrong, address(miu))
        assert caught.value.data["tries_left"] == left
    assert told() == ["an invitation ended after three wrong tries, the last from 127.0.0.1"]
    with pytest.raises(Refused, match="too many wrong tries"):
        await boa.join(wrong, address(miu))
    with pytest.raises(NotFound):
        await boa.join("999-guitar-lemon", address(miu))
    total = miu._health.total
    assert total("mycoswarm_joins_refused_total", reason="wrong_code") == 3
    assert total("mycoswarm_joins_refused_total", reason="ended") == 1
    assert total("mycoswarm_joins_refused_total", reason="unknown") == 1
    assert any("from 127.0.0.1" in one.message for one in miu._health.problems() if one.id == "joins-refused")
    code = (await miu.invite()).code
    assert told() == []
    await boa.join(code, address(miu))
    assert total("mycoswarm_joins_total", way="code") == 1


async def test_a_mistake_is_one_try_however_often_the_inviting_node_is_found(
    three: tuple[Fabric, Fabric, Fabric],
) -> None:
    miu, boa, _ = three
    slot, first, second = (await miu.invite()).code.split("-")
    wrong = f"{slot}-{second}-{first}" if first != second else f"{slot}-{first}-lemon"
    hears(boa, miu, miu)
    object.__setattr__(boa._entry._around, "peers", lambda: (address(miu).replace("127.0.0.1", "[::1]"),))
    for left in (2, 1):
        with pytest.raises(WrongCode) as caught:
            await boa.join(wrong, None)
        assert caught.value.data["tries_left"] == left
        assert miu._health.total("mycoswarm_joins_refused_total") == 3 - left


async def test_what_is_no_message_of_joining_is_refused_and_counted(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, *_ = three
    await miu.invite()
    nonsense = [b"", b"\xff", b"[]", b'{"run":"\xff"}', b"[" * 4000, b'{"protocol":' + b"[" * 3000, b'{"protocol":1}']
    for path in (JOIN_START_PATH, "/join/finish", COMPARE_START_PATH, "/join/reveal", COMPARE_WAIT_PATH):
        for body in nonsense:
            with pytest.raises(InvalidRequest):
                miu._admission.answer(path, body, "10.0.0.2")
    assert miu._health.total("mycoswarm_joins_refused_total", reason="malformed") == 5 * len(nonsense)
    with pytest.raises(NotFound):
        miu._admission.answer("/join/other", b"{}", "10.0.0.2")
    with pytest.raises(NotFound):
        miu._admission.answer(COMPARE_WAIT_PATH, msgspec.json.encode(CompareWait("x", bytes(32))), "10.0.0.2")


async def test_few_of_one_address_may_wait(three: tuple[Fabric, Fabric, Fabric], tmp_path: Path) -> None:
    miu, boa, naru = three
    await miu.invite()
    await boa.compare(address(miu))
    await naru.compare(address(miu))
    assert len(miu.waiting()) == MAX_PER_ADDRESS
    third = fabric(tmp_path, "third")
    await third.start()
    with pytest.raises(Busy, match="at this address"):
        await third.compare(address(miu))
    await third.close()
    assert miu._health.total("mycoswarm_joins_refused_total", reason="busy") == 1


async def test_what_a_stranger_answers_is_made_printable(
    three: tuple[Fabric, Fabric, Fabric], monkeypatch: pytest.MonkeyPatch
) -> None:
    miu, boa, _ = three

    def answer(*_: object) -> bytes:
        raise Refused("\x1b[2Jgone " + "x" * 500, "\x07hint")

    gate = miu._app._gate
    object.__setattr__(gate, "join", answer)
    with pytest.raises(MycoError) as caught:
        await boa.join("1-guitar-lemon", address(miu))
    assert caught.value.message.startswith("[2Jgone xxx")
    assert str(caught.value) == caught.value.message
    assert len(caught.value.message) == 300
    assert caught.value.hint == "hint"
