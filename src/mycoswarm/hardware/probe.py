"""[io] The probes: each reads one kind of hardware and returns it, or raises Fixable with one sentence and what to do.

A probe bounds whatever may block by itself (`bounded`); `Host` holds what differs between machines and tests: where
/proc and /sys are, which system this is, how a tool is found.
"""

import asyncio
import os
import platform
import shutil
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from mycoswarm.core.errors import Fixable
from mycoswarm.core.hardware import Cpu, Disk, Gpu, Memory, NetworkInterface
from mycoswarm.hardware import bounded
from mycoswarm.hardware.parse import (
    amd_sysfs,
    apple,
    cpuinfo,
    fdinfo,
    intel_sysfs,
    meminfo,
    mounts,
    network,
    nvidia_smi,
    nvml,
    pci,
)

NVML_CHILD = (sys.executable, "-P", "-m", "mycoswarm.hardware.nvml_child")

_PCI_IDS = ("usr/share/hwdata/pci.ids", "usr/share/misc/pci.ids")
_AMDGPU_IDS = ("usr/share/libdrm/amdgpu.ids", "opt/amdgpu/share/libdrm/amdgpu.ids")


@dataclass(frozen=True)
class Host:
    """The machine that is looked at. limit: seconds that any one thing may take."""

    root: Path = Path("/")
    system: str = platform.system()
    which: Callable[[str], str | None] = shutil.which
    nvml: tuple[str, ...] = NVML_CHILD
    limit: float = 5.0

    def text(self, path: str) -> str | None:
        """A small file's text; None where it is missing or may not be read."""
        try:
            return (self.root / path).read_text(errors="replace")
        except OSError:
            return None

    def entries(self, path: str) -> list[Path]:
        """A folder's entries in order; empty where there is no such folder."""
        try:
            return sorted((self.root / path).iterdir())
        except OSError:
            return []


async def cpu(host: Host) -> Cpu:
    """The processor, without its memory bandwidth."""
    if host.system == "Darwin":
        facts = [apple.cpu(await _system_profiler(host, "SPHardwareDataType"))]
    else:
        facts = await bounded.call(lambda: _cpu_files(host), host.limit, "cpu")
        if host.which("lscpu") is not None and any(one.model is None for one in facts[1:]):
            # Only where the kernel's files give no name (64-bit ARM of a maker that we do not know).
            facts.append(cpuinfo.lscpu((await bounded.run(("lscpu",), host.limit)).stdout))
    return cpuinfo.cpu(_architecture(), facts, os.cpu_count() or 1)


def _architecture() -> str:
    machine = platform.machine()
    # A 32-bit system on a 64-bit kernel: what counts is what our programs are.
    return "armv7l" if machine == "aarch64" and struct.calcsize("P") == 4 else machine


def _cpu_files(host: Host) -> list[cpuinfo.Facts]:
    processors = [entry for entry in host.entries("sys/devices/system/cpu") if entry.name.removeprefix("cpu").isdigit()]
    topology: list[tuple[str, str]] = []
    khz: dict[str, list[str]] = {"scaling_cur_freq": [], "cpuinfo_max_freq": []}
    for processor in processors:
        package = host.text(str(processor / "topology/physical_package_id"))
        core = host.text(str(processor / "topology/core_id"))
        if package is not None and core is not None:
            topology.append((package.strip(), core.strip()))
        for name, values in khz.items():
            if (value := host.text(str(processor / "cpufreq" / name))) is not None:
                values.append(value)
    return [cpuinfo.kernel(topology, khz), cpuinfo.cpuinfo(host.text("proc/cpuinfo") or "")]


async def memory(host: Host) -> Memory:
    """RAM and swap."""
    text = host.text("proc/meminfo") if host.system == "Linux" else None
    if text is not None:
        return meminfo.parse(text)
    virtual, swap = psutil.virtual_memory(), psutil.swap_memory()
    return Memory(virtual.total, virtual.available, swap.total)


