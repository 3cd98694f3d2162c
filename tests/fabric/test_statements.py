"""Which statements may be in a roster at all: what is refused with everything that it came with."""

import json
from typing import Any

import msgspec
import pytest

from mycoswarm.core.errors import InvalidRequest, Refused
from mycoswarm.fabric import roster, statements
from mycoswarm.fabric.roster import Roster
from mycoswarm.fabric.statements import (
    Admitted,
    Demoted,
    Founded,
    Left,
    Promoted,
    Removed,
    Rotated,
)
from tests.fabric.keys import identity, recoverable, recovery_key, with_boa, with_statement


def admitted(by: str, name: str, seq: int = 0, prev: str = "") -> Admitted:
    return Admitted(
        swarm=recoverable().swarm, signer=identity(by).id, seq=seq, prev=prev, node=identity(name).id, name=name,
        certificate=identity(name).certificate, term=1,
    )  # fmt: skip


def chained(by: str, seq: int = 0, prev: str = "") -> dict[str, Any]:
    return {"swarm": recoverable().swarm, "signer": identity(by).id, "seq": seq, "prev": prev}


def promote(held: Roster, name: str) -> Roster:
    return held.promote(identity(name).id, identity("miu").id, identity("miu").sign)


def tip(held: Roster, by: str) -> tuple[int, str]:
    return max((said.seq, key) for key, said in held._said.items() if said.signer == identity(by).id)


@pytest.mark.parametrize("make", [Removed, Promoted, Demoted])
def test_a_member_that_was_never_a_keeper_says_no_keepers_words(make: type[Removed | Promoted | Demoted]) -> None:
    for target in ("boa", "naru", "miu"):
        with pytest.raises(InvalidRequest, match="no right"):
            with_statement(recoverable(), make(**chained("boa"), node=identity(target).id), identity("boa"))
    with pytest.raises(InvalidRequest, match="no right"):
        with_statement(recoverable(), admitted("boa", "x"), identity("boa"))


def test_members_cannot_appoint_each_other_in_a_circle() -> None:
    held = recoverable()
    boa, naru = identity("boa"), identity("naru")
    words = [(Promoted(**chained("boa"), node=naru.id), boa), (Promoted(**chained("naru"), node=boa.id), naru)]
    written = msgspec.json.decode(held.encode())
    added = [statements.sign(word, by.sign)[1] for word, by in words]
    with pytest.raises(InvalidRequest, match="no right"):
        roster.decode(msgspec.json.encode({**written, "statements": [*written["statements"], *added]}))


def test_a_farewell_is_of_a_term_that_there_was_and_each_later_than_the_last() -> None:
    held = recoverable()
    boa = identity("boa")
    with pytest.raises(InvalidRequest, match="no right"):
        with_statement(held, Left(**chained("boa"), term=2), boa)
    left = held.leave(boa.id, boa.sign)
    seq, prev = tip(left, "boa")
    with pytest.raises(InvalidRequest, match="no right"):
        with_statement(left, Left(**chained("boa", seq + 1, prev), term=1), boa)
    with pytest.raises(InvalidRequest, match="signature"):
        with_statement(held, Left(**chained("boa"), term=1), identity("naru"))


