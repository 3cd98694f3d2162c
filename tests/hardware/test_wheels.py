import pytest

from mycoswarm.hardware import wheels


@pytest.mark.parametrize(
    ("capability", "driver", "name", "says"),
    [
        ((8, 6), (13, 1), "cuda", "CUDA 13.2"),  # RTX 3090: machine code, any 13 driver
        ((8, 6), (12, 0), "cuda", "CUDA 12.8"),
        ((8, 0), (13, 0), "cuda", "CUDA 12.8"),  # A100: compiled by the driver, which is too old for 13.2
        ((8, 0), (13, 2), "cuda", "CUDA 13.2"),
        ((6, 1), (13, 2), "cuda", "CUDA 12.8"),  # Pascal: dropped by 13
        ((6, 1), (12, 4), None, "update the NVIDIA driver (it supports CUDA 12.4"),
        ((7, 5), (12, 4), None, "update the NVIDIA driver"),  # Turing is only compiled in 12.8
        ((12, 1), (13, 0), "cuda", "CUDA 13.2"),
        ((3, 5), (11, 4), None, "this old"),
        (None, (12, 8), "cuda", "for your driver"),
        ((8, 6), None, "cuda", "for your driver"),
    ],
)
def test_cuda(capability: tuple[int, int] | None, driver: tuple[int, int] | None, name: str | None, says: str):
    wheel = wheels.cuda(capability, driver)
    assert wheel.name == name
    assert says in wheel.install


@pytest.mark.parametrize(
    ("target", "name", "says"),
    [
        ("gfx1100", "rocm", "6.4.1 or 7.2.4"),
        ("gfx1201", "rocm", "ROCm 7.2.4"),
        ("gfx906", "vulkan", "Vulkan"),
        (None, "vulkan", "Vulkan"),
    ],
)
def test_rocm(target: str | None, name: str, says: str):
    wheel = wheels.rocm(target)
    assert wheel.name == name
    assert says in wheel.install


def test_no_text_names_an_index():
    texts = [wheels.cuda((8, 6), (13, 1)), wheels.rocm("gfx1100"), wheels.vulkan(), wheels.metal()]
    assert all("://" not in wheel.install for wheel in texts)
