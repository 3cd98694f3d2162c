import pytest

from mycoswarm.api.openai.tools import MOST_STOPS, MOST_TOOLS, chosen, effort, functions, limit, response_format, stops
from mycoswarm.core.chat import ResponseFormat, Tool, ToolChoice
from mycoswarm.core.errors import InvalidRequest

NESTED = {"type": "function", "function": {"name": "a", "description": "does", "parameters": {"type": "object"}}}
FLAT = {"type": "function", "name": "b", "strict": True}
OFFERED = (Tool("a", "does", {"type": "object"}), Tool("b"))


def test_functions_are_taken_in_both_forms_and_other_kinds_passed_over() -> None:
    assert functions([NESTED, {"type": "web_search"}, FLAT]) == OFFERED
    assert functions(None) == ()
    with pytest.raises(InvalidRequest):
        functions([FLAT] * (MOST_TOOLS + 1))


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (None, ToolChoice()),
        ("auto", ToolChoice()),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ({"type": "function", "function": {"name": "b"}}, ToolChoice("named", "b")),
        ({"type": "function", "name": "b"}, ToolChoice("named", "b")),
        ({"type": "custom", "custom": {"name": "a"}}, ToolChoice("named", "a")),
    ],
)
def test_choices(choice: str | dict[str, object] | None, wanted: ToolChoice) -> None:
    assert chosen(choice, OFFERED) == (OFFERED, wanted)


def test_allowed_tools_are_the_only_ones_offered() -> None:
    flat = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "b"}]}
    assert chosen(flat, OFFERED) == ((Tool("b"),), ToolChoice())
    for wrong in ({"type": "allowed_tools", "mode": "often", "tools": []}, {"type": "allowed_tools"}):
        with pytest.raises(InvalidRequest):
            chosen(wrong, OFFERED)


@pytest.mark.parametrize("choice", ["required", "sometimes", {"type": "function", "name": "c"}, {"type": "mcp"}])
def test_a_choice_that_cannot_be_kept_is_refused(choice: str | dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        chosen(choice, OFFERED if choice != "required" else ())


def test_formats() -> None:
    schema = {"type": "object"}
    assert response_format(None, "f") == response_format({"type": "text"}, "f") == ResponseFormat()
    assert response_format({"type": "json_schema", "schema": schema}, "f") == ResponseFormat("json_schema", schema)
    with pytest.raises(InvalidRequest):
        response_format({"type": "json_schema", "schema": schema, "strict": "very"}, "f")


def test_efforts_limits_and_stops() -> None:
    assert effort(None, "e") == (None, None)
    assert effort("none", "e") == (False, None)
    assert effort("medium", "e") == (None, "medium")
    assert (limit(None), limit(5), limit(2**40)) == (None, 5, 2**31 - 1)
    assert (stops(None), stops("a"), stops(["", "b"])) == ((), ("a",), ("b",))
    with pytest.raises(InvalidRequest):
        stops(["a"] * (MOST_STOPS + 1))
