"""The official Python client of OpenAI, unchanged, against a real node with the starter model."""

import base64
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import (
    ChatCompletionMessageFunctionToolCall,
    ChatCompletionMessageParam,
    ChatCompletionToolParam,
)
from openai.types.responses import FunctionToolParam
from pydantic import BaseModel

from mycoswarm.core.embed import unpack
from tests.clients.running import RunningNode

pytestmark = pytest.mark.model

QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is a mushroom? One sentence."}]


class Animal(BaseModel):
    name: str
    legs: int


@pytest.fixture
def client(node: RunningNode) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{node.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture
async def later(node: RunningNode) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{node.url}/v1", api_key="none", max_retries=0) as made:
        yield made


# Chat


def test_a_question_is_answered(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o", messages=QUESTION, max_tokens=20)
    assert answer.choices[0].message.content
    assert answer.model == "smollm2:135m", "who really answered"
    assert answer.system_fingerprint
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 20


def test_a_stream_tells_what_the_whole_answer_tells(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "auto", "messages": QUESTION, "max_tokens": 20, "temperature": 0, "seed": 5}
    whole = client.chat.completions.create(**asked)
    text, usage = "", None
    for chunk in client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        usage = chunk.usage or usage
    assert text == whole.choices[0].message.content
    assert usage is not None
    assert whole.usage is not None
    assert usage.completion_tokens == whole.usage.completion_tokens


async def test_the_asynchronous_client_streams_too(later: openai.AsyncOpenAI) -> None:
    chunks = [
        chunk
        async for chunk in await later.chat.completions.create(
            model="auto", messages=QUESTION, max_tokens=8, stream=True
        )
    ]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "length"


def test_several_answers_with_a_seed_are_the_same_again(client: openai.OpenAI) -> None:
    def ask(count: int) -> list[str | None]:
        answer = client.chat.completions.create(
            model="auto", messages=QUESTION, max_tokens=12, n=count, seed=3, temperature=1
        )
        assert [choice.index for choice in answer.choices] == list(range(count))
        return [choice.message.content for choice in answer.choices]

    first, second = ask(2)
    assert first != second
    assert ask(1) == [first]


def test_it_stops_where_it_is_told_to(client: openai.OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Count: 1, 2, 3, 4, 5"}]
    free = client.chat.completions.create(model="auto", messages=messages, max_tokens=30, temperature=0)
    whole = free.choices[0].message.content
    assert whole
    word = whole.split()[2]
    held = client.chat.completions.create(model="auto", messages=messages, max_tokens=30, temperature=0, stop=[word])
    assert held.choices[0].message.content == whole[: whole.index(word)]
    assert held.choices[0].finish_reason == "stop"


def test_probabilities(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="auto", messages=QUESTION, max_tokens=4, logprobs=True, top_logprobs=3, temperature=0
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content
    assert "".join(token.token for token in logprobs.content) == answer.choices[0].message.content
    for token in logprobs.content:
        assert len(token.top_logprobs) == 3
        assert token.top_logprobs[0].token == token.token, "at temperature 0 the likeliest is taken"


def test_an_answer_of_a_wanted_shape(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(
        model="auto",
        messages=[{"role": "user", "content": "Describe a dog as JSON."}],
        response_format=Animal,
        max_tokens=60,
        temperature=0,
    )
    assert isinstance(answer.choices[0].message.parsed, Animal)


# Tools


WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
WEATHER_FLAT: FunctionToolParam = {
    "type": "function",
    "name": "weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": True,
}


def test_a_tool_is_called_and_its_result_heard(client: openai.OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the weather in Bonn?"}]
    asked: dict[str, Any] = {"model": "auto", "tools": [WEATHER], "temperature": 0, "max_tokens": 60}
    choice = client.chat.completions.create(messages=messages, tool_choice="required", **asked).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    call = choice.message.tool_calls[0]
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    assert call.function.name == "weather"
    assert isinstance(json.loads(call.function.arguments)["city"], str)
    messages.append({"role": "assistant", "tool_calls": [call.model_dump()]})  # pyright: ignore[reportArgumentType]
    messages.append({"role": "tool", "tool_call_id": call.id, "content": "It rains."})
    last = client.chat.completions.create(messages=messages, tool_choice="none", **asked).choices[0]
    assert last.message.content
    assert not last.message.tool_calls


def test_a_call_streams_in_pieces_that_make_the_whole(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="auto",
        messages=[{"role": "user", "content": "What is the weather in Bonn?"}],
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        temperature=0,
        max_tokens=60,
    ) as stream:
        pieces = [event.arguments_delta for event in stream if event.type == "tool_calls.function.arguments.delta"]
        calls = stream.get_final_completion().choices[0].message.tool_calls
    assert calls
    assert "".join(pieces) == calls[0].function.arguments


def test_a_response_calls_a_tool(client: openai.OpenAI) -> None:
    with client.responses.stream(
        model="auto",
        input="What is the weather in Bonn?",
        tools=[WEATHER_FLAT],
        tool_choice="required",
        temperature=0,
        max_output_tokens=60,
    ) as stream:
        pieces = [event.delta for event in stream if event.type == "response.function_call_arguments.delta"]
        final = stream.get_final_response()
    call = final.output[-1]
    assert call.type == "function_call"
    assert (call.name, call.arguments) == ("weather", "".join(pieces))
    history: Any = [
        {"role": "user", "content": "What is the weather in Bonn?"},
        *(item.model_dump(exclude_none=True) for item in final.output),
        {"type": "function_call_output", "call_id": call.call_id, "output": "It rains."},
    ]
    last = client.responses.create(model="auto", input=history, temperature=0, max_output_tokens=60)
    assert last.output_text


# Completions


def test_a_text_is_continued_as_it_stands(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model="auto", prompt=["1, 2, 3, 4,", "a, b, c, d,"], max_tokens=6, temperature=0, echo=True
    )
    numbers, letters = (choice.text for choice in answer.choices)
    assert numbers.startswith("1, 2, 3, 4, 5, 6")
    assert letters.startswith("a, b, c, d, e, f")


def test_a_continued_text_streams(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "auto", "prompt": "1, 2, 3, 4,", "max_tokens": 6, "temperature": 0}
    whole = client.completions.create(**asked, logprobs=2)
    text = "".join(chunk.choices[0].text for chunk in client.completions.create(**asked, stream=True))
    assert text == whole.choices[0].text
    logprobs = whole.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens is not None
    assert "".join(logprobs.tokens) == text


# Embeddings


def test_vectors_of_like_texts_are_alike(client: openai.OpenAI) -> None:
    texts = ["a mushroom in the forest", "fungi that grow among trees", "the stock market fell"]
    answer = client.embeddings.create(model="text-embedding-3-small", input=texts)
    fungus, fungi, market = (one.embedding for one in answer.data)

    def likeness(one: list[float], other: list[float]) -> float:
        return sum(a * b for a, b in zip(one, other, strict=True))

    assert likeness(fungus, fungi) > likeness(fungus, market) + 0.2
    assert answer.usage.prompt_tokens > 0


def test_vectors_as_numbers_are_those_in_base64(client: openai.OpenAI, node: RunningNode) -> None:
    said = client.embeddings.create(model="embed", input="a mushroom", encoding_format="float").data[0].embedding
    body = {"model": "embed", "input": "a mushroom", "encoding_format": "base64"}
    packed = httpx.post(f"{node.url}/v1/embeddings", json=body, timeout=60).json()["data"][0]["embedding"]
    assert unpack(base64.b64decode(packed)) == said


# Models


def test_models(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert {"auto", "embed", "smollm2:135m"} <= set(names)
    for name in (*names, "fast", "gpt-4o", "SmolLM2:135m"):
        assert client.models.retrieve(name).id == name


# Responses


def test_a_response(client: openai.OpenAI) -> None:
    answer = client.responses.create(
        model="auto",
        instructions="Be brief.",
        input="Say hi.",
        temperature=0,
        max_output_tokens=300,
        metadata={"for": "a test"},
    )
    assert (answer.status, answer.metadata) == ("completed", {"for": "a test"})
    assert answer.output_text
    assert answer.usage is not None
    assert answer.usage.output_tokens > 0
    with client.responses.stream(
        model="auto", instructions="Be brief.", input="Say hi.", temperature=0, max_output_tokens=300
    ) as stream:
        said = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert said == final.output_text == answer.output_text


def test_a_response_that_was_cut_off(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="auto", input="Tell me a long story.", max_output_tokens=5)
    assert (answer.status, answer.output_text != "") == ("incomplete", True)
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"


def test_a_response_of_a_wanted_shape(client: openai.OpenAI) -> None:
    answer = client.responses.parse(
        model="auto", input="Describe a dog as JSON.", text_format=Animal, temperature=0, max_output_tokens=60
    )
    assert isinstance(answer.output_parsed, Animal)


# Errors, as the client's own exceptions


def test_an_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refusal:
        client.chat.completions.create(model="no-such-model", messages=QUESTION)
    assert (refusal.value.code, refusal.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_1")


def test_wrong_requests(client: openai.OpenAI) -> None:
    long: list[ChatCompletionMessageParam] = [{"role": "user", "content": "word " * 20_000}]
    with pytest.raises(openai.BadRequestError) as refusal:
        client.chat.completions.create(model="auto", messages=long)
    assert refusal.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as refusal:
        client.chat.completions.create(model="auto", messages=QUESTION, temperature=-1)
    assert refusal.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as refusal:
        client.embeddings.create(model="embed", input=[[1, 2]])
    assert refusal.value.param == "input"
    picture: list[ChatCompletionMessageParam] = [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}
    ]
    with pytest.raises(openai.BadRequestError, match="cannot look at images"):
        client.chat.completions.create(model="auto", messages=picture)


def test_a_refusal_in_place_of_a_stream(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="no-such-model", messages=QUESTION, stream=True)
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="no-such-model", input="hi", stream=True)


def test_a_foreign_page(node: RunningNode) -> None:
    headers = {"origin": "https://evil.example"}
    with (
        openai.OpenAI(base_url=f"{node.url}/v1", api_key="none", max_retries=0, default_headers=headers) as client,
        pytest.raises(openai.PermissionDeniedError),
    ):
        client.models.list()


def test_through_a_proxy_a_token_is_needed(node: RunningNode) -> None:
    headers = {"x-forwarded-for": "10.0.0.9"}
    with openai.OpenAI(base_url=f"{node.url}/v1", api_key="none", max_retries=0, default_headers=headers) as client:
        with pytest.raises(openai.AuthenticationError) as refusal:
            client.models.list()
        assert refusal.value.code == "invalid_api_key"
        assert client.with_options(api_key=node.token).models.list().data