def test_certificates_of_others_are_refused_before_any_signature_is_tried_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thousand of them under one name took 14 s of processor: each signature by it was tried with each."""
    held, boa = recoverable(), identity("boa")
    farewell = Left(**chained("boa"), term=1)
    others = Admitted(**chained("boa", 1, "-"), node=boa.id, name="x", certificate=identity("x").certificate, term=1)
    added = [statements.sign(word, boa.sign)[1] for word in (farewell, others)]
    written = msgspec.json.decode(held.encode())
    tried: list[bytes] = []
    monkeypatch.setattr(statements, "verify", lambda *of: tried.append(of[0]))
    with pytest.raises(InvalidRequest, match="certificate that does not belong"):
        roster.decode(msgspec.json.encode({**written, "statements": [*written["statements"], *added]}), held)
    assert tried == []


def test_a_rotation_needs_the_new_keys_word_and_is_the_last_one() -> None:
    held = recoverable()
    boa, new = identity("boa"), identity("boa2")
    wrong = Rotated(**chained("boa"), certificate=new.certificate, proof=boa.sign(b"x"))
    with pytest.raises(InvalidRequest, match="did not agree"):
        with_statement(held, wrong, boa)
    itself = Rotated(**chained("boa"), certificate=boa.certificate, proof=boa.sign(b"x"))
    with pytest.raises(InvalidRequest, match="its own place"):
        with_statement(held, itself, boa)
    rotated = held.rotate(boa.id, boa.sign, new.certificate, new.sign)
    seq, prev = tip(rotated, "boa")
    with pytest.raises(InvalidRequest, match="does not follow"):
        with_statement(rotated, Left(**chained("boa", seq + 1, prev), term=1), boa)
    stranger = identity("stranger")
    proof = new.sign(statements.rotation_text(held.swarm, stranger.id))
    with pytest.raises(InvalidRequest, match="signature"):
        with_statement(held, Rotated(**chained("stranger"), certificate=new.certificate, proof=proof), stranger)


def test_who_names_what_is_missing_or_anothers_leaves_nothing_counting() -> None:
    held = promote(recoverable(), "boa")
    miu, boa = identity("miu"), identity("boa")
    grown = held.admit(identity("x").certificate, "x", boa.id, boa.sign)
    seq, prev = tip(held, "miu")
    place = chained("miu", seq + 1, prev)
    for make in (Removed, Demoted):
        for last in ("0" * 64, prev):
            ended = with_statement(grown, make(**place, node=boa.id, last=last), miu)
            assert identity("x").id not in ended.members()
        known = with_statement(grown, make(**place, node=boa.id, last=tip(grown, "boa")[1]), miu)
        assert identity("x").id in known.members()
    naru = identity("naru")
    for wrong in (Promoted(**place, node=naru.id, after="0" * 64), Promoted(**place, node=naru.id, after=prev)):
        named = with_statement(held, wrong, miu)
        with pytest.raises(Refused, match="without effect"):
            named.admit(identity("x").certificate, "x", naru.id, naru.sign)
    demoted = held.demote(boa.id, miu.id, miu.sign)
    seq, prev = tip(demoted, "miu")
    for lifts in (("0" * 64,), (prev, "x"), ()):
        again = Promoted(**chained("miu", seq + 1, prev), node=boa.id, lifts=lifts)
        assert (boa.id in with_statement(demoted, again, miu).keepers()) == (prev in lifts)


def test_there_is_one_founding_and_the_founders_chain_hangs_on_it() -> None:
    """Else a thief with the founder's key could found it again, with a recovery key of his own."""
    miu = identity("miu")
    again = Founded(**chained("miu"), name="s", node_name="miu", certificate=miu.certificate)
    with pytest.raises(InvalidRequest, match="two foundings"):
        with_statement(recoverable(), again, miu)
    with pytest.raises(InvalidRequest, match="two foundings"):
        recoverable().merge(with_boa())
    with pytest.raises(InvalidRequest, match="no right"):
        with_statement(recoverable(), admitted("miu", "x"), miu)


def test_the_recovery_key_is_neither_member_nor_target() -> None:
    held = recoverable()
    miu, key = identity("miu"), recovery_key()
    seq, prev = tip(held, "miu")
    for make in (Removed, Promoted, Demoted):
        with pytest.raises(InvalidRequest, match="no right"):
            with_statement(held, make(**chained("miu", seq + 1, prev), node=key.id), miu)
    mine: dict[str, Any] = {"swarm": held.swarm, "signer": key.id, "seq": 0, "prev": ""}
    with pytest.raises(InvalidRequest, match="no right"):
        with_statement(held, Left(**mine, term=1), key)
    grown = held.admit(identity("x").certificate, "x", key.id, key.sign)
    assert grown.members()[identity("x").id].added_by == key.id
    with pytest.raises(InvalidRequest, match="signature"):
        with_statement(held, Removed(**mine, node=identity("boa").id), miu)
    for bad in (b"x", b"0" * 200):
        with pytest.raises(InvalidRequest, match="recovery key"):
            roster.found(held.swarm, "s", miu.certificate, "miu", miu.sign, bad)


@pytest.mark.parametrize("field", ["seq", "term"])
@pytest.mark.parametrize("value", [-1, 2**40, 10**400])
def test_numbers_are_bounded(field: str, value: int) -> None:
    word = msgspec.to_builtins(Left(**chained("boa"), term=1)) | {field: value}
    with pytest.raises(InvalidRequest):
        statements.parse(json.dumps(word, sort_keys=True, separators=(",", ":")).encode())
