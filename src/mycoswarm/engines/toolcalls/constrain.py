"""Tools for models that know none: the request rewritten, so that the answer is JSON which says what it is. Pure.

{"tool": "look", "arguments": {…}}      a call          {"calls": [{"tool": …}, …]}    several
{"answer": "…"}                         an answer
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from mycoswarm.core.chat import (
    ChatRequest,
    Message,
    Part,
    ResponseFormat,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    message,
)
from mycoswarm.engines.toolcalls import lenient
from mycoswarm.engines.toolcalls.grammar import simplified
from mycoswarm.engines.toolcalls.schema import required_names, resolve, types

_MAX_DESCRIPTION = 300
"""Characters of a tool's description: those of agents run to pages, a small model's window is 2,048 tokens."""

_MAX_LISTS = 4
"""Lists of lists that are told of; a list can be one of itself."""


def constrained(request: ChatRequest) -> ChatRequest:
    """The request that an engine without tools can take; its answer is what `unwrap` reads."""
    tools = _offered(request)
    several = request.parallel_tools is True
    return msgspec.structs.replace(
        request,
        messages=_with_system(_history(request.messages), _told(tools, request.tool_choice, several)),
        tools=(),
        tool_choice=ToolChoice(),
        parallel_tools=None,
        response_format=ResponseFormat("json_schema", _answer_schema(request, tools, several)),
        # Both would speak of wrapped text and not of what is delivered; stop strings are looked for behind `unwrap`.
        logprobs=None,
        sampling=msgspec.structs.replace(request.sampling, stop=()),
    )


def answers_raw(request: ChatRequest) -> bool:
    """Whether the answer is a JSON value of the client's own schema and not a text."""
    return request.response_format.kind != "text"


def _offered(request: ChatRequest) -> tuple[Tool, ...]:
    if request.tool_choice.mode == "named":
        return tuple(tool for tool in request.tools if tool.name == request.tool_choice.name)
    return request.tools


def _answer_schema(request: ChatRequest, tools: Iterable[Tool], several: bool) -> dict[str, Any]:
    calls = [
        _fixed({"tool": {"const": tool.name}, "arguments": simplified({"type": "object", **tool.parameters})})
        for tool in tools
    ]
    one = calls[0] if len(calls) == 1 else {"anyOf": calls}
    branches: list[dict[str, Any]] = [one] if len(calls) == 1 else list(calls)
    if several:
        branches.append(_fixed({"calls": {"type": "array", "items": one, "minItems": 1}}))
    if request.tool_choice.mode == "auto":
        answer: dict[str, Any] = {"type": "string"}
        if request.response_format.kind == "json_schema":
            answer = simplified(request.response_format.json_schema, depth=1)
        elif request.response_format.kind == "json_object":
            answer = {"type": "object"}
        branches.append(_fixed({"answer": answer}))
    return branches[0] if len(branches) == 1 else {"anyOf": branches}


def _fixed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _told(tools: Iterable[Tool], choice: ToolChoice, several: bool) -> str:
    """What the model is told, in few tokens: a signature for each tool, and the forms of an answer."""
    listed = "\n".join(_signature(tool) for tool in tools)
    call = '{"tool": name, "arguments": {...}}'
    forms = [f"To call a tool, reply {call}."]
    if several:
        forms.append(f'To call several, reply {{"calls": [{call}, ...]}}.')
    if choice.mode == "auto":
        forms.append('Else reply {"answer": your answer}.')
    return f"Tools:\n{listed}\n{' '.join(forms)}"


def _signature(tool: Tool) -> str:
    schema: dict[str, Any] = {"type": "object", **tool.parameters}
    properties = schema.get("properties")
    required = required_names(schema)
    parameters = ", ".join(
        f"{name}{'' if name in required else '?'}: {_type(part, schema)}"
        for name, part in (properties.items() if isinstance(properties, dict) else ())
    )
    said = " ".join(tool.description.split())
    if len(said) > _MAX_DESCRIPTION:
        said = said[:_MAX_DESCRIPTION].rsplit(" ", 1)[0] + " …"
    return f"- {tool.name}({parameters})" + (f": {said}" if said else "")


def _type(part: Any, root: Mapping[str, Any], depth: int = 0) -> str:
    part = resolve(part, root) if depth < _MAX_LISTS else {}
    if isinstance(choices := part.get("enum"), list):
        return "|".join(lenient.encode(choice) for choice in choices[:16]) + ("|…" if len(choices) > 16 else "")
    names = "|".join(types(part)) or "any"
    if names == "array":
        return f"{_type(part.get('items'), root, depth + 1)}[]"
    return names


def _history(messages: Iterable[Message]) -> list[Message]:
    """The conversation as text that any model can read; neighbours of one role become one, as templates want it."""
    names: dict[str, str] = {}
    told: list[Message] = []
    for each in messages:
        parts: list[Part] = []
        for part in each.parts:
            match part:
                case ToolCallPart(call_id, name, arguments):
                    names[call_id] = name
                    parts.append(TextPart(f'{{"tool": {lenient.encode(name)}, "arguments": {arguments or "{}"}}}'))
                case ToolResultPart(call_id, text, is_error):
                    kind = "Error" if is_error else "Result"
                    parts.append(TextPart(f"{kind} of {names.get(call_id, 'the tool')}: {text}"))
                case ThinkingPart():
                    pass
                case _:
                    parts.append(part)
        role = "user" if each.role == "tool" else each.role
        if not parts:
            continue
        if told and told[-1].role == role:
            told[-1] = Message(role, (*told[-1].parts, TextPart("\n"), *parts))
        else:
            told.append(Message(role, _spaced(parts)))
    return told


def _spaced(parts: list[Part]) -> tuple[Part, ...]:
    """Each text on a line of its own."""
    spaced: list[Part] = []
    for part in parts:
        if spaced and isinstance(part, TextPart) and isinstance(spaced[-1], TextPart):
            spaced.append(TextPart("\n"))
        spaced.append(part)
    return tuple(spaced)


def _with_system(messages: list[Message], told: str) -> tuple[Message, ...]:
    """`told` behind the first system message, or as one."""
    if messages and messages[0].role == "system":
        first, *rest = messages
        return (Message("system", (*first.parts, TextPart("\n\n" + told))), *rest)
    return (message("system", told), *messages)
