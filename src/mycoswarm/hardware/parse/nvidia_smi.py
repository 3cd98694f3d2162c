"""`nvidia-smi -q -x`, and what nvidia-smi says when it fails."""

import re
import xml.etree.ElementTree as ET

from mycoswarm.core.errors import Fixable
from mycoswarm.core.hardware import Gpu, GpuProcess
from mycoswarm.hardware import wheels

_MIB = 1024**2


def parse(xml: str) -> tuple[Gpu, ...]:
    """The cards, in the tool's order. Raises ValueError if it is not such a document."""
    try:
        root = ET.fromstring(xml)  # noqa: S314  # it comes from the driver's own tool on this machine
    except ET.ParseError as problem:
        raise ValueError(f"not an nvidia-smi document: {problem}") from None
    if root.tag != "nvidia_smi_log":
        raise ValueError(f"not an nvidia-smi document but <{root.tag}>")
    driver, cuda = _text(root, "driver_version"), _text(root, "cuda_version")
    return tuple(_gpu(index, gpu, driver, cuda) for index, gpu in enumerate(root.findall("gpu")))


def _gpu(index: int, gpu: ET.Element, driver: str | None, cuda: str | None) -> Gpu:
    capability = wheels.ARCHITECTURES.get(_text(gpu, "product_architecture") or "")
    wheel = wheels.cuda(capability, version(cuda))
    utilization = _number(gpu, "utilization/gpu_util")
    return Gpu(
        index=index,
        vendor="nvidia",
        model=_text(gpu, "product_name") or "NVIDIA card",
        memory_total=_mebibytes(gpu, "fb_memory_usage/total"),
        memory_free=_mebibytes(gpu, "fb_memory_usage/free"),
        driver=driver,
        api=f"CUDA {cuda}" if cuda else None,
        utilization=None if utilization is None else utilization / 100,
        temperature=_number(gpu, "temperature/gpu_temp"),
        processes=tuple(_process(entry) for entry in gpu.findall("processes/process_info")),
        bus=bus(gpu.get("id") or ""),
        wheel=wheel.name,
        install=wheel.install,
    )


def _process(entry: ET.Element) -> GpuProcess:
    return GpuProcess(
        int(_number(entry, "pid") or 0), _text(entry, "process_name") or "", _mebibytes(entry, "used_memory")
    )


def _text(element: ET.Element, path: str) -> str | None:
    text = (element.findtext(path) or "").strip()
    return None if text in ("", "N/A", "[N/A]", "[REDACTED]") else text


def _number(element: ET.Element, path: str) -> float | None:
    # "Requested functionality has been deprecated" stands where newer drivers have dropped a value.
    match = re.match(r"\d+(\.\d+)?", _text(element, path) or "")
    return float(match[0]) if match else None


def _mebibytes(element: ET.Element, path: str) -> int | None:
    number = _number(element, path)
    return None if number is None else int(number) * _MIB


def version(text: str | None) -> tuple[int, int] | None:
    """`13.1` as (13, 1)."""
    match = re.match(r"(\d+)\.(\d+)", text or "")
    return (int(match[1]), int(match[2])) if match else None


def bus(text: str) -> str | None:
    """A PCI address as the kernel writes it: `00000000:09:00.0` and `09:00.0` are `0000:09:00.0`."""
    match = re.fullmatch(r"(?:([0-9A-Fa-f]+):)?([0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7])", text.strip())
    return f"{int(match[1] or '0', 16):04x}:{match[2].lower()}" if match else None


def mismatch(detail: str = "") -> Fixable:
    """The kernel still runs another version of the driver than the libraries that were installed since."""
    return Fixable(
        "the NVIDIA driver in the kernel and its library have different versions" + (f" ({detail})" if detail else ""),
        "restart the machine, or reload the driver's kernel modules; until then its cards cannot be used",
    )


def no_driver() -> Fixable:
    """There is a tool or a card, but no driver in the kernel."""
    return Fixable(
        "the NVIDIA driver is not loaded",
        "install the driver for this kernel and restart the machine; until then its cards cannot be used",
    )


def failure(output: str, code: int) -> Fixable:
    """Why nvidia-smi failed, from what it printed and its exit code."""
    text = " ".join(output.split())
    if "version mismatch" in text:
        found = re.search(r"NVML library version: (\S+)", text)
        return mismatch(f"library {found[1]}" if found else "")
    if "couldn't communicate with the NVIDIA driver" in text:
        return no_driver()
    return Fixable(
        f"nvidia-smi failed with exit code {code}: {text[:200] or 'no message'}",
        "run `nvidia-smi` by hand; until it works the NVIDIA cards cannot be used",
    )
