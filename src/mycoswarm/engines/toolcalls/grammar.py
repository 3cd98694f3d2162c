"""A tool's schema in words that every engine's grammar understands; what is lost is checked afterwards by repair. Pure.

Kept: type, properties, required, items, enum, const, anyOf. References are written out, for engines look for them at
the root of the whole schema; recursion ends where it comes again. Ranges, lengths, patterns and formats go: some
engines refuse them, others build a grammar of megabytes.
"""

from collections.abc import Mapping
from typing import Any

from mycoswarm.engines.toolcalls.schema import Schema, required_names, resolve, types

_MAX_DEPTH = 8
_MAX_CHOICES = 256
"""Values of an enum; more of them are a grammar that costs more at each token than it saves."""


_MAX_PROPERTIES = 256
"""Of one object; with more of them any object is allowed. An engine's grammar grows with the square of the optional
ones: 10,000 kept llama.cpp busy for minutes."""
_MAX_PARTS = 4096
"""Of the whole schema; what comes behind them is told by its type alone. References that lead to several others each
would grow with a power of the depth."""


class _Root:
    """Where references lead, and how much has been written out."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.parts = 0


def simplified(schema: Any, depth: int = 0) -> dict[str, Any]:
    """A schema that allows whatever `schema` does, and not much more. depth: 1 for what is no tool's parameters."""
    return _simplified(schema, _Root(schema), depth) if isinstance(schema, Mapping) else {}


def _simplified(schema: Any, root: _Root, depth: int) -> dict[str, Any]:
    if not isinstance(schema, Mapping):
        return {}
    schema = resolve(schema, root.schema)
    root.parts += 1
    if depth > _MAX_DEPTH or root.parts > _MAX_PARTS:
        return _type(types(schema))
    if "const" in schema:
        return {"const": schema["const"]}
    if isinstance(choices := schema.get("enum"), list) and choices and len(choices) <= _MAX_CHOICES:
        return {"enum": choices}
    for union in ("anyOf", "oneOf"):
        if isinstance(branches := schema.get(union), list) and branches:
            beside = {key: value for key, value in schema.items() if key != union}
            return {
                "anyOf": [
                    _simplified({**beside, **resolve(branch, root.schema)}, root, depth + 1) for branch in branches
                ]
            }
    if isinstance(parts := schema.get("allOf"), list):
        schema = _merged([schema, *(resolve(part, root.schema) for part in parts)])
    names = types(schema)
    if len(names) > 1:
        return {"anyOf": [_simplified({**schema, "type": name, "nullable": False}, root, depth + 1) for name in names]}
    if names == ("object",):
        return _object(schema, root, depth)
    if names == ("array",):
        items = _simplified(schema.get("items"), root, depth + 1)
        return {"type": "array"} | ({"items": items} if items else {})
    return _type(names)


def _type(names: tuple[str, ...]) -> dict[str, Any]:
    return {"type": names[0]} if len(names) == 1 else {}


def _object(schema: Schema, root: _Root, depth: int) -> dict[str, Any]:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        extra = schema.get("additionalProperties")
        if extra is False or (depth == 0 and extra is None):
            # Nothing is asked for: a small model would invent something.
            return {"type": "object", "properties": {}, "additionalProperties": False}
        return {"type": "object"}
    if len(properties) > _MAX_PROPERTIES:
        return {"type": "object"}
    return {
        "type": "object",
        "properties": {str(name): _simplified(part, root, depth + 1) for name, part in properties.items()},
        "required": [name for name in required_names(schema) if name in properties],
        "additionalProperties": False,
    }


def _merged(parts: list[Schema]) -> Schema:
    """allOf of objects: what any of them asks for."""
    merged: dict[str, Any] = {key: value for key, value in parts[0].items() if key != "allOf"}
    properties: dict[str, Any] = {}
    required: list[str] = []
    for part in parts:
        if isinstance(own := part.get("properties"), Mapping):
            properties |= own
        required += [name for name in required_names(part) if name not in required]
        for key, value in part.items():
            if key not in ("allOf", "properties", "required"):
                merged.setdefault(key, value)
    return {**merged, **({"properties": properties, "required": required} if properties else {})}
