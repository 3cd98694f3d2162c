import functools
import itertools
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mycoswarm.core.errors import InvalidRequest, Refused
from mycoswarm.core.ids import NodeId, SwarmId
from mycoswarm.fabric import roster
from mycoswarm.fabric.roster import Roster
from mycoswarm.fabric.statements import MAX_ROTATIONS, Signed
from tests.fabric.keys import founded, identity, recoverable, recovery_key, with_boa


def admit(held: Roster, name: str) -> Roster:
    miu = identity("miu")
    return held.admit(identity(name).certificate, name, miu.id, miu.sign)


def remove(held: Roster, name: str) -> Roster:
    miu = identity("miu")
    return held.remove(identity(name).id, miu.id, miu.sign)


def leave(held: Roster, name: str) -> Roster:
    return held.leave(identity(name).id, identity(name).sign)


def promote(held: Roster, name: str, by: str = "miu") -> Roster:
    return held.promote(identity(name).id, identity(by).id, identity(by).sign)


def demote(held: Roster, name: str, by: str = "miu") -> Roster:
    return held.demote(identity(name).id, identity(by).id, identity(by).sign)


def rotate(held: Roster, name: str, new: str) -> Roster:
    return held.rotate(identity(name).id, identity(name).sign, identity(new).certificate, identity(new).sign)


def names(held: Roster) -> list[str]:
    return sorted(member.name for member in held.members().values())


def rewrite(held: Roster, change: dict[str, object], which: int = -1, signer: str | None = None) -> bytes:
    """The roster with one statement altered; signed anew by `signer`, or with its old signature."""
    written = msgspec.json.decode(held.encode())
    kept = [Signed(**msgspec.convert(one, dict[str, bytes])) for one in written["statements"]]
    kept.sort(key=lambda one: msgspec.json.decode(one.statement)["seq"])
    said = {**msgspec.json.decode(kept[which].statement), **change}
    data = msgspec.json.encode(said, order="sorted")
    signature = kept[which].signature
    if signer is not None:
        signature = identity(signer).sign(b"mycoswarm roster 1\n" + data)
    kept[which] = Signed(data, signature)
    return msgspec.json.encode({"format": 2, "statements": kept})


def test_founding_makes_one_member_the_keeper() -> None:
    held = founded()
    assert names(held) == ["miu"]
    assert held.keepers() == (identity("miu").id,)
    assert held.name == "miu's swarm"
    assert held.node_of(identity("miu").certificate) == identity("miu").id
    assert held.node_of(identity("boa").certificate) is None


def test_a_swarm_bears_its_founders_id() -> None:
    boa = identity("boa")
    with pytest.raises(InvalidRequest):
        roster.found(founded().swarm, "x", boa.certificate, "boa", boa.sign)


def test_admitted_members_are_trusted_by_their_exact_certificate() -> None:
    held = with_boa()
    assert names(held) == ["boa", "miu"]
    assert held.node_of(identity("boa").certificate) == identity("boa").id
    assert held.keepers() == (identity("miu").id,)


def test_it_survives_writing_and_reading() -> None:
    held = leave(admit(with_boa(), "naru"), "naru")
    again = roster.decode(held.encode())
    assert again.encode() == held.encode()
    assert again.digest == held.digest
    assert names(again) == ["boa", "miu"]


def test_only_a_keeper_admits_and_removes() -> None:
    boa = identity("boa")
    with pytest.raises(Refused, match="only a keeper") as caught:
        with_boa().admit(identity("naru").certificate, "naru", boa.id, boa.sign)
    assert "miu" in caught.value.hint
    with pytest.raises(Refused, match="only a keeper"):
        with_boa().remove(identity("miu").id, boa.id, boa.sign)


def test_who_left_may_come_back_and_who_was_removed_may_not() -> None:
    held = leave(with_boa(), "boa")
    assert names(held) == ["miu"]
    assert held.removed() == {identity("boa").id}
    assert held.node_of(identity("boa").certificate) is None
    back = admit(held, "boa")
    assert names(back) == ["boa", "miu"]
    assert back.members()[identity("boa").id].term == 2
    gone = remove(back, "boa")
    assert names(gone) == ["miu"]
    with pytest.raises(Refused, match="was removed"):
        admit(gone, "boa")


