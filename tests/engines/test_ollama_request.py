"""The canonical request as Ollama's body."""

import msgspec
import pytest

from mycoswarm.core.chat import (
    ChatRequest,
    Effort,
    ImagePart,
    Message,
    ResponseFormat,
    Sampling,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    message,
)
from mycoswarm.core.errors import InvalidRequest
from mycoswarm.engines.ollama_request import chat_body

PLAIN = ChatRequest("m", (message("user", "hi"),))


def test_the_context_is_always_explicit_and_nothing_is_cut_silently() -> None:
    assert chat_body(PLAIN, 4096) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "options": {"num_ctx": 4096},
        "truncate": False,
        "shift": False,
    }


def test_options() -> None:
    asked = msgspec.structs.replace(
        PLAIN, sampling=Sampling(temperature=0.0, seed=1, stop=("X",)), max_tokens=32_000, thinking=True, logprobs=3
    )
    body = chat_body(asked, 4096)
    assert body["options"] == {"num_ctx": 4096, "temperature": 0.0, "seed": 1, "stop": ["X"], "num_predict": 4096}
    assert body["think"] is True
    assert (body["logprobs"], body["top_logprobs"]) == (True, 3)


def test_only_harmless_options_of_the_same_dialect_pass() -> None:
    extra = {"options": {"mirostat": 1, "num_gpu": 99, "num_ctx": 1_000_000}}
    body = chat_body(msgspec.structs.replace(PLAIN, dialect="ollama", extra=extra), 4096)
    assert body["options"] == {"mirostat": 1, "num_ctx": 4096}
    assert chat_body(msgspec.structs.replace(PLAIN, extra=extra), 4096)["options"] == {"num_ctx": 4096}


def test_images_tools_and_results() -> None:
    asked = ChatRequest(
        "m",
        (
            Message("user", (TextPart("see"), ImagePart("image/png", "AAAA"))),
            Message("assistant", (ToolCallPart("c1", "look", '{"q": 1}'),)),
            Message("tool", (ToolResultPart("c1", "a cat"),)),
        ),
        tools=(Tool("look", "looks", {"type": "object"}),),
    )
    body = chat_body(asked, 4096)
    assert body["messages"] == [
        {"role": "user", "content": "see", "images": ["AAAA"]},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "look", "arguments": {"q": 1}}}],
        },
        {"role": "tool", "content": "a cat", "tool_name": "look"},
    ]
    assert len(body["tools"]) == 1
    assert "tools" not in chat_body(msgspec.structs.replace(asked, tool_choice=ToolChoice("none")), 4096)


def test_a_tool_that_failed_says_so_in_its_text() -> None:
    failed = Message("tool", (ToolResultPart("c1", "no such file", is_error=True), ToolResultPart("c2", "a dog")))
    told = chat_body(ChatRequest("m", (failed,)), 4096)["messages"]
    assert [one["content"] for one in told] == ["Error: no such file", "a dog"]


def test_arguments_that_are_no_object_are_the_clients_mistake() -> None:
    asked = ChatRequest("m", (Message("assistant", (ToolCallPart("c1", "look", "[1"),)),))
    with pytest.raises(InvalidRequest, match="look"):
        chat_body(asked, 4096)


def test_answer_formats() -> None:
    schema = ResponseFormat("json_schema", {"type": "object"})
    assert chat_body(msgspec.structs.replace(PLAIN, response_format=schema), 1)["format"] == {"type": "object"}
    assert (
        chat_body(msgspec.structs.replace(PLAIN, response_format=ResponseFormat("json_object")), 1)["format"] == "json"
    )


def test_a_raw_prompt_goes_without_template() -> None:
    raw = ChatRequest("m", (), prompt="Once upon", max_tokens=3)
    body = chat_body(raw, 4096)
    assert (body["prompt"], body["raw"]) == ("Once upon", True)
    assert "messages" not in body
    assert body["options"] == {"num_predict": 3, "num_ctx": 4096}


@pytest.mark.parametrize(("keep", "sent"), [(0.0, 0.0), (90.0, 90.0), (-1.0, -1), (-300.0, -1)])
def test_how_long_a_model_stays_is_forwarded(keep: float, sent: float) -> None:
    assert chat_body(msgspec.structs.replace(PLAIN, keep=keep), 4096)["keep_alive"] == sent
    assert "keep_alive" not in chat_body(PLAIN, 4096)


@pytest.mark.parametrize(
    ("thinking", "effort", "sent"),
    [
        (None, None, None),
        (True, None, True),
        (False, None, False),
        (None, "low", "low"),
        (True, "high", "high"),
        (False, "high", False),
    ],
)
def test_thinking_and_its_effort(thinking: bool | None, effort: Effort | None, sent: object) -> None:
    asked = msgspec.structs.replace(PLAIN, thinking=thinking, effort=effort)
    assert chat_body(asked, 4096).get("think") == sent
    assert "think" not in chat_body(asked, 4096, thinks=False)
