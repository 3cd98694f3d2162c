import time

from mycoswarm.core.clock import Clock, SystemClock


def test_the_machine_s_own_clock() -> None:
    clock: Clock = SystemClock()
    ages = [clock.monotonic() for _ in range(100)]
    assert ages == sorted(ages)
    assert abs(clock.wall() - time.time()) < 60