async def nvidia(host: Host) -> tuple[Gpu, ...]:
    """NVIDIA cards by NVML, or by nvidia-smi where its library is not found; nothing where no card shows itself."""
    signs = await bounded.call(lambda: _nvidia_signs(host), host.limit, "nvidia")
    tool = host.which("nvidia-smi")
    if not signs and tool is None:
        return ()
    hint = "restart the machine if it stays so; until then its cards cannot be used"
    try:
        done = await bounded.run(host.nvml, host.limit)
    except TimeoutError:
        # nvidia-smi asks the same driver: it would hang as well.
        raise Fixable(f"the NVIDIA driver did not answer within {host.limit:g} s", hint) from None
    try:
        snapshot = nvml.parse(done.stdout)
    except ValueError:
        snapshot = nvml.Snapshot(error=nvml.LIBRARY_NOT_FOUND)
    if snapshot.error is None:
        return nvml.gpus(snapshot)
    if (problem := nvml.failure(snapshot)) is not None:
        raise problem
    if tool is None:
        if done.code != 0:
            raise Fixable(f"asking the NVIDIA driver ended with {_ending(done.code)}", hint)
        raise nvidia_smi.no_driver()
    return await _nvidia_smi(host, tool)


async def _nvidia_smi(host: Host, tool: str) -> tuple[Gpu, ...]:
    try:
        done = await bounded.run((tool, "-q", "-x"), host.limit)
    except TimeoutError:
        raise Fixable(
            f"nvidia-smi did not end within {host.limit:g} s",
            "restart the machine if it stays so; until then its cards cannot be used",
        ) from None
    if done.code != 0:
        raise nvidia_smi.failure(done.output, done.code)
    return nvidia_smi.parse(done.stdout)


def _nvidia_signs(host: Host) -> bool:
    """Whether this machine has an NVIDIA card: asking costs a child process, which most machines need not pay.

    /dev/dxg is how a card shows itself inside WSL2.
    """
    if any((host.root / path).exists() for path in ("proc/driver/nvidia/version", "dev/nvidiactl", "dev/dxg")):
        return True
    return any(device.vendor == pci.NVIDIA and device.display for device in _pci_devices(host))


def _pci_devices(host: Host) -> Iterator[pci.Device]:
    for folder in host.entries("sys/bus/pci/devices"):
        if (device := pci.uevent(host.text(str(folder / "uevent")) or "")) is not None:
            yield device


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


async def drm(host: Host) -> tuple[Gpu, ...]:
    """AMD and Intel cards, from the kernel's files."""
    if host.system != "Linux":
        return ()
    return await bounded.call(lambda: tuple(_drm_cards(host)), host.limit, "graphics")


def _drm_cards(host: Host) -> Iterator[Gpu]:
    found: list[tuple[pci.Device, Path]] = []
    for card in host.entries("sys/class/drm"):
        if not card.name.removeprefix("card").isdigit():
            continue
        device = pci.uevent(host.text(str(card / "device/uevent")) or "")
        if device is not None and device.vendor in (pci.AMD, pci.INTEL):
            found.append((device, card))
    if not found:
        return
    clients, names = _clients(host)
    for index, (device, card) in enumerate(found):
        processes = fdinfo.holders(clients, names, device.slot)
        files = _card_files(host, card)
        name = _card_name(host, device, files)
        if device.vendor == pci.AMD:
            yield amd_sysfs.gpu(index, device, files, name, _compute_node(host, card), processes)
        else:
            yield intel_sysfs.gpu(index, device, files, name, processes)


def _card_files(host: Host, card: Path) -> Mapping[str, str]:
    files: dict[str, str] = {}
    paths = [card / "device" / name for name in ("product_name", "revision", "gpu_busy_percent")]
    paths += [card / "device" / f"mem_info_{kind}_{value}" for kind in ("vram", "gtt") for value in ("total", "used")]
    paths += [card / "lmem_total_bytes", card / "lmem_avail_bytes", card / "device/tile0/physical_vram_size_bytes"]
    paths += [folder / "temp1_input" for folder in host.entries(str(card / "device/hwmon"))]
    for path in paths:
        if (text := host.text(str(path))) is not None:
            files.setdefault(path.name, text)
    return files


def _card_name(host: Host, device: pci.Device, files: Mapping[str, str]) -> str | None:
    if device.vendor == pci.AMD and (revision := pci.number(files, "revision")) is not None:
        for path in _AMDGPU_IDS:
            text = host.text(path)
            if text and (name := pci.amdgpu_name(text.splitlines(), device.device, revision)):
                return name
    for path in _PCI_IDS:
        # 1.5 MB of text: read line by line, and no further than the card.
        try:
            with (host.root / path).open(errors="replace") as lines:
                if name := pci.name(lines, device.vendor, device.device):
                    return name
        except OSError:
            continue
    return None