def test_why_somebody_is_gone() -> None:
    held = admit(admit(admit(founded(), "boa"), "naru"), "eve")
    assert held.causes() == {}
    held = leave(held, "boa")
    held = remove(held, "naru")
    assert held.causes() == {identity("boa").id: "it left the swarm", identity("naru").id: "miu removed it"}
    # Both: what cannot be undone is what counts. And a keeper that is gone itself is called by its name all the same.
    held = promote(remove(held, "boa"), "eve")
    held = roster.decode(held.encode()).remove(identity("miu").id, identity("eve").id, identity("eve").sign)
    assert held.causes()[identity("boa").id] == held.causes()[identity("naru").id] == "miu removed it"
    assert held.causes()[identity("miu").id] == "eve removed it"
    assert held.causes().keys() == held.removed()


def test_why_a_machine_with_a_new_key_is_gone() -> None:
    held = rotate(admit(founded(), "boa"), "boa", "boa2")
    assert held.causes() == {}
    gone = remove(held, "boa2")
    assert gone.causes() == {identity(one).id: "miu removed it" for one in ("boa", "boa2")}


def test_a_removal_wins_over_an_admission_that_was_made_without_knowing_of_it() -> None:
    removed, renewed = remove(with_boa(), "boa"), admit(with_boa(), "boa")
    merged = renewed.merge(removed)
    assert names(merged) == ["miu"]
    assert merged.forked() == (identity("miu").id,)


def test_a_late_farewell_does_not_end_a_new_term() -> None:
    left = leave(with_boa(), "boa")
    renewed = admit(with_boa(), "boa")
    assert names(renewed.merge(left)) == ["boa", "miu"]


def test_another_swarms_roster_is_not_merged() -> None:
    miu = identity("miu")
    other = roster.found(SwarmId(f"{miu.id}-01"), "other", miu.certificate, "miu", miu.sign)
    with pytest.raises(Refused):
        founded().merge(other)


@pytest.mark.parametrize(
    ("change", "which", "signer", "why"),
    [
        ({"name": "mallory"}, -1, None, "signature is wrong"),
        ({"name": "mallory"}, -1, "boa", "signature is wrong"),
        ({"signer": "boa"}, -1, "boa", "signature is wrong|no right|does not follow"),
        ({"prev": "00"}, -1, "miu", "does not follow"),
        ({"seq": 5}, -1, "miu", "does not follow"),
        ({"swarm": "x-y"}, -1, "miu", "another swarm"),
        ({"node": "someone"}, -1, "miu", "does not belong"),
        ({"extra": 1}, -1, "miu", "does not know"),
        ({"name": " spaced"}, -1, "miu", "space"),
        ({"name": "two\nlines"}, -1, "miu", "printable"),
        ({"name": "x" * 65}, -1, "miu", "characters"),
    ],
)
def test_an_altered_statement_refuses_the_whole_roster(
    change: dict[str, object], which: int, signer: str | None, why: str
) -> None:
    change = {key: identity("boa").id if value == "boa" and key == "signer" else value for key, value in change.items()}
    with pytest.raises(InvalidRequest, match=why):
        roster.decode(rewrite(with_boa(), change, which, signer))


def test_what_is_no_roster_is_refused() -> None:
    for data in (b"", b"{}", b"[]", b'{"format":1,"statements":[]}', b"x" * (roster.MAX_BYTES + 1)):
        with pytest.raises(InvalidRequest):
            roster.decode(data)
    with pytest.raises(InvalidRequest, match="format 3") as caught:
        roster.decode(b'{"format":3,"something":"new"}')
    assert "update" in caught.value.hint


