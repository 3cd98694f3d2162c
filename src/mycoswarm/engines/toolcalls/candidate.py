"""A place in the text where a call may begin, and what becomes of it as more text comes. Pure.

`Candidate.look` is asked with all text from its opening on. What it says of a text it says of every longer one, so that
its answer does not depend on how the text was cut.
"""

import re
from typing import Literal, NamedTuple

from mycoswarm.engines.toolcalls import lenient, shapes
from mycoswarm.engines.toolcalls.extent import JsonExtent, PythonExtent
from mycoswarm.engines.toolcalls.marks import CLOSERS, CONNECTORS, NAMED, OPENERS, Marks
from mycoswarm.engines.toolcalls.repair import ARGUMENT_KEYS, Written
from mycoswarm.engines.toolcalls.toolbox import Toolbox

Kind = Literal["mark", "json", "fence", "python", "action"]

_LANGUAGES = frozenset(
    {"", "json", "jsonc", "json5", "tool_code", "tool_call", "tool_calls", "tool", "xml", "python", "py", "text"}
)
_OPENERS, _CLOSERS, _CONNECTORS = Marks(OPENERS), Marks(CLOSERS), Marks(CONNECTORS)
_ENDS = Marks([*CLOSERS, *OPENERS[:-2], *NAMED])
"""Where a call ends whose own brackets or quotes do not tell."""
_CALL_KEYS = frozenset(
    {*shapes.NAME_KEYS, *shapes.LIST_KEYS, *shapes.WRAPPER_KEYS, *ARGUMENT_KEYS}
    | {"type", "id", "thought", "thoughts", "reasoning"}
)
_FENCE = re.compile(r"```(?P<language>[\w+-]*)[ \t]*\r?\n?\s*")
_KEY = re.compile(r"\{\s*+(?P<quote>[\"'“]?)(?P<key>[^\"'“”{}\[\]:,\n]{1,64})[\"'”]?\s*:\s*")
_KEY_BEGUN = re.compile(r"\{\s*+(?:[\"'“]?[^\"'“”{}\[\]:,\n]{0,64}[\"'”]?\s*)?$")
_SAID = re.compile(r"[\"'“](?P<said>[^\"'”\n]*)[\"'”]")
_WORD = re.compile(r"[A-Za-z_][\w.\-/]*")
_NAME = re.compile(r"[A-Za-z_][\w.\-/:]*")
_NAMED = re.compile(
    r"<(?:function|invoke)(?:=|\s+name\s*=\s*)[\"']?(?P<name>[^>\"'\n]{1,128})[\"']?\s*>", re.IGNORECASE
)
_NAMED_BEGUN = re.compile(r"<(?:function|invoke)?(?:=|\s+name\s*=\s*)?[\"']?[^>\n]{0,128}$", re.IGNORECASE)
_NAMED_END = re.compile(
    r"</(?:function|invoke)>"
    r"|(?=</(?:\w+:)?tool_call>|</function_calls>|\n\s{0,64}<(?:function=|function name=|invoke |tool_call>))",
    re.IGNORECASE,
)
_CALL_ID = re.compile(r"\[CALL_ID\]\w+", re.IGNORECASE)
_ACTION = re.compile(r"Action:[ \t]*(?P<name>[\w.\-]+)[ \t]*\r?\n+[ \t]*Action Input:[ \t]*", re.IGNORECASE)
_ACTION_BEGUN = re.compile(r"Action:[ \t]*(?:[\w.\-]+[ \t]*(?:\r?\n+[ \t]*(?P<rest>[A-Za-z :]*))?)?$", re.IGNORECASE)
_SPACE = re.compile(r"\s*")
_STRAY = re.compile(r"[}\])][}\])\s]*")
"""Brackets closed once too often."""
_SEPARATOR = re.compile(r"\s*+[,;]?\s*+(?=\{)")
_MAX_HEAD = 256
_MAX_MARKS = 8
"""Opening marks in a row; a model that writes more of them has lost itself."""


class Found(NamedTuple):
    """A call, or several, up to `end`. why: what it looks like and is not, where `written` is empty."""

    end: int
    written: tuple[Written, ...]
    why: str = ""


