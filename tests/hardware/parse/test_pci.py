from collections.abc import Iterator

import pytest

from mycoswarm.hardware.parse import pci
from mycoswarm.hardware.parse.pci import Device
from tests.hardware.recorded import text

PCI_IDS = """# comment
1002  Advanced Micro Devices, Inc. [AMD/ATI]
\t744c  Navi 31 [Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M]
\t\t1002 0e3b  RX 7900 GRE [XFX]
8086  Intel Corporation
\t1912  HD Graphics 530
""".splitlines()


def test_recorded_uevents():
    assert pci.uevent(text("amd_uevent.txt")) == Device(0x1002, 0x694C, "0000:01:00.0", "amdgpu", True)
    assert pci.uevent(text("intel_uevent.txt")) == Device(0x8086, 0x591B, "0000:00:02.0", "i915", True)


@pytest.mark.parametrize("other", ["", "DRIVER=simple-framebuffer\nOF_NAME=framebuffer", "PCI_ID=zz\nPCI_SLOT_NAME=x"])
def test_devices_on_other_buses_are_none(other: str):
    assert pci.uevent(other) is None


def test_names_are_those_that_people_know():
    assert pci.name(PCI_IDS, 0x1002, 0x744C) == "Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M"
    assert pci.name(PCI_IDS, 0x8086, 0x1912) == "HD Graphics 530"


def test_a_device_is_looked_for_under_its_own_vendor_only():
    assert pci.name(PCI_IDS, 0x1002, 0x1912) is None
    assert pci.name(PCI_IDS, 0x10DE, 0x2204) is None


def test_the_database_is_read_no_further_than_the_vendor():
    def lines() -> Iterator[str]:
        yield from PCI_IDS[:5]
        raise AssertionError("read on")

    assert pci.name(lines(), 0x1002, 0x9999) is None


def test_libdrm_tells_models_of_one_chip_apart_by_revision():
    lines = ["# List of AMDGPU IDs", "1.0.0", "744C,\tC8,\tAMD Radeon RX 7900 XTX", "744C,\tCC,\tAMD Radeon RX 7900 XT"]
    assert pci.amdgpu_name(lines, 0x744C, 0xCC) == "AMD Radeon RX 7900 XT"
    assert pci.amdgpu_name(lines, 0x744C, 0x01) is None


def test_numbers_in_files():
    files = {"a": "0x1002\n", "b": "12\n", "c": "N/A\n"}
    assert [pci.number(files, key) for key in "abcd"] == [0x1002, 12, None, None]