@pytest.mark.parametrize(
    "data",
    [
        b'{"format":2,"statements":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"deep":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b',"format":2}',
        b'{"format":2,"\xff\xfe":1}',
        b'{"format":2,"statements":[{"statement":"\xff","signature":""}]}',
        b'{"format":1e400}',
        b'{"format":' + b"9" * 5000 + b"}",
        b'{"format":2,"statements":[' + b'{"statement":"e30=","signature":""},' * 3000 + b"]}",
        b'{"format":2,"statements":[{"statement":"' + b"e30=" * 10_000 + b'","signature":""}]}',
    ],
    ids=["deep", "deep beside", "no text", "no base64", "huge float", "huge int", "no statements", "long statement"],
)
def test_hostile_bytes_are_refused_as_a_wrong_request(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        roster.decode(data)


def test_a_roster_of_the_first_format_is_read_and_written_as_the_second() -> None:
    """The file was written by the version before this one: five machines, one left and came back, one was removed."""
    data = (Path(__file__).parent / "roster-format-1.json").read_bytes()
    assert b'"format":1' in data
    held = roster.decode(data)
    assert names(held) == ["boa", "miu", "naru", "uncho"]
    assert len(held.expelled()) == 1
    assert held.digest == "b544672dd607bacd"
    assert held.recovery is None
    (keeper,) = held.keepers()
    assert held.members()[keeper].name == "miu"
    again = held.encode()
    assert b'"format":2' in again
    assert roster.decode(again).members() == held.members()
    with pytest.raises(Refused, match="older version"):
        held.recover(keeper, (), recovery_key().id, recovery_key().sign)


def test_a_statement_twice_or_out_of_canonical_form_is_refused() -> None:
    written = msgspec.json.decode(founded().encode())
    twice = {**written, "statements": written["statements"] * 2}
    with pytest.raises(InvalidRequest, match="twice"):
        roster.decode(msgspec.json.encode(twice))
    miu = identity("miu")
    statement = msgspec.json.decode(_plain(founded()))
    loose = msgspec.json.format(msgspec.json.encode(statement, order="sorted"), indent=1)
    signed = Signed(loose, miu.sign(b"mycoswarm roster 1\n" + loose))
    with pytest.raises(InvalidRequest, match="canonical"):
        roster.decode(msgspec.json.encode({"format": 1, "statements": [signed]}))


def _plain(held: Roster) -> bytes:
    written = msgspec.json.decode(held.encode())
    return msgspec.convert(written["statements"][0], Signed).statement


@functools.cache
def _versions() -> tuple[Roster, ...]:
    """Rosters as several nodes may hold them, some without knowing of the others, one fork among them."""
    grown = admit(with_boa(), "naru")
    return (
        founded(),
        with_boa(),
        grown,
        leave(with_boa(), "boa"),
        leave(grown, "naru"),
        remove(grown, "boa"),
        admit(leave(with_boa(), "boa"), "boa"),
        admit(grown, "uncho"),
        # A second signature of the same statement: ECDSA never gives the same one twice.
        leave(with_boa(), "boa"),
    )


_some = st.lists(st.integers(0, 8), min_size=1, max_size=9)


@settings(max_examples=60, deadline=None)
@given(_some, st.randoms())
def test_merging_knows_no_order_and_no_repetition(which: list[int], chance: object) -> None:
    held = [_versions()[number] for number in which]
    one = functools.reduce(Roster.merge, held)
    shuffled = [*held, *held]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    other = functools.reduce(Roster.merge, shuffled)
    assert one.encode() == other.encode()
    assert one.digest == other.digest
    assert one.members() == other.members()
    assert roster.decode(one.encode()).encode() == one.encode()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 8))
def test_merging_is_associative(a: int, b: int, c: int) -> None:
    x, y, z = (_versions()[number] for number in (a, b, c))
    assert x.merge(y).merge(z).encode() == x.merge(y.merge(z)).encode()


def test_nobody_removed_is_ever_a_member_again() -> None:
    gone = remove(with_boa(), "boa")
    for version in _versions():
        for held in itertools.permutations((gone, version)):
            assert identity("boa").id not in functools.reduce(Roster.merge, held).members()


def test_names() -> None:
    assert roster.check_name("  boa ") == "boa"
    for bad in ("", "  ", "x" * 65, "a\x1b[31m"):
        with pytest.raises(InvalidRequest):
            roster.check_name(bad)
    assert roster.founder_of(SwarmId("abc-12")) == NodeId("abc")


def test_a_keeper_may_do_what_the_founder_may() -> None:
    held = promote(recoverable(), "boa")
    miu, boa, naru = identity("miu"), identity("boa"), identity("naru")
    assert held.keepers() == (miu.id, boa.id)
    assert held.members()[boa.id].keeper
    grown = held.admit(identity("new").certificate, "new", boa.id, boa.sign)
    assert grown.members()[identity("new").id].added_by == boa.id
    assert promote(grown, "boa", "boa") is grown
    without = grown.remove(miu.id, boa.id, boa.sign)
    assert without.keepers() == (boa.id,)
    # What the founder had said counts on.
    assert names(without) == ["boa", "naru", "new", "uncho"]
    assert identity("naru").id in promote(without, "naru", "boa").keepers()
    with pytest.raises(Refused, match="only a keeper"):
        without.remove(naru.id, miu.id, miu.sign)


