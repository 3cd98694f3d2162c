"""Whose words count: the cases that the rules were made for."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from mycoswarm.core.errors import Refused
from mycoswarm.fabric.roster import Roster
from mycoswarm.fabric.statements import Admitted, Demoted, Promoted, Removed, Statement
from tests.fabric.keys import identity, recoverable, recovery_key, with_statement


def admit(held: Roster, name: str, by: str) -> Roster:
    return held.admit(identity(name).certificate, name, identity(by).id, identity(by).sign)


def remove(held: Roster, name: str, by: str) -> Roster:
    return held.remove(identity(name).id, identity(by).id, identity(by).sign)


def promote(held: Roster, name: str, by: str = "miu") -> Roster:
    return held.promote(identity(name).id, identity(by).id, identity(by).sign)


def demote(held: Roster, name: str, by: str = "miu") -> Roster:
    return held.demote(identity(name).id, identity(by).id, identity(by).sign)


def two() -> Roster:
    """miu founder, boa a keeper by its word, naru one by boa's; uncho a member."""
    return promote(promote(recoverable(), "boa"), "naru", "boa")


def who(held: Roster) -> list[str]:
    return sorted(member.name for member in held.members().values())


def keepers(held: Roster) -> list[str]:
    return [held.members()[node].name for node in held.keepers()]


def merged(*held: Roster) -> Roster:
    """Whatever the order, the outcome is one."""
    outcomes = [functools.reduce(Roster.merge, order) for order in itertools.permutations(held)]
    assert len({(one.digest, tuple(who(one)), one.keepers()) for one in outcomes}) == 1
    return outcomes[0]


def said_by(held: Roster, signer: str, back: int = 0) -> tuple[str, int]:
    """Hash and number of the signer's last statement, or one some steps before it."""
    mine = sorted((said.seq, key) for key, said in held._said.items() if said.signer == identity(signer).id)
    seq, key = mine[-1 - back]
    return key, seq


def forged(held: Roster, signer: str, make: type[Statement], prev: str, seq: int, **fields: Any) -> Roster:
    """With a statement hung on any place of the signer's chain."""
    by = identity(signer)
    statement = make(swarm=held.swarm, signer=by.id, seq=seq, prev=prev, **fields)
    return with_statement(held, statement, by)


def test_seniority_is_the_order_of_appointment() -> None:
    held = two()
    assert keepers(held) == ["miu", "boa", "naru"]
    assert keepers(promote(held, "uncho")) == ["miu", "boa", "uncho", "naru"]
    key = recovery_key()
    assert keepers(held.recover(identity("uncho").id, (), key.id, key.sign)) == ["uncho", "miu", "boa", "naru"]


@pytest.mark.parametrize(("senior", "junior"), [("miu", "boa"), ("miu", "naru"), ("boa", "naru")])
def test_where_two_keepers_remove_each_other_the_senior_ones_word_stands(senior: str, junior: str) -> None:
    held = two()
    end = merged(remove(held, junior, senior), remove(held, senior, junior))
    assert senior in keepers(end)
    assert junior not in who(end)


def test_a_junior_may_remove_a_senior_that_says_nothing_against_it() -> None:
    held = two()
    end = merged(remove(held, "miu", "naru"), admit(held, "x", "boa"))
    assert keepers(end) == ["boa", "naru"]
    assert who(end) == ["boa", "naru", "uncho", "x"]


def test_what_a_senior_removed_stays_out_and_what_it_let_in_does_not() -> None:
    held = two()
    cut = remove(held, "miu", "boa")
    # The founder acts on without knowing that it is out.
    late = promote(admit(remove(held, "uncho", "miu"), "x", "miu"), "x", "miu")
    end = merged(cut, late)
    assert who(end) == ["boa", "naru"]
    assert keepers(end) == ["boa", "naru"]


def test_a_removal_cannot_take_away_the_right_it_was_said_by() -> None:
    held = two()
    # naru is a keeper by boa's word; cutting all that boa said would cut that, and naru's own word with it.
    end = forged(held, "naru", Removed, "", 0, node=identity("boa").id, last="")
    assert keepers(end) == ["miu", "boa", "naru"]


