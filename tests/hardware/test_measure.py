import json
from pathlib import Path

import pytest

from mycoswarm.core.errors import Fixable
from mycoswarm.core.hardware import Cpu, Memory
from mycoswarm.hardware import measure
from tests.hardware.recorded import GIB, MIB

CPU = Cpu("Test", "x86_64", 2, 2, None, None)
PLENTY = Memory(8 * GIB, 7 * GIB)


def test_reading_gives_a_rate_that_memory_can_have():
    rate = measure.read_bandwidth(cores=1, size=16 * MIB, duration=0.02)
    assert 1e8 < rate < 1e13


async def test_it_is_measured_once_and_remembered(tmp_path: Path):
    first = await measure.memory_bandwidth(CPU, PLENTY, tmp_path / "cache", 20)
    assert first is not None
    (file,) = (tmp_path / "cache").iterdir()
    key = next(iter(json.loads(file.read_text())))
    file.write_text(json.dumps({key: 12345.0}))
    assert await measure.memory_bandwidth(CPU, PLENTY, tmp_path / "cache", 20) == 12345.0


async def test_another_machine_and_a_broken_file_are_measured_anew(tmp_path: Path):
    for content in ('{"another": 1.0}', "not json", "[]"):
        (tmp_path / "memory-bandwidth.json").write_text(content)
        rate = await measure.memory_bandwidth(CPU, PLENTY, tmp_path, 20)
        assert rate is not None
        assert rate > 1e8


async def test_a_cache_that_cannot_be_written_costs_nothing_else(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert await measure.memory_bandwidth(CPU, PLENTY, tmp_path / "file" / "cache", 20) is not None


async def test_it_does_not_push_a_full_machine_into_swap():
    assert await measure.memory_bandwidth(CPU, Memory(GIB, GIB // 2), None, 20) is None


async def test_a_measurement_that_hangs_is_a_warning():
    with pytest.raises(Fixable, match=r"longer than 0\.01 s"):
        await measure.memory_bandwidth(CPU, PLENTY, None, 0.01)