class Plain(NamedTuple):
    """No call. The first `length` characters are text; then: how what comes after them is searched.

    "json": not before the value that begins here has ended. "fence": not before the fence that begins here is closed.
    """

    length: int
    then: Literal["search", "json", "fence"] = "search"


class _More(Exception):
    """It cannot be said yet."""


class _No(Exception):
    """It is none."""


class _Item(NamedTuple):
    """Calls as they stand between marks; written None where it is nothing of the kind. closed: it was not cut off."""

    end: int
    written: list[Written] | None
    closed: bool = True


class Candidate:
    """One of them.

    Args:
        opening: characters that open it, and that are text where it is no call.
    """

    def __init__(self, kind: Kind, opening: int, toolbox: Toolbox) -> None:
        self._kind: Kind = kind
        self._opening = opening
        self._toolbox = toolbox
        self._extents: dict[int, JsonExtent | PythonExtent] = {}
        self._plain = Plain(opening)

    def look(self, text: str, *, final: bool = False, cut: bool = False) -> Found | Plain | None:
        """What it is; None while that is open.

        Args:
            final: no more text comes. cut: because the answer reached its limit, so an open call is half a call.
        """
        self._plain = Plain(self._opening)
        try:
            found = self._read(text, final)
        except _More:
            return None if not final else self._plain
        except _No:
            return self._plain
        if cut and not found[1]:
            return Found(len(text), (), "the answer was cut off in the middle of a call")
        return found[0]

    def _read(self, text: str, final: bool) -> tuple[Found, bool]:
        match self._kind:
            case "mark":
                item = self._marked(text, 0, final)
            case "json":
                item = self._bare(text, final)
            case "fence":
                return self._fenced(text, final)
            case "python":
                item = self._program(text, final)
            case "action":
                item = self._action(text, final)
        end = self._closers(text, item.end, final)
        if item.written is None:
            return Found(end, (), "what stands between the marks is no call"), item.closed
        return Found(end, tuple(item.written)), item.closed

    # Round a call

    def _marked(self, text: str, at: int, final: bool) -> _Item:
        """Opening marks and what stands behind them."""
        marks = 0
        while True:
            at = _solid(text, at)
            if length := _OPENERS.at(text, at):
                at += length
                marks += 1
                if marks > _MAX_MARKS:
                    raise _No
            elif not final and (_OPENERS.begins(text, at) or "```".startswith(text[at:])):
                raise _More
            elif fence := _FENCE.match(text, at):
                if fence.end() == len(text) and not final:
                    raise _More
                item = self._item(text, fence.end(), final)
                return item._replace(end=self._ticks(text, item.end, final))
            else:
                return self._item(text, at, final)

    @property
    def _strays(self) -> bool:
        """Whether brackets closed once too often are taken for part of the call."""
        return self._kind in ("mark", "json")

    def _closers(self, text: str, at: int, final: bool) -> int:
        """Index behind the closing marks and separators that follow."""
        while True:
            after = _solid(text, at)
            stray = _STRAY.match(text, after)
            if length := _CLOSERS.at(text, after):
                at = after + length
            elif stray and self._strays and (_CLOSERS.at(text, stray.end()) or (final and stray.end() == len(text))):
                at = stray.end()
            elif not final and _still(text, stray.end() if stray else after):
                raise _More
            elif (behind := _SEPARATOR.match(text, at)) and text[at : behind.end()].strip():
                at = behind.end()
            elif not final and text[after] in ",;" and not text[after + 1 :].strip():
                raise _More
            else:
                return at

    def _fenced(self, text: str, final: bool) -> tuple[Found, bool]:
        head = _FENCE.match(text)
        if head is None or (head.end() == len(text) and not final):
            # Not even three ticks and a word yet, or nothing behind them.
            if head is not None and head["language"].lower() not in _LANGUAGES and text[head.end("language") :]:
                self._plain = Plain(head.end(), "fence")
                raise _No
            raise _More
        self._plain = Plain(head.end(), "fence")
        at = head.end()
        if head["language"].lower() not in _LANGUAGES or at >= len(text):
            raise _No
        if text[at] in "{[":
            if not self._python_list(text, at, final):
                self._head(text, at, final)
            item = self._values(text, at, final, certain=False)
        elif text[at] == "<":
            item = self._marked(text, at, final)
        else:
            item = self._program_in_fence(text, at, final)
        if item.written is None:
            raise _No
        end = _solid(text, self._closers_in_fence(text, item.end, final))
        if text.startswith("```", end):
            return Found(end + 3, tuple(item.written)), True
        if not final and "```".startswith(text[end:]):
            raise _More
        if text[end:].strip("`"):
            raise _No
        return Found(len(text), tuple(item.written)), item.closed

    def _closers_in_fence(self, text: str, at: int, final: bool) -> int:
        while True:
            after = _solid(text, at)
            if length := _CLOSERS.at(text, after):
                at = after + length
            elif not final and _still(text, after):
                raise _More
            else:
                return at

    def _program_in_fence(self, text: str, at: int, final: bool) -> _Item:
        assigned = _ASSIGNED.match(text, at)
        if assigned is None and not final and _ASSIGNED_BEGUN.match(text, at):
            raise _More
        self._known_name(text, assigned.end() if assigned else at, final)
        end = text.find("```", at)
        if end < 0:
            if not final:
                raise _More
            end = len(text)
        return _Item(end, shapes.from_python(text[at:end], self._toolbox), closed=end < len(text))

    def _action(self, text: str, final: bool) -> _Item:
        head = _ACTION.match(text)
        if head is None:
            begun = _ACTION_BEGUN.match(text)
            if begun and len(text) < _MAX_HEAD and "action input:".startswith((begun["rest"] or "").lower()):
                raise _More
            raise _No
        if self._toolbox.find(head["name"]) is None:
            raise _No
        at = head.end()
        if at == len(text) and not final:
            raise _More
        if text[at : at + 1] == "{":
            end, closed = self._json_end(text, at, final)
            return _Item(end, [Written(head["name"], text[at:end].strip())], closed)
        end = text.find("\n", at)
        if end < 0 and not final:
            raise _More
        stop = len(text) if end < 0 else end
        return _Item(stop, [Written(head["name"], text[at:stop].strip())], closed=end >= 0)

    # A call

    def _item(self, text: str, at: int, final: bool) -> _Item:
        """What stands between marks that only calls have."""
        if at >= len(text):
            raise _No
        if text[at] in "{[":
            return self._values(text, at, final, certain=True)
        if text[at] == "<":
            return self._tagged(text, at, final)
        if _NAME.match(text, at):
            return self._named(text, at, final)
        raise _No

    def _bare(self, text: str, final: bool) -> _Item:
        """JSON, or a list of Python calls, without any mark."""
        if self._python_list(text, 0, final):
            item = self._values(text, 0, final, certain=False)
        else:
            self._head(text, 0, final)
            end, closed = self._json_end(text, 0, final)
            item = _Item(end, self._json(text[:end], certain=False), closed)
        if item.written is None:
            raise _No
        return item

    def _head(self, text: str, at: int, final: bool) -> None:
        """Raise _No where JSON begins in a way that no call begins; what it is then is remembered in `_plain`."""
        brace = at
        if text[at] == "[":
            brace = _solid(text, at + 1)
            if brace == len(text) and not final:
                raise _More
        fenced = self._kind == "fence"
        key = _KEY.match(text, brace)
        if key is None:
            if not final and brace < len(text) and _KEY_BEGUN.match(text, brace):
                raise _More
            raise _No
        if not fenced:
            self._plain = Plain(1, "json")
        word = key["key"].strip()
        if word not in _CALL_KEYS and self._toolbox.find(word) is None:
            raise _No
        if word in shapes.NAME_KEYS:
            said = _SAID.match(text, key.end())
            if said is not None and self._toolbox.find(said["said"]) is None:
                raise _No

    def _values(self, text: str, at: int, final: bool, *, certain: bool) -> _Item:
        """One JSON value or several in a row; or a list of Python calls."""
        if self._python_list(text, at, final):
            end, closed = self._python_end(text, at, final)
            return _Item(end, shapes.from_python(text[at:end], self._toolbox), closed)
        found: list[Written] = []
        while True:
            end, closed = self._json_end(text, at, final)
            written = self._json(text[at:end], certain=certain)
            if written is None:
                return _Item(end, found or None, closed)
            found += written
            follows = _SEPARATOR.match(text, end)
            if follows is None:
                if not final and not text[end:].strip(" \t\r\n,;"):
                    raise _More
                return _Item(end, found, closed)
            at = follows.end()

    def _json(self, text: str, *, certain: bool) -> list[Written] | None:
        try:
            return shapes.from_json(lenient.read(text), self._toolbox, certain=certain)
        except lenient.Unreadable:
            return None

    def _python_list(self, text: str, at: int, final: bool) -> bool:
        """Whether a list of Python calls begins at `at`. Raises _No for words in brackets that are no known tool."""
        if text[at] != "[":
            return False
        inside = _solid(text, at + 1)
        if inside == len(text):
            if final:
                raise _No
            raise _More
        if not _WORD.match(text, inside):
            return False
        self._known_name(text, inside, final)
        return True

    def _known_name(self, text: str, at: int, final: bool) -> None:
        """Raise _No where no known tool is called at `at`."""
        word = _WORD.match(text, at)
        if word is None:
            raise _No
        if word.end() == len(text) and not final:
            if self._may_be_called(word.group()):
                raise _More
            raise _No
        if text[word.end() : word.end() + 1] != "(":
            raise _No
        name = word.group()
        if (
            name != "print"
            and self._toolbox.find(name) is None
            and self._toolbox.find(name.removesuffix(".call")) is None
        ):
            raise _No

    def _may_be_called(self, begun: str) -> bool:
        """Whether a tool's name, or something that may stand before one, begins like this."""
        begun = begun.lower()
        before = ("functions.", "function.", "tools.", "tool.", "default_api.", "api.", "print")
        rest = next((begun.removeprefix(word) for word in before if begun.startswith(word)), begun)
        called = rest.partition(".")
        return (
            self._toolbox.begins(rest)
            or any(word.startswith(begun) for word in before)
            or (self._toolbox.find(called[0]) is not None and "call".startswith(called[2]))
        )

    def _program(self, text: str, final: bool) -> _Item:
        """Python calls that are the whole answer."""
        at = 0
        while at < len(text):
            self._known_name(text, at, final)
            bracket = text.index("(", at)
            end, closed = self._python_end(text, bracket, final)
            if not closed:
                break
            at = end
            while at < len(text) and text[at] in " \t\r\n;":
                at += 1
            if at < len(text) and not _WORD.match(text, at) and not _CLOSERS.at(text, at):
                if not final and _CLOSERS.begins(text, at):
                    raise _More
                raise _No
            if _CLOSERS.at(text, at):
                break
        if not final:
            raise _More
        written = shapes.from_python(text[:at], self._toolbox)
        if written is None:
            raise _No
        return _Item(at, written)

    def _named(self, text: str, at: int, final: bool) -> _Item:
        """A name, then arguments in one of many ways."""
        name, at, ticks = self._name(text, at, final)
        char = text[at : at + 1]
        if char == "{":
            end, closed = self._json_end(text, at, final)
            return _Item(self._ticks(text, end, final) if ticks else end, [Written(name, text[at:end].strip())], closed)
        if char == "(":
            end, closed = self._python_end(text, at, final)
            plain = name.removesuffix(".call").split(":")[-1]
            tool = self._toolbox.nearest(plain)
            if tool is None:
                return _Item(end, [Written(name, {})], closed)
            given = shapes.python_arguments(text[at:end], tool)
            return _Item(end, None if given is None else [Written(tool.name, given)], closed)
        if text.startswith("<arg_key>", at):
            end = _ENDS.find(text, at)
            if end is None:
                if not final:
                    raise _More
                end = len(text)
            written = shapes.from_pairs(name, text[at:end])
            return _Item(end, [written] if written else None, closed=end < len(text))
        if _CLOSERS.at(text, at) or (at == len(text) and self._toolbox.find(name) is not None):
            return _Item(at, [Written(name, {})], closed=at < len(text))
        raise _No

    def _name(self, text: str, at: int, final: bool) -> tuple[str, int, bool]:
        """A tool's name at `at`, where its arguments begin, and whether they stand in a fence."""
        while True:
            word = _NAME.match(text, at)
            if word is None or len(word.group()) > _MAX_HEAD:
                raise _No
            start = at = word.end()
            between = ""
            while True:
                at = _solid(text, at)
                if not final and at - start < _MAX_HEAD and _undecided(text, at):
                    raise _More
                call_id = _CALL_ID.match(text, at)
                length = _CONNECTORS.at(text, at) or (call_id.end() - at if call_id else 0)
                if not length:
                    break
                between += text[at : at + length]
                at += length
            # DeepSeek says first that it is a function, then which.
            if not ("sep" in between and word.group() == "function" and _NAME.match(text, at)):
                return word.group(), at, "```" in between

    def _ticks(self, text: str, at: int, final: bool) -> int:
        """Index behind the end of a fence, where one stands."""
        after = _solid(text, at)
        if text.startswith("```", after):
            return after + 3
        if not final and "```".startswith(text[after:]):
            raise _More
        return at

    def _tagged(self, text: str, at: int, final: bool) -> _Item:
        """`<function=name>` or `<invoke name="name">`, and its parameters."""
        head = _NAMED.match(text, at)
        if head is None:
            if not final and _NAMED_BEGUN.match(text, at):
                raise _More
            raise _No
        name, body = head["name"].strip(), head.end()
        start = _solid(text, body)
        if start == len(text) and not final:
            raise _More
        if text[start : start + 1] == "{":
            end, closed = self._json_end(text, start, final)
            return _Item(end, [Written(name, text[start:end].strip())], closed)
        at = body
        while (parameter := shapes.PARAMETER.match(text, _solid(text, at))) is not None:
            value = shapes.VALUE_END.search(text, parameter.end())
            if value is None:
                # Never closed: up to where the call ends, or to all there is.
                if not final:
                    raise _More
                break
            at = value.end()
        if not final and parameter is None and shapes.PARAMETER_BEGUN.match(text, _solid(text, at)):
            raise _More
        stop = _NAMED_END.search(text, at)
        if stop is None or (not final and stop.end() == len(text) and not stop.group()):
            if not final:
                raise _More
            written = shapes.from_parameters(name, text[body:])
            return _Item(len(text), [written] if written else None, closed=False)
        written = shapes.from_parameters(name, text[body : stop.start()])
        return _Item(stop.end(), [written] if written else None)

    # Where it ends

    def _json_end(self, text: str, at: int, final: bool) -> tuple[int, bool]:
        extent = self._extents.setdefault(at, JsonExtent(at))
        end = extent.look(text, final=final)
        if end is not None:
            return end, extent.closed
        if not final:
            raise _More
        # A quote or bracket that is never closed: up to the next mark, else up to the last bracket, else all there is.
        mark = _ENDS.find(text, at)
        if mark is not None:
            return mark, False
        fence = text.find("```", at) if self._kind == "fence" else -1
        return (fence if fence >= 0 else len(text)), False

    def _python_end(self, text: str, at: int, final: bool) -> tuple[int, bool]:
        extent = self._extents.setdefault(at, PythonExtent(at))
        end = extent.look(text, final=final)
        if end is not None:
            return end, True
        if not final:
            raise _More
        return len(text), False


_ASSIGNED = re.compile(r"[A-Za-z_]\w*\s*=\s*(?=[A-Za-z_])")
_ASSIGNED_BEGUN = re.compile(r"[A-Za-z_]\w*\s*(?:=\s*)?$")


def _undecided(text: str, at: int) -> bool:
    """Whether what connects a name and its arguments may still be coming."""
    rest = text[at : at + 64]
    return not rest or (
        at + len(rest) == len(text)
        and (
            _CONNECTORS.begins(text, at)
            or _CLOSERS.begins(text, at)
            or "<arg_key>".startswith(rest)
            or "[call_id]".startswith(rest.lower()[:9])
            or _CALL_ID.fullmatch(rest) is not None
        )
    )


def _still(text: str, at: int) -> bool:
    """Whether a closing mark may still come at `at`."""
    return at == len(text) or _CLOSERS.begins(text, at)


def _solid(text: str, at: int) -> int:
    """Index of the first character at or behind `at` that is no blank."""
    found = _SPACE.match(text, at)
    return found.end() if found else at
