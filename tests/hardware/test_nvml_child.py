import subprocess
import sys

import pynvml
import pytest

from mycoswarm.hardware import bounded, nvml_child, probe
from mycoswarm.hardware.parse import nvml
from tests.hardware.recorded import MIB


class Library:
    """The few calls of NVML that are asked, with a card that does not support all of them."""

    def __init__(self, init_error: int | None = None) -> None:
        self.init_error = init_error

    def install(self, patch: pytest.MonkeyPatch) -> None:
        def unsupported(*_: object) -> None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

        def init() -> None:
            if self.init_error is not None:
                raise pynvml.NVMLError(self.init_error)

        class Bag:
            def __init__(self, **fields: object) -> None:
                self.__dict__.update(fields)

        process = Bag(pid=100477, usedGpuMemory=22430 * MIB)
        answers = {
            "nvmlInit": init,
            "nvmlDeviceGetCount": lambda: 1,
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlSystemGetDriverVersion": lambda: "590.44.01",
            "nvmlSystemGetCudaDriverVersion_v2": lambda: 13010,
            "nvmlDeviceGetName": lambda _: "NVIDIA RTX A5000",
            "nvmlDeviceGetMemoryInfo": lambda _: Bag(total=24564 * MIB, free=1678 * MIB),
            "nvmlDeviceGetUtilizationRates": unsupported,
            "nvmlDeviceGetCudaComputeCapability": lambda _: [8, 6],
            "nvmlDeviceGetPciInfo": lambda _: Bag(busId="00000000:81:00.0"),
            "nvmlDeviceGetTemperatureV": unsupported,
            "nvmlDeviceGetTemperature": lambda *_: 13,
            "nvmlDeviceGetComputeRunningProcesses": lambda _: [process],
            "nvmlDeviceGetGraphicsRunningProcesses": lambda _: [process],
            "nvmlSystemGetProcessName": lambda _: "llama-server",
        }
        for name, answer in answers.items():
            patch.setattr(pynvml, name, answer)


def test_a_card_that_does_not_support_every_question(monkeypatch: pytest.MonkeyPatch):
    Library().install(monkeypatch)
    process = nvml.Process(100477, "llama-server", 22430 * MIB)  # in both lists, counted once
    card = nvml.Card("NVIDIA RTX A5000", "00000000:81:00.0", 24564 * MIB, 1678 * MIB, None, 13, (8, 6), (process,))
    assert nvml_child.snapshot() == nvml.Snapshot("590.44.01", 13010, (card,))


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, pynvml.NVML_ERROR_DRIVER_NOT_LOADED])
def test_a_library_that_cannot_start_tells_its_code(monkeypatch: pytest.MonkeyPatch, code: int):
    Library(init_error=code).install(monkeypatch)
    snapshot = nvml_child.snapshot()
    assert snapshot.error == code
    assert snapshot.message
    assert nvml.failure(snapshot) is not None


async def test_the_child_always_prints_a_snapshot():
    done = await bounded.run(probe.NVML_CHILD, 30)
    assert done.code == 0
    nvml.parse(done.stdout)


def test_the_node_itself_never_loads_the_library():
    script = "import sys, mycoswarm.hardware.detect; sys.exit('pynvml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0
