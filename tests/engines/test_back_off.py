"""A child that dies rests, longer each time."""

import itertools

from mycoswarm.engines.back_off import FORGIVEN_AFTER, PAUSES, BackOff


def test_pauses_grow_and_then_stay() -> None:
    rest = BackOff()
    pauses = [rest.failed(100.0, "why") for _ in range(len(PAUSES) + 2)]
    assert pauses == [*PAUSES, PAUSES[-1], PAUSES[-1]]
    assert all(one < two for one, two in itertools.pairwise(PAUSES))


def test_it_may_start_when_the_pause_is_over() -> None:
    rest = BackOff()
    assert rest.left(100.0) <= 0
    rest.failed(100.0, "why")
    assert rest.left(100.5) == 0.5
    assert rest.left(101.0) <= 0
    assert rest.reason == "why"
    rest.answers()
    assert rest.reason == ""


def test_starting_alone_is_not_forgiven_but_work_is() -> None:
    rest = BackOff()
    rest.failed(0.0, "x")
    rest.answers()
    assert rest.failed(0.0, "x") == PAUSES[1]
    rest.worked()
    assert rest.failed(0.0, "x") == PAUSES[0]


def test_one_that_lived_long_begins_anew() -> None:
    rest = BackOff()
    rest.failed(0.0, "x")
    assert rest.died(10.0, 5.0, "x") == PAUSES[1]
    assert rest.died(10.0 + 2 * FORGIVEN_AFTER, 5.0, "x") == PAUSES[0]
