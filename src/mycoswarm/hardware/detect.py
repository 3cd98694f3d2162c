"""[io] All probes at once, made into one report; what fails or hangs becomes a warning."""

import asyncio
import logging
import os
import platform
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import msgspec

from mycoswarm.core.errors import Fixable
from mycoswarm.core.hardware import Cpu, Gpu, Memory, Report
from mycoswarm.hardware import bounded, classify, measure, probe

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


async def detect(
    state: Path | None = None, cache: Path | None = None, *, bandwidth: bool = True, host: probe.Host | None = None
) -> Report:
    """What this machine is; never raises. `classify.with_engines` completes it.

    Args:
        state: where our state lies, to mark the disk that holds it.
        cache: where the measured memory bandwidth is kept; None measures each time.
        bandwidth: False leaves the memory's bandwidth unmeasured (it costs half a second once a boot).

    Returns:
        A report without engines; its roles are those that need no engine.
    """
    host = host or probe.Host()
    warnings: list[str] = []

    async def guarded(name: str, work: Awaitable[_T], fallback: _T) -> _T:
        try:
            # Probes bound themselves, each by what it knows of its tools; this is for what they did not think of.
            return await asyncio.wait_for(work, host.limit + 2 * bounded.GRACE)
        except Fixable as problem:
            warnings.append(f"{problem.message}: {problem.hint}" if problem.hint else problem.message)
        except TimeoutError:
            warnings.append(
                f"looking at the {name} took longer than {host.limit:g} s: "
                "run `mycoswarm detect` again, and restart the machine if it stays so"
            )
        except Exception as problem:  # the boundary: a broken driver's nonsense must not keep the node from starting
            _log.warning("the probe of the %s failed", name, exc_info=problem)
            warnings.append(
                f"looking at the {name} failed ({type(problem).__name__}: {problem}): "
                "report it with the output of `mycoswarm logs`"
            )
        return fallback

    unknown = Cpu(platform.machine() or "unknown", platform.machine(), None, os.cpu_count() or 1, None, None)
    cpu, memory, gpus, (disks, disk_warnings), network = await asyncio.gather(
        guarded("processor", probe.cpu(host), unknown),
        guarded("memory", probe.memory(host), Memory(0, 0)),
        asyncio.gather(
            guarded("NVIDIA cards", probe.nvidia(host), ()),
            guarded("graphics cards", probe.drm(host), ()),
            guarded("graphics", probe.apple_gpus(host), ()),
        ),
        guarded("disks", probe.disks(host, state), ((), ())),
        guarded("network", probe.interfaces(host), ()),
    )
    if bandwidth:
        # After the others: they would use the memory that is being measured.
        rate = await guarded("memory's speed", measure.memory_bandwidth(cpu, memory, cache, host.limit), None)
        cpu = msgspec.structs.replace(cpu, memory_bandwidth=rate)
    found: tuple[Gpu, ...] = tuple(gpu for group in gpus for gpu in group)
    report = Report(
        cpu=cpu,
        memory=memory,
        gpus=tuple(msgspec.structs.replace(gpu, index=index) for index, gpu in enumerate(found)),
        disks=disks,
        network=network,
        engines=(),
        roles=(),
        warnings=tuple(sorted((*warnings, *disk_warnings))),
    )
    return classify.with_engines(report, ())
