import pytest

from mycoswarm.core.hardware import Memory
from mycoswarm.hardware.parse import meminfo
from tests.hardware.recorded import text


def test_a_machine_with_8_gb():
    assert meminfo.parse(text("meminfo_8gb.txt")) == Memory(8169312 * 1024, 4088520 * 1024, 0)


def test_a_machine_with_swap():
    assert meminfo.parse(text("meminfo_1gb.txt")) == Memory(949328 * 1024, 884628 * 1024, 102396 * 1024)


def test_without_mem_available_free_and_cached_stand_in():
    assert meminfo.parse(text("meminfo_no_available.txt")).available == (80288 + 7652 + 21700) * 1024


def test_anything_else_is_refused():
    with pytest.raises(ValueError, match="not a /proc/meminfo"):
        meminfo.parse("MemFree: 3 kB")
