"""The canonical request as OpenAI's body."""

import msgspec
import pytest

from mycoswarm.core.chat import (
    ChatRequest,
    ImagePart,
    Message,
    ResponseFormat,
    Sampling,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    message,
)
from mycoswarm.engines.openai_request import DENIED, chat_body

PLAIN = ChatRequest("m", (message("system", "be brief"), message("user", "hi")))


def test_what_is_not_said_is_not_sent() -> None:
    assert chat_body(PLAIN, "m") == {
        "model": "m",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_sampling_and_limits() -> None:
    sampling = Sampling(0.0, 0.9, 40, 0.05, 7, 0.1, 0.2, 1.1, ("END",))
    body = chat_body(msgspec.structs.replace(PLAIN, sampling=sampling, max_tokens=5, logprobs=2, thinking=False), "m")
    assert body["temperature"] == 0.0
    assert body["seed"] == 7
    assert body["stop"] == ["END"]
    assert body["max_tokens"] == 5
    assert (body["logprobs"], body["top_logprobs"]) == (True, 2)
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


def test_images_tools_and_their_results() -> None:
    request = ChatRequest(
        "m",
        (
            Message("user", (TextPart("what is this"), ImagePart("image/png", "AAAA"))),
            Message("assistant", (ThinkingPart("hm"), ToolCallPart("c1", "look", '{"q":1}'))),
            Message("tool", (ToolResultPart("c1", "a cat"), ToolResultPart("c2", "a dog"))),
        ),
        tools=(Tool("look", "looks", {"type": "object"}),),
        tool_choice=ToolChoice("named", "look"),
    )
    body = chat_body(request, "m")
    assert body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "what is this"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "hm",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"q":1}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
        {"role": "tool", "tool_call_id": "c2", "content": "a dog"},
    ]
    assert body["tools"][0]["function"]["name"] == "look"
    assert body["tool_choice"] == {"type": "function", "function": {"name": "look"}}


def test_a_tool_that_failed_says_so_in_its_text() -> None:
    failed = Message("tool", (ToolResultPart("c1", "no such file", is_error=True), ToolResultPart("c2", "a dog")))
    told = chat_body(ChatRequest("m", (failed,)), "m")["messages"]
    assert [one["content"] for one in told] == ["Error: no such file", "a dog"]


def test_answer_formats() -> None:
    json_object = msgspec.structs.replace(PLAIN, response_format=ResponseFormat("json_object"))
    assert chat_body(json_object, "m")["response_format"] == {"type": "json_object"}
    schema = ResponseFormat("json_schema", {"type": "object"})
    sent = chat_body(msgspec.structs.replace(PLAIN, response_format=schema), "m")["response_format"]
    assert sent["json_schema"]["schema"] == {"type": "object"}


def test_further_fields_go_to_the_same_dialect_only_and_never_into_the_engine() -> None:
    extra = {"xtc_probability": 0.1, "id_slot": 3, "lora": [], "model": "other", "stream": False, "n": 4}
    same = chat_body(msgspec.structs.replace(PLAIN, dialect="openai", extra=extra), "m")
    assert same["xtc_probability"] == 0.1
    assert not {"id_slot", "lora", "n"} & same.keys()
    assert (same["model"], same["stream"]) == ("m", True)
    assert "xtc_probability" not in chat_body(msgspec.structs.replace(PLAIN, dialect="ollama", extra=extra), "m")


@pytest.mark.parametrize("field", sorted(DENIED | {"speculative.n_max"}))
def test_nothing_of_the_engine_itself_is_in_reach(field: str) -> None:
    plain = chat_body(msgspec.structs.replace(PLAIN, dialect="openai"), "m")
    assert chat_body(msgspec.structs.replace(PLAIN, dialect="openai", extra={field: "x"}), "m") == plain


@pytest.mark.parametrize(
    "field", ["grammar", "samplers", "logit_bias", "guided_regex", "structured_outputs", "dry_multiplier", "bad_words"]
)
def test_what_shapes_the_text_goes_through(field: str) -> None:
    assert chat_body(msgspec.structs.replace(PLAIN, dialect="openai", extra={field: 1}), "m")[field] == 1


def test_wishes_for_thinking_join_those_for_the_template() -> None:
    extra = {"chat_template_kwargs": {"enable_thinking": True, "tone": "dry"}}
    request = msgspec.structs.replace(PLAIN, dialect="openai", extra=extra, thinking=False, effort="low")
    body = chat_body(request, "m")
    assert body["chat_template_kwargs"] == {"enable_thinking": False, "tone": "dry", "reasoning_effort": "low"}
    assert body["reasoning_effort"] == "low"
    odd = chat_body(msgspec.structs.replace(PLAIN, dialect="openai", extra={"chat_template_kwargs": "x"}), "m")
    assert odd["chat_template_kwargs"] == {}


def test_parallel_calls_are_said_where_there_are_tools() -> None:
    assert "parallel_tool_calls" not in chat_body(msgspec.structs.replace(PLAIN, parallel_tools=False), "m")
    tools = msgspec.structs.replace(PLAIN, parallel_tools=False, tools=(Tool("look"),))
    assert chat_body(tools, "m")["parallel_tool_calls"] is False


def test_a_raw_prompt_has_neither_messages_nor_template() -> None:
    schema = ResponseFormat("json_schema", {"type": "object"})
    raw = ChatRequest("m", (), prompt="Once", max_tokens=3, logprobs=2, response_format=schema, thinking=True)
    assert chat_body(raw, "m") == {
        "model": "m",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 3,
        "prompt": "Once",
        "logprobs": 2,
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}},
        "json_schema": {"type": "object"},
    }


def test_assistant_messages_at_the_end_are_one() -> None:
    request = ChatRequest("m", (message("user", "a"), message("assistant", "b"), message("assistant", "c")))
    assert chat_body(request, "m")["messages"] == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b\n\nc"},
    ]
