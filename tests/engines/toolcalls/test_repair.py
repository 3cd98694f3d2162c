"""Calls as written, to calls that their tools take. The many shapes are the corpus's."""

import pytest

from mycoswarm.core.chat import Tool
from mycoswarm.engines.toolcalls.repair import Call, Hopeless, Written, repair
from mycoswarm.engines.toolcalls.toolbox import Toolbox

CITY = Tool("look", "", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
FREE = Tool("note", "", {})
BOX = Toolbox([CITY, FREE])


@pytest.mark.parametrize("text", ['{"city": "Paris"}', '{ "city":"Paris" , "zip" : 75001 }', '{"city":"\\u00e9"}'])
def test_right_text_is_not_touched(text: str) -> None:
    assert repair(Written("look", text), BOX) == Call("look", text)


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ({"city": "Paris"}, '{"city":"Paris"}'),
        ('"{\\"city\\": \\"Paris\\"}"', '{"city":"Paris"}'),
        ("{'city': 'Paris'}", '{"city":"Paris"}'),
        ("Paris", '{"city":"Paris"}'),
        ('"Paris"', '{"city":"Paris"}'),
        ('{"city": 3}', '{"city":"3"}'),
        ([{"city": "Paris"}], '{"city":"Paris"}'),
        ({"parameters": {"city": "Paris"}}, '{"city":"Paris"}'),
        ({"parameters": "{'city': 'Paris'}"}, '{"city":"Paris"}'),
    ],
)
def test_arguments(given: object, arguments: str) -> None:
    assert repair(Written("functions.look", given), BOX) == Call("look", arguments)


def test_a_tool_that_asks_for_nothing_takes_anything() -> None:
    assert repair(Written("note", '{"a": [1]}'), BOX) == Call("note", '{"a": [1]}')
    assert repair(Written("note", ""), BOX) == Call("note", "{}")
    assert repair(Written("note", None), BOX) == Call("note", "{}")


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (Written("fly", "{}"), "there is no tool 'fly'"),
        (Written("look", "{}"), "the arguments of look cannot be used: city is missing"),
        (Written("look", "{" * 300), "the arguments of look cannot be used: it is no JSON and cannot be repaired"),
        (Written("note", "words"), "the arguments of note cannot be used: the value is no object"),
        (Written("note", "[1]"), "the arguments of note cannot be used: the value is no object"),
    ],
)
def test_beyond_repair(written: Written, why: str) -> None:
    result = repair(written, BOX)
    assert isinstance(result, Hopeless)
    assert result.why == why
