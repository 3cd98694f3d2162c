"""Markdown on a terminal while it is being written. Pure: text in, strings for the terminal out.

Finished blocks are printed once and stay in the scrollback as any other output. Only the block that is still growing is
drawn again, from the first line that differs on, so that nothing flickers and nothing above is touched.
"""

from collections.abc import Callable
from io import StringIO
from typing import ClassVar

from markdown_it import MarkdownIt
from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement, TableElement
from rich.style import Style
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from mycoswarm.cli.words import clean

SYNC = ("\x1b[?2026h", "\x1b[?2026l")
"""Synchronised output: terminals that know it show a redraw at once, the others ignore it."""

# html off: a tag in an answer is text that the person wants to see, not markup to be swallowed.
_parser = MarkdownIt("commonmark", {"html": False}).enable("strikethrough").enable("table")


class _Heading(Heading):
    """Left-aligned and bold; rich centres the first level, which is odd in a conversation."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        text = self.text.copy()
        text.style = "bold underline" if self.tag in ("h1", "h2") else "bold"
        yield text


class _CodeBlock(CodeBlock):
    """Between two thin rules, at the left edge and on the terminal's own background: it can be copied as it stands."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        name = "" if self.lexer_name == "text" else f" {self.lexer_name} "
        yield Text("──" + name + "─" * max(2, 10 - len(name)), style="dim")
        yield Syntax(
            str(self.text).rstrip(), self.lexer_name, theme="ansi_dark", background_color="default", word_wrap=True
        )
        yield Text("─" * 12, style="dim")


class _Table(TableElement):
    """A line under the titles and nothing else; rich adds empty rows above and below."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, border_style="dim", header_style="bold")
        for title in self.header.row.cells if self.header is not None and self.header.row is not None else ():
            table.add_column(title.content)
        for row in self.body.rows if self.body is not None else ():
            table.add_row(*(cell.content for cell in row.cells))
        yield table


def _theme(*, colour: bool) -> Theme:
    """No backgrounds: what is legible on black is a stain on white. Code is told apart without colour too."""
    return Theme(
        {
            "markdown.code": Style(color="cyan", bold=not colour),
            "markdown.block_quote": Style(dim=True),
            "markdown.item.bullet": Style(dim=True),
            "markdown.item.number": Style(dim=True),
            "markdown.list": Style(),
        }
    )


class ChatMarkdown(Markdown):
    """rich's Markdown with our headings, code and parser; links show their address, since text could lie about it."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _Heading,
        "fence": _CodeBlock,
        "code_block": _CodeBlock,
        "table_open": _Table,
    }

    def __init__(self, markup: str) -> None:
        super().__init__(markup, hyperlinks=False)
        self.parsed = _parser.parse(markup)


def split(text: str) -> tuple[str, str]:
    """Blocks that can change no more, and the last one, which may still grow."""
    starts = [token.map[0] for token in _parser.parse(text) if token.level == 0 and token.map]
    if len(starts) < 2 or starts[-1] == 0:
        return "", text
    lines = text.splitlines(keepends=True)
    return "".join(lines[: starts[-1]]), "".join(lines[starts[-1] :])


def render(markup: str, width: int, *, colour: bool = True) -> list[str]:
    """`markup` as lines for a terminal of `width` columns, with escape sequences for style only."""
    target = StringIO()
    console = Console(
        file=target,
        width=width,
        force_terminal=True,
        no_color=not colour,
        color_system="standard",
        theme=_theme(colour=colour),
        legacy_windows=False,
        highlight=False,
        emoji=False,
        markup=False,
    )
    console.print(ChatMarkdown(markup))
    lines = [line.rstrip() for line in target.getvalue().split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    while lines and not lines[0]:
        lines.pop(0)
    return lines


class Region:
    """The lines at the end of the screen that can still be drawn again; the cursor is below them, in column 0."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._width = 0

    def draw(self, lines: list[str], width: int, height: int) -> str:
        """What to write so that the region shows `lines`. Lines above the screen's edge are out of reach and stay."""
        same = 0
        for old, new in zip(self._lines, lines, strict=False):
            if old != new:
                break
            same += 1
        rows = self._rows(self._lines[same:], width)
        while rows > height - 1 and same < len(self._lines):
            same += 1
            rows = self._rows(self._lines[same:], width)
        out = "".join(line + "\n" for line in lines[same:])
        self._lines, self._width = lines, width
        if rows == 0:
            return out
        return f"{SYNC[0]}\x1b[{rows}A\r\x1b[J{out}{SYNC[1]}"

    def release(self) -> None:
        """What is there stays for good; the next lines come below."""
        self._lines = []

    def _rows(self, lines: list[str], width: int) -> int:
        """Rows that `lines` take now: after the window was made narrower, terminals wrap what they had."""
        if width >= self._width:
            return len(lines)
        return sum(max(1, -(-Text.from_ansi(line).cell_len // width)) for line in lines)


class Stream:
    """An answer that grows: `feed` and `end` return what to write to the terminal.

    Args:
        size: columns and rows of the terminal now.
        clock: seconds; drawing is held back while the last drawing took long, so that it never slows the answer.
    """

    def __init__(self, size: Callable[[], tuple[int, int]], clock: Callable[[], float], *, colour: bool = True) -> None:
        self._size = size
        self._clock = clock
        self._colour = colour
        self._open = ""
        self._begun = False
        self._region = Region()
        self._next = 0.0

    def feed(self, text: str) -> str:
        """More of the answer."""
        self._open += clean(text)
        started = self._clock()
        if started < self._next:
            return ""
        out = self._advance()
        finished = self._clock()
        self._next = finished + 4 * (finished - started)
        return out

    def end(self) -> str:
        """No more will come: draw what is left and let go of it."""
        out = self._advance()
        self._region.release()
        self._open = ""
        return out

    def _advance(self) -> str:
        complete, self._open = split(self._open)
        out = ""
        if complete:
            out = self._draw(complete)
            self._region.release()
            self._begun = True
        return out + self._draw(self._open)

    def _draw(self, markup: str) -> str:
        columns, rows = self._size()
        # One column is left free: a character that the terminal finds wider than we do must not wrap the line.
        lines = render(markup, max(10, columns - 1), colour=self._colour)
        if not lines:
            return ""
        return self._region.draw(["", *lines] if self._begun else lines, columns, rows)
