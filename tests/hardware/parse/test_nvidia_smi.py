import pytest

from mycoswarm.core.hardware import GpuProcess
from mycoswarm.hardware.parse import nvidia_smi
from tests.hardware.recorded import MIB, text


def test_an_idle_rtx_3090():
    (gpu,) = nvidia_smi.parse(text("rtx3090_idle.xml"))
    assert (gpu.index, gpu.vendor, gpu.model) == (0, "nvidia", "NVIDIA GeForce RTX 3090")
    assert gpu.memory_total == 24576 * MIB  # not BAR1's 256 MiB, which has the same element names
    assert gpu.memory_free == 24120 * MIB
    assert (gpu.driver, gpu.api, gpu.bus) == ("590.44.01", "CUDA 13.1", "0000:09:00.0")
    assert (gpu.utilization, gpu.temperature, gpu.unified) == (0.0, 32.0, False)
    assert gpu.processes == ()
    assert gpu.wheel == "cuda"
    assert gpu.install is not None
    assert "CUDA 13.2" in gpu.install


def test_a_3090_in_a_virtual_machine_with_an_older_driver_and_redacted_values():
    (gpu,) = nvidia_smi.parse(text("rtx3090_passthrough_idle.xml"))
    assert gpu.memory_total == 24576 * MIB
    assert gpu.memory_free == 24258 * MIB
    assert (gpu.driver, gpu.api, gpu.bus, gpu.temperature) == ("525.147.05", "CUDA 12.0", "0000:00:10.0", 37.0)
    assert gpu.install is not None
    assert "CUDA 12.8" in gpu.install


def test_two_cards_with_a_model_loaded_across_them():
    first, second = nvidia_smi.parse(text("two_a5000_model_loaded.xml"))
    assert [(gpu.index, gpu.model, gpu.bus) for gpu in (first, second)] == [
        (0, "NVIDIA RTX A5000", "0000:81:00.0"),
        (1, "NVIDIA RTX A5000", "0000:c1:00.0"),
    ]
    assert (first.memory_total, first.memory_free) == (24564 * MIB, 1678 * MIB)
    assert (second.memory_total, second.memory_free) == (24564 * MIB, 6862 * MIB)
    server = "/root/src/llama.cpp/build/bin/llama-server"
    assert first.processes == (GpuProcess(100477, server, 22430 * MIB),)
    assert second.processes == (GpuProcess(100477, server, 17246 * MIB),)
    assert (first.temperature, second.temperature) == (13.0, 15.0)


def test_two_idle_geforce_cards():
    gpus = nvidia_smi.parse(text("two_rtx2080_idle.xml"))
    assert [(gpu.index, gpu.bus, gpu.memory_free) for gpu in gpus] == [
        (0, "0000:01:00.0", 7786 * MIB),
        (1, "0000:02:00.0", 7786 * MIB),
    ]


@pytest.mark.parametrize("other", ["", "No devices were found", "<html></html>", text("nvml_mismatch.txt")])
def test_anything_else_is_refused(other: str):
    with pytest.raises(ValueError, match="not an nvidia-smi document"):
        nvidia_smi.parse(other)


def test_a_driver_and_library_mismatch_says_restart():
    problem = nvidia_smi.failure(text("nvml_mismatch.txt"), 18)
    assert "different versions" in problem.message
    assert "550.144" in problem.message
    assert "restart the machine, or reload the driver" in problem.hint


def test_a_missing_driver_says_install():
    problem = nvidia_smi.failure(text("nvidia_smi_no_driver.txt"), 9)
    assert problem.message == "the NVIDIA driver is not loaded"
    assert "install the driver" in problem.hint


def test_an_unknown_failure_repeats_what_the_tool_said():
    problem = nvidia_smi.failure("Unable to determine the device handle\n", 255)
    assert "exit code 255" in problem.message
    assert "Unable to determine the device handle" in problem.message


@pytest.mark.parametrize(
    ("written", "kernel"),
    [("00000000:C1:00.0", "0000:c1:00.0"), ("09:00.0", "0000:09:00.0"), ("[REDACTED]", None), ("", None)],
)
def test_bus_addresses_are_as_the_kernel_writes_them(written: str, kernel: str | None):
    assert nvidia_smi.bus(written) == kernel
