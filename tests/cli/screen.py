"""A terminal small enough to read: what `markdown` writes, as the rows and the scrollback a person would see."""

import re
import unicodedata

_PART = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])|[\s\S]")


class Screen:
    """Understands newline, carriage return, cursor up, erase below; style is ignored; anything else is an error."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns = columns
        self.rows = rows
        self._lines: list[list[str]] = [[]]
        self._row = 0
        self._column = 0

    def write(self, text: str) -> None:
        for part in _PART.finditer(text):
            match part[0], part[2]:
                case "\n", _:
                    self._down()
                    self._column = 0
                case "\r", _:
                    self._column = 0
                case _, "A":
                    up = int(part[1])
                    assert up < self.rows, "moved above the edge of the screen"
                    self._row -= up
                case _, "J":
                    assert self._column == 0
                    del self._lines[self._row :]
                    self._lines.append([])
                case _, "m" | "h" | "l":
                    pass
                case char, None:
                    self._put(char)
                case _:
                    raise AssertionError(f"unknown sequence {part[0]!r}")

    @property
    def text(self) -> str:
        """Everything from the first line of the scrollback on."""
        return "\n".join("".join(line).rstrip() for line in self._lines).rstrip("\n")

    def _put(self, char: str) -> None:
        width = 0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        assert self._column + width <= self.columns, "wrote over the right edge"
        line = self._lines[self._row]
        line[self._column : self._column + width] = [char, *[""] * (width - 1)]
        self._column += width

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._lines):
            self._lines.append([])
