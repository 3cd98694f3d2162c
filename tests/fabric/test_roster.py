import functools
import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mycoswarm.core.errors import InvalidRequest, Refused
from mycoswarm.core.ids import NodeId, SwarmId
from mycoswarm.fabric import roster
from mycoswarm.fabric.roster import Roster
from tests.fabric.keys import founded, identity, with_boa


def admit(held: Roster, name: str) -> Roster:
    miu = identity("miu")
    return held.admit(identity(name).certificate, name, miu.id, miu.sign)


def remove(held: Roster, name: str) -> Roster:
    miu = identity("miu")
    return held.remove(identity(name).id, miu.id, miu.sign)


def leave(held: Roster, name: str) -> Roster:
    return held.leave(identity(name).id, identity(name).sign)


def names(held: Roster) -> list[str]:
    return sorted(member.name for member in held.members().values())


def rewrite(held: Roster, change: dict[str, object], which: int = -1, signer: str | None = None) -> bytes:
    """The roster with one statement altered; signed anew by `signer`, or with its old signature."""
    written = msgspec.json.decode(held.encode())
    statements = [roster.Signed(**msgspec.convert(one, dict[str, bytes])) for one in written["statements"]]
    statements.sort(key=lambda one: msgspec.json.decode(one.statement)["seq"])
    said = {**msgspec.json.decode(statements[which].statement), **change}
    data = msgspec.json.encode(said, order="sorted")
    signature = statements[which].signature
    if signer is not None:
        signature = identity(signer).sign(b"mycoswarm roster 1\n" + data)
    statements[which] = roster.Signed(data, signature)
    return msgspec.json.encode({"format": 1, "statements": statements})


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


def test_a_member_cannot_make_itself_keeper_or_speak_for_others() -> None:
    boa, naru = identity("boa"), identity("naru")
    forged = roster.Admitted(
        swarm=founded().swarm, signer=boa.id, seq=0, prev="", node=naru.id, name="naru",
        certificate=naru.certificate, term=1,
    )  # fmt: skip
    with pytest.raises(InvalidRequest, match="no right"):
        roster.decode(_with(with_boa(), forged, "boa"))
    forged_leave = roster.Left(swarm=founded().swarm, signer=identity("miu").id, seq=0, prev="", term=1)
    with pytest.raises(InvalidRequest, match="signature"):
        roster.decode(_with(with_boa(), forged_leave, "boa"))
    early = roster.Left(swarm=founded().swarm, signer=boa.id, seq=0, prev="", term=9)
    with pytest.raises(InvalidRequest, match="no right"):
        roster.decode(_with(with_boa(), early, "boa"))


def _with(held: Roster, statement: roster.Statement, signer: str) -> bytes:
    data = msgspec.json.encode(statement, order="sorted")
    signed = roster.Signed(data, identity(signer).sign(b"mycoswarm roster 1\n" + data))
    written = msgspec.json.decode(held.encode())
    return msgspec.json.encode({**written, "statements": [*written["statements"], signed]})


def test_what_is_no_roster_is_refused() -> None:
    for data in (b"", b"{}", b"[]", b'{"format":1,"statements":[]}', b"x" * (roster.MAX_BYTES + 1)):
        with pytest.raises(InvalidRequest):
            roster.decode(data)
    with pytest.raises(InvalidRequest, match="format 2") as caught:
        roster.decode(b'{"format":2,"something":"new"}')
    assert "update" in caught.value.hint


def test_a_statement_twice_or_out_of_canonical_form_is_refused() -> None:
    written = msgspec.json.decode(founded().encode())
    twice = {**written, "statements": written["statements"] * 2}
    with pytest.raises(InvalidRequest, match="twice"):
        roster.decode(msgspec.json.encode(twice))
    miu = identity("miu")
    statement = msgspec.json.decode(_plain(founded()))
    loose = msgspec.json.format(msgspec.json.encode(statement, order="sorted"), indent=1)
    signed = roster.Signed(loose, miu.sign(b"mycoswarm roster 1\n" + loose))
    with pytest.raises(InvalidRequest, match="canonical"):
        roster.decode(msgspec.json.encode({"format": 1, "statements": [signed]}))


def _plain(held: Roster) -> bytes:
    written = msgspec.json.decode(held.encode())
    return msgspec.convert(written["statements"][0], roster.Signed).statement


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
