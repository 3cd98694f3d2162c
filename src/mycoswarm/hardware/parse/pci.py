"""PCI devices: uevent files, names from the system's databases, where it has them."""

from collections.abc import Iterable, Mapping

import msgspec

NVIDIA, AMD, INTEL = 0x10DE, 0x1002, 0x8086


class Device(msgspec.Struct, frozen=True):
    """slot: PCI address, e.g. `0000:01:00.0`. driver: the kernel's, None where none has taken the device."""

    vendor: int
    device: int
    slot: str
    driver: str | None
    display: bool

    @property
    def id(self) -> str:
        return f"{self.vendor:04x}:{self.device:04x}"


def uevent(text: str) -> Device | None:
    """The uevent file of a PCI device; None for devices on other buses."""
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    try:
        vendor, device = fields["PCI_ID"].split(":")
        return Device(
            vendor=int(vendor, 16),
            device=int(device, 16),
            slot=fields["PCI_SLOT_NAME"],
            driver=fields.get("DRIVER"),
            # PCI base class 3: display controllers, with or without a connector.
            display=int(fields.get("PCI_CLASS", "0"), 16) >> 16 == 3,
        )
    except (KeyError, ValueError):
        return None


def name(lines: Iterable[str], vendor: int, device: int) -> str | None:
    """A device's name in the system's `pci.ids`; reads no further than it must."""
    inside = False
    for line in lines:
        if line.startswith("#") or not line.strip():
            continue
        if not line.startswith("\t"):
            if inside:
                return None
            inside = line.lower().startswith(f"{vendor:04x} ")
        elif inside and not line.startswith("\t\t") and line.lower().startswith(f"\t{device:04x} "):
            return _marketing(line.strip().split(None, 1)[1])
    return None


def _marketing(text: str) -> str:
    # `Navi 31 [Radeon RX 7900 XT/7900 XTX]`: people know the name in brackets.
    inner = text.rpartition("[")[2].rstrip("]")
    return inner if text.endswith("]") and inner else text


def amdgpu_name(lines: Iterable[str], device: int, revision: int) -> str | None:
    """A card's name in libdrm's `amdgpu.ids` (`device, revision, name`), which tells models of one chip apart."""
    for line in lines:
        parts = [part.strip() for part in line.split(",", 2)]
        if len(parts) == 3 and parts[0].lower() == f"{device:x}" and parts[1].lower() == f"{revision:x}":
            return parts[2]
    return None


def number(files: Mapping[str, str], key: str) -> int | None:
    """The number in a sysfs file, decimal or `0x…`; None where the file is missing or holds something else."""
    try:
        return int(files[key].strip(), 0)
    except (KeyError, ValueError):
        return None
