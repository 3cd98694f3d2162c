"""A value brought into the shape that a JSON schema asks for. Pure.

What is understood: type, properties, required, additionalProperties, items, enum, const, default, anyOf, oneOf, allOf,
local $ref, nullable. What only bounds a value (lengths, ranges, patterns, formats) is left to the tool: it knows best
what to say about a wrong one, and the model can read it.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mycoswarm.engines.toolcalls import lenient

Schema = Mapping[str, Any]
_MAX_REFS = 16
_NEAR = 0.8
_MAX_NEAR = 128
"""Names among which a nearly right one is looked for: each is compared with each."""
_MAX_DEPTH = 100
_MAX_STEPS = 25_000
"""A schema can refer to itself, and two alternatives that do double the work at each turn: tools are the client's, and
a client may be anybody."""
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_NULL = frozenset({"null", "none", "nil"})


class Mismatch(ValueError):
    """Why a value cannot be what the schema asks for; one clause that names the place."""


class _Root:
    """Where local references point into, and how much work has been done for it."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._depth = self._steps = 0

    def __enter__(self) -> None:
        """One step deeper. Raises Mismatch where there were too many."""
        if self._depth >= _MAX_DEPTH or self._steps >= _MAX_STEPS:
            raise Mismatch("its schema goes round in circles, or the value is nested too deeply")
        self._depth += 1
        self._steps += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1


def fit(value: Any, schema: Any) -> Any:
    """`value`, changed as little as it takes. Raises Mismatch."""
    return _fit(value, schema, _Root(schema), "") if isinstance(schema, Mapping) else value


def _fit(value: Any, schema: Any, root: _Root, path: str) -> Any:
    """path: what the value is called in errors, e.g. `days[2]`."""
    if not isinstance(schema, Mapping):
        return value
    with root:
        return _fitted(value, resolve(schema, root.schema), root, path)


def _fitted(value: Any, schema: Schema, root: _Root, path: str) -> Any:
    if "const" in schema:
        return _one_of(value, [schema["const"]], path)
    if isinstance(choices := schema.get("enum"), list):
        return _one_of(value, choices, path)
    for union in ("anyOf", "oneOf"):
        if isinstance(branches := schema.get(union), list) and branches:
            beside = {key: part for key, part in schema.items() if key != union}
            return _any(value, [{**beside, **resolve(branch, root.schema)} for branch in branches], root, path)
    if isinstance(parts := schema.get("allOf"), list):
        for part in parts:
            value = _fit(value, part, root, path)
    return _typed(value, schema, root, path)


def resolve(schema: Any, root: Schema) -> Schema:
    """The schema that a local reference leads to; an empty one (anything goes) for what leads nowhere."""
    for _ in range(_MAX_REFS):
        if not isinstance(schema, Mapping):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        if not (reference == "#" or reference.startswith("#/")):
            return beside
        target: Any = root
        for step in reference[2:].split("/") if len(reference) > 1 else ():
            step = step.replace("~1", "/").replace("~0", "~")
            target = target.get(step) if isinstance(target, Mapping) else None
        if not isinstance(target, Mapping):
            return beside
        schema = {**target, **beside} if beside else target
    return {}


def types(schema: Schema) -> tuple[str, ...]:
    """The types it names, `null` last; those that its properties or items imply where it names none."""
    named = schema.get("type")
    names = [named] if isinstance(named, str) else list(named) if isinstance(named, Sequence) else []
    known = [str(name).lower() for name in names if str(name).lower() in _FITTERS]
    if not known and not names:
        known = ["object"] if "properties" in schema else ["array"] if "items" in schema else []
    if schema.get("nullable") is True and known:
        known.append("null")
    return tuple(sorted(known, key=lambda name: name == "null"))


def required_names(schema: Schema) -> list[str]:
    """The properties that it asks for."""
    names = schema.get("required")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list | tuple) else []


def takes_null(schema: Any, root: Schema, depth: int = 0) -> bool:
    """Whether null is one of its values."""
    if depth > _MAX_REFS:
        return False
    schema = resolve(schema, root)
    if "const" in schema:
        return schema["const"] is None
    if isinstance(choices := schema.get("enum"), list):
        return None in choices
    for union in ("anyOf", "oneOf"):
        if isinstance(branches := schema.get(union), list):
            return any(takes_null(branch, root, depth + 1) for branch in branches)
    return "null" in types(schema)


def _one_of(value: Any, choices: list[Any], path: str) -> Any:
    for choice in choices:
        if choice == value and type(choice) is type(value):
            return choice
    if isinstance(value, list) and len(value) == 1:
        return _one_of(value[0], choices, path)
    said = _folded(value)
    same = [choice for choice in choices if _folded(choice) == said]
    if len(same) == 1:
        return same[0]
    if isinstance(value, str):
        near = choices if len(choices) <= _MAX_NEAR else []
        words = {_folded(choice): choice for choice in near if isinstance(choice, str)}
        if near := difflib.get_close_matches(said, words, 1, _NEAR):
            return words[near[0]]
        if said in _NULL and None in choices:
            return None
    listed = ", ".join(lenient.encode(choice) for choice in choices[:8])
    raise Mismatch(f"{_name(path)} is none of {listed}")


def _folded(value: Any) -> str:
    text = value if isinstance(value, str) else lenient.encode(value)
    return text.strip().strip("\"'").replace("-", "_").replace(" ", "_").casefold()


def _any(value: Any, branches: list[Schema], root: _Root, path: str) -> Any:
    """Through the branch that changes least: one that has the value's own type first."""
    problems: list[str] = []
    fitted: list[Any] = []
    for branch in branches:
        try:
            candidate = _fit(value, branch, root, path)
        except Mismatch as problem:
            problems.append(str(problem))
            continue
        if candidate == value and type(candidate) is type(value):
            return candidate
        fitted.append(candidate)
    if not fitted:
        raise Mismatch(problems[0])
    # A null that was guessed is the poorest reading of a text.
    return next((candidate for candidate in fitted if candidate is not None), fitted[0])