@pytest.mark.parametrize("end_of_boa", [remove, demote])
def test_nothing_is_said_behind_an_end(end_of_boa: Callable[[Roster, str, str], Roster]) -> None:
    """On top of the chain, on a branch beside it, or as a first word of another one: it does not count."""
    held = admit(two(), "x", "boa")
    tip, seq = said_by(held, "boa")
    before, _ = said_by(held, "boa", 1)
    ended = end_of_boa(held, "boa", "miu")
    expected = who(ended)
    for prev, number in ((tip, seq + 1), (before, seq), ("", 0)):
        words: tuple[tuple[type[Statement], dict[str, Any]], ...] = (
            (Admitted, {"node": identity("y").id, "name": "y", "certificate": identity("y").certificate, "term": 1}),
            (Removed, {"node": identity("uncho").id}),
            (Promoted, {"node": identity("uncho").id}),
            (Demoted, {"node": identity("naru").id}),
        )
        for make, fields in words:
            # Brought by somebody who has not heard of the end, or has.
            early = forged(held, "boa", make, prev, number, **fields)
            late = forged(ended, "boa", make, prev, number, **fields)
            for end in (merged(early, ended), late):
                assert who(end) == expected
                assert keepers(end) == ["miu", "naru"]
    # What boa had said before counts on.
    assert "x" in who(ended)


def test_who_was_demoted_is_a_keeper_again_by_a_new_word_only() -> None:
    held = demote(two(), "boa")
    assert keepers(held) == ["miu", "naru"]
    with pytest.raises(Refused):
        admit(held, "x", "boa")
    # An old copy in which it still is one brings nothing back.
    assert keepers(merged(held, two())) == ["miu", "naru"]
    again = promote(held, "boa")
    assert keepers(again) == ["miu", "boa", "naru"]
    assert "x" in who(admit(again, "x", "boa"))
    # A demotion that the new word did not know of holds.
    assert keepers(merged(again, demote(two(), "boa", "naru"))) == ["miu", "naru"]
    resigned = demote(again, "boa", "boa")
    assert keepers(resigned) == ["miu", "naru"]
    assert "boa" in keepers(promote(resigned, "boa", "naru"))


def test_a_keeper_that_left_is_an_ordinary_member_when_it_comes_back() -> None:
    held = two()
    left = held.leave(identity("boa").id, identity("boa").sign)
    assert keepers(left) == ["miu", "naru"]
    back = admit(left, "boa", "miu")
    assert keepers(back) == ["miu", "naru"]
    again = promote(back, "boa")
    assert keepers(again) == ["miu", "boa", "naru"]


def test_a_retired_key_says_nothing_more() -> None:
    held = two()
    boa, boa2 = identity("boa"), identity("boa2")
    tip, seq = said_by(held, "boa")
    rotated = held.rotate(boa.id, boa.sign, boa2.certificate, boa2.sign)
    assert keepers(rotated) == ["miu", "boa", "naru"]
    for make, fields in ((Removed, {"node": boa2.id}), (Promoted, {"node": identity("uncho").id})):
        thief = forged(held, "boa", make, tip, seq + 1, **fields)
        end = merged(rotated, thief)
        assert keepers(end) == ["miu", "boa", "naru"]
        assert boa2.id in end.keepers()


def test_a_removal_reaches_the_new_key_unless_the_remover_knew_of_it() -> None:
    held = two()
    boa, boa2 = identity("boa"), identity("boa2")
    rotated = held.rotate(boa.id, boa.sign, boa2.certificate, boa2.sign)
    assert "boa" not in who(merged(rotated, remove(held, "boa", "miu")))
    demoted = merged(rotated, demote(held, "boa"))
    assert "boa" in who(demoted)
    assert keepers(demoted) == ["miu", "naru"]


def test_a_second_rotation_by_a_thief_gives_the_thief_nothing() -> None:
    held = two()
    boa = identity("boa")
    real = held.rotate(boa.id, boa.sign, identity("boa2").certificate, identity("boa2").sign)
    theft = held.rotate(boa.id, boa.sign, identity("thief").certificate, identity("thief").sign)
    end = merged(real, theft)
    assert "boa" not in who(end)
    assert keepers(end) == ["miu", "naru"]


def test_a_founder_with_a_new_key_is_still_the_most_senior() -> None:
    held = two()
    miu, miu2 = identity("miu"), identity("miu2")
    rotated = held.rotate(miu.id, miu.sign, miu2.certificate, miu2.sign)
    assert rotated.keepers()[0] == miu2.id
    end = merged(remove(rotated, "boa", "miu2"), rotated.remove(miu2.id, identity("boa").id, identity("boa").sign))
    assert keepers(end)[0] == "miu"
    assert "boa" not in who(end)
