"""What an agent sends, without what it says: fields, kinds, tool names and lengths are kept, sentences are not. Pure.

A text is kept as `lorem:N`, the JSON text of a call's arguments as `json:N`, ids by the order in which they came; what
is short and without spaces, the words of the dialect itself, stays. `expand` makes texts of the same lengths again.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

_LOREM = 'Lorem ipsum dolor sit amet, consectetur adipiscing elit.\n- Sed do `eiusmod` "tempor" {incididunt}: <ut>\n'
_WORD = re.compile(r"[A-Za-z][A-Za-z_.\-]{0,39}\d{0,2}|")
_PLACEHOLDER = re.compile(r"(lorem|json):(\d+)")
_IDS = {"id", "tool_call_id", "tool_use_id", "call_id"}
_KEPT = {"name", "type", "role", "$schema", "$ref", "model", "const"}
_TEXTS = {"description", "text", "content", "title", "arguments", "instructions"}
_HEADERS = {"accept", "content-type", "anthropic-version", "anthropic-beta", "x-app", "connection", "accept-encoding"}
_DROPPED = {"host", "content-length"}


class Shape(msgspec.Struct, frozen=True):
    """One request. size: bytes of the body as it was sent. body: of a GET, empty."""

    method: str
    target: str
    headers: dict[str, str]
    size: int
    body: dict[str, Any]


class Shapes(msgspec.Struct, frozen=True):
    """All that one client sent for one small task, in order."""

    client: str
    version: str
    requests: tuple[Shape, ...]


def shape(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Shape:
    """The shape of a request. headers: lower-case names."""
    kept = {
        name: value if name in _HEADERS else f"lorem:{len(value)}"
        for name, value in headers.items()
        if name not in _DROPPED
    }
    ids: dict[str, str] = {}
    return Shape(method, target, kept, len(body), _shape(msgspec.json.decode(body), "", ids) if body else {})


def _shape(value: Any, key: str, ids: dict[str, str]) -> Any:
    match value:
        case dict():
            return {name: _shape(one, name, ids) for name, one in value.items()}
        case list():
            return [_shape(one, key, ids) for one in value]
        case str() if key in _IDS:
            return ids.setdefault(value, f"id_{len(ids) + 1}")
        case str() if key in _KEPT and len(value) <= 80 and " " not in value:
            return value
        case str() if key == "arguments":
            return f"json:{len(value)}"
        case str() if key not in _TEXTS and _WORD.fullmatch(value):
            return value
        case str():
            return f"lorem:{len(value)}"
        case _:
            return value


def expand(value: Any) -> Any:
    """The same with texts of the lengths that its placeholders say."""
    match value:
        case dict():
            return {name: expand(one) for name, one in value.items()}
        case list():
            return [expand(one) for one in value]
        case str() if found := _PLACEHOLDER.fullmatch(value):
            kind, length = found[1], int(found[2])
            return lorem(length) if kind == "lorem" else _arguments(length)
        case _:
            return value


def lorem(length: int) -> str:
    """So many letters, with quotes, braces and line ends among them."""
    return (_LOREM * (length // len(_LOREM) + 1))[:length]


def _arguments(length: int) -> str:
    """The JSON text of an object, so many letters long where that is possible."""
    return '{"a":"' + "x" * max(0, length - 8) + '"}'
