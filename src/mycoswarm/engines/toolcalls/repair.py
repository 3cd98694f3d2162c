"""From the name and arguments a model wrote to a call that its tool can take. Pure."""

from typing import Any

import msgspec

from mycoswarm.core.chat import Tool
from mycoswarm.engines.toolcalls import lenient, schema
from mycoswarm.engines.toolcalls.toolbox import Toolbox

ARGUMENT_KEYS = (
    "arguments",
    "parameters",
    "args",
    "params",
    "kwargs",
    "input",
    "tool_input",
    "action_input",
    "tool_arguments",
    "function_arguments",
)
"""Under which models put the arguments, the usual one first."""


class Written(msgspec.Struct, frozen=True):
    """A call as the model wrote it. arguments: a value, or text that should be the JSON of one."""

    name: str
    arguments: Any


class Call(msgspec.Struct, frozen=True):
    """A call as its tool takes it. arguments: JSON text of an object."""

    name: str
    arguments: str


class Hopeless(msgspec.Struct, frozen=True):
    """A call nobody can take. why: one sentence without a full stop."""

    name: str
    why: str


def repair(written: Written, toolbox: Toolbox) -> Call | Hopeless:
    """The call that was meant; arguments that are right already keep their very text."""
    tool = toolbox.nearest(written.name)
    if tool is None:
        return Hopeless(written.name, f"there is no tool {written.name!r}")
    try:
        value = arguments(written.arguments, tool)
        if isinstance(written.arguments, str) and _same(written.arguments, value):
            return Call(tool.name, written.arguments)
        return Call(tool.name, lenient.encode(value))
    except (lenient.Unreadable, schema.Mismatch) as problem:
        return Hopeless(tool.name, f"the arguments of {tool.name} cannot be used: {problem}")


def arguments(value: Any, tool: Tool) -> dict[str, Any]:
    """The object that the tool's schema asks for. Raises Unreadable, Mismatch."""
    if isinstance(value, str):
        value = _read(value, tool)
    if value is None:
        value = {}
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0]
    wanted: dict[str, Any] = {"type": "object", **tool.parameters}
    properties = wanted.get("properties")
    known = properties if isinstance(properties, dict) else {}
    if isinstance(value, dict) and len(value) == 1:
        # {"arguments": {…}} where the arguments themselves should be.
        (key, inner), *_ = value.items()
        if key in ARGUMENT_KEYS and key not in known and isinstance(inner, dict | str):
            inner = _read(inner, tool) if isinstance(inner, str) else inner
            value = inner if isinstance(inner, dict) else value
    return schema.fit(value, wanted)


def _read(text: str, tool: Tool) -> Any:
    """The object in a text; the text itself where it is plainly the one value that the tool takes."""
    if not text.strip():
        return {}
    for _ in range(3):
        try:
            value = lenient.read(text)
        except lenient.Unreadable:
            if text.lstrip()[:1] in ("{", "["):
                raise
            return text
        if not isinstance(value, str):
            return value
        text = value
    return text


def _same(text: str, value: Any) -> bool:
    try:
        return lenient.strict(text) == value and lenient.encode(lenient.strict(text)) == lenient.encode(value)
    except lenient.Unreadable:
        return False
