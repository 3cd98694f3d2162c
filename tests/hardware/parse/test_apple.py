import pytest

from mycoswarm.core.hardware import Memory
from mycoswarm.hardware.parse import apple, cpuinfo
from tests.hardware.recorded import GIB, text

MEMORY = Memory(8 * GIB, 3 * GIB)


def test_an_m1():
    (gpu,) = apple.gpus(apple.parse(text("apple_m1_displays.json")), MEMORY)
    assert (gpu.vendor, gpu.model, gpu.api) == ("apple", "Apple M1 (7 GPU cores)", "Metal 3")
    assert (gpu.memory_total, gpu.memory_free, gpu.unified) == (8 * GIB, 3 * GIB, True)
    assert gpu.wheel == "metal"


def test_an_m2s_processor_and_memory():
    profile = apple.parse(text("apple_m2_hardware.json"))
    cpu = cpuinfo.cpu("arm64", [apple.cpu(profile)])
    assert (cpu.model, cpu.physical_cores, cpu.threads) == ("Apple M2 (MacBook Air)", 8, 8)
    assert cpu.instruction_sets == ("asimd",)
    assert apple.memory_total(profile) == 24 * GIB


def test_a_section_that_was_not_asked_for_is_empty():
    profile = apple.parse(text("apple_m2_hardware.json"))
    assert apple.gpus(profile, MEMORY) == ()
    assert apple.cpu(apple.parse(text("apple_m1_displays.json"))).model is None


def test_cards_of_other_makers_are_left_out():
    profile = apple.parse(
        '{"SPDisplaysDataType": [{"sppci_model": "Radeon Pro 5300M", "spdisplays_vendor": "sppci_vendor_amd"}]}'
    )
    assert apple.gpus(profile, MEMORY) == ()


@pytest.mark.parametrize("other", ["", "<plist/>", '{"SPDisplaysDataType": 3}'])
def test_anything_else_is_refused(other: str):
    with pytest.raises(ValueError, match="not an answer of system_profiler"):
        apple.parse(other)
