"""Values and the schemas they are brought into."""

import contextlib
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.engines.toolcalls.schema import Mismatch, fit, required_names, resolve, takes_null, types

STRING, INTEGER, NUMBER, BOOLEAN = ({"type": name} for name in ("string", "integer", "number", "boolean"))
POINT = {"type": "object", "properties": {"x": NUMBER, "y": NUMBER}, "required": ["x", "y"]}


@pytest.mark.parametrize(
    ("value", "schema", "fitted"),
    [
        ("3", INTEGER, 3),
        (3.0, INTEGER, 3),
        ("3.5", NUMBER, 3.5),
        ("1,234", INTEGER, 1234),
        (["3"], INTEGER, 3),
        ("true", BOOLEAN, True),
        ("No", BOOLEAN, False),
        (1, BOOLEAN, True),
        (3, STRING, "3"),
        (True, STRING, "true"),
        ({"a": 1}, STRING, '{"a":1}'),
        (["x"], STRING, "x"),
        ("x", {"type": "array", "items": STRING}, ["x"]),
        ("x, y", {"type": "array", "items": STRING}, ["x", "y"]),
        ("3", {"type": "array", "items": INTEGER}, [3]),
        ('["x"]', {"type": "array", "items": STRING}, ["x"]),
        ('{"x": 1, "y": "2"}', POINT, {"x": 1, "y": 2}),
        ({"X": 1, "Y": 2}, POINT, {"x": 1, "y": 2}),
        ("Red", {"enum": ["red", "green"]}, "red"),
        ("gren", {"enum": ["red", "green"]}, "green"),
        ("dark red", {"enum": ["dark-red", "green"]}, "dark-red"),
        ("1", {"enum": [1, 2]}, 1),
        ("none", {"enum": ["a", None]}, None),
        ("null", {"type": ["string", "null"]}, "null"),
        ("null", STRING, "null"),
        (None, {"type": "string", "nullable": True}, None),
        ("4", {"anyOf": [INTEGER, {"type": "null"}]}, 4),
        ("4", {"anyOf": [INTEGER, STRING]}, "4"),
        (None, {"anyOf": [STRING, {"type": "null"}]}, None),
        ({"x": "1"}, {"allOf": [{"properties": {"x": NUMBER}}, {"required": ["x"]}]}, {"x": 1}),
        ("anything", {}, "anything"),
        ("anything", True, "anything"),
        ("3", {"type": "any"}, "3"),
    ],
)
def test_repairs(value: Any, schema: Any, fitted: Any) -> None:
    found = fit(value, schema)
    assert found == fitted
    assert type(found) is type(fitted)


@pytest.mark.parametrize(
    ("value", "schema", "why"),
    [
        ("x", INTEGER, "the value is no number"),
        (1.5, INTEGER, "no whole number"),
        ("maybe", BOOLEAN, "neither true nor false"),
        (None, STRING, "is null"),
        ("blue", {"enum": ["red", "green"]}, 'is none of "red", "green"'),
        ({"x": 1}, POINT, "y is missing"),
        ({"x": 1, "y": "z"}, POINT, "y is no number"),
        ([{"x": 1, "y": 1}, {"x": 1}], {"type": "array", "items": POINT}, r"\[1\].y is missing"),
        (None, {"type": "array"}, "is no list"),
        (float("inf"), INTEGER, "no whole number"),
        ("x", {"type": "null"}, "is not null"),
    ],
)
def test_what_cannot_be(value: Any, schema: Any, why: str) -> None:
    with pytest.raises(Mismatch, match=why):
        fit(value, schema)


def test_keys() -> None:
    schema = {"type": "object", "properties": {"file_path": STRING, "mode": STRING}, "required": ["file_path"]}
    assert fit({"filePath": "a"}, schema) == {"file_path": "a"}
    assert fit({"file_pth": "a"}, schema) == {"file_path": "a"}
    assert fit({"file_path": "a", "File_Path": "b"}, schema)["file_path"] == "a"
    assert fit({"file_path": "a", "extra": 1}, schema) == {"file_path": "a", "extra": 1}
    assert fit({"file_path": "a", "extra": 1}, schema | {"additionalProperties": False}) == {"file_path": "a"}
    assert fit({"file_path": "a", "mode": None}, schema) == {"file_path": "a"}


