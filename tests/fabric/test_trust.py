"""Keepers, removal, recovery and rotation, between real nodes."""

import asyncio
import contextlib
import stat
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from mycoswarm.core.clock import SystemClock
from mycoswarm.core.errors import DiskFull, InvalidRequest, MycoError, NotFound, PeerLost, Refused
from mycoswarm.core.ids import NodeId
from mycoswarm.fabric import identity as identities
from mycoswarm.fabric import recovery, roster, statements, succession, trust
from mycoswarm.fabric.identity import (
    CERTIFICATE_FILE,
    KEY_FILE,
    PREVIOUS_FILE,
    adopt_next,
    load_or_create,
    pending_next,
    prepare_next,
)
from mycoswarm.fabric.peer_app import PeerRequest
from mycoswarm.fabric.service import Fabric
from mycoswarm.fabric.store import Store
from mycoswarm.fabric.trust import own_identity
from mycoswarm.fabric.wire import ROSTER_PATH
from tests.fabric.keys import PHRASE, identity, recoverable, with_boa
from tests.fabric.swarms import address, all_up, fabric, join, state, until


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[tuple[Fabric, Fabric, Fabric]]:
    """miu, the keeper, with boa and naru, joined and up."""
    nodes = [fabric(tmp_path, name) for name in ("miu", "boa", "naru")]
    for node in nodes:
        await node.start()
    await join(*nodes)
    await until(lambda: all_up(*nodes))
    yield nodes[0], nodes[1], nodes[2]
    for node in nodes:
        await node.close()


def problems(of: Fabric) -> dict[str, str]:
    return {one.id: f"{one.message} | {one.action}" for one in of.problems()}


def keepers(of: Fabric) -> set[str]:
    return set(of.swarm.keepers) if of.swarm is not None else set()


