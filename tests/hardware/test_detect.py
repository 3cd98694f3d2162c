import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from mycoswarm.core.hardware import Gpu, Report
from mycoswarm.hardware import probe
from mycoswarm.hardware.detect import detect
from mycoswarm.hardware.probe import Host


async def test_this_machine(tmp_path: Path):
    report = await detect(tmp_path / "state", tmp_path / "cache")
    assert report.cpu.memory_bandwidth is None or report.cpu.memory_bandwidth > 1e8
    assert sum(disk.holds_state for disk in report.disks) == 1
    assert report.engines == ()
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


async def test_the_top_level_keys_are_the_commands_contract(tmp_path: Path):
    report = await detect(tmp_path, tmp_path, bandwidth=False)
    assert list(msgspec.to_builtins(report)) == [
        *("cpu", "memory", "gpus", "disks", "network", "engines", "roles"),
        "warnings",
    ]


async def test_probes_that_hang_crash_and_fail_are_warnings_and_the_rest_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def crash(_: Host) -> None:
        raise ZeroDivisionError("nonsense in a file")

    async def hang(_: Host) -> None:
        await asyncio.sleep(60)

    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidiactl").write_text("")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text("35 1 253:2 / / rw - ext4 /dev/root rw\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal: 8169312 kB\nMemAvailable: 4088520 kB\n")
    monkeypatch.setattr(probe, "drm", crash)
    monkeypatch.setattr(probe, "cpu", hang)
    host = Host(tmp_path, "Linux", lambda _: None, ("sleep", "60"), limit=0.4)
    start = time.monotonic()
    report = await detect(host=host, bandwidth=False)
    assert time.monotonic() - start < 4
    assert report.memory.total == 8169312 * 1024
    assert [disk.mount for disk in report.disks] == ["/"]
    assert report.gpus == ()
    crashed, hung, nvidia = report.warnings
    assert crashed.startswith("looking at the graphics cards failed (ZeroDivisionError: nonsense in a file)")
    assert hung.startswith("looking at the processor took longer than 0.4 s")
    assert nvidia.startswith("the NVIDIA driver did not answer within 0.4 s: restart")
    assert "storage" in {role.name for role in report.roles}


async def test_a_machine_that_tells_nothing_at_all(tmp_path: Path):
    report = await detect(host=Host(tmp_path, "Linux", lambda _: None, ()), bandwidth=False)
    assert report.cpu.threads >= 1
    assert report.disks == ()
    assert {role.name for role in report.roles} <= {"cpu_worker"}


async def test_cards_of_all_makers_are_counted_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def nvidia(_: Host) -> tuple[Gpu, ...]:
        return (Gpu(0, "nvidia", "A", None, None), Gpu(1, "nvidia", "B", None, None))

    async def drm(_: Host) -> tuple[Gpu, ...]:
        return (Gpu(0, "amd", "C", None, None),)

    monkeypatch.setattr(probe, "nvidia", nvidia)
    monkeypatch.setattr(probe, "drm", drm)
    report = await detect(host=Host(tmp_path, "Linux", lambda _: None, ()), bandwidth=False)
    assert [(gpu.index, gpu.model) for gpu in report.gpus] == [(0, "A"), (1, "B"), (2, "C")]
