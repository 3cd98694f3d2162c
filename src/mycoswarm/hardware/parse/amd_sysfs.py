"""An AMD card out of the files of the amdgpu driver."""

from collections.abc import Mapping

import msgspec

from mycoswarm.core.hardware import Gpu, GpuProcess
from mycoswarm.hardware import wheels
from mycoswarm.hardware.parse.pci import Device, number


class Compute(msgspec.Struct, frozen=True):
    """A node of the compute driver's topology. target: e.g. `gfx1100`. integrated: it shares the processor's memory."""

    target: str | None
    integrated: bool


def compute(properties: str) -> Compute | None:
    """`/sys/class/kfd/kfd/topology/nodes/N/properties`; None for a node that is a plain processor."""
    pairs = [line.replace(":", " ").split() for line in properties.splitlines()]
    fields = {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
    try:
        version = int(fields.get("gfx_target_version", "0"))
        if int(fields.get("simd_count", "0")) == 0:
            return None
        integrated = int(fields.get("cpu_cores_count", "0")) > 0
    except ValueError:
        return None
    # Two decimal digits each for major, minor and stepping; the stepping is written in hexadecimal.
    target = f"gfx{version // 10000}{version // 100 % 100}{version % 100:x}" if version else None
    return Compute(target, integrated)


def gpu(
    index: int,
    device: Device,
    files: Mapping[str, str],
    name: str | None = None,
    node: Compute | None = None,
    processes: tuple[GpuProcess, ...] = (),
) -> Gpu:
    """One card.

    Args:
        files: contents of the device folder's files by name; temperature as `temp1_input`, millidegrees.
        name: from a database; the card's own `product_name` goes before it.
        node: of the compute driver, where it knows this card.
    """
    total, used = number(files, "mem_info_vram_total"), number(files, "mem_info_vram_used")
    integrated = node is not None and node.integrated
    if integrated and total is not None:
        # What the firmware sets aside is a small part of what an integrated card can use of the machine's memory.
        total += number(files, "mem_info_gtt_total") or 0
        used = None if used is None else used + (number(files, "mem_info_gtt_used") or 0)
    busy, degrees = number(files, "gpu_busy_percent"), number(files, "temp1_input")
    wheel = wheels.rocm(node.target if node else None)
    return Gpu(
        index=index,
        vendor="amd",
        model=files.get("product_name", "").strip() or name or f"AMD card {device.id}",
        memory_total=total,
        memory_free=total - used if total is not None and used is not None else None,
        driver=device.driver,
        api=node.target if node else None,
        unified=integrated,
        utilization=None if busy is None else busy / 100,
        temperature=None if degrees is None else degrees / 1000,
        processes=processes,
        bus=device.slot,
        wheel=wheel.name,
        install=wheel.install,
    )
