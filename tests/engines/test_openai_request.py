"""The canonical request as OpenAI's body."""

import msgspec

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
from mycoswarm.engines.openai_request import chat_body

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
