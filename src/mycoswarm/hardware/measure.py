"""[io] Measured memory bandwidth: how fast all physical cores together read RAM.

Reading the weights once a token is what bounds decoding on a processor, so reading is what is measured: one thread a
physical core looks for a byte that is not there (`memchr` of the C library, called through ctypes, which lets go of the
interpreter lock) in its slice of a buffer twice as large as the last cache. What the figure includes: the speed of
memchr, which is no limit with a vectorised C library (glibc, macOS) and may be one with others (musl); whatever else
the machine does at that moment. So it is what the processor gets, not what the memory could deliver.

It runs in a child process (`python -m mycoswarm.hardware.measure CORES BYTES`), so that the buffer goes back to the
system, takes about half a second, and is kept in the cache directory for this processor, this amount of memory and
this boot.
"""

import ctypes
import json
import os
import sys
import threading
import time
from pathlib import Path

from mycoswarm.core.errors import Fixable
from mycoswarm.core.hardware import Cpu, Memory
from mycoswarm.hardware import bounded

_MIB = 1024**2
_BUFFER = 256 * _MIB
"""At least this much: two to eight times the last cache of ordinary processors."""

_MAX_BUFFER = 1024 * _MIB
_DURATION = 0.4
_FILE = "memory-bandwidth.json"


async def memory_bandwidth(cpu: Cpu, memory: Memory, cache: Path | None, limit: float) -> float | None:
    """Bytes/s; None where too little memory is available to measure in.

    Raises:
        Fixable: the measurement failed or did not end within `limit` seconds.
    """
    key = f"{cpu.model}|{cpu.threads}|{memory.total}|{_boot()}"
    if cache is not None and (known := _remembered(cache / _FILE, key)) is not None:
        return known
    size = min(max(_BUFFER, 2 * _last_cache()), _MAX_BUFFER)
    if memory.available < 4 * size:
        return None
    cores = cpu.physical_cores or cpu.threads
    argv = [sys.executable, "-P", "-m", "mycoswarm.hardware.measure", str(cores), str(size)]
    hint = "models are placed without it until it works"
    try:
        done = await bounded.run(argv, limit)
    except TimeoutError:
        raise Fixable(f"measuring the memory's bandwidth took longer than {limit:g} s", hint) from None
    try:
        rate = float(done.stdout)
    except ValueError:
        raise Fixable(f"measuring the memory's bandwidth failed: {done.stderr.strip()[-200:]}", hint) from None
    if cache is not None:
        _remember(cache / _FILE, key, rate)
    return rate


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _last_cache() -> int:
    """Bytes of all last-level caches together (a processor of several chiplets has one on each); 0 where not told."""
    sizes: dict[str, int] = {}
    for folder in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cache/index3"):
        try:
            size = (folder / "size").read_text().strip()
            sizes[(folder / "shared_cpu_list").read_text()] = int(size.removesuffix("K")) * 1024
        except (OSError, ValueError):
            continue
    return sum(sizes.values())


def _remembered(file: Path, key: str) -> float | None:
    try:
        value = json.loads(file.read_text())[key]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return float(value) if isinstance(value, int | float) else None


def _remember(file: Path, key: str, rate: float) -> None:
    # A cache that cannot be written costs half a second at the next start, and nothing else.
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = file.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps({key: rate}))
        fresh.replace(file)
    except OSError:
        return


def read_bandwidth(cores: int, size: int = _BUFFER, duration: float = _DURATION) -> float:
    """Bytes/s that `cores` threads together read from a buffer of `size` bytes, over `duration` seconds."""
    library = ctypes.CDLL(None)
    memchr = library.memchr
    memchr.argtypes, memchr.restype = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t), ctypes.c_void_p
    buffer = bytearray(size)
    start = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    slice_size = size // cores
    read = [0] * cores
    spent = [0.0] * cores
    together = threading.Barrier(cores)

    def work(index: int) -> None:
        address = start + index * slice_size
        # Pages never written to are all the same one, which lies in the cache.
        ctypes.memset(address, 1, slice_size)
        together.wait()
        begin = now = time.perf_counter()
        while now - begin < duration:
            memchr(address, 2, slice_size)
            read[index] += slice_size
            now = time.perf_counter()
        spent[index] = now - begin

    threads = [threading.Thread(target=work, args=(index,)) for index in range(cores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(amount / seconds for amount, seconds in zip(read, spent, strict=True))


def _usable_cores() -> int:
    # A container or taskset may leave fewer than there are; macOS has no such thing.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    sys.stdout.write(f"{read_bandwidth(min(int(sys.argv[1]), _usable_cores()), int(sys.argv[2])):.0f}")
