from mycoswarm.hardware.parse import intel_sysfs, pci
from tests.hardware.recorded import text


def test_the_graphics_of_a_recorded_processor():
    device = pci.uevent(text("intel_uevent.txt"))
    assert device is not None
    gpu = intel_sysfs.gpu(0, device, {"lmem_total_bytes": "0"}, "HD Graphics 630")
    assert (gpu.vendor, gpu.model, gpu.driver, gpu.bus) == ("intel", "HD Graphics 630", "i915", "0000:00:02.0")
    assert gpu.unified
    assert (gpu.memory_total, gpu.memory_free) == (None, None)
    assert gpu.wheel == "vulkan"


def test_a_card_in_a_slot_by_either_driver():
    device = pci.Device(pci.INTEL, 0x56A0, "0000:03:00.0", "xe", True)
    old = intel_sysfs.gpu(0, device, {"lmem_total_bytes": "17079205888\n", "lmem_avail_bytes": "16000000000\n"})
    new = intel_sysfs.gpu(0, device, {"physical_vram_size_bytes": "0x3fa000000\n"})
    assert (old.memory_total, old.memory_free, old.unified) == (17079205888, 16000000000, False)
    assert (new.memory_total, new.memory_free) == (0x3FA000000, None)
    assert new.model == "Intel graphics 8086:56a0"
