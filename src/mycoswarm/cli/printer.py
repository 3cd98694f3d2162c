"""[io] The one module that writes: tables on a terminal, plain columns in a pipe, JSON, notes, errors, questions."""

import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Literal

from mycoswarm.cli.words import clean

if TYPE_CHECKING:
    import msgspec
    from rich.console import Console

    from mycoswarm.core.errors import MycoError
    from mycoswarm.core.model import Progress

Style = Literal["", "good", "warn", "bad", "dim", "strong", "accent"]

_WRAPPED = 24
"""Columns that a table's last column needs at least, where it has more to say."""

_SGR: dict[Style, str] = {"good": "32", "warn": "33", "bad": "31", "dim": "2", "strong": "1", "accent": "1;36"}


@dataclass(frozen=True)
class Cell:
    """Text and what it means; a pipe sees the text only."""

    text: str
    style: Style = ""


@dataclass(frozen=True)
class Table:
    """Columns by title; every row has as many cells. The last column may wrap, the others never do.

    right: columns of figures. spare: columns that a narrow terminal can do without, the least needed first.
    title: for a terminal.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    right: frozenset[int] = frozenset()
    spare: tuple[int, ...] = ()
    title: str = ""


class Printer:
    """Where a verb's words go.

    Args:
        out, err: default to the process's own streams, looked up at each use.
        quiet: nothing but data and errors.
        no_input: never ask.
        terminal: whether `out` counts as a terminal; None asks it. Likewise for `err` and stdin.
        width: columns; None asks the terminal.
    """

    def __init__(
        self,
        out: IO[str] | None = None,
        err: IO[str] | None = None,
        *,
        quiet: bool = False,
        no_input: bool = False,
        terminal: bool | None = None,
        width: int | None = None,
    ) -> None:
        self.quiet = quiet
        self.no_input = no_input
        self._out = out
        self._err = err
        self._terminal = terminal
        self._width = width
        self._status = ""

    def beside(self) -> "Printer":
        """A printer whose data goes to stderr: tables that explain an answer and are not part of it."""
        return Printer(
            self.err, self.err, quiet=self.quiet, no_input=self.no_input, terminal=self._terminal, width=self._width
        )

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        return self._width or shutil.get_terminal_size().columns

    @property
    def out(self) -> IO[str]:
        return self._out or sys.stdout

    @property
    def err(self) -> IO[str]:
        return self._err or sys.stderr

    @property
    def on_terminal(self) -> bool:
        """Is stdout a terminal that understands cursor movement?"""
        return self._is_terminal(self.out)

    @property
    def notes_on_terminal(self) -> bool:
        """The same of stderr."""
        return self._is_terminal(self.err)

    @property
    def can_ask(self) -> bool:
        """Is there a person who can answer? Questions go to stderr, answers come from stdin."""
        if self.no_input or sys.stdin is None:
            return False
        if self._terminal is not None:
            return self._terminal
        return sys.stdin.isatty() and self.err.isatty()

    @property
    def listens(self) -> bool:
        """Is stdin a terminal that somebody types on? `--no-input` forbids questions, not a conversation."""
        return sys.stdin is not None and sys.stdin.isatty()

    def line(self, text: str = "", style: Style = "") -> None:
        """One line of data; a terminal breaks it between words."""
        for line in self._broken(text, self.out):
            self.out.write(self._styled(line, style, self.out) + "\n")

    def json(self, data: "msgspec.Struct | bytes | Mapping[str, object]") -> None:
        """Data as it is: indented on a terminal, one line in a pipe. bytes are JSON already."""
        import msgspec

        text = data if isinstance(data, bytes) else msgspec.json.encode(data)
        if self.on_terminal:
            text = msgspec.json.format(text, indent=2)
        self.out.write(text.decode().rstrip("\n") + "\n")

    def table(self, table: Table) -> None:
        """Columns two blanks apart. A pipe sees all of them, with titles in capitals; a terminal those that fit."""
        if not self.on_terminal:
            self.out.writelines(_plain(table))
            return
        if table.title:
            self.line(table.title, "strong")
        self.out.writelines(self._fitted(table, self.width))

    def facts(self, pairs: Sequence[tuple[str, Cell]], column: int = 0) -> None:
        """Names and values, aligned. column: where values begin at least, for groups that belong together."""
        column = max(column, 2 + max((_width(name) for name, _ in pairs), default=0))
        for name, cell in pairs:
            value = _one_line(cell.text)
            lines = _wrap(value, self.width - column) if self.on_terminal else [value]
            for index, line in enumerate(lines):
                label = (name if index == 0 else "") + " " * (column - _width(name if index == 0 else ""))
                self.out.write(self._styled(label, "dim", self.out) + self._styled(line, cell.style, self.out) + "\n")

    def note(self, text: str, style: Style = "dim") -> None:
        """A line for the person beside the data."""
        if not self.quiet:
            self.clear_status()
            for line in self._broken(text, self.err):
                self.err.write(self._styled(line, style, self.err) + "\n")
            self.err.flush()

    def status(self, text: str) -> None:
        """What is being waited for, on a terminal only; the next line of any kind replaces it."""
        if self.quiet or not self.notes_on_terminal or text == self._status:
            return
        room = self.width - 1
        shown = clean(text) if _width(text) <= room else clean(text)[: room - 1] + "…"
        self.err.write("\r\x1b[2K" + self._styled(shown, "dim", self.err))
        self.err.flush()
        self._status = text

    def clear_status(self) -> None:
        if self._status:
            self.err.write("\r\x1b[2K")
            self.err.flush()
            self._status = ""

    def error(self, error: "MycoError") -> None:
        """One sentence and what to do about it."""
        self.complain(error.message, error.hint)

    def complain(self, sentence: str, hint: str = "") -> None:
        self.clear_status()
        parts: tuple[tuple[str, Style, str], ...] = (("error: ", "bad", sentence), ("hint: ", "accent", hint))
        for label, style, text in parts:
            if text:
                first, *more = self._broken(label + _one_line(text), self.err)
                self.err.write(self._styled(label, style, self.err) + first.removeprefix(label) + "\n")
                self.err.writelines(line + "\n" for line in more)
        self.err.flush()

    def confirm(self, question: str, *, default: bool) -> bool:
        """Yes or no. Call only where `can_ask`; the end of input is a no."""
        self.clear_status()
        asked = "\n".join(self._broken(f"{_one_line(question)} {'[Y/n]' if default else '[y/N]'}", self.err))
        while True:
            self.err.write(asked + " ")
            self.err.flush()
            answer = sys.stdin.readline()
            if not answer:
                self.err.write("\n")
                return False
            match answer.strip().lower():
                case "":
                    return default
                case "y" | "yes":
                    return True
                case "n" | "no":
                    return False
                case _:
                    self.err.write("Please answer y or n.\n")

    def ask(self, question: str) -> str:
        """The line that is typed. Call only where `can_ask`; the end of input is an empty one."""
        self.clear_status()
        self.err.write(clean(question) + " ")
        self.err.flush()
        return sys.stdin.readline().strip()

    @contextmanager
    def progress(self) -> "Iterator[ProgressView]":
        """A view of a long action: a bar on a terminal, a line a stage (and a quarter) in a pipe."""
        if self.quiet:
            yield ProgressView()
        elif not self.notes_on_terminal:
            yield _Lines(self)
        else:
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                DownloadColumn(),
                TimeRemainingColumn(compact=True),
            )
            with Progress(*columns, console=self._console(self.err), transient=True) as bar:
                yield _Bar(bar)

    def _fitted(self, table: Table, room: int) -> Iterator[str]:
        titles = tuple(Cell(title, "dim") for title in table.columns)
        rows = [tuple(Cell(_one_line(cell.text), cell.style) for cell in row) for row in (titles, *table.rows)]
        widths = [max(_width(row[index].text) for row in rows) for index in range(len(table.columns))]
        shown = shown_columns(table, widths, room)
        if not shown:
            return
        *fixed, last = shown
        indent = sum(widths[index] for index in fixed) + 2 * len(fixed)
        for row in rows:
            head = "".join(
                self._styled(
                    _pad(row[index].text, widths[index], right=index in table.right), row[index].style, self.out
                )
                + "  "
                for index in fixed
            )
            width = min(widths[last], max(16, room - indent))
            lines = _wrap(row[last].text, width)
            if last in table.right:
                lines = [_pad(line, width, right=True) for line in lines]
            first, *more = [self._styled(line, row[last].style, self.out) for line in lines]
            yield (head + first).rstrip() + "\n"
            for line in more:
                yield " " * indent + line + "\n"

    def _broken(self, text: str, stream: IO[str]) -> list[str]:
        """The lines of `text`; those too long for a terminal are broken between words."""
        lines = text.split("\n")
        if not self._is_terminal(stream):
            return lines
        return [piece for line in lines for piece in (_wrap(line, self.width) if _width(line) > self.width else [line])]

    def _console(self, stream: IO[str]) -> "Console":
        from rich.console import Console

        return Console(
            file=stream,
            force_terminal=self._terminal,
            width=self._width,
            markup=False,
            highlight=False,
            emoji=False,
        )

    def _is_terminal(self, stream: IO[str]) -> bool:
        if self._terminal is not None:
            return self._terminal
        return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def _styled(self, text: str, style: Style, stream: IO[str]) -> str:
        if not self._is_terminal(stream):
            return clean(text)
        if not style or not text or (os.environ.get("NO_COLOR") and style not in ("dim", "strong")):
            return clean(text)
        return f"\x1b[{_SGR[style]}m{clean(text)}\x1b[0m"


class ProgressView:
    """Takes the steps of a long action; this one shows nothing."""

    def show(self, step: "Progress") -> None:
        """`step` has been reached."""


class _Lines(ProgressView):
    def __init__(self, printer: Printer) -> None:
        self._printer = printer
        self._said = ("", -1)

    def show(self, step: "Progress") -> None:
        quarter = int(4 * step.done / step.total) if step.total else 0
        if (step.stage, quarter) == self._said or step.stage == "done":
            return
        self._said = (step.stage, quarter)
        share = f" {25 * quarter} %" if step.total else ""
        self._printer.note((step.text or step.stage) + share)


class _Bar(ProgressView):
    def __init__(self, bar: "object") -> None:
        from rich.progress import Progress as RichProgress

        assert isinstance(bar, RichProgress)
        self._bar = bar
        self._stage = ""
        self._task = bar.add_task("", total=None)

    def show(self, step: "Progress") -> None:
        if step.stage != self._stage:
            self._stage = step.stage
            self._bar.reset(self._task, total=step.total)
        self._bar.update(
            self._task, completed=step.done, total=step.total, description=_one_line(step.text or step.stage)
        )


def _plain(table: Table) -> Iterator[str]:
    cells = [
        [title.upper() for title in table.columns],
        *([_one_line(cell.text) for cell in row] for row in table.rows),
    ]
    widths = [max(_width(row[index]) for row in cells) for index in range(len(table.columns))]
    for row in cells:
        padded = (
            _pad(text, width, right=index in table.right)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(padded).rstrip() + "\n"


def shown_columns(table: Table, widths: Sequence[int], room: int) -> list[int]:
    """Indices of the columns that a terminal of `room` columns shows: none that is empty, spare ones while they fit."""
    shown = [index for index in range(len(table.columns)) if any(row[index].text for row in table.rows)]
    for spare in table.spare:
        if (
            not shown
            or sum(widths[index] for index in shown[:-1]) + 2 * len(shown) + min(widths[shown[-1]], _WRAPPED) <= room
        ):
            break
        if spare in shown:
            shown.remove(spare)
    return shown


def _pad(text: str, width: int, *, right: bool) -> str:
    blanks = " " * (width - _width(text))
    return blanks + text if right else text + blanks


def _wrap(text: str, room: int) -> list[str]:
    """Lines of at most `room` columns, of 16 at least: a narrower one is the terminal's to break."""
    return textwrap.wrap(text, max(16, room), break_on_hyphens=False) or [""]


def _one_line(text: str) -> str:
    return " ".join(clean(text).split())


def _width(text: str) -> int:
    """Columns on a terminal."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
