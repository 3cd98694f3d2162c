import pytest

from mycoswarm.fabric.awareness import MEMORY, Awareness


def test_a_healthy_machine_lengthens_nothing() -> None:
    awareness = Awareness()
    for tick in range(100):
        awareness.late(0.03, float(tick))
        assert awareness.slack(float(tick)) == 0.0


def test_a_slow_one_gives_others_three_times_its_own_lateness() -> None:
    awareness = Awareness()
    awareness.late(0.2, 0.0)
    awareness.late(0.4, 1.0)
    awareness.late(0.01, 2.0)
    assert awareness.slack(2.0) == pytest.approx(1.2)


def test_it_is_forgotten_when_it_was_quick_for_a_while() -> None:
    awareness = Awareness()
    awareness.late(0.4, 0.0)
    assert awareness.slack(MEMORY) > 0.0
    assert awareness.slack(MEMORY + 0.1) == 0.0
    awareness.late(0.1, MEMORY + 1.0)
    assert awareness.slack(MEMORY + 1.0) == pytest.approx(0.3)


def test_a_machine_that_crawls_still_notices_that_another_is_gone() -> None:
    awareness = Awareness()
    awareness.late(4.9, 0.0)
    assert awareness.slack(0.0) == 6.0
