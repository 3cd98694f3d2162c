"""[io] The child process that asks NVML and prints a snapshot as JSON: `python -m mycoswarm.hardware.nvml_child`.

A process of its own, because NVML blocks for minutes on a card that fell off the bus and aborts on some broken drivers.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pynvml

from mycoswarm.hardware.parse.nvml import Card, Process, Snapshot


def _ask(question: Callable[..., Any], *arguments: Any) -> Any:
    """None where this card or driver does not support the question."""
    try:
        return question(*arguments)
    except pynvml.NVMLError:
        return None


def _processes(handle: Any) -> Iterator[Process]:
    by_pid: dict[int, int | None] = {}
    for question in (pynvml.nvmlDeviceGetComputeRunningProcesses, pynvml.nvmlDeviceGetGraphicsRunningProcesses):
        for entry in _ask(question, handle) or ():
            # A program that computes and draws is in both lists, with the same figure.
            by_pid[entry.pid] = entry.usedGpuMemory if by_pid.get(entry.pid) is None else by_pid[entry.pid]
    for pid, memory in sorted(by_pid.items()):
        yield Process(pid, _ask(pynvml.nvmlSystemGetProcessName, pid) or _name(pid), memory)


def _name(pid: int) -> str:
    # Another user's program: NVML may refuse its name where the kernel tells it.
    import psutil

    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).name()
    return ""


def _card(handle: Any) -> Card:
    memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    rates = _ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
    capability = _ask(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    pci = _ask(pynvml.nvmlDeviceGetPciInfo, handle)
    return Card(
        name=_ask(pynvml.nvmlDeviceGetName, handle) or "NVIDIA card",
        bus=pci.busId if pci is not None else "",
        memory_total=memory.total if memory is not None else None,
        memory_free=memory.free if memory is not None else None,
        utilization=rates.gpu if rates is not None else None,
        temperature=_ask(pynvml.nvmlDeviceGetTemperatureV, handle, pynvml.NVML_TEMPERATURE_GPU)
        or _ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        capability=(capability[0], capability[1]) if capability is not None else None,
        processes=tuple(_processes(handle)),
    )


def snapshot() -> Snapshot:
    """What NVML tells now; never raises an NVMLError."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as problem:
        code: int = problem.value  # pyright: ignore[reportAttributeAccessIssue]  # set by NVMLError's __new__
        return Snapshot(error=code, message=str(problem))
    handles = [_ask(pynvml.nvmlDeviceGetHandleByIndex, index) for index in range(_ask(pynvml.nvmlDeviceGetCount) or 0)]
    return Snapshot(
        driver=_ask(pynvml.nvmlSystemGetDriverVersion),
        cuda=_ask(pynvml.nvmlSystemGetCudaDriverVersion_v2),
        cards=tuple(_card(handle) for handle in handles if handle is not None),
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(snapshot()))
