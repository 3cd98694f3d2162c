"""Which GPU build of the embedded engine fits a card, by the tables in the documentation of the xllamacpp project.

The default build from the package index runs on the CPU (on Apple silicon: on Metal). GPU builds lie on the engine
project's own index; the user installs one by hand, so what is said here is a text for people.
"""

from dataclasses import dataclass

_DOCUMENTATION = "see Installation in the documentation of the xllamacpp project"

_CUDA_12_NATIVE = {(8, 6), (8, 9), (12, 0)}
_CUDA_13_NATIVE = {(7, 5), (8, 6), (8, 9), (12, 0), (12, 1)}
"""Compute capabilities with machine code in the build. Others are compiled by the driver, which must then be at least
as new as the build's toolkit."""

_ROCM_6 = {"gfx1030", "gfx1031", "gfx1032", "gfx1100", "gfx1101", "gfx1102"}
_ROCM_7 = _ROCM_6 | {"gfx1150", "gfx1151", "gfx1200", "gfx1201", "gfx950"}

ARCHITECTURES = {
    "Maxwell": (5, 0),
    "Pascal": (6, 0),
    "Volta": (7, 0),
    "Turing": (7, 5),
    "Ampere": (8, 6),
    "Ada Lovelace": (8, 9),
    "Hopper": (9, 0),
    "Blackwell": (12, 0),
}
"""nvidia-smi names the architecture, not the capability; these are the capabilities of its GeForce and RTX cards."""


@dataclass(frozen=True)
class Wheel:
    """name: as in `Gpu.wheel`, None where no build fits. install: what to do, one sentence."""

    name: str | None
    install: str


def cuda(capability: tuple[int, int] | None, driver: tuple[int, int] | None) -> Wheel:
    """The CUDA build for a card's compute capability and the newest CUDA version its driver supports."""
    if capability is not None and capability < (5, 0):
        return Wheel(None, "no build of the engine supports a card this old; Ollama or llama.cpp may")
    if driver is None or capability is None:
        return Wheel("cuda", f"install the engine's CUDA build for your driver: {_DOCUMENTATION}")
    native_13 = capability in _CUDA_13_NATIVE and driver >= (13, 0)
    if native_13 or (capability >= (7, 5) and driver >= (13, 2)):
        return Wheel("cuda", f"install the engine's CUDA 13.2 build: {_DOCUMENTATION}")
    if driver >= (12, 8) or (capability in _CUDA_12_NATIVE and driver >= (12, 0)):
        return Wheel("cuda", f"install the engine's CUDA 12.8 build: {_DOCUMENTATION}")
    return Wheel(
        None,
        f"update the NVIDIA driver (it supports CUDA {driver[0]}.{driver[1]}, the engine's build needs 12.8), "
        "then run `mycoswarm detect` again",
    )


def rocm(target: str | None) -> Wheel:
    """The ROCm build for a target such as `gfx1100`; Vulkan where ROCm has none."""
    if target in _ROCM_7:
        versions = "6.4.1 or 7.2.4" if target in _ROCM_6 else "7.2.4"
        return Wheel("rocm", f"install the engine's ROCm {versions} build: {_DOCUMENTATION}")
    return vulkan()


def vulkan() -> Wheel:
    """The Vulkan build, for cards of any vendor."""
    return Wheel("vulkan", f"install the engine's Vulkan build: {_DOCUMENTATION}")


def metal() -> Wheel:
    """Apple silicon."""
    return Wheel("metal", "nothing to do: the engine's default build uses Metal")
