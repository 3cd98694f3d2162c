from pathlib import Path

import pytest

from mycoswarm.access.ring import USED_EVERY, KeyRing
from mycoswarm.access.store import KeyStore
from mycoswarm.core.access import KeyBody
from mycoswarm.core.errors import Busy, Fixable, InvalidRequest, NotFound, NotWritable, Refused, TokenRequired
from mycoswarm.telemetry.health import Health
from mycoswarm.testing.virtual_clock import VirtualClock

REFUSED = "mycoswarm_lan_refused_total"


class Hall:
    """A ring with everything round it."""

    def __init__(self, directory: Path) -> None:
        self.clock = VirtualClock()
        self.health = Health(self.clock)
        self.store = KeyStore(directory / "keys.json")
        self.ring = self.again()

    def again(self) -> KeyRing:
        """After a restart."""
        self.ring = KeyRing(self.store, self.clock, self.health)
        return self.ring


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    return Hall(tmp_path)


def _nothing() -> None:
    pass


def test_a_new_key_is_in_force_at_once_and_after_a_restart(hall: Hall) -> None:
    made = hall.ring.add(KeyBody("laptop", profile="anna"))
    for ring in (hall.ring, hall.again()):
        who = ring.identify([made.secret], "10.0.0.9")
        assert who.profile == "anna"
        assert [key.name for key in ring.all()] == ["laptop"]
    assert made.secret.encode() not in hall.store.path.read_bytes()


def test_no_key_and_a_wrong_one_are_different_things(hall: Hall) -> None:
    hall.ring.add(KeyBody("laptop"))
    with pytest.raises(TokenRequired, match="needs an API key"):
        hall.ring.identify([], "10.0.0.9")
    with pytest.raises(TokenRequired, match="no key of this node"):
        hall.ring.identify(["myco-wrong"], "10.0.0.9")
    assert hall.health.total(REFUSED, reason="no_key") == 1
    assert hall.health.total(REFUSED, reason="wrong_key") == 1


def test_who_guesses_must_wait_and_who_is_right_need_not(hall: Hall) -> None:
    made = hall.ring.add(KeyBody("laptop"))
    for _ in range(10):
        with pytest.raises(TokenRequired):
            hall.ring.identify(["myco-wrong"], "10.0.0.9")
    with pytest.raises(Busy) as caught:
        hall.ring.identify(["myco-wrong"], "10.0.0.9")
    assert caught.value.data["retry_after"] > 0
    assert hall.ring.identify([made.secret], "10.0.0.9").key.name == "laptop"
    hall.clock.advance(60.0)
    with pytest.raises(TokenRequired):
        hall.ring.identify(["myco-wrong"], "10.0.0.9")


def test_any_place_of_a_request_may_hold_the_right_secret(hall: Hall) -> None:
    made = hall.ring.add(KeyBody("laptop"))
    assert hall.ring.identify(["none", made.secret], "x").key.name == "laptop"


def test_a_key_that_has_ended_lets_nobody_in(hall: Hall) -> None:
    made = hall.ring.add(KeyBody("guest", lifetime=60.0))
    hall.ring.add(KeyBody("laptop"))
    assert len(hall.ring) == 2
    hall.clock.advance(62.0)
    with pytest.raises(TokenRequired, match="guest has expired"):
        hall.ring.identify([made.secret], "x")
    assert len(hall.ring) == 1


def test_a_removed_key_loses_what_it_is_doing(hall: Hall) -> None:
    made, other = hall.ring.add(KeyBody("laptop")), hall.ring.add(KeyBody("phone"))
    mine, theirs = hall.ring.identify([made.secret], "x"), hall.ring.identify([other.secret], "x")
    ended: list[str] = []
    with (
        hall.ring.admitted(mine, "inference", "it", lambda: ended.append("first")),
        hall.ring.admitted(mine, "read", "it", lambda: ended.append("second")),
        hall.ring.admitted(theirs, "inference", "it", lambda: ended.append("other")),
    ):
        removed = hall.ring.remove("laptop")
        assert sorted(ended) == ["first", "second"]
        assert removed.broken == 2
    for ring in (hall.ring, hall.again()):
        with pytest.raises(TokenRequired):
            ring.identify([made.secret], "x")
        assert ring.identify([other.secret], "x")


def test_what_has_ended_is_not_broken_again(hall: Hall) -> None:
    made = hall.ring.add(KeyBody("laptop"))
    ended: list[str] = []
    with hall.ring.admitted(hall.ring.identify([made.secret], "x"), "read", "it", lambda: ended.append("late")):
        pass
    assert hall.ring.remove(made.key.id).broken == 0
    assert not ended