def _typed(value: Any, schema: Schema, root: _Root, path: str) -> Any:
    wanted = types(schema)
    if not wanted:
        return value
    for name in wanted:
        if _is(value, name):
            return _FITTERS[name](value, schema, root, path)
    problem: Mismatch | None = None
    # A text that says null is null where null may be; where text may be too, it stays text.
    if "null" in wanted and isinstance(value, str) and value.strip().lower() in _NULL:
        return None
    for name in wanted:
        try:
            return _FITTERS[name](value, schema, root, path)
        except Mismatch as failed:
            problem = problem or failed
    raise problem or Mismatch(f"{_name(path)} has the wrong type")


def _is(value: Any, name: str) -> bool:
    match name:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case _:
            return value is None


def _object(value: Any, schema: Schema, root: _Root, path: str) -> Any:
    value = _unpacked(value, dict)
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    required = required_names(schema)
    if not isinstance(value, dict):
        # A bare value for the one thing that is asked for.
        only = required[0] if len(required) == 1 else next(iter(properties)) if len(properties) == 1 else None
        if only is None or value is None:
            raise Mismatch(f"{_name(path)} is no object")
        value = {only: value}
    closed = schema.get("additionalProperties") is False
    fitted: dict[str, Any] = {}
    for key, each in value.items():
        name = _property(str(key), properties, value, path_is_closed=closed)
        if name not in properties:
            if not closed:
                fitted[name] = _fit(each, schema.get("additionalProperties"), root, _join(path, name))
            continue
        if each is None and name not in required and not takes_null(properties[name], root.schema):
            # An optional thing that was said to be nothing.
            continue
        fitted[name] = _fit(each, properties[name], root, _join(path, name))
    for key in required:
        if key in fitted:
            continue
        wanted = resolve(properties.get(key, {}), root.schema)
        if "default" in wanted:
            fitted[key] = wanted["default"]
        elif "const" in wanted:
            fitted[key] = wanted["const"]
        elif key in properties and takes_null(wanted, root.schema):
            fitted[key] = None
        else:
            raise Mismatch(f"{_name(_join(path, key))} is missing")
    return fitted


def _property(key: str, properties: Schema, given: dict[Any, Any], *, path_is_closed: bool) -> str:
    """The property that a key means: itself, another spelling, or (where nothing else may stand there) a near word."""
    if key in properties or max(len(properties), len(given)) > _MAX_NEAR:
        return key
    free = {_spelling(name): name for name in properties if name not in given}
    spelt = _spelling(key)
    if spelt in free:
        return free[spelt]
    near = difflib.get_close_matches(spelt, free, 2, _NEAR)
    if len(near) == 1 or (near and path_is_closed):
        return free[near[0]]
    return key


def _spelling(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _array(value: Any, schema: Schema, root: _Root, path: str) -> Any:
    value = _unpacked(value, list)
    if value is None:
        raise Mismatch(f"{_name(path)} is no list")
    items = schema.get("items")
    if not isinstance(value, list):
        if isinstance(value, str) and "," in value and "string" in types(resolve(items, root.schema)):
            value = [part.strip() for part in value.split(",") if part.strip()]
        else:
            value = [value]
    return [_fit(each, items, root, f"{path}[{index}]") for index, each in enumerate(value)]


def _string(value: Any, schema: Schema, root: _Root, path: str) -> Any:
    if isinstance(value, str):
        return value
    if value is None:
        raise Mismatch(f"{_name(path)} is null")
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return value[0]
    return lenient.encode(value)


def _number(value: Any, schema: Schema, root: _Root, path: str) -> Any:
    if _is(value, "number"):
        return value
    if isinstance(value, list) and len(value) == 1:
        return _number(value[0], schema, root, path)
    if isinstance(value, str):
        text = value.strip().replace("_", "")
        for reader in (int, float):
            try:
                number = reader(text)
            except ValueError:
                continue
            if math.isfinite(number):
                return number
        # A group of three digits is the one comma that is no decimal one.
        if "," in text and all(part.isdigit() and len(part) == 3 for part in text.split(",")[1:]):
            return _number(text.replace(",", ""), schema, root, path)
    raise Mismatch(f"{_name(path)} is no number")


def _integer(value: Any, schema: Schema, root: _Root, path: str) -> Any:
    number = _number(value, schema, root, path)
    if isinstance(number, float):
        if not number.is_integer():
            raise Mismatch(f"{_name(path)} is no whole number")
        return int(number)
    return number


def _boolean(value: Any, schema: Schema, root: _Root, path: str) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, str | int):
        said = str(value).strip().lower()
        if said in _TRUE or said in _FALSE:
            return said in _TRUE
    raise Mismatch(f"{_name(path)} is neither true nor false")


def _null(value: Any, schema: Schema, root: _Root, path: str) -> Any:
    if value is None or value == "" or (isinstance(value, str) and value.strip().lower() in _NULL):
        return None
    raise Mismatch(f"{_name(path)} is not null")


_FITTERS = {
    "object": _object,
    "array": _array,
    "string": _string,
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "null": _null,
}


def _unpacked(value: Any, kind: type) -> Any:
    """The object or list that a text holds, where it holds one: JSON in a JSON string, once or twice."""
    for _ in range(2):
        if not isinstance(value, str):
            break
        try:
            inner = lenient.read(value)
        except lenient.Unreadable:
            break
        if not isinstance(inner, kind | str):
            break
        value = inner
    return value


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _name(path: str) -> str:
    return path or "the value"
