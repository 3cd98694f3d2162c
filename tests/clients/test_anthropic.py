"""Anthropic's own Python client, unmodified, against a real node with the starter model.

What a model of 135 million parameters says is not looked at, only how it is told.
"""

from typing import Any

import anthropic
import pytest
from anthropic.types import Message

from tests.clients.running import RunningNode

pytestmark = pytest.mark.model

MODEL = "smollm2:135m"
TOOL: Any = {
    "name": "get_weather",
    "description": "The weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


@pytest.fixture(scope="module")
def client(node: RunningNode) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=node.url, api_key="any key at all", max_retries=0, timeout=120)


def say(*words: str) -> list[Any]:
    return [
        {"role": role, "content": text} for role, text in zip(("user", "assistant") * len(words), words, strict=False)
    ]


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_a_message(client: anthropic.Anthropic) -> None:
    raw = client.messages.with_raw_response.create(
        model=MODEL, max_tokens=16, system="Be brief.", messages=say("Say hello."), extra_body={"temperature": 0}
    )
    message = raw.parse()
    assert (message.type, message.role, message.model) == ("message", "assistant", MODEL)
    assert text_of(message)
    assert message.stop_reason in ("end_turn", "max_tokens")
    assert 1 <= message.usage.output_tokens <= 16
    assert message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0) > 5
    assert raw.headers["request-id"] == message._request_id
    assert raw.headers["x-mycoswarm-node"] == "boa"


def test_a_stream_is_the_same_message(client: anthropic.Anthropic) -> None:
    asked: Any = {"model": MODEL, "max_tokens": 24, "messages": say("Count to ten."), "extra_body": {"temperature": 0}}
    with client.messages.stream(**asked) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_message()
    whole = client.messages.create(**asked)
    assert text_of(streamed) == text_of(whole) != ""
    assert (streamed.stop_reason, streamed.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)
    assert streamed.usage.input_tokens + (streamed.usage.cache_read_input_tokens or 0) > 5
    assert (kinds[0], kinds[1], kinds[-1]) == ("message_start", "content_block_start", "message_stop")
    assert "content_block_stop" in kinds
    assert kinds[-2] == "message_delta"


def test_raw_events(client: anthropic.Anthropic) -> None:
    events = list(client.messages.create(model=MODEL, max_tokens=8, messages=say("Hi"), stream=True))
    assert [event.type for event in events if event.type != "content_block_delta"] == [
        "message_start",
        "content_block_start",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_the_beta_endpoint_and_system_blocks(client: anthropic.Anthropic) -> None:
    message = client.beta.messages.create(
        model=MODEL,
        max_tokens=8,
        betas=["context-management-2025-06-27"],
        system=[
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.330; cch=1;"},
            {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
        ],
        messages=[{"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}]}],
        metadata={"user_id": "user_1_session_2"},
    )
    assert message.usage.output_tokens > 0


def test_a_vendor_s_name_stands_for_what_there_is(client: anthropic.Anthropic) -> None:
    assert client.messages.create(model="claude-sonnet-9", max_tokens=4, messages=say("Hi")).model == MODEL


def test_an_answer_that_was_begun_is_continued(client: anthropic.Anthropic) -> None:
    asked = say("What is the capital of France? Answer in one sentence.", "The capital of France is")
    message = client.messages.create(model=MODEL, max_tokens=8, messages=asked, extra_body={"temperature": 0})
    assert "The capital of France is" not in text_of(message), "what was begun is not said again"
    assert "Paris" in text_of(message)


def test_words_that_end_an_answer(client: anthropic.Anthropic) -> None:
    asked = say("Repeat exactly: one two three four five six", "one two three")
    free: Any = {"model": MODEL, "max_tokens": 16, "messages": asked, "extra_body": {"temperature": 0}}
    full = text_of(client.messages.create(**free))
    word = full.split()[1]
    ended = client.messages.create(**free, stop_sequences=["no such words", word])
    assert text_of(ended) == full[: full.index(word)]

    assert (ended.stop_reason, ended.stop_sequence) == ("stop_sequence", word)


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
def test_a_call_and_its_result(client: anthropic.Anthropic, choice: Any) -> None:
    asked: Any = {"model": MODEL, "max_tokens": 64, "tools": [TOOL], "extra_body": {"temperature": 0}}
    question = say("What is the weather in Rome?")
    called = client.messages.create(**asked, messages=question, tool_choice=choice)
    assert called.stop_reason == "tool_use"
    (call,) = [block for block in called.content if block.type == "tool_use"]
    assert (call.name, list(call.input)) == ("get_weather", ["city"])
    with client.messages.stream(**asked, messages=question, tool_choice=choice) as stream:
        (again,) = [block for block in stream.get_final_message().content if block.type == "tool_use"]
    assert (again.name, again.input) == (call.name, call.input)
    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "sunny, 21 °C"}]}
    turns: Any = [*question, {"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
    answer = client.messages.create(**asked, messages=turns, tool_choice={"type": "none"})
    assert answer.stop_reason in ("end_turn", "max_tokens")
    assert text_of(answer)


def test_counting(client: anthropic.Anthropic) -> None:
    raw = client.messages.with_raw_response.count_tokens(model=MODEL, system="Be brief.", messages=say("Say hello."))
    message = client.messages.create(model=MODEL, max_tokens=1, system="Be brief.", messages=say("Say hello."))
    exact = message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)
    assert raw.parse().input_tokens == exact
    assert "x-mycoswarm-estimate" not in raw.headers


def test_the_models(client: anthropic.Anthropic) -> None:
    assert [model.id for model in client.models.list(limit=1)] == ["auto", MODEL]
    found = client.models.retrieve(MODEL)
    assert (found.id, found.type) == (MODEL, "model")
    assert found.max_input_tokens is None or found.max_input_tokens >= 1024
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("nothing")


def test_errors_are_of_their_classes(client: anthropic.Anthropic, node: RunningNode) -> None:
    asked: Any = {"model": MODEL, "max_tokens": 4, "messages": say("Hi")}
    with pytest.raises(anthropic.NotFoundError) as missing:
        client.messages.create(**{**asked, "model": "nothing:7b"})
    assert (missing.value.type, "'nothing:7b'" in missing.value.message) == ("not_found_error", True)
    assert missing.value.request_id
    with pytest.raises(anthropic.BadRequestError) as bad:
        client.messages.create(**{**asked, "messages": []})
    assert bad.value.type == "invalid_request_error"
    picture: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    with pytest.raises(anthropic.BadRequestError, match="images"):
        client.messages.create(**{**asked, "messages": [{"role": "user", "content": [picture]}]})
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > \d+ maximum"):
        client.messages.create(**{**asked, "messages": say("word " * 100_000)})
    with pytest.raises(anthropic.RequestTooLargeError):
        client.messages.create(**{**asked, "messages": say("w" * (65 << 20))})
    with pytest.raises(anthropic.AuthenticationError) as proxied:
        client.messages.create(**asked, extra_headers={"x-forwarded-for": "10.0.0.9"})
    assert proxied.value.type == "authentication_error"
    owner = anthropic.Anthropic(base_url=node.url, auth_token=node.token, max_retries=0)
    assert owner.messages.create(**asked, extra_headers={"x-forwarded-for": "10.0.0.9"}).type == "message"


async def test_the_asynchronous_client_streams_too(node: RunningNode) -> None:
    client = anthropic.AsyncAnthropic(base_url=node.url, api_key="x", max_retries=0)
    async with client, client.messages.stream(model=MODEL, max_tokens=8, messages=say("Hi")) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        assert text == text_of(await stream.get_final_message()) != ""