def test_scope_rate_and_answers_at_a_time_are_asked_in_this_order(hall: Hall) -> None:
    made = hall.ring.add(KeyBody("laptop", scopes=("inference",), rate=2, concurrent=1))
    who = hall.ring.identify([made.secret], "x")
    for _ in range(5):
        with pytest.raises(Refused, match="scope read"), hall.ring.admitted(who, "read", "it", _nothing):
            pytest.fail("it was let in")
    with (
        hall.ring.admitted(who, "inference", "it", _nothing),
        pytest.raises(Busy, match="at one time"),
        hall.ring.admitted(who, "inference", "it", _nothing),
    ):
        pytest.fail("it was let in")
    with pytest.raises(Busy, match="2 times a minute"), hall.ring.admitted(who, "inference", "it", _nothing):
        pytest.fail("it was let in")
    hall.clock.advance(60.0)
    with hall.ring.admitted(who, "inference", "it", _nothing):
        pass


def test_an_answer_that_fails_gives_its_place_back(hall: Hall) -> None:
    made = hall.ring.add(KeyBody("laptop", concurrent=1))
    who = hall.ring.identify([made.secret], "x")
    for _ in range(3):
        with pytest.raises(ValueError, match="bug"), hall.ring.admitted(who, "inference", "it", _nothing):
            raise ValueError("bug")


def test_last_used_is_written_lazily(hall: Hall) -> None:
    made = hall.ring.add(KeyBody("laptop"))
    before = hall.store.path.read_bytes()
    hall.clock.advance(5.0)
    for _ in range(100):
        hall.ring.identify([made.secret], "x")
    assert hall.ring.all()[0].used == int(hall.clock.wall())
    assert hall.store.path.read_bytes() == before
    hall.clock.advance(USED_EVERY)
    hall.ring.identify([made.secret], "x")
    assert hall.again().all()[0].used == int(hall.clock.wall())
    hall.clock.advance(5.0)
    hall.ring.identify([made.secret], "x")
    hall.ring.flush()
    assert hall.again().all()[0].used == int(hall.clock.wall())


def test_a_file_that_cannot_be_used_lets_nobody_in_and_is_not_overwritten(hall: Hall) -> None:
    made = hall.ring.add(KeyBody("laptop"))
    hall.store.path.write_bytes(b"{")
    ring = hall.again()
    with pytest.raises(TokenRequired):
        ring.identify([made.secret], "x")
    for change in (ring.all, lambda: ring.add(KeyBody("x")), lambda: ring.remove("laptop")):
        with pytest.raises(Fixable, match="cannot be read"):
            change()
    ring.flush()
    assert hall.store.path.read_bytes() == b"{"
    assert [problem.severity for problem in ring.problems()] == ["error"]


def test_others_who_can_read_the_file_are_a_problem(hall: Hall) -> None:
    hall.ring.add(KeyBody("laptop"))
    assert not hall.ring.problems()
    hall.store.path.chmod(0o644)
    assert "chmod 600" in hall.ring.problems()[0].action


def test_a_key_that_cannot_be_written_is_not_in_force(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    made = hall.ring.add(KeyBody("laptop"))

    def full(*_: object) -> None:
        raise NotWritable("no")

    monkeypatch.setattr(hall.store, "save", full)
    with pytest.raises(NotWritable):
        hall.ring.add(KeyBody("phone"))
    assert [key.name for key in hall.ring.all()] == ["laptop"]
    assert hall.ring.identify([made.secret], "x")


def test_a_key_that_is_removed_is_out_though_it_cannot_be_written(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    made = hall.ring.add(KeyBody("laptop"))
    who, ended = hall.ring.identify([made.secret], "x"), list[str]()

    def full(*_: object) -> None:
        raise NotWritable("no")

    with monkeypatch.context() as patch, hall.ring.admitted(who, "read", "it", lambda: ended.append("broken")):
        patch.setattr(hall.store, "save", full)
        with pytest.raises(NotWritable, match="lets nobody in any more"):
            hall.ring.remove("laptop")
        hall.ring.flush()
    assert ended == ["broken"]
    with pytest.raises(TokenRequired):
        hall.ring.identify([made.secret], "x")
    hall.ring.flush()
    assert not hall.again().all(), "it is written as soon as that is possible"


def test_names_are_unique_and_known(hall: Hall) -> None:
    hall.ring.add(KeyBody("laptop"))
    with pytest.raises(InvalidRequest, match="there is a key called laptop"):
        hall.ring.add(KeyBody("laptop"))
    with pytest.raises(NotFound):
        hall.ring.remove("phone")
