"""What the NVML child process found: a snapshot as JSON, made into cards or into the reason why there are none."""

import msgspec

from mycoswarm.core.errors import Fixable
from mycoswarm.core.hardware import Gpu, GpuProcess
from mycoswarm.hardware import wheels
from mycoswarm.hardware.parse import nvidia_smi

DRIVER_NOT_LOADED = 9
LIBRARY_NOT_FOUND = 12
MISMATCH = 18
"""NVML's own error codes (nvml.h)."""


class Process(msgspec.Struct, frozen=True):
    """memory: bytes, None where the driver does not say."""

    pid: int
    name: str
    memory: int | None


class Card(msgspec.Struct, frozen=True):
    """One card as NVML tells it. Bytes, °C, percent; capability: compute capability; None where not supported."""

    name: str
    bus: str
    memory_total: int | None
    memory_free: int | None
    utilization: int | None
    temperature: int | None
    capability: tuple[int, int] | None
    processes: tuple[Process, ...]


class Snapshot(msgspec.Struct, frozen=True):
    """cuda: e.g. 13010 for 13.1. error: NVML's code where it could not be initialised, with its text in `message`."""

    driver: str | None = None
    cuda: int | None = None
    cards: tuple[Card, ...] = ()
    error: int | None = None
    message: str = ""


def parse(text: str) -> Snapshot:
    """The snapshot. Raises ValueError on anything else."""
    try:
        return msgspec.json.decode(text, type=Snapshot)
    except (msgspec.ValidationError, msgspec.DecodeError) as problem:
        raise ValueError(f"not a snapshot of NVML: {problem}") from None


def gpus(snapshot: Snapshot) -> tuple[Gpu, ...]:
    """The cards of a snapshot without error."""
    api = None if snapshot.cuda is None else (snapshot.cuda // 1000, snapshot.cuda % 1000 // 10)
    found: list[Gpu] = []
    for index, card in enumerate(snapshot.cards):
        wheel = wheels.cuda(card.capability, api)
        found.append(
            Gpu(
                index=index,
                vendor="nvidia",
                model=card.name,
                memory_total=card.memory_total,
                memory_free=card.memory_free,
                driver=snapshot.driver,
                api=f"CUDA {api[0]}.{api[1]}" if api else None,
                utilization=None if card.utilization is None else card.utilization / 100,
                temperature=None if card.temperature is None else float(card.temperature),
                processes=tuple(GpuProcess(entry.pid, entry.name, entry.memory) for entry in card.processes),
                bus=nvidia_smi.bus(card.bus),
                wheel=wheel.name,
                install=wheel.install,
            )
        )
    return tuple(found)


def failure(snapshot: Snapshot) -> Fixable | None:
    """Why there are no cards; None where nvidia-smi may know more."""
    if snapshot.error is None or snapshot.error == LIBRARY_NOT_FOUND:
        # The loader does not see the library; the tool may know where it lies.
        return None
    if snapshot.error == MISMATCH:
        return nvidia_smi.mismatch()
    if snapshot.error == DRIVER_NOT_LOADED:
        return nvidia_smi.no_driver()
    return Fixable(
        f"the NVIDIA driver's library failed with error {snapshot.error} ({snapshot.message})",
        "run `nvidia-smi` by hand; until it works the NVIDIA cards cannot be used",
    )
