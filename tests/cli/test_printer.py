import io

import pytest

from mycoswarm.cli.printer import Cell, Printer, Table, shown_columns
from mycoswarm.core.errors import CannotServe
from mycoswarm.core.model import Progress

TABLE = Table(
    ("name", "size", "empty", "remark"),
    (
        (Cell("你好", "strong"), Cell("1 GB"), Cell(""), Cell("short")),
        (Cell("b"), Cell("12 GB"), Cell(""), Cell("words enough to need more than one line of a narrow terminal")),
    ),
    right=frozenset({1}),
    spare=(1,),
)


def _printer(*, terminal: bool, width: int = 80, quiet: bool = False) -> tuple[Printer, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return Printer(out, err, terminal=terminal, width=width, quiet=quiet), out, err


def test_a_pipe_gets_every_column_aligned_and_no_style() -> None:
    printer, out, _ = _printer(terminal=False, width=10)
    printer.table(TABLE)
    lines = out.getvalue().splitlines()
    assert lines[0].split() == ["NAME", "SIZE", "EMPTY", "REMARK"]
    assert "\x1b" not in out.getvalue()
    assert "\t" not in out.getvalue()
    assert lines[2].endswith("narrow terminal")


@pytest.mark.parametrize("width", [30, 44, 60, 100])
def test_a_terminal_gets_what_fits(width: int) -> None:
    printer, out, _ = _printer(terminal=True, width=width)
    printer.table(TABLE)
    import re

    for line in re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines():
        assert len(line) <= width
        assert line == line.rstrip()
    assert "empty" not in out.getvalue()


def test_spare_columns_go_when_it_gets_narrow() -> None:
    widths = [4, 5, 5, 60]
    assert shown_columns(TABLE, widths, 80) == [0, 1, 3]
    assert shown_columns(TABLE, widths, 34) == [0, 3]


def test_no_color_keeps_weight_and_drops_hue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    printer, out, _ = _printer(terminal=True)
    printer.line("good news", "good")
    printer.line("loud news", "strong")
    assert out.getvalue() == "good news\n\x1b[1mloud news\x1b[0m\n"


def test_quiet_leaves_data_and_errors() -> None:
    printer, out, err = _printer(terminal=True, quiet=True)
    printer.note("by the way")
    printer.status("working")
    with printer.progress() as view:
        view.show(Progress("download", done=1, total=2))
    printer.line("data")
    assert (out.getvalue(), err.getvalue()) == ("data\n", "")
    printer.error(CannotServe("nobody can", "start one"))
    assert "nobody can" in err.getvalue()


def test_an_error_is_a_sentence_and_a_hint() -> None:
    printer, _, err = _printer(terminal=False)
    printer.error(CannotServe("no node\ncan serve\x1b[2J", "start one"))
    assert err.getvalue() == "error: no node can serve\nhint: start one\n"
    printer.error(CannotServe("no hint"))
    assert err.getvalue().endswith("error: no hint\n")


def test_text_of_others_cannot_steer_the_terminal() -> None:
    printer, out, _ = _printer(terminal=True)
    printer.table(Table(("name",), ((Cell("evil\x1b[2J\x1b]0;t\x07\nname"),),)))
    printer.facts([("why", Cell("\x9b2J\x1b[1A"))])
    assert "\x1b[2J" not in out.getvalue()
    assert "\x9b" not in out.getvalue()
    assert "evil name" in out.getvalue()


def test_a_status_is_replaced_by_what_comes() -> None:
    printer, _, err = _printer(terminal=True, width=20)
    printer.status("waiting for something that takes long")
    printer.status("waiting for something that takes long")
    printer.note("there")
    assert err.getvalue().count("waiting") == 1
    assert err.getvalue().count("\r\x1b[2K") == 2
    silent, _, nothing = _printer(terminal=False)
    silent.status("waiting")
    assert nothing.getvalue() == ""


@pytest.mark.parametrize(
    ("typed", "default", "answer"),
    [("y\n", False, True), ("\n", True, True), ("\n", False, False), ("no\n", True, False),
     ("what\nyes\n", False, True), ("", True, False)],
)  # fmt: skip
def test_confirm(typed: str, default: bool, answer: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    printer, _, err = _printer(terminal=True)
    assert printer.confirm("Really?", default=default) is answer
    assert "Really?" in err.getvalue()


def test_progress_in_a_pipe_is_a_line_a_quarter() -> None:
    printer, _, err = _printer(terminal=False)
    with printer.progress() as view:
        for done in range(101):
            view.show(Progress("download", "fetching x", done, 100))
        view.show(Progress("check", "checking x"))
        view.show(Progress("done"))
    assert err.getvalue().splitlines() == [
        "fetching x 0 %", "fetching x 25 %", "fetching x 50 %", "fetching x 75 %", "fetching x 100 %", "checking x",
    ]  # fmt: skip


def test_json_is_one_line_in_a_pipe_and_indented_for_eyes() -> None:
    piped, out, _ = _printer(terminal=False)
    piped.json(b'{"a":1}')
    seen, shown, _ = _printer(terminal=True)
    seen.json({"a": 1})
    assert out.getvalue() == '{"a":1}\n'
    assert shown.getvalue() == '{\n  "a": 1\n}\n'
