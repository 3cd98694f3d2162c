"""From what stands between the marks to calls: JSON of many shapes, Python calls, tags. Pure."""

import ast
import re
from collections.abc import Iterator
from typing import Any

from mycoswarm.core.chat import Tool
from mycoswarm.engines.toolcalls import lenient
from mycoswarm.engines.toolcalls.repair import ARGUMENT_KEYS, Written
from mycoswarm.engines.toolcalls.toolbox import Toolbox

NAME_KEYS = ("name", "tool", "tool_name", "function", "function_name", "action", "recipient_name", "toolName", "func")
LIST_KEYS = ("tool_calls", "calls", "function_calls", "tool_uses", "actions", "tools")
WRAPPER_KEYS = ("function_call", "tool_call", "tool_use", "function", "call", "functionCall", "toolCall")
_BESIDE = frozenset({"type", "id", "call_id", "tool_call_id", "index", "thought", "thoughts", "reasoning", "role"})
"""What may stand beside a call's name without being one of its arguments."""
_NAMES = {"true": True, "false": False, "null": None}


def from_json(value: Any, toolbox: Toolbox, *, certain: bool) -> list[Written] | None:
    """The calls that a value is, None where it is none.

    Args:
        certain: it stood between marks that only calls have. Without them only a known tool makes it a call.
    """
    if isinstance(value, list):
        found: list[Written] = []
        for each in value:
            inner = from_json(each, toolbox, certain=certain) if isinstance(each, dict) else None
            if inner is None:
                return None
            found += inner
        return found or None
    if not isinstance(value, dict):
        return None
    for key in LIST_KEYS:
        if isinstance(several := value.get(key), list) and set(value) <= {key} | _BESIDE | {"content", "answer"}:
            return from_json(several, toolbox, certain=certain)
    for key in WRAPPER_KEYS:
        if isinstance(inner := value.get(key), dict) and _named(inner):
            return from_json(inner, toolbox, certain=certain)
    written = _one(value, toolbox, certain=certain)
    return None if written is None else [written]


def _named(value: dict[str, Any]) -> str | None:
    """The key under which a tool's name stands."""
    return next((key for key in NAME_KEYS if isinstance(value.get(key), str)), None)


def _one(value: dict[str, Any], toolbox: Toolbox, *, certain: bool) -> Written | None:
    key = _named(value)
    if key is None:
        if len(value) == 1:
            (name, inner), *_ = value.items()
            if toolbox.find(str(name)) is not None and isinstance(inner, dict | str | None):
                return Written(str(name), inner)
        return None
    name = value[key]
    tool = toolbox.nearest(name) if certain else toolbox.find(name)
    if tool is None:
        return Written(name, {}) if certain else None
    known = tool.parameters.get("properties")
    properties = known if isinstance(known, dict) else {}
    for under in ARGUMENT_KEYS:
        if under in value:
            inner = value[under]
            if isinstance(inner, dict) and _is_definition(inner, properties):
                return None
            return Written(name, inner)
    rest = {field: each for field, each in value.items() if field != key and field not in _BESIDE - set(properties)}
    if certain or (rest and set(rest) <= set(properties)) or (not rest and not properties):
        return Written(name, rest)
    return None


def _is_definition(value: dict[str, Any], properties: dict[str, Any]) -> bool:
    """Whether it describes a tool's parameters: the model repeats what it was told."""
    return (
        value.get("type") == "object" and isinstance(value.get("properties"), dict) and "properties" not in properties
    )


def from_python(source: str, toolbox: Toolbox) -> list[Written] | None:
    """The calls of Python that is nothing but calls of known tools with literal arguments; None for any other."""
    try:
        tree = lenient.python(source)
        found = [written for statement in tree.body for written in _statement(statement, toolbox)]
    except (lenient.Unreadable, RecursionError):
        return None
    return found or None


def _statement(statement: ast.stmt, toolbox: Toolbox) -> Iterator[Written]:
    if not isinstance(statement, ast.Expr | ast.Assign):
        raise lenient.Unreadable("no call")
    yield from _calls(statement.value, toolbox)


