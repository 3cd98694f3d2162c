from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given

from mycoswarm.api.dialect import Arrival
from mycoswarm.api.openai import documents
from mycoswarm.api.openai.completions import DEFAULT_TOKENS, TextCollector, TextWriter, read
from mycoswarm.core.chat import Delta, Sampling
from mycoswarm.core.errors import InvalidRequest
from tests.api.openai.answers import CREATED, ID, SEVERAL, TEXT, WEIGHED
from tests.api.openai.golden import same
from tests.api.openai.strategies import answers

ECHO = {0: "Once: ", 1: "Twice: "}


def arrival(**fields: Any) -> Arrival:
    return Arrival(ID, CREATED, {}, {}, msgspec.json.encode({"prompt": "Once", **fields}))


def streamed(deltas: tuple[Delta, ...], ahead: dict[int, str] | None = None) -> bytes:
    writer = TextWriter(ID, CREATED, ahead or {}, include_usage=True)
    return b"".join(writer.write(delta) for delta in deltas) + writer.end()


def collected(deltas: tuple[Delta, ...], ahead: dict[int, str] | None = None) -> dict[str, Any]:
    collector = TextCollector(ID, CREATED, ahead or {})
    for delta in deltas:
        collector.add(delta)
    return msgspec.json.decode(collector.body())


def test_a_prompt_is_continued_without_a_template() -> None:
    asked = read(arrival(temperature=0, stop="\n", n=2, seed=4, model="m", user="me", mirostat=2))
    request = asked.request
    assert (request.prompt, request.messages, request.max_tokens) == ("Once", (), DEFAULT_TOKENS)
    assert request.sampling == Sampling(temperature=0, stop=("\n",), seed=4)
    assert (asked.choices, asked.prompts, request.extra) == (2, (), {"mirostat": 2})
    assert asked.writer is None


def test_several_prompts_are_several_answers() -> None:
    asked = read(arrival(prompt=["a", "b"], n=3, stream=True))
    assert (asked.prompts, asked.choices) == (("a", "b"), 3)
    assert asked.writer is not None
    assert read(arrival(prompt=["a"])).prompts == ()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1], [2]]}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"suffix": "the end"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"echo": True, "logprobs": 1}, "echo"),
        ({"logprobs": 6}, "logprobs"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"prompt": ["a"] * 9, "n": 2}, "n"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read(arrival(**fields))
    assert refusal.value.data["param"] == param


def test_what_asks_for_nothing_is_taken() -> None:
    assert read(arrival(suffix="", best_of=1, echo=False, logprobs=0)).request.logprobs == 0


def test_every_byte_of_a_stream() -> None:
    same("completions_text.sse", streamed(TEXT))
    same("completions_weighed.sse", streamed(WEIGHED))
    same("completions_several_echo.sse", streamed(SEVERAL, ECHO))


def test_offsets_of_tokens_count_what_was_told_before() -> None:
    assert collected(WEIGHED)["choices"][0]["logprobs"] == {
        "tokens": ["Hi"],
        "token_logprobs": [-0.5],
        "top_logprobs": [{"Hi": -0.5, "Ho": -1.5}],
        "text_offset": [0],
    }
    assert collected(WEIGHED, ECHO)["choices"][0]["logprobs"]["text_offset"] == [6]


@given(answers())
def test_streamed_and_collected_tell_the_same(deltas: tuple[Delta, ...]) -> None:
    whole = collected(deltas, ECHO)
    jsonschema_rs.validate(documents.TEXT_COMPLETION, whole)
    text, finish, usage = "", None, None
    for line in streamed(deltas, ECHO).split(b"\n\n"):
        if not line.startswith(b"data: {"):
            continue
        event = msgspec.json.decode(line.removeprefix(b"data: "))
        jsonschema_rs.validate(documents.TEXT_COMPLETION, event)
        usage = event["usage"]
        for choice in event["choices"]:
            text += choice["text"]
            finish = choice["finish_reason"] or finish
    choice = whole["choices"][0]
    assert (choice["text"], choice["finish_reason"], whole["usage"]) == (text, finish, usage)
