"""An Intel card out of the files of the i915 and xe drivers."""

from collections.abc import Mapping

from mycoswarm.core.hardware import Gpu, GpuProcess
from mycoswarm.hardware import wheels
from mycoswarm.hardware.parse.pci import Device, number

_INTEGRATED = "0000:00:02.0"
"""Where every Intel processor has its own graphics; a card in a slot is elsewhere."""


def gpu(
    index: int,
    device: Device,
    files: Mapping[str, str],
    name: str | None = None,
    processes: tuple[GpuProcess, ...] = (),
) -> Gpu:
    """One card.

    Memory of a card in a slot is told by some drivers only (`lmem_total_bytes`, `lmem_avail_bytes`, xe's
    `physical_vram_size_bytes`); integrated graphics have none of their own. Load is told by none without privileges.
    """
    integrated = device.slot == _INTEGRATED
    total = number(files, "lmem_total_bytes") or number(files, "physical_vram_size_bytes")
    free = number(files, "lmem_avail_bytes")
    wheel = wheels.vulkan()
    return Gpu(
        index=index,
        vendor="intel",
        model=name or f"Intel graphics {device.id}",
        memory_total=None if integrated else total,
        memory_free=None if integrated else free,
        driver=device.driver,
        unified=integrated,
        processes=processes,
        bus=device.slot,
        wheel=wheel.name,
        install=wheel.install,
    )
