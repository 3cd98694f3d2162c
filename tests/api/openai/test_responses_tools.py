import pytest

from mycoswarm.api.openai.responses_tools import Kind, custom_input, offered
from mycoswarm.core.errors import InvalidRequest


def test_tools_that_the_client_runs_are_functions_under_names_that_lead_back() -> None:
    found = offered(
        [
            {"type": "function", "name": "look", "parameters": {"type": "object"}},
            {"type": "custom", "name": "patch", "description": "edits", "format": {"type": "text"}},
            {"type": "namespace", "name": "git", "tools": [{"type": "function", "name": "log"}, {"type": "image"}]},
            {"type": "web_search"},
            {"type": "local_shell"},
        ]
    )
    assert [tool.name for tool in found.tools] == ["look", "patch", "git__log"]
    assert found.tools[1].parameters["required"] == ["input"]
    assert [found.kind(tool.name) for tool in found.tools] == [
        Kind("look"),
        Kind("patch", custom=True),
        Kind("log", "git"),
    ]
    assert found.kind("unheard of") == Kind("unheard of")
    assert found.flat("log", "git") == "git__log"


def test_a_grammar_is_told_to_the_model() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: WORD"}
    tool = offered([{"type": "custom", "name": "patch", "description": "edits", "format": grammar}]).tools[0]
    assert tool.description.startswith("edits")
    assert "start: WORD" in tool.description


def test_a_group_in_a_group_is_passed_over() -> None:
    inner = {"type": "namespace", "name": "b", "tools": [{"type": "function", "name": "f"}]}
    assert offered([{"type": "namespace", "name": "a", "tools": [inner]}]).tools == ()


def test_what_is_no_tool_is_refused() -> None:
    for wrong in ({}, {"type": 5}, {"type": "function"}, {"type": "custom", "name": "x", "description": 5}):
        with pytest.raises(InvalidRequest):
            offered([wrong])
    with pytest.raises(InvalidRequest):
        offered([{"type": "function", "name": "f"}] * 513)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"input":"a\\nb"}', "a\nb"),
        ('{"input":{"a":1}}', '{"a":1}'),
        ('{"other":1}', '{"other":1}'),
        ("*** Begin", "*** Begin"),
        ("", ""),
        ('"\ud800', '"\ud800'),
    ],
)
def test_the_text_of_a_custom_call(arguments: str, text: str) -> None:
    assert custom_input(arguments) == (text or "")
