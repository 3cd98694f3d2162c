"""From the JSON that a constrained model writes to its text and its calls, while it streams. Pure.

An engine that took no notice of the schema is met half way: what is not the JSON that was asked for is searched like
any other text.
"""

import re
from collections.abc import Iterator
from typing import Any

from mycoswarm.engines.toolcalls import lenient, shapes
from mycoswarm.engines.toolcalls.extent import JsonExtent
from mycoswarm.engines.toolcalls.recognise import Piece, Recogniser, Said
from mycoswarm.engines.toolcalls.repair import Call, Hopeless, Written, repair
from mycoswarm.engines.toolcalls.toolbox import Toolbox

_HEAD = re.compile(r'\s*\{\s*"(?P<key>answer|tool|calls)"\s*:\s*')
_BEGINNINGS = ('{"answer":', '{"tool":', '{"calls":')
_BLANKS = re.compile(r"\s+")
_MAX_HEAD = 256
"""Characters before the answer's or the call's own begin, blanks nearly all of them."""
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "\\": "\\", "/": "/"}
_SPECIAL = re.compile(r'[\\"]')


class JsonText:
    """The text of a JSON string, behind its opening quote, in pieces cut anywhere."""

    def __init__(self) -> None:
        self._rest = ""
        self._high = ""
        """Half of a surrogate pair."""
        self.ended = False

    def feed(self, text: str) -> str:
        """The characters that `text` completes. What comes behind the closing quote is passed over."""
        if self.ended:
            return ""
        text, self._rest = self._rest + text, ""
        out: list[str] = []
        at = 0
        while at < len(text):
            found = _SPECIAL.search(text, at)
            stop = found.start() if found else len(text)
            if stop > at:
                out.append(self._unpaired() + text[at:stop])
            if found is None:
                break
            if found.group() == '"':
                out.append(self._unpaired())
                self.ended = True
                break
            length = 6 if text[stop + 1 : stop + 2] == "u" else 2
            if len(text) < stop + length:
                self._rest = text[stop:]
                break
            out.append(self._escape(text[stop : stop + length]))
            at = stop + length
        return "".join(out)

    def _escape(self, escape: str) -> str:
        if len(escape) == 2:
            return self._unpaired() + _ESCAPES.get(escape[1], escape[1])
        try:
            code = int("0x" + escape[2:], 0)
        except ValueError:
            return self._unpaired() + escape
        if 0xDC00 <= code < 0xE000 and self._high:
            pair = (ord(self._high) - 0xD800 << 10) + code - 0xDC00 + 0x10000
            self._high = ""
            return chr(pair)
        before = self._unpaired()
        if 0xD800 <= code < 0xDC00:
            self._high = chr(code)
            return before
        return before + ("\ufffd" if 0xDC00 <= code < 0xE000 else chr(code))

    def _unpaired(self) -> str:
        """The mark for half a pair whose other half did not come."""
        high, self._high = self._high, ""
        return "\ufffd" if high else ""


class Unwrapper:
    """The answer of one model to one constrained request.

    Args:
        raw: the answer is a JSON value of the client's own schema, handed on as it was written.
    """

    def __init__(self, toolbox: Toolbox, *, raw: bool = False, thinks: bool = False) -> None:
        self._toolbox = toolbox
        self._raw = raw
        self._text = ""
        self._answer: JsonText | None = None
        self._value: JsonExtent | None = None
        self._start = self._delivered = 0
        self._plain: Recogniser | None = None
        self._thinks = thinks
        self._calls = 0

    @property
    def calls(self) -> int:
        """How many have been handed on."""
        return self._calls + (self._plain.calls if self._plain else 0)

    def feed(self, text: str) -> Iterator[Piece]:
        """What `text` makes certain."""
        if self._plain is not None:
            yield from self._plain.feed(text)
            return
        if self._answer is not None:
            if said := self._answer.feed(text):
                yield Said(said)
            return
        self._text += text
        if self._value is not None:
            yield from self._deliver_raw(final=False)
            return
        head = _HEAD.match(self._text)
        if head is None:
            begun = _BLANKS.sub("", self._text[:_MAX_HEAD])
            if len(self._text) > _MAX_HEAD or not any(beginning.startswith(begun) for beginning in _BEGINNINGS):
                yield from self._give_up()
        elif head["key"] == "answer" and head.end() < len(self._text):
            yield from self._open_answer(head.end())

    def end(self, *, cut: bool = False) -> Iterator[Piece]:
        """The answer is over; cut: because it reached its limit."""
        if self._plain is not None:
            yield from self._plain.end(cut=cut)
        elif self._value is not None:
            yield from self._deliver_raw(final=True)
        elif self._answer is None and self._text.strip():
            yield from self._calls_of(self._text, cut)

    def _open_answer(self, start: int) -> Iterator[Piece]:
        if self._raw:
            self._start = self._delivered = start
            if self._text[start] in "{[":
                self._value = JsonExtent(start)
                yield from self._deliver_raw(final=False)
                return
        if self._text[start] == '"' and not self._raw:
            self._answer = JsonText()
            if said := self._answer.feed(self._text[start + 1 :]):
                yield Said(said)
        elif not self._raw:
            yield from self._give_up()

    def _deliver_raw(self, *, final: bool) -> Iterator[Piece]:
        assert self._value is not None
        end = self._value.look(self._text, final=final)
        stop = len(self._text) if end is None else end
        if stop > self._delivered:
            said, self._delivered = self._text[self._delivered : stop], stop
            yield Said(said)

    def _give_up(self) -> Iterator[Piece]:
        self._plain = Recogniser(self._toolbox, thinks=self._thinks)
        yield from self._plain.feed(self._text)

    def _calls_of(self, text: str, cut: bool) -> Iterator[Piece]:
        try:
            value: Any = lenient.strict(text)
        except lenient.Unreadable:
            if cut:
                yield Hopeless("", "the answer was cut off in the middle of a call")
                return
            yield from self._give_up()
            assert self._plain is not None
            yield from self._plain.end()
            return
        if isinstance(value, dict) and "answer" in value and "tool" not in value:
            yield Said(lenient.encode(value["answer"]))
            return
        for written in shapes.from_json(value, self._toolbox, certain=True) or ():
            result = repair(written, self._toolbox)
            if isinstance(result, Hopeless):
                # The engine held it to the schema as far as it could: whether the tool takes it is the tool's to say.
                yield result
                result = _as_written(written)
            self._calls += 1
            yield result


def _as_written(written: Written) -> Call:
    arguments = written.arguments
    return Call(written.name, arguments if isinstance(arguments, str) else lenient.encode(arguments))
