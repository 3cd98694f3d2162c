"""`/proc/PID/fdinfo/N` of an open graphics device: whose card memory it is."""

import re
from collections.abc import Iterable, Mapping

import msgspec

from mycoswarm.core.hardware import GpuProcess

_UNITS = {"": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_REGIONS = ("drm-resident-vram", "drm-memory-vram", "drm-resident-vram0", "drm-total-vram0", "drm-resident-local0")
"""amdgpu now and before kernel 6.13, xe, i915; the first that is there counts."""


class Client(msgspec.Struct, frozen=True):
    """One opened device. slot: PCI address of its card. memory: bytes on the card, None where not told."""

    slot: str
    client: str
    memory: int | None


def parse(text: str) -> Client | None:
    """None for a file that is no graphics device."""
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    if "drm-driver" not in fields or "drm-pdev" not in fields:
        return None
    memory = next((size for region in _REGIONS if (size := _size(fields.get(region))) is not None), None)
    return Client(fields["drm-pdev"], fields.get("drm-client-id", ""), memory)


def holders(clients: Iterable[tuple[int, Client]], names: Mapping[int, str], slot: str) -> tuple[GpuProcess, ...]:
    """The programs that hold memory on the card at `slot`, largest first.

    A client that was opened once and duplicated or inherited appears under several descriptors and processes: its
    memory counts once, for the first process.
    """
    seen: set[str] = set()
    memory: dict[int, int] = {}
    for pid, client in clients:
        if client.slot != slot or not client.memory or client.client in seen:
            continue
        seen.add(client.client)
        memory[pid] = memory.get(pid, 0) + client.memory
    return tuple(
        GpuProcess(pid, names.get(pid, ""), size) for pid, size in sorted(memory.items(), key=lambda item: -item[1])
    )


def _size(text: str | None) -> int | None:
    match = re.fullmatch(r"(\d+)\s*(\w*)", text or "")
    return int(match[1]) * _UNITS[match[2]] if match and match[2] in _UNITS else None