def _calls(node: ast.expr, toolbox: Toolbox) -> Iterator[Written]:
    if isinstance(node, ast.List | ast.Tuple):
        for each in node.elts:
            yield from _calls(each, toolbox)
        return
    if isinstance(node, ast.Await):
        yield from _calls(node.value, toolbox)
        return
    if not isinstance(node, ast.Call):
        raise lenient.Unreadable("no call")
    name = _dotted(node.func)
    if name == "print" and len(node.args) == 1 and toolbox.find("print") is None:
        yield from _calls(node.args[0], toolbox)
        return
    tool = toolbox.find(name) or toolbox.find(name.removesuffix(".call"))
    if tool is None:
        raise lenient.Unreadable("no known tool")
    yield Written(tool.name, _arguments(node, tool))


def python_arguments(brackets: str, tool: Tool) -> dict[Any, Any] | None:
    """The arguments of a Python call of `tool`, from its brackets; None where they are no literals."""
    try:
        match lenient.python("_" + brackets.strip()).body:
            case [ast.Expr(ast.Call() as call)]:
                return _arguments(call, tool)
            case _:
                return None
    except (lenient.Unreadable, RecursionError):
        return None


def _arguments(call: ast.Call, tool: Tool) -> dict[Any, Any]:
    """By name; those without one by the order of the tool's parameters."""
    named = {keyword.arg: _literal(keyword.value) for keyword in call.keywords if keyword.arg is not None}
    if len(named) != len(call.keywords):
        raise lenient.Unreadable("a starred argument")
    given = [_literal(argument) for argument in call.args]
    if len(given) == 1 and not named and isinstance(given[0], dict):
        return given[0]
    known = tool.parameters.get("properties")
    free = [name for name in known if name not in named] if isinstance(known, dict) else []
    if len(given) > len(free):
        raise lenient.Unreadable("more arguments than parameters")
    return dict(zip(free, given, strict=False)) | named


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise lenient.Unreadable("no name")
    return ".".join([node.id, *reversed(parts)])


def _literal(node: ast.expr) -> Any:
    """A literal's value; `true`, `false` and `null` are what JSON means by them."""
    match node:
        case ast.Name(name) if name in _NAMES:
            return _NAMES[name]
        case ast.List(elements) | ast.Tuple(elements):
            return [_literal(each) for each in elements]
        case ast.Dict(keys, values):
            return {_literal(key): _literal(value) for key, value in zip(keys, values, strict=True) if key is not None}
        case _:
            try:
                return ast.literal_eval(node)
            except (ValueError, TypeError):
                raise lenient.Unreadable("an argument that must be computed") from None


PARAMETER = re.compile(
    r"<(?:parameter|param|arg|argument)(?:=|\s+name\s*=\s*)[\"']?(?P<key>[^>\"'\n]{1,128}?)[\"']?(?:\s[^>\n]{0,128})?>",
    re.IGNORECASE,
)
PARAMETER_BEGUN = re.compile(r"<(?:[a-z][^>\n]{0,128})?$", re.IGNORECASE)
VALUE_END = re.compile(
    r"</(?:parameter|param|arg|argument)>|\n\s{0,64}(?=<(?:parameter|param)[= ]|</(?:function|invoke)>)", re.IGNORECASE
)
"""Where a parameter's value ends, closed or not."""
_PAIR = re.compile(r"<arg_key>(?P<key>.{0,256}?)</arg_key>\s*<arg_value>(?P<value>.*?)(?:</arg_value>|$)", re.DOTALL)


def from_parameters(name: str, body: str) -> Written | None:
    """A call whose arguments are tags, or JSON, between the tags of its name; None where they are neither."""
    if body.strip()[:1] in ("{", "["):
        return Written(name, body.strip())
    found: dict[str, Any] = {}
    at = 0
    while (tag := PARAMETER.search(body, at)) is not None:
        end = VALUE_END.search(body, tag.end())
        stop = end.start() if end else len(body)
        found[tag["key"].strip()] = _value(body[tag.end() : stop])
        at = max(end.end() if end else stop, tag.end())
    return Written(name, found) if found or not body.strip() else None


def from_pairs(name: str, body: str) -> Written | None:
    """As `from_parameters`, in GLM's way: a tag for each key and each value."""
    found = {pair["key"].strip(): _value(pair["value"]) for pair in _PAIR.finditer(body)}
    return Written(name, found) if found or not body.strip() else None


def _value(text: str) -> str:
    """What stands between the tags: the line ends next to them belong to the layout."""
    return text.removeprefix("\r").removeprefix("\n").removesuffix("\n").removesuffix("\r")
