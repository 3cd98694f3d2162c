import pytest

from mycoswarm.core.hardware import GpuProcess
from mycoswarm.hardware.parse import fdinfo
from mycoswarm.hardware.parse.fdinfo import Client
from tests.hardware.recorded import text


def test_a_recorded_amdgpu_client():
    assert fdinfo.parse(text("amd_fdinfo.txt")) == Client("0000:08:00.0", "217", 2068 * 1024)


def test_other_files_are_none():
    assert fdinfo.parse("pos:\t0\nflags:\t02\n") is None


@pytest.mark.parametrize(
    ("line", "memory"),
    [
        ("drm-resident-vram:\t3 MiB", 3 * 1024**2),
        ("drm-total-vram0:\t4096", 4096),
        ("drm-memory-vram:\t5 parsec", None),
        ("drm-engine-render:\t5 ns", None),
    ],
)
def test_units_and_names_of_other_drivers(line: str, memory: int | None):
    client = fdinfo.parse(f"drm-driver:\txe\ndrm-pdev:\t0000:03:00.0\ndrm-client-id:\t7\n{line}\n")
    assert client == Client("0000:03:00.0", "7", memory)


def test_a_shared_client_counts_once_and_the_largest_program_comes_first():
    here, there = "0000:03:00.0", "0000:00:02.0"
    clients = [
        (10, Client(here, "1", 100)),
        (10, Client(here, "1", 100)),  # the same client, a duplicated descriptor
        (20, Client(here, "1", 100)),  # and inherited by a child
        (20, Client(here, "2", 500)),
        (30, Client(there, "3", 900)),
        (40, Client(here, "4", None)),
    ]
    assert fdinfo.holders(clients, {10: "compositor", 20: "ollama"}, here) == (
        GpuProcess(20, "ollama", 500),
        GpuProcess(10, "compositor", 100),
    )
