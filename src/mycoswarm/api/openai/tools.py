"""Tools, choices of tools and formats of OpenAI's dialect, to canonical ones. Pure.

Chat completions nest a function and a schema one level deeper than responses do; programs mix them up, so both are
taken in either place.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mycoswarm.api.openai.reading import refused
from mycoswarm.core.chat import Effort, ResponseFormat, Tool, ToolChoice

MOST_TOOLS = 512
"""Every one is read by the model before the first word; more is a mistake."""

MOST_STOPS = 16
"""Four is their limit; programs made for local engines send more, and each is looked for at every token."""

_MOST_TOKENS = 2**31 - 1
_EFFORTS: Mapping[str, Effort] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}


def functions(tools: Sequence[Mapping[str, Any]] | None, at: str = "tools") -> tuple[Tool, ...]:
    """Those among `tools` that are functions.

    Others only their vendor's servers can run; agents send them to everybody, so they are passed over.
    """
    if tools is not None and len(tools) > MOST_TOOLS:
        raise refused(at, f"`{at}` holds {len(tools)} tools; at most {MOST_TOOLS} are taken", "send fewer")
    return tuple(_functions(tools or (), at))


def _functions(tools: Iterable[Mapping[str, Any]], at: str) -> Iterator[Tool]:
    for number, tool in enumerate(tools):
        match tool:
            case {"type": "function", "function": dict(inner)}:
                yield function(inner, f"{at}[{number}].function")
            case {"type": "function"}:
                yield function(tool, f"{at}[{number}]")
            case {"type": "custom"}:
                # Its client would run it, so to pass it over would change the answer.
                raise refused(
                    f"{at}[{number}].type",
                    "a custom tool is not understood here",
                    "send a function, or ask /v1/responses",
                    "unsupported_value",
                )
            case {"type": str()}:
                continue
            case _:
                raise refused(f"{at}[{number}].type", "a tool has no type", "function is the usual one")


def function(described: Mapping[str, Any], at: str) -> Tool:
    """One function. Raises InvalidRequest."""
    match described.get("name"), described.get("description"), described.get("parameters"):
        case (str(name), None | str() as description, None | dict() as parameters) if name:
            return Tool(name, description or "", parameters or {})
        case (str(name), _, _) if name:
            raise refused(
                at, f"the tool '{name}' is not understood", "its description is text, its parameters an object"
            )
        case _:
            raise refused(f"{at}.name", "a tool has no function name", "send {type: function, function: {name, …}}")


def chosen(choice: str | Mapping[str, Any] | None, tools: tuple[Tool, ...]) -> tuple[tuple[Tool, ...], ToolChoice]:
    """The tools that may be called, and whether one must be."""
    match choice:
        case None | "auto" | "none":
            return tools, ToolChoice(choice or "auto")
        case "required":
            if not tools:
                raise refused("tool_choice", "`tool_choice` wants a call and there is no tool", "send `tools` too")
            return tools, ToolChoice("required")
        case {"type": "allowed_tools", "allowed_tools": dict(allowed)} | {"type": "allowed_tools", **allowed}:
            return _allowed(allowed, tools)
        case {"function": {"name": str(name)}} | {"type": "function" | "custom", "name": str(name)}:
            return tools, ToolChoice("named", _known(name, tools))
        case {"type": "custom", "custom": {"name": str(name)}}:
            return tools, ToolChoice("named", _known(name, tools))
        case _:
            raise refused("tool_choice", "`tool_choice` is not understood", "auto, none, required or a named function")


def _allowed(allowed: Mapping[str, Any], tools: tuple[Tool, ...]) -> tuple[tuple[Tool, ...], ToolChoice]:
    mode = allowed.get("mode", "auto")
    listed = allowed.get("tools")
    if mode not in ("auto", "required") or not isinstance(listed, list):
        raise refused("tool_choice", "`tool_choice` is not understood", "allowed_tools has a mode and a list of tools")
    names = {tool.name for tool in functions([one for one in listed if isinstance(one, dict)], "tool_choice.tools")}
    return chosen(mode, tuple(tool for tool in tools if tool.name in names))


def _known(name: str, tools: tuple[Tool, ...]) -> str:
    if not any(tool.name == name for tool in tools):
        raise refused("tool_choice", f"`tool_choice` names '{name}', which is not among the tools", "send it too")
    return name


def response_format(wanted: Mapping[str, Any] | None, at: str) -> ResponseFormat:
    """What shape an answer must have."""
    match wanted:
        case None | {"type": "text"}:
            return ResponseFormat()
        case {"type": "json_schema", "json_schema": {"schema": dict(schema), **rest}}:
            return ResponseFormat("json_schema", schema, _strict(rest, at))
        case {"type": "json_schema" | "json_object", "schema": dict(schema), **rest}:
            return ResponseFormat("json_schema", schema, _strict(rest, at))
        case {"type": "json_object"}:
            return ResponseFormat("json_object")
        case {"type": "json_schema"}:
            raise refused(f"{at}.json_schema", "the wanted format has no schema", "send a JSON schema with it")
        case _:
            raise refused(at, f"`{at}` is not understood", "text, json_object or json_schema")


def _strict(described: Mapping[str, Any], at: str) -> bool | None:
    match described.get("strict"):
        case None | bool() as strict:
            return strict
        case _:
            raise refused(f"{at}.strict", "`strict` is neither true nor false", "leave it out", "invalid_type")


def effort(wanted: str | None, at: str) -> tuple[bool | None, Effort | None]:
    """Whether to think, and how long."""
    match wanted:
        case None:
            return None, None
        case "none":
            return False, None
        case str() if wanted in _EFFORTS:
            return None, _EFFORTS[wanted]
        case _:
            raise refused(at, f"`{at}` is '{wanted}'", f"none, {', '.join(_EFFORTS)}")


def stops(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """The stop strings; an empty one would stop before the first word and is left out."""
    listed = (given,) if isinstance(given, str) else tuple(given or ())
    if len(listed) > MOST_STOPS:
        raise refused("stop", f"`stop` holds {len(listed)} texts; at most {MOST_STOPS} are taken", "send fewer")
    return tuple(one for one in listed if one)


def limit(given: int | None) -> int | None:
    """How many tokens an answer may have: more than any context is as good as any."""
    return None if given is None else min(given, _MOST_TOKENS)
