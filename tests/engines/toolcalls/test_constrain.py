"""The request that a model without tools gets."""

import msgspec

from mycoswarm.core.chat import (
    ChatRequest,
    ImagePart,
    Message,
    ResponseFormat,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    message,
)
from mycoswarm.engines.toolcalls.constrain import constrained

LOOK = Tool(
    "look",
    "Look it\n  up",
    {
        "type": "object",
        "properties": {
            "q": {"type": "string"},
            "kind": {"enum": ["a", "b"]},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["q"],
    },
)
NOW = Tool("now", "x" * 400)
ASK = ChatRequest("m", (message("user", "?"),), tools=(LOOK, NOW), logprobs=1, parallel_tools=None)


def test_what_the_model_is_told() -> None:
    told = constrained(ASK).messages[0]
    assert told.role == "system"
    lines = told.text.splitlines()
    assert lines[:2] == ["Tools:", '- look(q: string, kind?: "a"|"b", tags?: string[]): Look it up']
    assert lines[2].startswith("- now(): xxx")
    assert len(lines[2]) < 330
    assert lines[3] == ('To call a tool, reply {"tool": name, "arguments": {...}}. Else reply {"answer": your answer}.')


def test_it_stands_behind_the_first_system_message() -> None:
    request = msgspec.structs.replace(ASK, messages=(message("system", "Be kind."), *ASK.messages))
    first, second = constrained(request).messages
    assert first.text.startswith("Be kind.\n\nTools:\n")
    assert second == ASK.messages[0]


def test_nothing_of_the_tools_is_left_for_the_engine() -> None:
    request = constrained(ASK)
    assert request.tools == ()
    assert request.tool_choice == ToolChoice()
    assert request.logprobs is None
    assert request.response_format.kind == "json_schema"


def test_schemas_by_choice() -> None:
    branches = constrained(ASK).response_format.json_schema["anyOf"]
    assert [branch["required"] for branch in branches] == [["tool", "arguments"]] * 2 + [["answer"]]
    assert branches[0]["properties"]["tool"] == {"const": "look"}
    required = msgspec.structs.replace(ASK, tool_choice=ToolChoice("required"))
    assert len(constrained(required).response_format.json_schema["anyOf"]) == 2
    named = constrained(msgspec.structs.replace(ASK, tool_choice=ToolChoice("named", "now")))
    assert named.response_format.json_schema["properties"]["tool"] == {"const": "now"}
    assert "look" not in named.messages[0].text
    several = constrained(msgspec.structs.replace(required, parallel_tools=True))
    assert several.response_format.json_schema["anyOf"][-1]["properties"]["calls"]["minItems"] == 1
    assert '{"calls": [' in several.messages[0].text


def test_an_answer_schema_becomes_the_answers_branch() -> None:
    schema = {"type": "object", "properties": {"mood": {"type": "string"}}, "required": ["mood"]}
    request = msgspec.structs.replace(ASK, response_format=ResponseFormat("json_schema", schema))
    answer = constrained(request).response_format.json_schema["anyOf"][-1]["properties"]["answer"]
    assert answer == schema | {"additionalProperties": False}
    anything = msgspec.structs.replace(ASK, response_format=ResponseFormat("json_object"))
    assert constrained(anything).response_format.json_schema["anyOf"][-1]["properties"]["answer"] == {"type": "object"}


def test_history_as_text() -> None:
    image = ImagePart("image/png", "AA")
    history = (
        Message("user", (TextPart("look"), image)),
        Message("assistant", (ThinkingPart("hm"), TextPart("I will."), ToolCallPart("c", "look", '{"q":"x"}'))),
        Message("tool", (ToolResultPart("c", "found"),)),
        Message("tool", (ToolResultPart("d", "broken", is_error=True),)),
        Message("user", (TextPart("and?"),)),
        Message("assistant", (ThinkingPart("hm"),)),
    )
    system, user, assistant, results = constrained(msgspec.structs.replace(ASK, messages=history)).messages
    assert system.role == "system"
    assert user.parts == (TextPart("look"), image)
    assert assistant.text == 'I will.\n{"tool": "look", "arguments": {"q":"x"}}'
    assert results.role == "user"
    assert results.text == "Result of look: found\nError of the tool: broken\nand?"


def test_a_tool_whose_lists_hold_themselves_is_told_of() -> None:
    lists = {"type": "array", "items": {"$ref": "#/$defs/lists"}}
    schema = {"properties": {"a": {"$ref": "#/$defs/lists"}}, "required": True, "$defs": {"lists": lists}}
    asked = ChatRequest("m", (message("user", "hi"),), tools=(Tool("look", "", schema),))
    assert "look(a?: any[][][][])" in constrained(asked).messages[0].text
