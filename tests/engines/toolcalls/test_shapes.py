"""Shapes of calls. The many families' are the corpus's; here is what decides between a call and none."""

from typing import Any

import pytest

from mycoswarm.core.chat import Tool
from mycoswarm.engines.toolcalls.repair import Written
from mycoswarm.engines.toolcalls.shapes import (
    from_json,
    from_pairs,
    from_parameters,
    from_python,
    python_arguments,
)
from mycoswarm.engines.toolcalls.toolbox import Toolbox

LOOK = Tool("look", "", {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}})
BOX = Toolbox([LOOK, Tool("now")])


@pytest.mark.parametrize(
    "value",
    [
        {"name": "Alice"},
        {"name": "look"},
        {"name": "look", "job": "cook"},
        {"look": 3},
        {"look": {}, "now": {}},
        {"name": "look", "parameters": {"type": "object", "properties": {"city": {}}}},
        [{"name": "look", "arguments": {}}, {"name": "Alice"}],
        [],
        [1],
        "look",
        {"tool_calls": [{"name": "look", "arguments": {}}], "id": 1, "model": "x"},
    ],
)
def test_not_a_call_without_marks(value: Any) -> None:
    assert from_json(value, BOX, certain=False) is None


def test_marks_make_certain() -> None:
    assert from_json({"name": "look"}, BOX, certain=True) == [Written("look", {})]
    assert from_json({"name": "fly", "arguments": {}}, BOX, certain=True) == [Written("fly", {})]
    assert from_json({"name": "now"}, BOX, certain=False) == [Written("now", {})]


@pytest.mark.parametrize(
    ("source", "calls"),
    [
        ("look('Paris', days=2)", [Written("look", {"city": "Paris", "days": 2})]),
        ("print(look('Paris'))", [Written("look", {"city": "Paris"})]),
        ("x = await look(city='a')", [Written("look", {"city": "a"})]),
        ("[look(city=None), now()]", [Written("look", {"city": None}), Written("now", {})]),
        ("look(days=-1)", [Written("look", {"days": -1})]),
        ("look({'city': 'a'})", [Written("look", {"city": "a"})]),
        ("look('a', 1, 2)", None),
        ("look(*x)", None),
        ("look(**x)", None),
        ("look(city=x)", None),
        ("look(city=f'{x}')", None),
        ("look", None),
        ("fly()", None),
        ("import os\nlook('a')", None),
        ("(lambda: look)()", None),
        ("look(", None),
        ("", None),
    ],
)
def test_python(source: str, calls: list[Written] | None) -> None:
    assert from_python(source, BOX) == calls


def test_arguments_of_python() -> None:
    assert python_arguments("('a', days=true)", LOOK) == {"city": "a", "days": True}
    assert python_arguments("(x)", LOOK) is None
    assert python_arguments("(1", LOOK) is None
    assert python_arguments("() + 1", LOOK) is None


def test_tags() -> None:
    assert from_parameters("f", "<parameter=a>\n1\n</parameter>") == Written("f", {"a": "1"})
    assert from_parameters("f", '<parameter name="a">1</parameter>') == Written("f", {"a": "1"})
    assert from_parameters("f", ' {"a": 1} ') == Written("f", '{"a": 1}')
    assert from_parameters("f", "\n") == Written("f", {})
    assert from_parameters("f", "words") is None
    pairs = "<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n<arg_key>b</arg_key><arg_value>x"
    assert from_pairs("f", pairs) == Written("f", {"a": "1", "b": "x"})
    assert from_pairs("f", "words") is None