async def test_a_removed_member_is_cut_off_in_the_middle_of_what_it_does(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, boa, naru = three
    lines: list[bytes] = []

    async def endless(request: PeerRequest) -> AsyncGenerator[bytes, None]:
        while True:
            yield b'{"n":1}\n'
            await asyncio.sleep(0.01)

    for node in (miu, naru):
        node.add_handler("POST", "/peer/endless", endless)

    async def read(node: Fabric) -> str:
        try:
            async for line in boa.transport.stream(node.id, "/peer/endless"):
                lines.append(line)  # noqa: PERF401 - what came before the end is the point
        except MycoError as problem:
            return type(problem).__name__
        return "ended"

    reading = asyncio.gather(read(miu), read(naru))
    await until(lambda: len(lines) > 5)
    answer = await miu.remove(boa.id)
    assert (answer.name, answer.told, answer.members) == ("boa", 1, 1)
    assert await asyncio.wait_for(reading, 2.0) == ["PeerLost", "PeerLost"]
    for node in (miu, naru):
        assert state(node, "boa") in ("removed", "absent")
        assert node.swarm is not None
        assert node.swarm.members == 2
    # It was told why, and may not come back as what it was.
    await until(lambda: boa.swarm is None)
    assert "was removed from" in problems(boa)["removed"]
    with pytest.raises(Refused, match="removed"):
        await boa.join((await miu.invite()).code, address(miu))


async def test_that_a_machine_was_removed_is_told_until_it_belongs_to_a_swarm(
    three: tuple[Fabric, Fabric, Fabric], tmp_path: Path
) -> None:
    miu, boa, _ = three
    await miu.remove(boa.id)
    await until(lambda: boa.swarm is None)
    await boa.close()
    for _ in range(2):
        again = fabric(tmp_path, "boa")
        await again.start()
        assert "was removed from 'miu's swarm'" in problems(again)["removed"]
        await again.close()
    # Under another key it is another node, whom nobody has removed.
    for name in (KEY_FILE, CERTIFICATE_FILE):
        aside = tmp_path / "boa" / "state" / name
        aside.rename(tmp_path / name)
    new = fabric(tmp_path, "boa")
    await new.start()
    assert "removed" not in problems(new)
    await new.close()
    for name in (KEY_FILE, CERTIFICATE_FILE):
        (tmp_path / name).replace(tmp_path / "boa" / "state" / name)
    # With a swarm of its own all that is past.
    founder = fabric(tmp_path, "boa")
    await founder.start()
    await founder.invite()
    assert "removed" not in problems(founder)
    await founder.leave(force=True)
    await founder.close()
    after = fabric(tmp_path, "boa")
    await after.start()
    assert "removed" not in problems(after)
    await after.close()


async def test_who_took_his_own_key_away_was_not_removed(three: tuple[Fabric, Fabric, Fabric], tmp_path: Path) -> None:
    _, boa, _ = three
    await boa.close()
    for name in (KEY_FILE, CERTIFICATE_FILE):
        (boa._paths.state / name).unlink()
    again = fabric(tmp_path, "boa")
    await again.start()
    assert again.id != boa.id
    assert again.swarm is None
    assert "removed" not in problems(again)
    await again.close()


async def test_only_keepers_act_and_they_are_named(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, boa, naru = three
    assert "keeper add" in problems(boa)["one-keeper"]
    for act in (boa.remove(naru.id), boa.add_keeper(boa.id), boa.remove_keeper(miu.id)):
        with pytest.raises(Refused, match="only a keeper") as caught:
            await act
        assert "miu" in caught.value.hint
    with pytest.raises(Refused, match="last keeper"):
        await miu.remove_keeper(miu.id)
    with pytest.raises(Refused, match="does not remove itself"):
        await miu.remove(miu.id)
    with pytest.raises(NotFound):
        await miu.remove(identity("somebody").id)


async def test_a_second_keeper_lets_machines_in_and_may_stay_behind_alone(
    three: tuple[Fabric, Fabric, Fabric], tmp_path: Path
) -> None:
    miu, boa, naru = three
    swarm = await miu.add_keeper(boa.id)
    assert swarm.keepers == (miu.id, boa.id)
    assert keepers(naru) == {miu.id, boa.id}, "all who are up know at once"
    assert "one-keeper" not in problems(boa)
    uncho = fabric(tmp_path, "uncho")
    await uncho.start()
    await join(boa, uncho)
    await until(lambda: all_up(miu, boa, naru, uncho))
    # The founder may be removed by another keeper.
    answer = await boa.remove(miu.id)
    assert (answer.told, answer.members) == (2, 2)
    assert keepers(uncho) == {boa.id}
    await until(lambda: miu.swarm is None)
    with pytest.raises(Refused, match="no swarm"):
        await miu.add_keeper(naru.id)
    await uncho.close()


async def test_a_keeper_that_is_none_any_more_may_not_act(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, boa, naru = three
    await miu.add_keeper(boa.id)
    await miu.remove_keeper(boa.id)
    with pytest.raises(Refused, match="only a keeper"):
        await boa.remove(naru.id)
    await miu.add_keeper(boa.id)
    assert (await boa.remove(naru.id)).name == "naru"


async def test_the_phrase_makes_a_keeper_when_all_are_lost(tmp_path: Path) -> None:
    miu, boa = fabric(tmp_path, "miu"), fabric(tmp_path, "boa")
    await miu.start()
    await boa.start()
    invitation = await miu.invite()
    assert len(invitation.phrase.split()) == recovery.LENGTH
    await boa.join(invitation.code, address(miu))
    assert (await miu.invite()).phrase == "", "it is shown until another machine has joined"
    await miu.close()
    with pytest.raises(Refused, match="not the recovery phrase of this swarm"):
        await boa.recover(recovery.new_phrase(), ())
    with pytest.raises(InvalidRequest, match="not a word"):
        await boa.recover(invitation.phrase + "x", ())
    swarm = await boa.recover(invitation.phrase.upper(), (miu.id,))
    assert swarm.keepers == (boa.id,)
    assert swarm.members == 1
    # What was lost and found again has nothing to say any more.
    again = fabric(tmp_path, "miu")
    await again.start()
    with contextlib.suppress(MycoError):
        await again.remove(boa.id)
    assert boa.swarm is not None
    assert boa.swarm.members == 1
    await again.close()
    await boa.close()


async def test_the_phrase_outlives_a_lost_answer_and_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    miu = fabric(tmp_path, "miu")
    await miu.start()

    def full(self: Store, data: object) -> None:
        raise DiskFull("full")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "keep_invitations", full)
        with pytest.raises(DiskFull):
            await miu.invite(headless=True)
    await miu.close()
    kept = miu._paths.state / "recovery-phrase"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    miu = fabric(tmp_path, "miu")
    await miu.start()
    invitation = await miu.invite()
    assert (invitation.founded, (await miu.invite(open_for=1.0)).phrase) == (False, invitation.phrase)
    assert miu._trust.roster is not None
    assert recovery.key_of(invitation.phrase).id == miu._trust.roster.recovery
    miu._trust.admit(identity("new").certificate, "new")
    assert not kept.exists()
    assert (await miu.invite()).phrase == ""
    # A crash between the admission and this, or a backup from before it.
    kept.write_text(invitation.phrase)
    await miu.close()
    miu = fabric(tmp_path, "miu")
    await miu.start()
    assert not kept.exists()
    await miu.close()


async def test_the_phrase_goes_with_the_swarm(tmp_path: Path) -> None:
    miu = fabric(tmp_path, "miu")
    await miu.start()
    first = await miu.invite()
    await miu.leave()
    assert not (miu._paths.state / "recovery-phrase").exists()
    second = await miu.invite()
    assert second.founded
    assert second.phrase not in ("", first.phrase)
    await miu.close()


def _state_of(node: Fabric, other: NodeId) -> str:
    return next((view.state for view in node.nodes() if view.id == other), "absent")


async def test_a_rotated_node_is_the_same_machine_under_a_new_id(
    three: tuple[Fabric, Fabric, Fabric], tmp_path: Path
) -> None:
    miu, boa, naru = three
    rotated = await miu.rotate()
    assert rotated.before == miu.id
    await until(lambda: keepers(boa) == keepers(naru) == {rotated.after})
    # The old key opens nothing any more, though this object still holds it.
    with pytest.raises(MycoError):
        await miu.transport.request(boa.id, "GET", ROSTER_PATH)
    await miu.close()
    again = fabric(tmp_path, "miu")
    assert again.id == rotated.after
    await again.start()
    # By its id: what it was before is listed under the same name.
    await until(lambda: all(_state_of(node, again.id) == "up" for node in (boa, naru)))
    assert (await again.remove(naru.id)).told == 1, "it is still the keeper"
    await again.close()


@pytest.mark.parametrize("died", ["before the key's place was taken", "before anybody was told"])
@pytest.mark.parametrize("rotating", ["keeper", "member"])
async def test_members_that_did_not_hear_of_a_new_key_are_told_by_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rotating: str, died: str
) -> None:
    """Else nobody believes the new key, and a swarm of which the machine was the only keeper has none any more."""
    miu, boa = fabric(tmp_path, "miu"), fabric(tmp_path, "boa")
    for node in (miu, boa):
        await node.start()
    await join(miu, boa)
    await until(lambda: all_up(miu, boa))
    one, other = (miu, boa) if rotating == "keeper" else (boa, miu)
    state_ = one._paths.state

    async def nobody(nodes: object, data: bytes, patience: float) -> int:
        return 0

    monkeypatch.setattr(one._trust, "_bring_to", nobody)
    if died == "before the key's place was taken":
        monkeypatch.setattr(trust, "adopt_next", lambda folder: None)
    rotated = await one.rotate()
    monkeypatch.undo()
    await one.close()
    # Members do not answer at once; what they are not told, the next start tells them.
    monkeypatch.setattr(succession, "FIRST", 0.1)
    monkeypatch.setattr(succession, "LOOK", 0.02)
    kept = state_ / PREVIOUS_FILE
    again = fabric(tmp_path, one.nodes()[0].name)
    assert again.id == rotated.after
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    await again.start()
    await until(lambda: _state_of(other, rotated.after) == "up" and _state_of(again, other.id) == "up")
    assert _state_of(other, rotated.before) == "absent"
    await until(lambda: not kept.exists())
    if rotating == "keeper":
        assert keepers(other) == {rotated.after}
        assert (await again.add_keeper(other.id)).keepers == (rotated.after, other.id)
    await again.close()
    await other.close()


async def test_a_member_that_is_away_hears_of_a_new_key_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(succession, "FIRST", 0.1)
    monkeypatch.setattr(succession, "LONGEST", 0.3)
    miu, boa = fabric(tmp_path, "miu"), fabric(tmp_path, "boa")
    for node in (miu, boa):
        await node.start()
    await join(miu, boa)
    await until(lambda: all_up(miu, boa))
    port = boa.peer_port or 0
    with monkeypatch.context() as patched:
        patched.setattr(miu._trust, "_bring_to", lambda *_: asyncio.sleep(0, 0))
        rotated = await miu.rotate()
    await miu.close()
    await boa.close()
    kept = miu._paths.state / PREVIOUS_FILE
    again = fabric(tmp_path, "miu")
    await again.start()
    await asyncio.sleep(0.5)
    # Neither a restart nor silence makes it forget: nobody has been met.
    await again.close()
    assert kept.exists()
    again, boa = fabric(tmp_path, "miu"), fabric(tmp_path, "boa", port=port)
    await again.start()
    await boa.start()
    await until(lambda: _state_of(boa, rotated.after) == "up" and not kept.exists())
    await again.close()
    await boa.close()


async def test_who_goes_from_the_swarm_has_nobody_to_tell_of_a_new_key(tmp_path: Path) -> None:
    alone = fabric(tmp_path, "alone")
    await alone.start()
    await alone.invite()
    await alone.rotate()
    kept = alone._paths.state / PREVIOUS_FILE
    await alone.close()
    again = fabric(tmp_path, "alone")
    assert kept.exists()
    await again.start()
    await until(lambda: not kept.exists())
    await again.close()


async def test_a_node_without_a_swarm_and_one_that_is_no_member_do_not_rotate(tmp_path: Path) -> None:
    alone = fabric(tmp_path, "alone")
    await alone.start()
    with pytest.raises(Refused):
        await alone.rotate()
    assert pending_next(tmp_path / "alone" / "state") is None
    await alone.close()


async def test_a_full_disk_keeps_nobody_in_who_was_put_out(
    three: tuple[Fabric, Fabric, Fabric], monkeypatch: pytest.MonkeyPatch
) -> None:
    miu, boa, naru = three

    def full(kept: object) -> None:
        raise DiskFull("full")

    monkeypatch.setattr(naru._store, "keep_roster", full)
    await miu.remove(boa.id)
    await until(lambda: state(naru, "boa") == "removed")
    assert naru._trust.caller(boa._identity.certificate) is None
    before = naru._trust.roster
    # Who comes in can wait.
    miu._trust.admit(identity("new").certificate, "new")
    with pytest.raises(DiskFull):
        await naru._trust.take_news(miu.id, miu._trust.written())
    assert naru._trust.roster is before


async def test_a_key_that_was_replaced_signs_nothing_more(three: tuple[Fabric, Fabric, Fabric]) -> None:
    """Else a second `rotate` would leave neither new key a member, and any other act undo the first one on disk."""
    miu, boa, _ = three
    first, *others = await asyncio.gather(
        miu.rotate(), miu.rotate(), miu.remove(boa.id), miu.leave(force=True), return_exceptions=True
    )
    for problem in (*others, *await asyncio.gather(miu.add_keeper(boa.id), return_exceptions=True)):
        assert isinstance(problem, Refused)
        assert "new key" in problem.message
    with pytest.raises(Refused, match="new key"):
        miu._trust.admit(identity("new").certificate, "new")
    assert not isinstance(first, BaseException)
    kept = miu._store.roster()
    assert kept is not None
    assert kept.keepers() == (first.after,)
    assert load_or_create(miu._paths.state).id == first.after


async def test_nobody_takes_a_new_key_that_no_member_would_hear_of(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, boa, naru = three
    await boa.close()
    await naru.close()
    await until(lambda: "up" not in (state(miu, "boa"), state(miu, "naru")))
    with pytest.raises(Refused, match="no other member is reached"):
        await miu.rotate()
    assert load_or_create(miu._paths.state).id == miu.id
    assert pending_next(miu._paths.state) is None


async def test_a_roster_without_room_for_a_farewell_keeps_nobody(
    three: tuple[Fabric, Fabric, Fabric], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, boa, _ = three
    held = boa._trust.roster
    assert held is not None
    with monkeypatch.context() as patched:
        patched.setattr(statements, "MAX_STATEMENTS", len(held))
        await boa.leave()
    assert boa.swarm is None
    assert boa.last_departure is not None
    assert (boa.last_departure.told, boa.last_departure.members) == (0, 2)


async def test_a_full_disk_leaves_the_old_key_in_force(
    three: tuple[Fabric, Fabric, Fabric], monkeypatch: pytest.MonkeyPatch
) -> None:
    miu, boa, _ = three
    state_ = miu._paths.state

    def full(self: Store, kept: object) -> None:
        raise DiskFull("full")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "keep_roster", full)
        with pytest.raises(DiskFull):
            await miu.rotate()
    assert load_or_create(state_).id == miu.id
    assert pending_next(state_) is None
    assert (await miu.add_keeper(boa.id)).keepers == (miu.id, boa.id)


def test_a_rotation_is_finished_or_undone_after_a_crash_at_any_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step of writing fails once; the start after it always finds one whole identity, the one the roster knows."""
    writes: list[str] = []

    class Crash(Exception):
        pass

    def crash_at(number: int) -> None:
        count = iter(range(1, 100))

        def write(path: Path, data: bytes) -> None:
            if next(count) == number:
                raise Crash
            writes.append(path.name)
            real(path, data)

        monkeypatch.setattr(identities, "write_private", write)

    real = identities.write_private
    for crash in range(1, 6):
        folder = tmp_path / str(crash)
        old = load_or_create(folder)
        store = Store(folder)
        held = roster.found(roster.SwarmId(f"{old.id}-00"), "s", old.certificate, "miu", old.sign)
        store.keep_roster(held)
        crash_at(crash)
        known = old.id
        with contextlib.suppress(Crash):
            new = prepare_next(folder)
            store.keep_roster(held.rotate(old.id, old.sign, new.certificate, new.sign))
            known = new.id
            adopt_next(folder)
        monkeypatch.setattr(identities, "write_private", real)
        found = own_identity(folder, store)
        assert found.id == known
        assert pending_next(folder) is None
        kept = store.roster()
        assert kept is not None
        assert kept.keepers() == (found.id,)
        # Whoever has not heard of the new key is told by the old one.
        before = identities.previous(folder)
        assert (before.id if before is not None else known) == old.id
    assert writes[:6] == ["node.next", *["node.next", "node.previous"], *["node.next", "node.previous", "node.crt"]]
    # A crash between the key and the roster: the swarm never heard of it.
    folder = tmp_path / "between"
    old = load_or_create(folder)
    prepare_next(folder)
    assert own_identity(folder, Store(folder)).id == old.id
    assert pending_next(folder) is None


async def test_rosters_that_do_not_verify_are_counted_with_the_name_of_who_brought_them(
    three: tuple[Fabric, Fabric, Fabric],
) -> None:
    miu, boa, _ = three
    for bad in (b"no roster", with_boa().encode()):
        with pytest.raises(MycoError):
            await boa.transport.request(miu.id, "POST", ROSTER_PATH, bad)
    assert miu._health.total("mycoswarm_rosters_refused_total") == 2
    told = next(one for one in miu._health.problems() if one.id == "rosters-refused")
    assert "boa" in told.message
    assert miu.swarm is not None
    assert miu.swarm.members == 3


async def test_two_keepers_that_act_at_once_come_to_one_end(three: tuple[Fabric, Fabric, Fabric]) -> None:
    miu, boa, naru = three
    await miu.add_keeper(boa.id)
    # Neither knows of the other's word when it says its own.
    results = await asyncio.gather(miu.remove(boa.id), boa.remove(miu.id), return_exceptions=True)
    assert any(not isinstance(result, BaseException) for result in results)
    await until(lambda: keepers(naru) in ({miu.id}, {boa.id}))
    survivor, other = (miu, boa) if keepers(naru) == {miu.id} else (boa, miu)
    assert keepers(survivor) == {survivor.id}
    await until(lambda: other.swarm is None)


async def test_a_machine_that_hangs_does_not_hold_up_a_removal(
    three: tuple[Fabric, Fabric, Fabric], monkeypatch: pytest.MonkeyPatch
) -> None:
    miu, boa, naru = three

    async def hang(member: object, data: bytes) -> None:
        await asyncio.sleep(30)

    for node in (boa, naru):
        gate = node._app._gate
        monkeypatch.setattr(node._app, "_gate", type(gate)(**{**vars(gate), "take_roster": hang}))
    start = SystemClock().monotonic()
    answer = await miu.remove(boa.id)
    assert SystemClock().monotonic() - start < 3.0
    assert (answer.told, answer.members) == (0, 1)
    with pytest.raises((PeerLost, Refused)):
        await boa.transport.request(miu.id, "GET", ROSTER_PATH)


async def test_what_is_signed_during_a_removal_follows_on_it(three: tuple[Fabric, Fabric, Fabric]) -> None:
    """Else one key would have said two things in one place, as a thief's does."""
    miu, boa, naru = three
    removing = asyncio.gather(miu.remove(boa.id))
    await until(lambda: miu._trust._signed is not None)
    miu._trust.admit(identity("new").certificate, "new")
    await removing
    held = miu._trust.roster
    assert held is not None
    assert held.forked() == ()
    assert {member.name for member in held.members().values()} == {"miu", "naru", "new"}
    await until(lambda: naru.swarm is not None and naru.swarm.members == 3)


def test_the_fixed_phrase_of_tests_is_the_roster_s() -> None:
    assert recoverable().recovery == recovery.key_of(PHRASE).id
