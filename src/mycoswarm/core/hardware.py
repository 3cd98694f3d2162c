"""What a machine is: the report of `detect`, a stable contract (its top-level keys are the command's JSON)."""

from typing import Literal

import msgspec

RoleName = Literal["gpu_inference", "cpu_inference", "cpu_worker", "storage"]
GpuVendor = Literal["nvidia", "amd", "intel", "apple"]
EngineKind = Literal["embedded", "minilm", "ollama", "llama-server", "lmstudio", "vllm", "openai"]


class Cpu(msgspec.Struct, frozen=True):
    """instruction_sets: lower case, e.g. `avx2`. memory_bandwidth: bytes/s; None where it was not measured."""

    model: str
    architecture: str
    physical_cores: int | None
    threads: int
    mhz: float | None
    max_mhz: float | None
    instruction_sets: tuple[str, ...] = ()
    memory_bandwidth: float | None = None


class Memory(msgspec.Struct, frozen=True):
    """Bytes."""

    total: int
    available: int
    swap_total: int = 0


class GpuProcess(msgspec.Struct, frozen=True):
    """A program that holds memory on a card. memory: bytes, None where the driver does not say."""

    pid: int
    name: str
    memory: int | None = None


class Gpu(msgspec.Struct, frozen=True):
    """memory_*: bytes of VRAM; unified: it is the machine's own RAM (Apple, integrated cards).

    utilization: 0 to 1. temperature: °C.
    wheel: the embedded engine's GPU build that fits (`cuda`, `rocm`, `vulkan`, `metal`), and install how to get it.
    """

    index: int
    vendor: GpuVendor
    model: str
    memory_total: int | None
    memory_free: int | None
    driver: str | None = None
    api: str | None = None
    unified: bool = False
    utilization: float | None = None
    temperature: float | None = None
    processes: tuple[GpuProcess, ...] = ()
    bus: str | None = None
    wheel: str | None = None
    install: str | None = None


class Disk(msgspec.Struct, frozen=True):
    """One mounted file system; sizes in bytes."""

    mount: str
    device: str
    filesystem: str
    total: int
    free: int
    holds_state: bool = False


class NetworkInterface(msgspec.Struct, frozen=True):
    """speed: Mbit/s, None where unknown. addresses: IPv4 and IPv6 without prefix length."""

    name: str
    up: bool
    addresses: tuple[str, ...]
    mac: str | None = None
    speed: int | None = None
    kind: Literal["ethernet", "wifi", "loopback", "bridge", "virtual", "other"] = "other"


class EngineFound(msgspec.Struct, frozen=True):
    """An engine on this machine. models: all it holds; loaded: those in memory now."""

    kind: EngineKind
    url: str
    version: str | None
    models: tuple[str, ...] = ()
    loaded: tuple[str, ...] = ()


class Role(msgspec.Struct, frozen=True):
    """A part this machine can play, and why in one line."""

    name: RoleName
    reason: str


class Report(msgspec.Struct, frozen=True):
    """Everything `detect` found; warnings are probes that failed or hung, one sentence each with what to do."""

    cpu: Cpu
    memory: Memory
    gpus: tuple[Gpu, ...]
    disks: tuple[Disk, ...]
    network: tuple[NetworkInterface, ...]
    engines: tuple[EngineFound, ...]
    roles: tuple[Role, ...]
    warnings: tuple[str, ...] = ()


class GpuSummary(msgspec.Struct, frozen=True):
    vendor: GpuVendor
    model: str
    memory_total: int | None
    memory_free: int | None
    unified: bool = False


class HardwareSummary(msgspec.Struct, frozen=True):
    """The part of a report that travels in a node's record. Bytes, bytes/s."""

    cpu: str
    threads: int
    physical_cores: int | None
    memory_total: int
    memory_available: int
    disk_free: int
    memory_bandwidth: float | None = None
    gpus: tuple[GpuSummary, ...] = ()
