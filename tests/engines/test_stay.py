"""How long an idle model stays."""

from mycoswarm.engines.stay import Stay


def test_the_habit_rules_where_no_request_says_otherwise() -> None:
    stay = Stay(300.0, used=0.0)
    stay.begin(None)
    assert stay.left(1000.0) is None, "in use"
    stay.end(1000.0)
    assert stay.left(1100.0) == 200.0
    assert stay.left(1400.0) == -100.0


def test_a_request_overrides_it_until_the_next() -> None:
    stay = Stay(300.0, used=0.0)
    stay.begin(10.0)
    stay.end(0.0)
    assert stay.left(4.0) == 6.0
    stay.begin(-1.0)
    stay.end(20.0)
    assert stay.left(10_000.0) is None
    stay.begin(0.0)
    stay.end(30.0)
    assert stay.left(30.0) == 0.0
    stay.begin(None)
    stay.end(40.0)
    assert stay.left(40.0) == 300.0


def test_a_habit_of_for_ever() -> None:
    stay = Stay(-1.0, used=0.0)
    assert stay.left(1e9) is None
    stay.begin(5.0)
    stay.end(0.0)
    assert stay.left(3.0) == 2.0


def test_it_stays_while_anybody_uses_it() -> None:
    stay = Stay(1.0, used=0.0)
    stay.begin(None)
    stay.begin(0.0)
    stay.end(5.0)
    assert stay.left(99.0) is None
    stay.end(99.0)
    assert stay.left(99.0) == 0.0


def test_a_look_keeps_it_and_changes_nobodys_word() -> None:
    stay = Stay(300.0, used=0.0)
    stay.begin(-1.0)
    stay.end(0.0)
    stay.look()
    assert stay.running == 1
    stay.end(10.0)
    assert stay.left(10_000.0) is None, "for ever, as the last request said"
