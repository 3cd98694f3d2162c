import os

from mycoswarm.core.clock import SystemClock
from mycoswarm.telemetry import process
from mycoswarm.telemetry.health import Health


def test_this_process_is_measured_when_asked() -> None:
    health = Health(SystemClock())
    process.watch(health)

    def values() -> dict[str, float]:
        lines = [line.split() for line in health.metrics().splitlines() if line.startswith("process_")]
        return {name: float(value) for name, value in lines}

    before = values()
    assert 5_000_000 < before["process_resident_memory_bytes"] < 4_000_000_000
    assert before["process_cpu_seconds_total"] > 0
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
    after = values()
    for descriptor in held:
        os.close(descriptor)
    assert after["process_open_fds"] >= before["process_open_fds"] + 20
