"""Schemas made simple: nothing that the tool takes is ruled out."""

from typing import Any

import pytest

from mycoswarm.engines.toolcalls.grammar import simplified

STRING = {"type": "string"}
CLOSED = {"type": "object", "properties": {}, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "simple"),
    [
        ({"type": "string", "pattern": "^a", "format": "date", "maxLength": 9}, {"type": "string"}),
        ({"type": "integer", "minimum": 1}, {"type": "integer"}),
        (
            {"type": "array", "items": {"type": "string"}, "maxItems": 10**6},
            {"type": "array", "items": {"type": "string"}},
        ),
        ({"type": "array", "prefixItems": []}, {"type": "array"}),
        ({"type": ["string", "null"]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"type": "string", "nullable": True}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"oneOf": [{"type": "string"}, {"const": 1}]}, {"anyOf": [{"type": "string"}, {"const": 1}]}),
        ({"enum": ["a", None]}, {"enum": ["a", None]}),
        ({"type": "string", "enum": [str(n) for n in range(999)]}, {"type": "string"}),
        ({"not": {}}, {}),
        (True, {}),
        ({"type": "any"}, {}),
        ({"type": "object"}, CLOSED),
        ({"type": "object", "additionalProperties": {"type": "string"}}, {"type": "object"}),
    ],
)
def test_words(schema: Any, simple: Any) -> None:
    assert simplified(schema) == simple


def test_objects_are_closed_and_keep_their_order() -> None:
    schema = {"type": "object", "properties": {"b": {"type": "string"}, "a": {}}, "required": ["a", "gone"]}
    assert list(simplified(schema)["properties"]) == ["b", "a"]
    assert simplified(schema)["required"] == ["a"]
    assert simplified(schema)["additionalProperties"] is False


def test_parts_of_allof_become_one() -> None:
    parts = [{"properties": {"x": {"type": "string"}}}, {"properties": {"y": {}}, "required": ["x"]}]
    assert simplified({"allOf": parts}) == {
        "type": "object",
        "properties": {"x": {"type": "string"}, "y": {}},
        "required": ["x"],
        "additionalProperties": False,
    }


def test_references_are_written_out_and_recursion_ends() -> None:
    tree = {"$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}}}, "$ref": "#/$defs/n"}
    simple = simplified(tree)
    depth = 0
    while "properties" in simple:
        simple, depth = simple["properties"]["next"], depth + 1
    assert simple == {"type": "object"}
    assert 5 < depth < 12


def test_references_that_branch_do_not_grow_with_a_power_of_the_depth() -> None:
    node = {"$ref": "#/$defs/node"}
    properties = {f"p{n}": node for n in range(9)}
    tree = {"properties": properties, "$defs": {"node": {"type": "object", "properties": properties}}}
    assert len(repr(simplified(tree))) < 2_000_000


@pytest.mark.parametrize("required", [5, True, ["a", ["b"]]])
def test_what_is_required_may_be_nonsense(required: Any) -> None:
    part = {"type": "object", "properties": {"a": STRING}, "required": required}
    assert simplified({"allOf": [part]})["required"] == (["a"] if isinstance(required, list) else [])
    assert simplified(part)["required"] == (["a"] if isinstance(required, list) else [])


def test_an_object_of_thousands_of_properties_is_any_object() -> None:
    assert simplified({"properties": {f"p{n}": STRING for n in range(10_000)}}) == {"type": "object"}
