import json
import os
import threading
from pathlib import Path

import msgspec
import pytest

from mycoswarm.core.errors import Fixable
from mycoswarm.core.hardware import GpuProcess
from mycoswarm.hardware import probe
from mycoswarm.hardware.parse import nvidia_smi, nvml
from mycoswarm.hardware.probe import Host
from tests.hardware.recorded import FIXTURES, MIB, text


def write(root: Path, path: str, content: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


def tool(folder: Path, name: str, script: str) -> str:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


def child(folder: Path, snapshot: nvml.Snapshot) -> tuple[str, ...]:
    file = folder / "snapshot.json"
    file.write_bytes(msgspec.json.encode(snapshot))
    return ("cat", str(file))


NO_LIBRARY = nvml.Snapshot(error=nvml.LIBRARY_NOT_FOUND)


class TestNvidia:
    """How the cards are found, and every way in which they are not."""

    def host(self, root: Path, answers: tuple[str, ...], smi: str | None = None, card: bool = True) -> Host:
        if card:
            uevent = "DRIVER=nvidia\nPCI_CLASS=30000\nPCI_ID=10DE:2204\nPCI_SLOT_NAME=0000:09:00.0\n"
            write(root, "sys/bus/pci/devices/0000:09:00.0/uevent", uevent)
        return Host(root, "Linux", lambda name: smi if name == "nvidia-smi" else None, answers, 1.0)

    async def test_a_machine_without_a_card_starts_no_child(self, tmp_path: Path):
        witness = tmp_path / "ran"
        host = self.host(tmp_path, ("touch", str(witness)), card=False)
        assert await probe.nvidia(host) == ()
        assert not witness.exists()

    async def test_nvml_answers(self, tmp_path: Path):
        card = nvml.Card("NVIDIA GeForce RTX 3090", "00000000:09:00.0", 24576 * MIB, 24120 * MIB, 0, 32, (8, 6), ())
        host = self.host(tmp_path, child(tmp_path, nvml.Snapshot("590.44.01", 13010, (card,))))
        assert await probe.nvidia(host) == nvidia_smi.parse(text("rtx3090_idle.xml"))

    @pytest.mark.parametrize("answers", [NO_LIBRARY, None], ids=["library not found", "child crashes"])
    async def test_nvidia_smi_stands_in(self, tmp_path: Path, answers: nvml.Snapshot | None):
        smi = tool(tmp_path, "nvidia-smi", f"cat {FIXTURES}/two_a5000_model_loaded.xml")
        argv = child(tmp_path, answers) if answers else ("sh", "-c", "kill -ABRT $$")
        found = await probe.nvidia(self.host(tmp_path, argv, smi))
        assert [gpu.processes[0].memory for gpu in found] == [22430 * MIB, 17246 * MIB]

    async def test_a_hanging_library_is_given_up(self, tmp_path: Path):
        with pytest.raises(Fixable, match="did not answer within 1 s"):
            await probe.nvidia(self.host(tmp_path, ("sleep", "60")))

    async def test_a_hanging_nvidia_smi_is_given_up(self, tmp_path: Path):
        smi = tool(tmp_path, "nvidia-smi", "sleep 60")
        with pytest.raises(Fixable, match="nvidia-smi did not end within 1 s"):
            await probe.nvidia(self.host(tmp_path, child(tmp_path, NO_LIBRARY), smi))

    async def test_a_mismatch_by_the_library(self, tmp_path: Path):
        answer = nvml.Snapshot(error=nvml.MISMATCH, message="RM has detected an NVML/RM version mismatch.")
        with pytest.raises(Fixable, match="different versions"):
            await probe.nvidia(self.host(tmp_path, child(tmp_path, answer)))

    @pytest.mark.parametrize(
        ("recording", "code", "says"),
        [("nvml_mismatch.txt", 18, "library 550.144"), ("nvidia_smi_no_driver.txt", 9, "not loaded")],
    )
    async def test_what_nvidia_smi_says_when_it_fails(self, tmp_path: Path, recording: str, code: int, says: str):
        smi = tool(tmp_path, "nvidia-smi", f"cat {FIXTURES}/{recording}; exit {code}")
        with pytest.raises(Fixable, match=says):
            await probe.nvidia(self.host(tmp_path, child(tmp_path, NO_LIBRARY), smi))

    async def test_a_card_without_any_driver(self, tmp_path: Path):
        with pytest.raises(Fixable, match="driver is not loaded"):
            await probe.nvidia(self.host(tmp_path, child(tmp_path, NO_LIBRARY)))

    async def test_a_child_that_crashes_without_nvidia_smi(self, tmp_path: Path):
        with pytest.raises(Fixable, match="ended with signal 6"):
            await probe.nvidia(self.host(tmp_path, ("sh", "-c", "kill -ABRT $$")))


class TestDrm:
    def machine(self, root: Path) -> Host:
        write(root, "sys/class/drm/card0/device/uevent", text("intel_uevent.txt"))
        write(root, "sys/class/drm/card1/device/uevent", text("amd_uevent.txt"))
        for name, value in json.loads(text("amd_idle.json")).items():
            write(root, f"sys/class/drm/card1/device/{name}", value + "\n")
        write(root, "sys/class/drm/card1/device/hwmon/hwmon3/temp1_input", "41000\n")
        write(root, "sys/class/drm/card1/device/drm/renderD129/dev", "226:129\n")
        write(root, "sys/class/drm/card1-HDMI-A-1/status", "connected\n")
        write(root, "usr/share/misc/pci.ids", "1002  AMD\n\t694c  Polaris 22 XT [Radeon RX Vega M GH]\n")
        return Host(root, "Linux", lambda _: None, ())

    async def test_an_intel_and_an_amd_card_in_one_machine(self, tmp_path: Path):
        intel, amd = await probe.drm(self.machine(tmp_path))
        assert (intel.vendor, intel.model, intel.unified) == ("intel", "Intel graphics 8086:591b", True)
        assert (amd.vendor, amd.model, amd.bus) == ("amd", "Radeon RX Vega M GH", "0000:01:00.0")
        assert (amd.memory_total, amd.memory_free) == (8573157376, 8573157376 - 1490378752)
        assert (amd.utilization, amd.temperature, amd.wheel) == (0.04, 41.0, "vulkan")

    async def test_the_compute_driver_tells_the_target(self, tmp_path: Path):
        nodes = "sys/class/kfd/kfd/topology/nodes"
        write(tmp_path, f"{nodes}/0/properties", "cpu_cores_count 8\nsimd_count 0\ndrm_render_minor 0\n")
        properties = "cpu_cores_count 0\nsimd_count 96\ngfx_target_version 100300\ndrm_render_minor 129\n"
        write(tmp_path, f"{nodes}/1/properties", properties)
        _, amd = await probe.drm(self.machine(tmp_path))
        assert (amd.api, amd.wheel, amd.unified) == ("gfx1030", "rocm", False)

    async def test_who_holds_the_cards_memory(self, tmp_path: Path):
        host = self.machine(tmp_path)
        write(tmp_path, "proc/2217/fdinfo/99", text("amd_fdinfo.txt").replace("0000:08:00.0", "0000:01:00.0"))
        write(tmp_path, "proc/2217/comm", "llama-server\n")
        (tmp_path / "proc/2217/fd").mkdir()
        (tmp_path / "proc/2217/fd/99").symlink_to("/dev/dri/renderD129")
        (tmp_path / "proc/2217/fd/1").symlink_to("/dev/null")
        intel, amd = await probe.drm(host)
        assert amd.processes == (GpuProcess(2217, "llama-server", 2068 * 1024),)
        assert intel.processes == ()

    async def test_a_machine_without_cards_does_not_walk_its_processes(self, tmp_path: Path):
        assert await probe.drm(Host(tmp_path, "Linux", lambda _: None, ())) == ()


async def test_a_raspberry_pi_by_its_files(tmp_path: Path):
    write(tmp_path, "proc/cpuinfo", text("cpuinfo_cm4_64bit.txt"))
    for number in range(4):
        base = f"sys/devices/system/cpu/cpu{number}"
        write(tmp_path, f"{base}/topology/physical_package_id", "0\n")
        write(tmp_path, f"{base}/topology/core_id", f"{number}\n")
        write(tmp_path, f"{base}/cpufreq/cpuinfo_max_freq", "1500000\n")
        write(tmp_path, f"{base}/cpufreq/scaling_cur_freq", "600000\n")
    write(tmp_path, "sys/devices/system/cpu/cpufreq/policy0/x", "")
    cpu = await probe.cpu(Host(tmp_path, "Linux", lambda _: None))
    assert cpu.model == "Cortex-A72 (Raspberry Pi Compute Module 4 Rev 1.1)"
    assert (cpu.physical_cores, cpu.threads, cpu.mhz, cpu.max_mhz) == (4, 4, 600.0, 1500.0)


async def test_the_state_lies_on_one_of_the_disks(tmp_path: Path):
    root_only = "35 1 253:2 / / rw - ext4 /dev/root rw\n46 35 0:99 / /no/such/mount rw - ext4 /dev/gone rw\n"
    write(tmp_path, "proc/self/mountinfo", root_only)
    found, warnings = await probe.disks(Host(tmp_path, "Linux"), Path("/home/me/.local/state"))
    assert [(disk.mount, disk.device, disk.holds_state) for disk in found] == [("/", "/dev/root", True)]
    assert found[0].total >= found[0].free > 0
    assert warnings == ()


async def test_a_network_disk_whose_server_is_gone_is_a_warning_and_the_others_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write(
        tmp_path,
        "proc/self/mountinfo",
        "35 1 253:2 / / rw - ext4 /dev/root rw\n46 35 0:50 / /nas rw - nfs4 nas:/export rw\n",
    )
    release, ask = threading.Event(), probe.psutil.disk_usage

    def usage(path: str):
        if path == "/nas":
            release.wait(30)
        return ask(path)

    monkeypatch.setattr(probe.psutil, "disk_usage", usage)
    found, warnings = await probe.disks(Host(tmp_path, "Linux", limit=0.3), None)
    release.set()
    assert [disk.mount for disk in found] == ["/"]
    assert warnings == ("the disk at /nas (nas:/export) does not answer: reconnect or unmount it",)


async def test_this_machine_has_a_loopback_interface():
    found = await probe.interfaces(Host())
    loopback = [one for one in found if one.kind == "loopback"]
    assert loopback
    assert found[-1] in loopback
    assert "127.0.0.1" in loopback[0].addresses


async def test_this_machines_processor_and_memory():
    cpu, memory = await probe.cpu(Host()), await probe.memory(Host())
    assert cpu.threads == os.cpu_count()
    assert cpu.physical_cores is None or 1 <= cpu.physical_cores <= cpu.threads
    assert 0 < memory.available <= memory.total
