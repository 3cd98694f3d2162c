"""What dialects ask of an engine, asked of the embedded one with the real starter model."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import psutil
import pytest
import pytest_asyncio

from mycoswarm.core.chat import (
    ChatRequest,
    Delta,
    Finish,
    Logprobs,
    Message,
    ResponseFormat,
    Role,
    Sampling,
    Start,
    Text,
    Tool,
    Usage,
    message,
)
from mycoswarm.core.errors import ContextTooLong, InvalidRequest
from mycoswarm.core.ids import RequestId
from mycoswarm.engines.llamacpp import LlamaCpp
from mycoswarm.models.catalog import STARTER
from tests.engines.eventually import eventually
from tests.starter import shared_store, starter

pytestmark = [pytest.mark.model, pytest.mark.asyncio(loop_scope="module")]

GREEDY = Sampling(temperature=0.0, seed=1)
ASK = ChatRequest(
    STARTER,
    (message("user", "Count from one to twenty in words."),),
    RequestId("req-1"),
    sampling=GREEDY,
    max_tokens=24,
)
LOOK = Tool(
    "look_up",
    "Looks a word up in the dictionary",
    {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[LlamaCpp]:
    await starter()
    made = LlamaCpp(shared_store(), context=1024, slots=2)
    yield made
    await made.close()


def but(**fields: Any) -> ChatRequest:
    return msgspec.structs.replace(ASK, **fields)


def sampled(**fields: Any) -> ChatRequest:
    return but(sampling=msgspec.structs.replace(GREEDY, **fields))


async def collect(engine: LlamaCpp, request: ChatRequest) -> list[Delta]:
    return [delta async for delta in engine.chat(request)]


async def text(engine: LlamaCpp, request: ChatRequest) -> str:
    return text_of(await collect(engine, request))


def text_of(deltas: Sequence[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, Text))


def last(deltas: Sequence[Delta]) -> tuple[Finish, Usage]:
    finish, usage = deltas[-2:]
    assert isinstance(finish, Finish)
    assert isinstance(usage, Usage)
    return finish, usage


async def test_a_raw_prompt_is_continued_as_it_stands(engine: LlamaCpp) -> None:
    raw = but(messages=(), prompt="The capital of France is", max_tokens=5, logprobs=2)
    deltas = await collect(engine, raw)
    assert isinstance(deltas[0], Start)
    assert "Paris" in text_of(deltas)
    finish, usage = last(deltas)
    assert finish.reason == "length"
    assert (usage.prompt_tokens, usage.completion_tokens) == (5, 5)
    tokens = [token for delta in deltas if isinstance(delta, Logprobs) for token in delta.tokens]
    assert "".join(token.token for token in tokens) == text_of(deltas)
    assert all(len(token.top) == 2 for token in tokens)


async def test_logprobs_have_alternatives_and_bytes(engine: LlamaCpp) -> None:
    deltas = await collect(engine, but(logprobs=3, max_tokens=8))
    tokens = [token for delta in deltas if isinstance(delta, Logprobs) for token in delta.tokens]
    assert len(tokens) == last(deltas)[1].completion_tokens
    for token in tokens:
        assert token.logprob <= 0
        assert [other.logprob for other in token.top] == sorted((t.logprob for t in token.top), reverse=True)
        assert len(token.top) == 3
        assert bytes(token.bytes or ()).decode() == token.token


async def test_a_seed_gives_the_same_answer_again(engine: LlamaCpp) -> None:
    warm = but(sampling=Sampling(temperature=1.2, seed=7), max_tokens=20)
    first, again = await text(engine, warm), await text(engine, warm)
    assert first == again
    others = {
        await text(engine, but(sampling=Sampling(temperature=1.2, seed=seed), max_tokens=20)) for seed in (8, 9, 10)
    }
    assert others != {first}


async def test_which_stop_string_was_met_is_told(engine: LlamaCpp) -> None:
    whole = await text(engine, but(max_tokens=60))
    assert len(whole) > 40
    stop = whole[20:24]
    deltas = await collect(engine, msgspec.structs.replace(sampled(stop=("ZZZZ", stop)), max_tokens=60))
    finish, usage = last(deltas)
    assert (finish.reason, finish.stop) == ("stop", stop)
    assert text_of(deltas) == whole[: whole.index(stop)]
    assert 0 < usage.completion_tokens < 40
    assert usage.prompt_tokens == await engine.count_tokens(ASK)
    assert usage.decode_ms is not None
    ended = await collect(engine, msgspec.structs.replace(sampled(stop=("ZZZZ",)), max_tokens=5))
    assert (last(ended)[0].reason, last(ended)[0].stop) == ("length", None)


async def test_a_stop_string_frees_the_slot(engine: LlamaCpp) -> None:
    early = (await text(engine, ASK))[2:6]
    endless = msgspec.structs.replace(sampled(stop=(early,)), max_tokens=900)
    began = time.monotonic()
    for _ in range(6):
        await collect(engine, endless)
    assert time.monotonic() - began < 6


async def test_json_is_json(engine: LlamaCpp) -> None:
    ask = (message("user", "Give me a person with a name and an age."),)
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "maximum": 99}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    held = but(messages=ask, max_tokens=80, response_format=ResponseFormat("json_schema", schema))
    person = json.loads(await text(engine, held))
    assert set(person) == {"name", "age"}
    assert isinstance(person["age"], int)
    free = await text(engine, but(messages=ask, max_tokens=60, response_format=ResponseFormat("json_object")))
    assert free.lstrip().startswith("{")
    raw = but(messages=(), prompt="A person:", max_tokens=80, response_format=held.response_format)
    assert set(json.loads(await text(engine, raw))) == {"name", "age"}


@pytest.mark.parametrize(
    "schema", [{"type": "nonsense"}, {"$ref": "#/definitions/missing"}, {"type": "object", "properties": 5}]
)
async def test_a_schema_that_cannot_be_used_is_the_requests_fault(engine: LlamaCpp, schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        await collect(engine, but(response_format=ResponseFormat("json_schema", schema)))


async def test_a_grammar_that_cannot_be_used_is_the_requests_fault(engine: LlamaCpp) -> None:
    with pytest.raises(InvalidRequest, match="grammar"):
        await collect(engine, but(dialect="openai", extra={"grammar": "root ::= ((("}))
    yes = but(dialect="openai", extra={"grammar": 'root ::= "yes"'})
    assert await text(engine, yes) == "yes"


async def test_what_was_computed_before_is_told_as_cached(engine: LlamaCpp) -> None:
    ask = but(messages=(message("user", "A story of a lighthouse keeper. " * 10),), max_tokens=4)
    await collect(engine, ask)
    usage = last(await collect(engine, ask))[1]
    assert 0 < usage.cached_tokens < usage.prompt_tokens


async def test_a_trailing_assistant_message_is_continued(engine: LlamaCpp) -> None:
    begun = (message("user", "Say the alphabet."), message("assistant", "A, B, C, D,"))
    assert (await text(engine, but(messages=begun, max_tokens=6))).lstrip().startswith("E")
    twice = (*begun[:1], message("assistant", "A, B,"), message("assistant", "C, D,"))
    assert await text(engine, but(messages=twice, max_tokens=6))


@pytest.mark.parametrize(
    "roles",
    [
        ("user", "system", "user"),
        ("system", "system", "user"),
        ("user", "user"),
        ("user", "assistant", "assistant", "user"),
        ("assistant", "user"),
        ("system",),
    ],
)
async def test_messages_in_any_order(engine: LlamaCpp, roles: tuple[Role, ...]) -> None:
    finish, usage = last(await collect(engine, but(messages=tuple(message(role, "hi") for role in roles))))
    assert finish.reason in ("stop", "length")
    assert usage.prompt_tokens > 0


async def test_empty_messages(engine: LlamaCpp) -> None:
    for empty in (message("user", ""), Message("user", ()), Message("assistant", ())):
        assert last(await collect(engine, but(messages=(empty, message("user", "hi")))))[1].prompt_tokens > 0


async def test_wishes_for_thinking_do_no_harm_to_a_model_that_cannot(engine: LlamaCpp) -> None:
    wish = but(thinking=False, effort="low", parallel_tools=False)
    assert await text(engine, wish) == await text(engine, ASK)


@pytest.mark.parametrize(
    "request_",
    [
        ASK,
        but(messages=(message("system", "Be short."), message("user", "grüße, 日本 😀 <|im_end|>"))),
        but(messages=(message("user", "Say it."), message("assistant", "It is"))),
        but(messages=(), prompt="Once upon a time there was"),
        but(response_format=ResponseFormat("json_schema", {"type": "object"})),
        but(messages=tuple(message("user" if i % 2 == 0 else "assistant", "word") for i in range(41))),
        but(tools=(LOOK,)),
    ],
)
async def test_counted_tokens_are_those_of_the_answers_usage(engine: LlamaCpp, request_: ChatRequest) -> None:
    usage = last(await collect(engine, msgspec.structs.replace(request_, max_tokens=1)))[1]
    assert await engine.count_tokens(request_) == usage.prompt_tokens


async def test_too_long_is_refused_before_anything_is_computed(engine: LlamaCpp) -> None:
    for long in (but(messages=(message("user", "word " * 3000),)), but(messages=(), prompt="word " * 3000)):
        began = time.monotonic()
        with pytest.raises(ContextTooLong) as refused:
            await collect(engine, long)
        assert time.monotonic() - began < 2
        assert refused.value.data["context"] == 1024
        assert refused.value.data["prompt_tokens"] == await engine.count_tokens(long)


async def test_more_tokens_than_the_context_are_clamped(engine: LlamaCpp) -> None:
    near = but(messages=(message("user", "word " * 980),), max_tokens=100_000)
    finish, usage = last(await collect(engine, near))
    assert finish.reason in ("length", "stop")
    assert usage.prompt_tokens + usage.completion_tokens <= 1024


async def test_ten_thousand_messages_are_bounded_in_time_and_memory(engine: LlamaCpp) -> None:
    await engine.count_tokens(ASK)
    child = psutil.Process(engine.child_pids()[STARTER])
    before, began = child.memory_info().rss, time.monotonic()
    many = tuple(message("user" if i % 2 == 0 else "assistant", "a few words here") for i in range(10_001))
    with pytest.raises(ContextTooLong):
        await collect(engine, but(messages=many))
    assert time.monotonic() - began < 20
    assert child.memory_info().rss - before < 200 << 20


async def test_the_client_cannot_reach_into_the_engine(engine: LlamaCpp) -> None:
    reach = {
        "id_slot": 99,
        "lora": [{"id": 0, "scale": 1.0}],
        "chat_template": "{{ 'pwned' }}",
        "response_fields": ["timings"],
        "echo": True,
        "ignore_eos": True,
        "verbose": True,
    }
    assert await text(engine, but(dialect="openai", extra=reach)) == await text(engine, ASK)


async def test_a_request_says_how_long_its_model_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    await starter()
    monkeypatch.setattr("mycoswarm.engines.llamacpp._HEARTBEAT_SECONDS", 0.2)
    engine = LlamaCpp(shared_store(), context=512, slots=1, keep_loaded=300.0)
    try:
        await collect(engine, but(max_tokens=1, keep=60.0))
        await asyncio.sleep(0.5)
        assert engine.child_pids(), "it stays"
        await collect(engine, but(max_tokens=1, keep=0.0))
        await eventually(lambda: not engine.child_pids(), 10)
    finally:
        await engine.close()


async def test_the_offer_tells_family_and_abilities() -> None:
    await starter()
    engine = LlamaCpp(shared_store(), context=512)
    (offer,) = [one for one in await engine.models() if one.name == STARTER]
    assert offer.dimensions is None, "it gives no vectors"
    await engine.close()


async def test_to_count_a_prompt_says_nothing_about_how_long_the_model_stays(engine: LlamaCpp) -> None:
    async for _ in engine.load(ASK.model, keep=-1.0):
        pass
    await engine.count_tokens(ASK)
    assert engine._loaded[ASK.model].stay.seconds == -1.0  # pyright: ignore[reportPrivateUsage]
