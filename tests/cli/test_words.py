import pytest

from mycoswarm.cli import words
from mycoswarm.core.model import Speed
from tests.cli import samples


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (88_100_000, "88.1 MB"), (144_811_968, "145 MB"), (10**12, "1 TB"),
     (2_500_000_000_000_000, "2500 TB"), (None, "?")],
)  # fmt: skip
def test_size(count: int | None, text: str) -> None:
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("count", "text"), [(8 << 30, "8 GiB"), (420 << 20, "420 MiB"), (25_200_000_000, "23.5 GiB"), (None, "?")]
)
def test_memory(count: int | None, text: str) -> None:
    assert words.memory(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0004, "0 ms"), (0.085, "85 ms"), (0.32, "0.32 s"), (12, "12 s"), (240, "4 min"), (7500, "2 h 5 min"),
     (7200, "2 h"), (260_000, "3 days")],
)  # fmt: skip
def test_duration(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(None, "never"), (0.4, "now"), (5, "5 s ago"), (754, "13 min ago")])
def test_ago(seconds: float | None, text: str) -> None:
    assert words.ago(seconds) == text


def test_speed_marks_what_was_not_measured() -> None:
    assert words.speed(Speed(1, 31.24, samples=3)) == "31.2"
    assert words.speed(Speed(1, 412.6)) == "~413"
    assert words.speed(None) == ""


def test_listing() -> None:
    assert [words.listing(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "", "a", "a and b", "a, b and c",
    ]  # fmt: skip


def test_machine_is_one_line() -> None:
    assert words.machine(samples.TOWER) == "RTX 3090 24 GiB · AMD Ryzen 9 5900X, 24 threads · 64 GiB RAM"
    assert words.machine(samples.MINI) == "Intel Core i5-6500T, 4 threads · 8 GiB RAM"


def test_no_control_character_gets_through() -> None:
    hostile = "".join(map(chr, range(0x20))) + "\x7f\x85\x9b31m\u202e\u2066" + "ä\n\t€"
    assert words.clean(hostile) == "\t\n31mä\n\t€"
    assert words.clean("a\x1b[2Jb\x1b]0;title\x07c") == "abc"
