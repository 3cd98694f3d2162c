"""The parts a machine can play, each with its reason in a line. Pure: a report and the engines found in, roles out."""

from collections.abc import Sequence

import msgspec

from mycoswarm.core.hardware import Cpu, Disk, EngineFound, Gpu, GpuSummary, HardwareSummary, Report, Role, RoleName

_GIB = 1024**3

MIN_GPU_MEMORY = 2 * _GIB
"""Below this not even a small chat model with its context fits a card."""

MIN_INFERENCE_MEMORY = 2 * _GIB
"""RAM for the smallest useful models beside the system."""

MIN_WORKER_MEMORY = _GIB
"""RAM for one worker child (extraction and embedding take up to 300 MiB) beside node and system."""

MIN_STORAGE_MEMORY = 2 * _GIB
"""RAM for the vector store: 200 MB at 100,000 chunks."""

MIN_STORAGE_DISK = 10 * _GIB
"""Free bytes where our state lies; less fills up with a few hundred documents and one model."""

_NAMES = {
    "embedded": "the embedded engine",
    "ollama": "Ollama",
    "llama-server": "llama-server",
    "lmstudio": "LM Studio",
    "vllm": "vLLM",
    "openai": "an OpenAI-compatible server",
}
_X86 = {"x86_64", "amd64"}
_ARM64 = {"aarch64", "arm64"}


class Verdict(msgspec.Struct, frozen=True):
    """Whether a part is played, and why or why not."""

    name: RoleName
    played: bool
    reason: str


def engine_gate(cpu: Cpu) -> str | None:
    """Why the embedded engine cannot run on this processor, one sentence; None where it can.

    Its build for x86 uses AVX2 without asking: on a processor without it, loading a model would be an illegal
    instruction. An x86 processor whose instruction sets are unknown is therefore refused too.
    """
    architecture = cpu.architecture.lower()
    if architecture in _ARM64:
        return None
    if architecture not in _X86:
        return f"the embedded engine has no build for {cpu.architecture} processors"
    missing = [name for name in ("avx2", "fma", "f16c") if name not in cpu.instruction_sets]
    if not missing:
        return None
    return f"the embedded engine needs {', '.join(name.upper() for name in missing)}, which this processor has not"


def verdicts(report: Report, engines: Sequence[EngineFound], embedded_gpu: bool = False) -> tuple[Verdict, ...]:
    """All four parts, played or not.

    Args:
        engines: those found on this machine, the embedded one among them where it is installed.
        embedded_gpu: the embedded engine is installed in a GPU build (on Apple silicon it always is one).
    """
    return (
        _gpu_inference(report, engines, embedded_gpu),
        _cpu_inference(report, engines),
        _cpu_worker(report),
        _storage(report),
    )


def classify(report: Report, engines: Sequence[EngineFound], embedded_gpu: bool = False) -> tuple[Role, ...]:
    """The parts this machine plays; arguments as for `verdicts`."""
    return tuple(Role(part.name, part.reason) for part in verdicts(report, engines, embedded_gpu) if part.played)


def with_engines(report: Report, engines: Sequence[EngineFound], embedded_gpu: bool = False) -> Report:
    """The report completed by the engines found, and by the parts that follow from both."""
    return msgspec.structs.replace(report, engines=tuple(engines), roles=classify(report, engines, embedded_gpu))


def summary(report: Report) -> HardwareSummary:
    """The part of a report that travels in the node's record."""
    disk = state_disk(report.disks)
    return HardwareSummary(
        cpu=report.cpu.model,
        threads=report.cpu.threads,
        physical_cores=report.cpu.physical_cores,
        memory_total=report.memory.total,
        memory_available=report.memory.available,
        disk_free=disk.free if disk else 0,
        memory_bandwidth=report.cpu.memory_bandwidth,
        gpus=tuple(
            GpuSummary(gpu.vendor, gpu.model, gpu.memory_total, gpu.memory_free, gpu.unified) for gpu in report.gpus
        ),
    )


def state_disk(disks: Sequence[Disk]) -> Disk | None:
    """The disk our state lies on; where that is unknown, the one with most space."""
    return next((disk for disk in disks if disk.holds_state), max(disks, key=lambda disk: disk.free, default=None))


