"""Ollama's messages and tools as canonical ones. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from mycoswarm.core.chat import (
    ImagePart,
    Message,
    Part,
    Role,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from mycoswarm.core.errors import InvalidRequest

_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_MAGIC = (("/9j/", "image/jpeg"), ("R0lGOD", "image/gif"), ("UklGR", "image/webp"), ("iVBORw", "image/png"))
"""How files of these kinds begin in base64: their images come without a type."""


class Function(msgspec.Struct):
    name: str
    arguments: dict[str, Any] | str | None = None


class Call(msgspec.Struct):
    function: Function
    id: str = ""


class Said(msgspec.Struct):
    """A message as it comes. Every field but the role may be null."""

    role: str
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[Call] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


def read_messages(given: Iterable[Said]) -> tuple[Message, ...]:
    """The conversation.

    Calls need no id in this dialect, and results name their tool or nothing at all: ids are made up in order, and a
    result belongs to the first call of its tool that has none yet.

    Raises:
        InvalidRequest: a role or an argument that is not understood.
    """
    messages: list[Message] = []
    open_calls: list[ToolCallPart] = []
    count = 0
    for said in given:
        role = _ROLES.get(said.role)
        if role is None:
            raise InvalidRequest(f"invalid role {said.role[:40]!r} of a message", f"known are {', '.join(_ROLES)}")
        parts: list[Part] = [ThinkingPart(said.thinking)] if said.thinking else []
        if role == "tool":
            parts.append(ToolResultPart(_answered(said, open_calls), said.content or ""))
        elif said.content:
            parts.append(TextPart(said.content))
        parts += images(said.images)
        for call in said.tool_calls or ():
            made = ToolCallPart(call.id or f"call_{count}", call.function.name, _arguments(call.function))
            count += 1
            open_calls.append(made)
            parts.append(made)
        messages.append(Message(role, tuple(parts) or (TextPart(""),)))
    return tuple(messages)


def _answered(said: Said, open_calls: list[ToolCallPart]) -> str:
    """The id of the call whose result this is; it is taken off `open_calls`."""
    wanted = [call for call in open_calls if call.id == said.tool_call_id]
    if not wanted and said.tool_name:
        wanted = [call for call in open_calls if call.name == said.tool_name]
    elif not wanted:
        wanted = open_calls
    if not wanted:
        return said.tool_call_id or ""
    open_calls.remove(call := wanted[0])
    return call.id


def _arguments(function: Function) -> str:
    given = function.arguments
    if isinstance(given, str):
        try:
            given = msgspec.json.decode(given or "{}", type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            raise InvalidRequest(f"the arguments of {function.name[:80]!r} are no object", "send an object") from None
    return msgspec.json.encode(given or {}).decode()


def images(given: Sequence[str] | None) -> list[ImagePart]:
    """Their images: base64 without a type. Raises InvalidRequest."""
    parts: list[ImagePart] = []
    for text in given or ():
        data = "".join(text.split())
        if data.startswith("data:image/") and ";base64," in data:
            kind, _, data = data.removeprefix("data:").partition(";base64,")
        elif "://" in data[:16]:
            raise InvalidRequest("an image must come inside the request", "send it as base64; nothing is fetched")
        else:
            kind = next((kind for magic, kind in _MAGIC if data.startswith(magic)), "image/png")
        if not data:
            raise InvalidRequest("an image is empty", "send it as base64")
        parts.append(ImagePart(kind, data))
    return parts


def read_tools(given: Iterable[dict[str, Any]]) -> tuple[Tool, ...]:
    """Tools that are functions; other kinds are only their own servers' to run. Raises InvalidRequest."""
    tools: list[Tool] = []
    for tool in given:
        match tool:
            case {"function": {"name": str(name), **rest}} if tool.get("type", "function") == "function":
                match rest.get("description"), rest.get("parameters"):
                    case (None | str() as description, None | dict() as parameters):
                        tools.append(Tool(name, description or "", parameters or {}))
                    case _:
                        raise InvalidRequest(
                            f"the tool {name[:80]!r} is not understood",
                            "its description is text, its parameters an object",
                        )
            case {"type": str(kind)} if kind != "function":
                continue
            case _:
                raise InvalidRequest("a tool has no function name", "send {type: function, function: {name, …}}")
    return tuple(tools)
