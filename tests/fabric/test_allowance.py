from mycoswarm.fabric.allowance import Allowance, FairAllowance


def test_a_bucket_fills_again_and_never_runs_over() -> None:
    bucket = Allowance(2.0, 4.0, 0.0)
    assert [bucket.take(0.0) for _ in range(5)] == [True] * 4 + [False]
    assert bucket.wait() == 0.5
    assert not bucket.take(0.4)
    assert bucket.take(0.5)
    assert bucket.take(100.0, 4.0)
    assert not bucket.take(100.0)


def test_what_costs_more_is_had_less_often() -> None:
    bucket = Allowance(1.0, 6.0, 0.0)
    assert [bucket.take(0.0, 2.5) for _ in range(3)] == [True, True, False]
    assert bucket.take(0.0)


def test_what_has_cost_more_than_was_there_is_paid_off_first() -> None:
    bucket = Allowance(0.5, 2.0, 0.0)
    bucket.charge(0.0, 5.0)
    assert not bucket.take(4.0, 0.0)
    assert bucket.wait(0.0) == 2.0
    assert bucket.take(6.0, 0.0)


def test_one_source_does_not_use_up_what_is_there_for_all() -> None:
    allowance = FairAllowance((1.0, 3.0), (10.0, 20.0), 0.0)
    assert [allowance.take("flood", 0.0) for _ in range(5)] == [True] * 3 + [False] * 2
    assert allowance.take("joiner", 0.0)
    assert not allowance.take("flood", 0.5)
    assert allowance.take("flood", 2.0)
    # From countless sources: no more than all together may.
    assert sum(allowance.take(f"forged-{number}", 100.0) for number in range(100)) == 20


def test_the_source_that_was_silent_longest_is_forgotten() -> None:
    allowance = FairAllowance((0.0, 1.0), (0.0, 100.0), 0.0, sources=2)
    assert [allowance.take(source, 0.0) for source in ("a", "b", "a", "b")] == [True, True, False, False]
    assert allowance.take("c", 0.0)
    assert len(allowance) == 2
    assert not allowance.take("b", 0.0)
    assert allowance.take("a", 0.0), "it is not known any more"
