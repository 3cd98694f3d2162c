from pathlib import Path

import pytest

from mycoswarm.cli import logs
from mycoswarm.core.paths import Paths
from tests.cli.conftest import Run


def test_no_log_yet(run: Run) -> None:
    result = run("logs")
    assert result.code == 4
    assert "mycoswarm up" in result.err


@pytest.mark.parametrize(("lines", "first"), [(0, None), (1, 4999), (3, 4997), (100, 4900), (6000, 0)])
def test_the_last_lines(run: Run, paths: Paths, lines: int, first: int | None) -> None:
    paths.state.mkdir(parents=True)
    paths.log_file.write_text("".join(f"{number} {'x' * 40}\n" for number in range(5000)))
    shown = run("logs", "-n", str(lines)).out.splitlines()
    assert len(shown) == min(lines, 5000)
    assert first is None or shown[0].startswith(f"{first} ")


def test_a_last_line_without_an_end(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"one\ntwo \xff half")
    assert logs.tail(file, 1) == ("two � half", 14)


def test_growth_follows_through_a_rotation(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("old\n")
    growth = logs.growth(file, file.stat().st_size)
    with file.open("a") as out:
        out.write("first\n")
    assert next(growth) == "first\n"
    file.rename(tmp_path / "log.1")
    file.write_text("second, in a new file\n")
    assert next(growth) == "second, in a new file\n"
    file.write_text("third, cut\n")
    assert next(growth) == "third, cut\n"