def test_defaults_and_nulls_fill_what_is_required() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer", "default": 4}, "b": {"type": ["string", "null"]}, "c": {"const": "x"}},
        "required": ["a", "b", "c"],
    }
    assert fit({}, schema) == {"a": 4, "b": None, "c": "x"}


def test_references() -> None:
    shared = {"p": POINT, "q": {"$ref": "#/$defs/p"}, "a/b": STRING}
    root = {"$defs": shared, "properties": {"p": {"$ref": "#/$defs/q"}}}
    assert fit({"p": {"x": "1", "y": 2}}, root) == {"p": {"x": 1, "y": 2}}
    assert resolve({"$ref": "#/$defs/a~1b"}, root) == STRING
    assert resolve({"$ref": "https://example.com/x"}, root) == {}
    assert resolve({"$ref": "#/nowhere"}, root) == {}
    circular = {"$defs": {"a": {"$ref": "#/$defs/a"}}}
    assert resolve({"$ref": "#/$defs/a"}, circular) == {}


def test_recursion_ends_with_the_value() -> None:
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}, "v": INTEGER}}
    assert fit({"next": {"next": {"v": "1"}}}, tree) == {"next": {"next": {"v": 1}}}


def test_types_and_null() -> None:
    assert types({"type": ["null", "string"]}) == ("string", "null")
    assert types({"properties": {}}) == ("object",)
    assert types({"type": "STRING"}) == ("string",)
    assert takes_null({"anyOf": [STRING, {"type": "null"}]}, {})
    assert not takes_null(STRING, {})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
SCHEMAS = st.recursive(
    st.sampled_from([STRING, INTEGER, NUMBER, BOOLEAN, {"type": "null"}, {}, {"enum": ["a", 1, None]}]),
    lambda inner: st.one_of(
        inner.map(lambda items: {"type": "array", "items": items}),
        st.dictionaries(st.text(max_size=3), inner, max_size=3).map(
            lambda properties: {"type": "object", "properties": properties, "required": list(properties)[:1]}
        ),
        st.lists(inner, min_size=1, max_size=2).map(lambda branches: {"anyOf": branches}),
    ),
    max_leaves=4,
)


@given(VALUES, SCHEMAS)
def test_what_fits_is_not_changed_again(value: Any, schema: Any) -> None:
    try:
        fitted = fit(value, schema)
    except Mismatch:
        return
    assert fit(fitted, schema) == fitted


NODE = {"$ref": "#/$defs/node"}
CIRCLES: list[dict[str, Any]] = [
    {"anyOf": [NODE]},
    {"anyOf": [NODE, NODE]},
    {"allOf": [NODE, NODE]},
    {"type": "array", "items": NODE},
    {"type": "object", "properties": {"node": NODE}, "required": ["node"]},
    {"anyOf": [{"type": "array", "items": NODE}, {"type": "array", "items": {"anyOf": [NODE, NODE]}}]},
]


@pytest.mark.parametrize("node", CIRCLES)
@pytest.mark.parametrize("value", ["x", None, {"a": 1}, [[[["x"]]]]])
def test_a_schema_that_goes_round_in_circles_ends(node: dict[str, Any], value: Any) -> None:
    root = {"type": "object", "properties": {"a": NODE}, "$defs": {"node": node}}
    began = time.process_time()
    with contextlib.suppress(Mismatch):
        fit({"a": value}, root)
    assert time.process_time() - began < 5
    assert isinstance(takes_null(NODE, root), bool)


def test_a_value_nested_without_end_is_refused() -> None:
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    value: dict[str, Any] = {}
    for _ in range(400):
        value = {"next": value}
    with pytest.raises(Mismatch, match="nested too deeply"):
        fit(value, tree)


@pytest.mark.parametrize("required", [5, True, {"a": 1}, "a", ["a", ["b"], 3]])
def test_what_is_required_may_be_nonsense(required: Any) -> None:
    schema = {"properties": {"a": INTEGER}, "required": required}
    assert fit({"a": "1"}, {"type": "object", **schema}) == {"a": 1}
    assert required_names(schema) == (["a"] if isinstance(required, list) else [])


def test_thousands_of_wrong_names_are_not_compared_with_each_other() -> None:
    schema = {"type": "object", "properties": {f"property_{n}": STRING for n in range(5000)}}
    given = {f"propperty_{n}": "x" for n in range(5000)}
    began = time.process_time()
    assert fit(given, schema) == given
    assert time.process_time() - began < 5
