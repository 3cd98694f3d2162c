import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.api.dialect import Arrival
from mycoswarm.api.openai.responses_request import ResponseBody, read
from mycoswarm.core.chat import (
    ChatRequest,
    ImagePart,
    Message,
    ResponseFormat,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    message,
)
from mycoswarm.core.errors import InvalidRequest
from tests.api.openai.answers import CREATED, ID
from tests.api.openai.golden import WIRE, same
from tests.api.openai.strategies import json_values

PICTURE = "data:image/png;base64,AAAA"


def arrival(**fields: Any) -> Arrival:
    return Arrival(ID, CREATED, {}, {}, msgspec.json.encode({"input": "hi", **fields}))


def request(**fields: Any) -> ChatRequest:
    return read(arrival(**fields)).request


def test_a_text_with_instructions() -> None:
    asked = request(instructions="be brief", model="m", max_output_tokens=9, temperature=0, top_p=0.5)
    assert asked.messages == (message("system", "be brief"), message("user", "hi"))
    assert (asked.model, asked.max_tokens, asked.sampling.temperature, asked.sampling.top_p) == ("m", 9, 0, 0.5)


def test_what_an_assistant_did_in_a_row_is_one_message() -> None:
    asked = request(
        input=[
            {"role": "developer", "content": "be brief"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
            {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "sig",
             "content": [{"type": "reasoning_text", "text": "hm"}]},
            {"type": "message", "id": "msg", "role": "assistant", "status": "completed",
             "content": [{"type": "output_text", "text": "let me look", "annotations": []}]},
            {"type": "function_call", "id": "fc", "call_id": "c1", "name": "look", "arguments": "{}"},
            {"type": "function_call", "call_id": "c2", "name": "log", "namespace": "git", "arguments": "{}"},
            {"type": "custom_tool_call", "call_id": "c3", "name": "patch", "input": "*** Begin"},
            {"type": "function_call_output", "call_id": "c1", "output": "rain"},
            {"type": "function_call_output", "call_id": "c2",
             "output": [{"type": "input_text", "text": "seen"}, {"type": "input_image", "image_url": PICTURE}]},
            {"type": "custom_tool_call_output", "call_id": "c3", "output": "done"},
            {"type": "web_search_call", "id": "ws", "status": "completed"},
        ]
    )  # fmt: skip
    assert asked.messages == (
        message("system", "be brief"),
        message("user", "weather?"),
        Message(
            "assistant",
            (
                ThinkingPart("hm", "sig"),
                TextPart("let me look"),
                ToolCallPart("c1", "look", "{}"),
                ToolCallPart("c2", "git__log", "{}"),
                ToolCallPart("c3", "patch", '{"input":"*** Begin"}'),
            ),
        ),
        Message("tool", (ToolResultPart("c1", "rain"),)),
        Message("tool", (ToolResultPart("c2", "seen"),)),
        Message("tool", (ToolResultPart("c3", "done"),)),
        Message("user", (ImagePart("image/png", "AAAA"),)),
    )


def test_what_a_tool_showed_comes_before_the_next_words() -> None:
    output = [{"type": "input_image", "image_url": PICTURE}]
    asked = request(
        input=[
            {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": output},
            {"role": "user", "content": "and now?"},
        ]
    )
    assert [one.role for one in asked.messages] == ["assistant", "tool", "user", "user"]
    assert asked.messages[2].parts == (ImagePart("image/png", "AAAA"),)


def test_tools_choice_format_effort() -> None:
    schema = {"type": "object"}
    asked = request(
        tools=[
            {"type": "function", "name": "look", "parameters": schema, "strict": True},
            {"type": "custom", "name": "patch", "description": "edits"},
            {"type": "web_search"},
        ],
        tool_choice={"type": "custom", "name": "patch"},
        text={"format": {"type": "json_schema", "name": "x", "schema": schema, "strict": True}},
        reasoning={"effort": "high", "summary": "auto"},
        parallel_tool_calls=False,
        prompt_cache_key="k",
    )
    assert [tool.name for tool in asked.tools] == ["look", "patch"]
    assert asked.tool_choice == ToolChoice("named", "patch")
    assert asked.response_format == ResponseFormat("json_schema", schema, True)
    assert (asked.effort, asked.parallel_tools, asked.session) == ("high", False, "k")


def test_logprobs() -> None:
    assert request().logprobs is None
    assert request(top_logprobs=3).logprobs == 3
    assert request(include=["message.output_text.logprobs"]).logprobs == 0
    assert request(include=["reasoning.encrypted_content"]).logprobs is None


def test_what_the_request_said_is_repeated() -> None:
    asked = read(arrival(metadata={"a": "b"}, instructions="x", truncation="auto", store=True))
    assert asked.collector is not None
    told = msgspec.json.decode(asked.collector.body())
    assert (told["metadata"], told["instructions"]) == ({"a": "b"}, "x")
    assert (told["store"], told["truncation"]) == (False, "disabled"), "what is done, not what was asked for"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"background": True}, "background"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"type": 5}]}, "input[0].type"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
         "input[0].content[0].file_id"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://x/y"}]}]},
         "input[0].content[0].image_url"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tools": [{"type": "function", "name": ""}]}, "tools[0].name"),
        ({"reasoning": {"effort": "much"}}, "reasoning.effort"),
        ({"text": {"format": {"type": "xml"}}}, "text.format"),
        ({"truncation": "middle"}, "truncation"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        request(**fields)
    assert refusal.value.data["param"] == param


@pytest.mark.parametrize("name", ["responses_agent"])
def test_requests_of_agents_are_understood(name: str) -> None:
    asked = read(Arrival(ID, CREATED, {}, {}, (WIRE / f"{name}.request.json").read_bytes())).request
    same(f"{name}.canonical.json", msgspec.json.format(msgspec.json.encode(asked)) + b"\n")


@given(json_values)
def test_any_json_is_refused_or_understood(value: object) -> None:
    with contextlib.suppress(InvalidRequest):
        read(Arrival(ID, CREATED, {}, {}, msgspec.json.encode(value)))


@given(st.dictionaries(st.sampled_from(ResponseBody.__struct_encode_fields__), json_values))
def test_any_object_is_refused_or_understood(fields: dict[str, object]) -> None:
    with contextlib.suppress(InvalidRequest):
        request(**fields)


KINDS = ("message", "function_call", "function_call_output", "custom_tool_call", "reasoning", "item_reference", "new")
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(KINDS) | json_values,
        "role": st.sampled_from(("user", "assistant")) | json_values,
        **dict.fromkeys(("content", "call_id", "name", "arguments", "output", "summary", "input"), json_values),
    },
)


@given(st.lists(ITEMS, max_size=4))
def test_any_items_are_refused_or_understood(items: list[dict[str, object]]) -> None:
    with contextlib.suppress(InvalidRequest):
        request(input=items)