def _gpu_inference(report: Report, engines: Sequence[EngineFound], embedded_gpu: bool) -> Verdict:
    if not report.gpus:
        return Verdict("gpu_inference", False, "no GPU")
    usable = [gpu for gpu in report.gpus if (gpu.memory_total or 0) >= MIN_GPU_MEMORY]
    if not usable:
        names = ", ".join(gpu.model for gpu in report.gpus)
        return Verdict("gpu_inference", False, f"{names}: not known to have {_size(MIN_GPU_MEMORY)} of memory")
    gated = engine_gate(report.cpu) is not None
    drivers = [
        _NAMES[engine.kind]
        for engine in engines
        if engine.kind != "embedded" or (not gated and (embedded_gpu or any(gpu.vendor == "apple" for gpu in usable)))
    ]
    cards = ", ".join(_card(gpu) for gpu in usable)
    if not drivers:
        hint = next((gpu.install for gpu in usable if gpu.install), None)
        return Verdict("gpu_inference", False, f"{cards}, but no engine that uses it" + (f"; {hint}" if hint else ""))
    return Verdict("gpu_inference", True, f"{cards}, used by {_list(drivers)}")


def _cpu_inference(report: Report, engines: Sequence[EngineFound]) -> Verdict:
    cpu, memory = report.cpu, report.memory
    gate = engine_gate(cpu)
    usable = [_NAMES[engine.kind] for engine in engines if engine.kind != "embedded" or gate is None]
    if memory.total < MIN_INFERENCE_MEMORY:
        reason = f"{_size(memory.total)} RAM is less than the {_size(MIN_INFERENCE_MEMORY)} that small models need"
        return Verdict("cpu_inference", False, reason)
    if not usable:
        return Verdict("cpu_inference", False, gate or "no engine is installed")
    reason = f"{_cores(cpu)}, {_size(memory.total)} RAM"
    if cpu.memory_bandwidth:
        reason += f" at {cpu.memory_bandwidth / 1e9:.0f} GB/s"
    return Verdict("cpu_inference", True, f"{reason}, with {_list(usable)}")


def _cpu_worker(report: Report) -> Verdict:
    cpu, memory = report.cpu, report.memory
    if cpu.architecture.lower() not in _X86 | _ARM64:
        return Verdict("cpu_worker", False, f"the workers' libraries have no builds for {cpu.architecture} processors")
    if memory.total < MIN_WORKER_MEMORY:
        reason = f"{_size(memory.total)} RAM is less than the {_size(MIN_WORKER_MEMORY)} that workers need"
        return Verdict("cpu_worker", False, reason)
    return Verdict("cpu_worker", True, f"{_cores(cpu)}, {_size(memory.total)} RAM")


def _storage(report: Report) -> Verdict:
    disk = state_disk(report.disks)
    if disk is None:
        return Verdict("storage", False, "no disk was found")
    if disk.free < MIN_STORAGE_DISK:
        reason = f"{_size(disk.free)} free on {disk.mount} is less than {_size(MIN_STORAGE_DISK)}"
        return Verdict("storage", False, reason)
    if report.memory.total < MIN_STORAGE_MEMORY:
        reason = f"{_size(report.memory.total)} RAM is less than the {_size(MIN_STORAGE_MEMORY)} that the store needs"
        return Verdict("storage", False, reason)
    return Verdict("storage", True, f"{_size(disk.free)} free on {disk.mount}, {_size(report.memory.total)} RAM")


def _card(gpu: Gpu) -> str:
    return f"{gpu.model} with {_size(gpu.memory_total or 0)}" + (" shared with the processor" if gpu.unified else "")


def _cores(cpu: Cpu) -> str:
    if cpu.physical_cores is None:
        return f"{cpu.threads} threads"
    return f"{cpu.physical_cores} core{'s' if cpu.physical_cores != 1 else ''}"


def _list(names: Sequence[str]) -> str:
    return " and ".join(dict.fromkeys(names))


def _size(size: int) -> str:
    return f"{size / _GIB:.1f} GiB" if size < 100 * _GIB else f"{size / _GIB:.0f} GiB"
