import json

from mycoswarm.core.hardware import GpuProcess
from mycoswarm.hardware.parse import amd_sysfs, pci
from mycoswarm.hardware.parse.amd_sysfs import Compute
from tests.hardware.recorded import text

DEVICE = pci.Device(pci.AMD, 0x67DF, "0000:0b:00.0", "amdgpu", True)


def test_a_recorded_card_at_rest():
    gpu = amd_sysfs.gpu(0, DEVICE, json.loads(text("amd_idle.json")), "Radeon RX 580")
    assert (gpu.vendor, gpu.model, gpu.driver, gpu.bus) == ("amd", "Radeon RX 580", "amdgpu", "0000:0b:00.0")
    assert (gpu.memory_total, gpu.memory_free) == (8573157376, 8573157376 - 1490378752)
    assert (gpu.utilization, gpu.unified, gpu.temperature) == (0.04, False, None)
    assert gpu.wheel == "vulkan"  # nothing says that ROCm has a build for it


def test_a_recorded_card_that_is_mostly_full():
    holder = (GpuProcess(7, "llama-server", 6 * 10**9),)
    gpu = amd_sysfs.gpu(1, DEVICE, json.loads(text("amd_loaded.json")), processes=holder)
    assert gpu.memory_free == 8573157376 - 6812925952
    assert gpu.processes == holder
    assert (gpu.model, gpu.utilization) == ("AMD card 1002:67df", None)


def test_a_recorded_compute_node():
    assert amd_sysfs.compute(text("kfd_radeon_vii.txt")) == Compute("gfx906", integrated=False)


def test_the_kernels_own_form_of_nodes():
    assert amd_sysfs.compute("cpu_cores_count 0\nsimd_count 192\ngfx_target_version 110000\n") == Compute(
        "gfx1100", False
    )
    assert amd_sysfs.compute("cpu_cores_count 0\nsimd_count 440\ngfx_target_version 90010\n") == Compute(
        "gfx90a", False
    )
    assert amd_sysfs.compute("cpu_cores_count 32\nsimd_count 80\ngfx_target_version 110501\n") == Compute(
        "gfx1151", True
    )
    assert amd_sysfs.compute("cpu_cores_count 16\nsimd_count 0\n") is None
    assert amd_sysfs.compute("simd_count many\n") is None


def test_a_card_that_rocm_supports():
    gpu = amd_sysfs.gpu(0, DEVICE, {"product_name": "\n"}, "Radeon RX 7900 XTX", Compute("gfx1100", False))
    assert (gpu.model, gpu.api, gpu.wheel) == ("Radeon RX 7900 XTX", "gfx1100", "rocm")
    assert (gpu.memory_total, gpu.memory_free) == (None, None)


def test_an_integrated_card_has_the_machines_memory_beside_its_own():
    files = {
        "mem_info_vram_total": "536870912",
        "mem_info_vram_used": "100",
        "mem_info_gtt_total": "8000000000",
        "mem_info_gtt_used": "50",
        "temp1_input": "45500\n",
    }
    gpu = amd_sysfs.gpu(0, DEVICE, files, None, Compute("gfx1151", integrated=True))
    assert gpu.unified
    assert (gpu.memory_total, gpu.memory_free) == (8536870912, 8536870912 - 150)
    assert gpu.temperature == 45.5