def _compute_node(host: Host, card: Path) -> amd_sysfs.Compute | None:
    """The compute driver's node of a card: both name the card's render device."""
    renders = {entry.name.removeprefix("renderD") for entry in host.entries(str(card / "device/drm"))}
    for node in host.entries("sys/class/kfd/kfd/topology/nodes"):
        properties = host.text(str(node / "properties")) or ""
        if any(f"drm_render_minor {minor}\n" in properties for minor in renders):
            return amd_sysfs.compute(properties)
    return None


def _clients(host: Host) -> tuple[list[tuple[int, fdinfo.Client]], dict[int, str]]:
    """Who has opened a graphics device; of other users' processes only root sees it."""
    clients: list[tuple[int, fdinfo.Client]] = []
    names: dict[int, str] = {}
    for process in host.entries("proc"):
        if not process.name.isdigit():
            continue
        for descriptor in host.entries(str(process / "fd")):
            try:
                if not str(descriptor.readlink()).startswith("/dev/dri/"):
                    continue
            except OSError:
                continue
            client = fdinfo.parse(host.text(str(process / "fdinfo" / descriptor.name)) or "")
            if client is not None:
                clients.append((int(process.name), client))
                names[int(process.name)] = (host.text(str(process / "comm")) or "").strip()
    return clients, names


async def apple_gpus(host: Host) -> tuple[Gpu, ...]:
    """The graphics of Apple silicon."""
    if host.system != "Darwin":
        return ()
    return apple.gpus(await _system_profiler(host, "SPDisplaysDataType"), await memory(host))


async def _system_profiler(host: Host, section: str) -> apple.Profile:
    try:
        done = await bounded.run(("system_profiler", "-json", section), host.limit)
    except TimeoutError:
        raise Fixable(
            f"system_profiler did not end within {host.limit:g} s", "run it by hand, then run `mycoswarm detect` again"
        ) from None
    return apple.parse(done.stdout)


async def disks(host: Host, state: Path | None) -> tuple[tuple[Disk, ...], tuple[str, ...]]:
    """The mounted disks, and a warning for each that does not answer.

    Every disk is asked in a thread of its own: a network disk whose server is gone blocks for ever, the others do not.
    """
    if host.system == "Linux":
        found = mounts.parse(host.text("proc/self/mountinfo") or "")
    else:
        found = tuple(mounts.Mount(part.mountpoint, part.device, part.fstype) for part in psutil.disk_partitions())
    holding = mounts.holding(str(state), [mount.mount for mount in found]) if state is not None else None

    async def ask(mount: mounts.Mount) -> Disk | str | None:
        try:
            usage = await bounded.call(lambda: psutil.disk_usage(mount.mount), host.limit, f"disk {mount.mount}")
        except TimeoutError:
            return f"the disk at {mount.mount} ({mount.device}) does not answer: reconnect or unmount it"
        except OSError:
            # Not ours to look at (another user's mount); it is no disk for us then.
            return None
        return Disk(mount.mount, mount.device, mount.filesystem, usage.total, usage.free, mount.mount == holding)

    answers = await asyncio.gather(*(ask(mount) for mount in found))
    return (
        tuple(answer for answer in answers if isinstance(answer, Disk)),
        tuple(answer for answer in answers if isinstance(answer, str)),
    )


async def interfaces(host: Host) -> tuple[NetworkInterface, ...]:
    """The network interfaces, those with addresses first."""
    return await bounded.call(lambda: _interfaces(host), host.limit, "network")


def _interfaces(host: Host) -> tuple[NetworkInterface, ...]:
    states, found = psutil.net_if_stats(), psutil.net_if_addrs()
    linux = host.system == "Linux"
    result: list[NetworkInterface] = []
    for name in sorted(states.keys() | found.keys()):
        addresses = found.get(name, [])
        state = states.get(name)
        files = {entry.name for entry in host.entries(f"sys/class/net/{name}")} if linux else set[str]()
        result.append(
            network.interface(
                name=name,
                up=state is not None and state.isup,
                addresses=[one.address for one in addresses if one.family in (socket.AF_INET, socket.AF_INET6)],
                mac=next((one.address for one in addresses if one.family == psutil.AF_LINK), None),
                mbits=state.speed if state is not None else None,
                what=network.kind(name, files, linux),
            )
        )
    return tuple(sorted(result, key=lambda one: (one.kind == "loopback", not one.addresses, one.name)))
