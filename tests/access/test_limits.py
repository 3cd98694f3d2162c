import pytest

from mycoswarm.access.keys import Key
from mycoswarm.access.limits import Limits
from mycoswarm.core.errors import Busy


def key(name: str = "a", *, rate: int = 0, concurrent: int = 0) -> Key:
    return Key(name, name, "", ("inference",), 0, rate=rate, concurrent=concurrent)


def test_a_minute_s_worth_may_come_at_once_and_then_as_it_flows_in() -> None:
    limits, mine = Limits(0.0), key(rate=6)
    for _ in range(6):
        limits.request(mine, 0.0)
    with pytest.raises(Busy) as caught:
        limits.request(mine, 0.0)
    assert caught.value.status == 429
    assert caught.value.data["retry_after"] == pytest.approx(10.0)
    limits.request(mine, 10.1)
    with pytest.raises(Busy):
        limits.request(mine, 10.2)
    limits.request(key("b", rate=1), 10.2)


def test_without_a_limit_there_is_none() -> None:
    limits, mine = Limits(0.0), key()
    for _ in range(10_000):
        limits.request(mine, 0.0)
        limits.begin(mine)


def test_another_limit_is_in_force_at_once() -> None:
    limits = Limits(0.0)
    limits.request(key(rate=1), 0.0)
    with pytest.raises(Busy):
        limits.request(key(rate=1), 0.0)
    limits.request(key(rate=2), 0.0)


def test_answers_at_a_time_are_counted_until_they_end() -> None:
    limits, mine = Limits(0.0), key(concurrent=2)
    limits.begin(mine)
    limits.begin(mine)
    with pytest.raises(Busy) as caught:
        limits.begin(mine)
    assert caught.value.data["retry_after"] > 0
    limits.begin(key("b", concurrent=1))
    limits.end(mine)
    limits.begin(mine)
    limits.end(mine)
    limits.end(mine)
    limits.begin(mine)
    limits.begin(mine)


def test_who_is_wrong_too_often_must_wait_and_holds_up_nobody_else() -> None:
    limits = Limits(0.0)
    assert [limits.wrong("10.0.0.9", 0.0) for _ in range(11)] == [True] * 10 + [False]
    assert limits.wrong("10.0.0.8", 0.0)
    assert limits.wrong("10.0.0.9", 11.0)
    assert not limits.wrong("10.0.0.9", 11.0)


def test_many_addresses_together_have_a_limit_too() -> None:
    limits = Limits(0.0)
    told = sum(limits.wrong(f"10.0.{number // 250}.{number % 250}", 0.0) for number in range(500))
    assert told == 100
