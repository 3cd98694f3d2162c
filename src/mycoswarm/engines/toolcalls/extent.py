"""Where a value that is still being written ends. Pure; each character is looked at once, however the text arrives.

Whoever asks passes the whole text so far; what was looked at is remembered. An answer does not change when more text
comes, so a stream gives the same ends as the whole.
"""

import re

_CLOSERS = {"{": "}", "[": "]", "(": ")"}
_JSON = re.compile(r"[{}\[\]\"'<`]")
_PYTHON = re.compile(r"[{}\[\]()\"']")
_SOLID = re.compile(r"\S")
_OPENS_TEXT = "{[,:("
_AFTER_TEXT = ",:]}"
_NEARBY = 256
"""Characters that are looked at before a quote, blanks most of them."""


class JsonExtent:
    """The end of an object or list that is JSON, or means to be.

    A quote ends a string only where JSON goes on after it, which holds for every right text, and finds the end of many
    in which quotes were not escaped. `<` and a backtick outside of strings end a value that was not closed.
    """

    def __init__(self, start: int) -> None:
        self._start: int = start
        self._at: int = start
        self._open: list[str] = []
        self._quote = ""
        self.closed = False
        """Whether every bracket was closed."""
        self._end: int | None = None

    def look(self, text: str, *, final: bool) -> int | None:
        """Index behind the value; None while it has not ended."""
        while self._end is None:
            if self._quote:
                if not self._inside(text, final=final):
                    return None
                continue
            found = _JSON.search(text, self._at)
            if found is None:
                self._at = len(text)
                return None
            self._outside(text, found.start())
        return self._end

    def moved(self, by: int) -> None:
        """That many characters have been cut off the beginning of the text; no more than `unneeded` allows."""
        self._start, self._at = max(0, self._start - by), self._at - by

    def unneeded(self, most: int) -> int:
        """How many characters at the beginning of the text will not be looked at again, `most` at most."""
        return max(0, min(most, self._at - _NEARBY))

    def _outside(self, text: str, at: int) -> None:
        char = text[at]
        self._at = at + 1
        if char in "\"'":
            if text[max(self._start, at - _NEARBY) : at].rstrip()[-1:] in _OPENS_TEXT:
                self._quote = char
        elif char in "{[":
            self._open.append(_CLOSERS[char])
        elif char in "<`":
            self._end = at
        elif char in self._open:
            # What is still open inside of it was forgotten.
            while self._open.pop() != char:
                pass
            if not self._open:
                self._end, self.closed = at + 1, True

    def _inside(self, text: str, *, final: bool) -> bool:
        """Go on to the end of a string; False where more text is needed."""
        at = self._at
        while at < len(text):
            char = text[at]
            if char == "\\":
                if at + 1 >= len(text):
                    break
                at += 2
            elif char == self._quote:
                after = _SOLID.search(text, at + 1)
                if after is None and not final:
                    break
                at += 1
                if after is None or after.group() in _AFTER_TEXT:
                    self._at, self._quote = at, ""
                    return True
            else:
                at = _next(text, at + 1, self._quote)
        self._at = min(at, len(text))
        return False


class PythonExtent:
    """The end of a bracketed Python expression; strings as Python writes them."""

    def __init__(self, start: int) -> None:
        self._at: int = start
        self._open: list[str] = []
        self._quote = ""
        self.closed = False
        self._end: int | None = None

    def look(self, text: str, *, final: bool) -> int | None:
        """Index behind the bracket that closes the first one; None while it has not come."""
        while self._end is None:
            if self._quote:
                if not self._inside(text):
                    return None
                continue
            found = _PYTHON.search(text, self._at)
            if found is None:
                self._at = len(text)
                return None
            at, char = found.start(), found.group()
            if char in "\"'":
                if not final and len(text) < at + 3:
                    self._at = at
                    return None
                self._quote = char * 3 if text.startswith(char * 3, at) else char
                self._at = at + len(self._quote)
                continue
            self._at = at + 1
            if char in _CLOSERS:
                self._open.append(_CLOSERS[char])
            elif self._open and self._open.pop() == char and not self._open:
                self._end, self.closed = at + 1, True
        return self._end

    def _inside(self, text: str) -> bool:
        at = self._at
        while at < len(text):
            if text[at] == "\\":
                if at + 1 >= len(text):
                    break
                at += 2
            elif text.startswith(self._quote, at):
                self._at, self._quote = at + len(self._quote), ""
                return True
            elif text[at] == self._quote[0] and len(text) < at + 3 and len(self._quote) == 3:
                break
            else:
                at = _next(text, at + 1, self._quote[0])
        self._at = min(at, len(text))
        return False


def _next(text: str, start: int, quote: str) -> int:
    """The next quote or backslash at or behind `start`; the end of the text where there is none."""
    ends = [at for at in (text.find(quote, start), text.find("\\", start)) if at >= 0]
    return min(ends, default=len(text))
