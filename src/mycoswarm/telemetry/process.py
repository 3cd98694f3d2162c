"""[io] What this process costs: told to `/metrics`, and kept low."""

import contextlib
import ctypes

import psutil

from mycoswarm.telemetry.health import Health, Values

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGE = 256 * 1024


def give_back_memory() -> None:
    """Let large blocks return to the system as soon as they are free.

    By itself glibc learns from the first large block that is freed to keep such ones, up to 32 MB, and a flood of
    requests then leaves the process larger than it was for good.
    """
    # Other C libraries have no such call, and no such habit.
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_TRIM_THRESHOLD, _LARGE)


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
