"""Calls written as text, found while the text streams. Text in, text and calls out; no I/O.

Text is held back only while it may still become a call (and its last blanks, which go with a call that follows them);
what cannot become one is handed on at once, byte for byte. What comes out does not depend on how the text was cut.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from mycoswarm.engines.toolcalls.candidate import Candidate, Found, Kind, Plain
from mycoswarm.engines.toolcalls.extent import JsonExtent
from mycoswarm.engines.toolcalls.marks import NAMED, OPENERS, Marks
from mycoswarm.engines.toolcalls.repair import Call, Hopeless, repair
from mycoswarm.engines.toolcalls.toolbox import Toolbox

MAX_WITHHELD = 1 << 18
"""Characters. A longer call is not waited for: a file of that size is not what a small model writes."""
_KEPT = 1 << 12
"""Delivered text that may stay in memory before it is cut off; blanks that may come before a thought."""
_AT_ONCE = 1 << 10
"""Characters that are looked at together: a candidate never has more than these behind the place where it failed."""
_LOST = 1 << 14
"""Characters. What looked like a call for so long and is none at the end is not searched again from each of its marks:
that would cost the square of its length."""
_AGAIN = 32
"""A candidate is looked at again when it has grown by this part of itself, so that a long one costs no square either;
a short one at each piece."""
_THINK, _THOUGHT = "<think>", "</think>"
_ACTION = "action:"
_OPENERS = Marks([*OPENERS, *NAMED, "```", _ACTION, "{", "["])
_TICKS = re.compile(r"`{1,2}\Z")
_WORD = re.compile(r"[A-Za-z_]")


class Said(NamedTuple):
    """Text of the answer."""

    text: str


class Thought(NamedTuple):
    """What the model thought aloud, without the tags."""

    text: str


Piece = Said | Thought | Call | Hopeless
"""Hopeless comes before the text that it is about."""


class Recogniser:
    """The answer of one model to one request.

    Args:
        thinks: a block of thought that opens the answer is told apart; otherwise it is text like any other. Neither
            is searched for calls.
    """

    def __init__(self, toolbox: Toolbox, *, thinks: bool = False) -> None:
        self._toolbox = toolbox
        self._thinks = thinks
        self._text = ""
        self._at = 0
        """Everything before it has been handed on, or is in `_blanks`."""
        self._blanks: list[str] = []
        self._before = ""
        """The last character that was handed on: a line's beginning is known by it."""
        self._said = False
        self._candidate: Candidate | None = None
        self._next_look = 0
        """Length of the candidate's text from which a look is worth its cost."""
        self._skipped: JsonExtent | None = None
        """A value that is no call, and in which none is looked for."""
        self._fenced = False
        self._thinking: bool | None = None
        """None: it has not begun to say anything."""
        self._parted = False
        """Whether a call or a thought was the last thing; `_gap`: the blanks since."""
        self._gap: list[str] = []
        self.calls = 0

    def feed(self, text: str) -> Iterator[Piece]:
        """What `text` makes certain."""
        yield from _joined(self._fed(text))

    def end(self, *, cut: bool = False) -> Iterator[Piece]:
        """The answer is over; cut: because it reached its limit."""
        yield from _joined(self._rest(cut))

    def _fed(self, text: str) -> Iterator[Piece]:
        for at in range(0, len(text), _AT_ONCE):
            self._text += text[at : at + _AT_ONCE]
            yield from self._go(final=False, cut=False)
            self._trim()

    def _rest(self, cut: bool) -> Iterator[Piece]:
        # First what the text alone makes certain, whatever looks were saved; then what its end does.
        self._next_look = 0
        yield from self._go(final=False, cut=False)
        yield from self._go(final=True, cut=cut)
        if self._blanks and not self._parted:
            yield Said("".join(self._blanks))
        self._blanks = []

    def _go(self, *, final: bool, cut: bool) -> Iterator[Piece]:
        if self._thinking is not False:
            yield from self._think(final)
        if self._thinking is not False:
            return
        while self._at < len(self._text):
            if self._candidate is not None:
                verdict = self._look(self._candidate, final, cut)
                if verdict is None:
                    return
                self._candidate = None
                yield from self._settle(verdict)
                continue
            before = self._at
            if self._fenced:
                yield from self._through_fence(final)
            else:
                yield from self._search(final)
            if self._at == before and self._candidate is None:
                return

    # Thought

    def _think(self, final: bool) -> Iterator[Piece]:
        """A block of thought at the very beginning."""
        if self._thinking is None:
            begun = self._text[: _KEPT + len(_THINK)].lstrip()
            if not begun.startswith(_THINK):
                if final or not _THINK.startswith(begun) or len(self._text) >= _KEPT + len(_THINK):
                    self._thinking = False
                return
            self._thinking = True
            opening = self._text.index(_THINK) + len(_THINK)
            if self._thinks:
                self._at = opening
            else:
                yield from self._say(opening)
        end = self._text.find(_THOUGHT, self._at)
        if end >= 0:
            self._thinking = False
            yield from self._thought(end)
            if self._thinks:
                self._at = end + len(_THOUGHT)
                # The blanks between a thought and the answer are layout, as those behind a call are.
                self._parted = True
            else:
                yield from self._say(len(_THOUGHT))
            return
        held = 0 if final else _overlap(self._text[self._at :], _THOUGHT)
        yield from self._thought(len(self._text) - held)
        if final:
            self._thinking = False

    def _thought(self, end: int) -> Iterator[Piece]:
        if not self._thinks:
            yield from self._say(end - self._at)
        elif end > self._at:
            thought, self._at = self._text[self._at : end], end
            yield Thought(thought)

    # Text

    def _search(self, final: bool) -> Iterator[Piece]:
        """Up to the next place where a call may begin."""
        text, at = self._text, self._at
        if self._skipped is not None:
            end = self._skipped.look(text, final=final)
            yield from self._say((len(text) if end is None else max(end, at)) - at)
            if end is None:
                return
            self._skipped, at = None, self._at
        if not self._said and not self.calls:
            blanks = len(text) - at - len(text[at:].lstrip())
            yield from self._say(blanks)
            at += blanks
            if _WORD.match(text, at) and not _OPENERS.at(text, at):
                if final or not _OPENERS.begins(text, at):
                    self._begin("python", 1)
                return
        while (found := _OPENERS.find(text, at)) is not None:
            length = _OPENERS.at(text, found)
            kind = _kind(text[found : found + length])
            if kind == "action" and not self._begins_line(found):
                at = found + 1
                continue
            yield from self._say(found - self._at)
            if final or not _OPENERS.begins(text, found):
                self._begin(kind, length)
            return
        end = len(text) if final else _OPENERS.unfinished(text, self._at)
        yield from self._say(end - self._at)

    def _begins_line(self, at: int) -> bool:
        before = "".join([self._before, *self._blanks, self._text[self._at : at]]).rstrip(" \t")
        return not before or before.endswith("\n")

    def _through_fence(self, final: bool) -> Iterator[Piece]:
        """Up to the ticks that close a fence in which no call stands."""
        end = self._text.find("```", self._at)
        if end >= 0:
            self._fenced = False
            yield from self._say(end + 3 - self._at)
            return
        ticks = _TICKS.search(self._text, self._at)
        yield from self._say((ticks.start() if ticks and not final else len(self._text)) - self._at)

    # Calls

    def _begin(self, kind: Kind, opening: int) -> None:
        self._candidate = Candidate(kind, opening, self._toolbox)
        self._next_look = 0

    def _look(self, candidate: Candidate, final: bool, cut: bool) -> Found | Plain | None:
        length = len(self._text) - self._at
        if length < min(self._next_look, MAX_WITHHELD + 1) and not final:
            return None
        whole = length <= MAX_WITHHELD
        text = self._text[self._at : self._at + MAX_WITHHELD]
        verdict = candidate.look(text, final=final and whole, cut=cut)
        if verdict is None and not whole:
            return Plain(MAX_WITHHELD)
        if final and isinstance(verdict, Plain) and length > _LOST:
            return Plain(length)
        self._next_look = length + length // _AGAIN
        return verdict

    def _settle(self, verdict: Found | Plain) -> Iterator[Piece]:
        match verdict:
            case Plain(length, then):
                if then == "json":
                    self._skipped = JsonExtent(self._at)
                self._fenced = then == "fence"
                yield from self._say(length)
            case Found(end, written, why):
                results = [repair(one, self._toolbox) for one in written] or [Hopeless("", why)]
                calls = sum(isinstance(result, Call) for result in results)
                yield from results
                if calls:
                    self.calls += calls
                    self._at += end
                    self._parted, self._gap = True, []
                else:
                    yield from self._say(end)

    def _say(self, length: int) -> Iterator[Piece]:
        """Hand the next `length` characters on, but for the blanks at their end."""
        text = self._text[self._at : self._at + length]
        self._at += length
        solid = text.strip()
        if not solid:
            (self._gap if self._parted else self._blanks).append(text)
            return
        lead = text[: len(text) - len(text.lstrip())]
        if self._parted:
            # The blanks round a call are its own; of those before and behind it one lot parts the texts.
            self._parted = False
            before = ("".join(self._blanks) or "".join(self._gap) + lead) if self._said else ""
        else:
            before = "".join(self._blanks) + lead
        self._blanks = [text[len(lead) + len(solid) :]]
        self._said = True
        self._before = solid[-1]
        yield Said(before + solid)

    def _trim(self) -> None:
        done = self._at if self._skipped is None else self._skipped.unneeded(self._at)
        if done > _KEPT:
            self._text, self._at = self._text[done:], self._at - done
            if self._skipped is not None:
                self._skipped.moved(done)


def _joined(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """With texts that follow each other as one: the fewer deltas, the less work for everybody behind."""
    text = ""
    for piece in pieces:
        if isinstance(piece, Said):
            text += piece.text
            continue
        if text:
            yield Said(text)
            text = ""
        yield piece
    if text:
        yield Said(text)


def _kind(mark: str) -> Kind:
    match mark.lower():
        case "{" | "[":
            return "json"
        case "```":
            return "fence"
        case "action:":
            return "action"
        case _:
            return "mark"


def _overlap(text: str, mark: str) -> int:
    """Length of the longest end of `text` that `mark` begins with."""
    return next(
        (length for length in range(min(len(mark) - 1, len(text)), 0, -1) if mark.startswith(text[-length:])), 0
    )
