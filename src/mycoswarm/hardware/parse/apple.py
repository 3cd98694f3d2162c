"""`system_profiler -json SPDisplaysDataType SPHardwareDataType` of a Mac."""

import re
from typing import Any

import msgspec

from mycoswarm.core.hardware import Gpu, Memory
from mycoswarm.hardware import wheels
from mycoswarm.hardware.parse.cpuinfo import Facts

_UNITS = {"MB": 1024**2, "GB": 1024**3, "TB": 1024**4}


class Profile(msgspec.Struct, frozen=True):
    """The two sections of the tool's answer; empty where it was not asked for one."""

    displays: tuple[dict[str, Any], ...] = msgspec.field(name="SPDisplaysDataType", default=())
    hardware: tuple[dict[str, Any], ...] = msgspec.field(name="SPHardwareDataType", default=())


def parse(text: str) -> Profile:
    """Raises ValueError if it is not the tool's JSON."""
    try:
        return msgspec.json.decode(text, type=Profile)
    except (msgspec.ValidationError, msgspec.DecodeError) as problem:
        raise ValueError(f"not an answer of system_profiler: {problem}") from None


def gpus(profile: Profile, memory: Memory) -> tuple[Gpu, ...]:
    """The Mac's own graphics, which use the machine's memory. Cards of other vendors (Intel Macs) are left out:
    the engine's builds do not use them."""
    found: list[Gpu] = []
    for entry in profile.displays:
        model = str(entry.get("sppci_model") or entry.get("_name") or "")
        if entry.get("spdisplays_vendor") != "sppci_vendor_Apple":
            continue
        cores, metal = entry.get("sppci_cores"), str(entry.get("spdisplays_mtlgpufamilysupport") or "")
        family = re.fullmatch(r"spdisplays_metal(\d+)", metal)
        wheel = wheels.metal()
        found.append(
            Gpu(
                index=len(found),
                vendor="apple",
                model=f"{model} ({cores} GPU cores)" if cores else model,
                memory_total=memory.total,
                memory_free=memory.available,
                api=f"Metal {family[1]}" if family else "Metal",
                unified=True,
                wheel=wheel.name,
                install=wheel.install,
            )
        )
    return tuple(found)


def cpu(profile: Profile) -> Facts:
    """Chip, cores and model; `proc 8:4:4` is cores in all, fast ones, slow ones."""
    entry = profile.hardware[0] if profile.hardware else {}
    cores = re.match(r"proc (\d+)", str(entry.get("number_processors") or ""))
    count = int(cores[1]) if cores else None
    chip, machine = entry.get("chip_type"), entry.get("machine_name")
    return Facts(
        model=str(chip) if chip else None,
        board=str(machine) if machine else None,
        physical_cores=count,
        threads=count,
        # Every Apple chip has it, and no tool lists it.
        flags=frozenset({"asimd"}) if str(chip).startswith("Apple") else frozenset(),
    )


def memory_total(profile: Profile) -> int | None:
    """Bytes of RAM: `16 GB`."""
    entry = profile.hardware[0] if profile.hardware else {}
    match = re.fullmatch(r"(\d+) (MB|GB|TB)", str(entry.get("physical_memory") or ""))
    return int(match[1]) * _UNITS[match[2]] if match else None
