"""Tools of the responses endpoint. Pure.

Three kinds are calls that the client runs itself, and all three become functions for the model:

    function     as it is
    custom       takes any text: a function with the one argument `input`; its call is told as a custom call again
    namespace    a named group of the two: its tools are called GROUP__NAME; the reply takes the name apart again

Every other kind (web_search, file_search, code_interpreter, …) runs on its vendor's servers and is passed over.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from mycoswarm.api.openai.reading import refused
from mycoswarm.api.openai.tools import MOST_TOOLS, function
from mycoswarm.core.chat import Tool

_TEXT: dict[str, Any] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}


class Kind(msgspec.Struct, frozen=True):
    """What a client calls a tool. namespace: the group it stands in."""

    name: str
    namespace: str | None = None
    custom: bool = False


class Offered(msgspec.Struct, frozen=True):
    """tools: as the model sees them. kinds: by the name that the model knows."""

    tools: tuple[Tool, ...]
    kinds: Mapping[str, Kind]

    def kind(self, flat: str) -> Kind:
        """What the client calls the tool that the model calls `flat`, whether or not it was offered."""
        return self.kinds.get(flat, Kind(flat))

    def flat(self, name: str, namespace: str | None) -> str:
        """The name that the model knows."""
        return _flat(name, namespace)


def offered(tools: Sequence[Mapping[str, Any]] | None) -> Offered:
    """The tools of a request. Raises InvalidRequest."""
    if tools is not None and len(tools) > MOST_TOOLS:
        raise refused("tools", f"`tools` holds {len(tools)} tools; at most {MOST_TOOLS} are taken", "send fewer")
    found = tuple(_read(tools or (), "tools", None))
    return Offered(tuple(tool for tool, _ in found), {tool.name: kind for tool, kind in found})


def _read(tools: Sequence[Any], at: str, namespace: str | None) -> Iterator[tuple[Tool, Kind]]:
    for number, described in enumerate(tools):
        here = f"{at}[{number}]"
        match described:
            case {"type": "function", "function": dict(inner)}:
                yield _named(function(inner, f"{here}.function"), namespace, custom=False)
            case {"type": "function"}:
                yield _named(function(described, here), namespace, custom=False)
            case {"type": "custom", "name": str()}:
                tool = function({**described, "parameters": _TEXT}, here)
                description = tool.description + _grammar(described.get("format"))
                yield _named(msgspec.structs.replace(tool, description=description), namespace, custom=True)
            case {"type": "namespace", "name": str(name), "tools": list(inner)} if namespace is None and name:
                yield from _read(inner, f"{here}.tools", name)
            case {"type": str()}:
                continue
            case _:
                raise refused(f"{here}.type", "a tool has no type", "function is the usual one")


def _named(tool: Tool, namespace: str | None, *, custom: bool) -> tuple[Tool, Kind]:
    kind = Kind(tool.name, namespace, custom)
    return msgspec.structs.replace(tool, name=_flat(tool.name, namespace)), kind


def _flat(name: str, namespace: str | None) -> str:
    return f"{namespace}__{name}" if namespace else name


def _grammar(wanted: Any) -> str:
    """Nothing here holds a model to the grammar, so it is told what the grammar is."""
    match wanted:
        case {"type": "grammar", "syntax": str(syntax), "definition": str(definition)}:
            return f"\n\n`input` must follow this {syntax} grammar:\n{definition}"
        case _:
            return ""


def custom_input(arguments: str) -> str:
    """The text that a model wrote for a custom tool; where it did not keep to the form, all that it wrote."""
    try:
        match msgspec.json.decode(arguments or "{}"):
            case {"input": str(text)}:
                return text
            case {"input": other}:
                return msgspec.json.encode(other).decode()
            case _:
                return arguments
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return arguments
