"""[io] What this process costs, for `/metrics`."""

import contextlib

import psutil

from mycoswarm.telemetry.health import Health, Values


def watch(health: Health) -> None:
    """Read memory, processor time and open files of this process whenever somebody asks."""
    this = psutil.Process()

    def memory() -> Values:
        return {(): float(this.memory_info().rss)}

    def processor() -> Values:
        times = this.cpu_times()
        return {(): times.user + times.system}

    def files() -> Values:
        with contextlib.suppress(AttributeError, psutil.Error):  # it is not told on every system
            return {(): float(this.num_fds())}
        return {}

    health.reading("process_resident_memory_bytes", memory)
    health.reading("process_cpu_seconds_total", processor)
    health.reading("process_open_fds", files)