def test_the_last_keeper_remains_one() -> None:
    held = recoverable()
    with pytest.raises(Refused, match="last keeper") as caught:
        demote(held, "miu")
    assert "keeper add" in caught.value.hint
    with pytest.raises(Refused, match="does not remove itself") as caught:
        remove(held, "miu")
    assert "leave" in caught.value.hint
    with pytest.raises(Refused, match="no keeper"):
        demote(held, "boa")
    two = promote(held, "boa")
    resigned = demote(two, "miu")
    assert resigned.keepers() == (identity("boa").id,)
    assert promote(resigned, "miu", "boa").keepers() == (identity("miu").id, identity("boa").id)[::-1]
    with pytest.raises(Refused, match="only a member"):
        promote(held, "stranger")


def test_no_keeper_left_names_the_phrase() -> None:
    held = leave(recoverable(), "miu")
    assert held.keepers() == ()
    with pytest.raises(Refused, match="only a keeper") as caught:
        promote(held, "boa", "boa")
    assert "recover" in caught.value.hint


def test_the_recovery_key_makes_a_keeper_and_takes_out_the_lost_ones() -> None:
    key, boa, miu = recovery_key(), identity("boa"), identity("miu")
    held = recoverable()
    recovered = held.recover(boa.id, (miu.id,), key.id, key.sign)
    assert recovered.keepers() == (boa.id,)
    assert names(recovered) == ["boa", "naru", "uncho"]
    # A thief with the founder's key who acts at the same time is out, and so are those that he brought in.
    thief = remove(admit(held, "accomplice"), "boa")
    assert thief.merge(recovered).members() == recovered.members()
    assert thief.merge(recovered).keepers() == (boa.id,)
    with pytest.raises(Refused, match="not the recovery phrase"):
        held.recover(boa.id, (), miu.id, miu.sign)
    with pytest.raises(Refused, match="cannot be removed by that"):
        held.recover(boa.id, (boa.id,), key.id, key.sign)
    with pytest.raises(Refused, match="only a member"):
        held.recover(identity("stranger").id, (), key.id, key.sign)
    # By the phrase even who is a keeper already gets a right that no stolen key can take away.
    assert held.recover(miu.id, (), key.id, key.sign).keepers() == (miu.id,)
    senior = promote(held, "boa").recover(boa.id, (), key.id, key.sign)
    assert senior.keepers() == (boa.id, miu.id)


def test_a_rotated_key_takes_over_all_that_the_old_one_was() -> None:
    held = rotate(promote(recoverable(), "boa"), "boa", "boa2")
    boa, boa2 = identity("boa"), identity("boa2")
    member = held.members()[boa2.id]
    assert (member.name, member.keeper, member.term) == ("boa", True, 1)
    assert held.keepers() == (identity("miu").id, boa2.id)
    assert boa.id not in held.members()
    assert not held.removed() | held.expelled()
    assert held.remove(boa2.id, identity("miu").id, identity("miu").sign).removed() == {boa.id, boa2.id}
    assert held.node_of(boa.certificate) is None
    for act in (
        lambda: admit(held, "boa"),
        lambda: held.admit(identity("x").certificate, "x", boa.id, boa.sign),
        lambda: held.leave(boa.id, boa.sign),
        lambda: rotate(held, "boa", "boa3"),
        lambda: remove(held, "boa"),
    ):
        with pytest.raises(Refused):
            act()
    # It may leave, come back, and change its key again; and be removed.
    left = held.leave(boa2.id, boa2.sign)
    assert left.keepers() == (identity("miu").id,)
    back = admit(left, "boa2")
    assert back.members()[boa2.id].term == 2
    assert not back.members()[boa2.id].keeper
    assert "boa" not in names(remove(held, "boa2"))
    founder = rotate(held, "miu", "miu2")
    assert founder.keepers() == (identity("miu2").id, boa2.id)
    assert len(names(founder.admit(identity("x").certificate, "x", identity("miu2").id, identity("miu2").sign))) == 5


def test_a_machine_changes_its_key_only_so_often() -> None:
    held = recoverable()
    for number in range(MAX_ROTATIONS):
        held = rotate(held, f"naru{number}" if number else "naru", f"naru{number + 1}")
    assert f"{names(held)}" == "['boa', 'miu', 'naru', 'uncho']"
    with pytest.raises(Refused, match="times already"):
        rotate(held, f"naru{MAX_ROTATIONS}", "naru-more")


def test_of_two_rotations_of_one_key_neither_holds() -> None:
    held = recoverable()
    both = rotate(held, "naru", "naru1").merge(rotate(held, "naru", "thief"))
    assert names(both) == ["boa", "miu", "uncho"]
    assert both.forked() == (identity("naru").id,)
