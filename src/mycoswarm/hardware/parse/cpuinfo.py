"""What is known of a processor: `/proc/cpuinfo`, `lscpu`, the kernel's topology and frequency files, put together."""

import re
from collections.abc import Iterable, Mapping

import msgspec

from mycoswarm.core.hardware import Cpu

MATTERS = (
    *("sse4_2", "avx", "avx2", "fma", "f16c", "bmi2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8"),
    *("neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)
"""Instruction sets that inference makes use of, by the kernel's names, in the order they are reported."""

_ARM_PARTS = {
    0xD03: "Cortex-A53",
    0xD04: "Cortex-A35",
    0xD05: "Cortex-A55",
    0xD07: "Cortex-A57",
    0xD08: "Cortex-A72",
    0xD09: "Cortex-A73",
    0xD0A: "Cortex-A75",
    0xD0B: "Cortex-A76",
    0xD0C: "Neoverse-N1",
    0xD40: "Neoverse-V1",
    0xD41: "Cortex-A78",
    0xD44: "Cortex-X1",
    0xD49: "Neoverse-N2",
    0xD4F: "Neoverse-V2",
}
"""MIDR part numbers of ARM's own designs (implementer 0x41): the kernel gives no name on 64-bit systems."""


class Facts(msgspec.Struct, frozen=True):
    """What one source tells; None and empty where it does not. board: the machine's name (Raspberry Pi)."""

    model: str | None = None
    board: str | None = None
    physical_cores: int | None = None
    threads: int | None = None
    mhz: float | None = None
    max_mhz: float | None = None
    flags: frozenset[str] = frozenset()


def cpuinfo(text: str) -> Facts:
    """`/proc/cpuinfo` of x86 and ARM. mhz: the fastest core at that moment."""
    processors: list[dict[str, str]] = []
    machine: dict[str, str] = {}
    for block in re.split(r"\n\s*\n", text):
        fields = _fields(block)
        if "processor" in fields:
            processors.append(fields)
        else:
            machine |= fields
    if not processors:
        return Facts(board=machine.get("Model"))
    first = processors[0]
    cores = {
        (entry.get("physical id", "0"), entry["core id"]) for entry in processors if entry.get("core id") is not None
    }
    clocks = [clock for entry in processors if (clock := _number(entry.get("cpu MHz"))) is not None]
    flags = frozenset((first.get("flags") or first.get("Features") or "").lower().split())
    return Facts(
        model=_arm_model(first) or _squeeze(first.get("model name")),
        board=machine.get("Model") or first.get("Model"),
        physical_cores=len(cores) or None,
        threads=len(processors),
        mhz=max(clocks, default=None),
        flags=flags,
    )


def lscpu(text: str) -> Facts:
    """`lscpu` in the C locale, flat (before util-linux 2.38) or indented."""
    fields = _fields(text)
    per_socket, per_cluster = _count(fields.get("Core(s) per socket")), _count(fields.get("Core(s) per cluster"))
    sockets, clusters = _count(fields.get("Socket(s)")), _count(fields.get("Cluster(s)"))
    cores = None
    if per_socket is not None:
        cores = per_socket * (sockets or 1)
    elif per_cluster is not None:
        cores = per_cluster * (clusters or 1)
    return Facts(
        model=_squeeze(fields.get("Model name")),
        physical_cores=cores,
        threads=_count(fields.get("CPU(s)")),
        mhz=_number(fields.get("CPU MHz")),
        max_mhz=_number(fields.get("CPU max MHz")),
        flags=frozenset((fields.get("Flags") or "").lower().split()),
    )


def kernel(topology: Iterable[tuple[str, str]], khz: Mapping[str, Iterable[str]]) -> Facts:
    """The files below `/sys/devices/system/cpu`.

    Args:
        topology: (physical_package_id, core_id) of each processor.
        khz: texts of `scaling_cur_freq` and `cpuinfo_max_freq` of all processors, by file name.
    """
    pairs = list(topology)

    def fastest(name: str) -> float | None:
        values = [value for text in khz.get(name, ()) if (value := _number(text)) is not None]
        return max(values) / 1000 if values else None

    return Facts(
        physical_cores=len(set(pairs)) or None,
        threads=len(pairs) or None,
        mhz=fastest("scaling_cur_freq"),
        max_mhz=fastest("cpuinfo_max_freq"),
    )


def cpu(architecture: str, sources: Iterable[Facts], threads: int = 1) -> Cpu:
    """One processor out of what several sources tell: of each value, the first that is known.

    Args:
        architecture: as uname says, e.g. `x86_64`.
        threads: used where no source tells them.
    """
    known = list(sources)

    def first(name: str) -> object:
        return next((value for facts in known if (value := getattr(facts, name)) is not None), None)

    flags = frozenset[str]().union(*(facts.flags for facts in known))
    model, board = first("model"), first("board")
    mhz, max_mhz = first("mhz"), first("max_mhz")
    cores, count = first("physical_cores"), first("threads")
    return Cpu(
        model=f"{model} ({board})" if model and board else str(model or board or f"{architecture} processor"),
        architecture=architecture,
        physical_cores=cores if isinstance(cores, int) else None,
        threads=count if isinstance(count, int) else threads,
        mhz=mhz if isinstance(mhz, float) else None,
        max_mhz=max_mhz if isinstance(max_mhz, float) else None,
        instruction_sets=tuple(name for name in MATTERS if name in flags),
    )


def _fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, separator, value = line.partition(":")
        if separator:
            # The first wins: lscpu repeats words in its later sections.
            fields.setdefault(key.strip(), value.strip())
    return fields


def _arm_model(processor: Mapping[str, str]) -> str | None:
    if processor.get("CPU implementer") != "0x41":
        return None
    try:
        return _ARM_PARTS.get(int(processor.get("CPU part", ""), 16))
    except ValueError:
        return None


def _squeeze(text: str | None) -> str | None:
    return " ".join(text.split()) if text and text != "-" else None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _count(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None
