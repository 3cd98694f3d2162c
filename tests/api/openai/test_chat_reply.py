from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given

from mycoswarm.api.openai import documents
from mycoswarm.api.openai.chat_reply import ChunkWriter, Collector
from mycoswarm.core.chat import Delta, Finish, Start, Text, Thinking, Usage
from tests.api.openai.answers import ANSWERS, CREATED, ID, SEVERAL, START, TEXT, TOOLS
from tests.api.openai.golden import same
from tests.api.openai.strategies import answers


def streamed(deltas: tuple[Delta, ...], *, include_usage: bool = False, legacy: bool = False) -> bytes:
    writer = ChunkWriter(ID, CREATED, include_usage=include_usage, legacy=legacy)
    return b"".join(writer.write(delta) for delta in deltas) + writer.end()


def collected(deltas: tuple[Delta, ...], *, legacy: bool = False) -> dict[str, Any]:
    collector = Collector(ID, CREATED, legacy=legacy)
    for delta in deltas:
        collector.add(delta)
    return msgspec.json.decode(collector.body())


def events(raw: bytes) -> list[dict[str, Any]]:
    lines = [line for line in raw.split(b"\n\n") if line.startswith(b"data: {")]
    return [msgspec.json.decode(line.removeprefix(b"data: ")) for line in lines]


def put_together(raw: bytes) -> list[dict[str, Any]]:
    """The choices as a client adds them up."""
    choices: dict[int, dict[str, Any]] = {}
    for event in events(raw):
        for choice in event["choices"]:
            whole = choices.setdefault(choice["index"], {"content": "", "thought": "", "calls": {}, "finish": None})
            delta = choice["delta"]
            whole["content"] += delta.get("content") or ""
            whole["thought"] += delta.get("reasoning_content") or ""
            for call in delta.get("tool_calls", ()):
                made = whole["calls"].setdefault(call["index"], {"name": "", "arguments": ""})
                made["name"] += call["function"].get("name", "")
                made["arguments"] += call["function"].get("arguments", "")
            whole["finish"] = choice["finish_reason"] or whole["finish"]
    return [choice for _, choice in sorted(choices.items())]


@pytest.mark.parametrize("name", ANSWERS)
def test_every_byte_of_a_stream(name: str) -> None:
    same(f"chat_{name}.sse", streamed(ANSWERS[name], include_usage=True))


@pytest.mark.parametrize("name", [name for name in ANSWERS if name != "broken"])
def test_every_byte_of_an_answer_in_one_piece(name: str) -> None:
    same(f"chat_{name}.json", msgspec.json.format(msgspec.json.encode(collected(ANSWERS[name]))) + b"\n")


def test_the_old_form_of_a_call_has_one_call() -> None:
    same("chat_legacy.sse", streamed(TOOLS, legacy=True))
    choice = collected(TOOLS, legacy=True)["choices"][0]
    assert choice["message"]["function_call"] == {"name": "weather", "arguments": '{"city":"Bonn"}'}
    assert choice["finish_reason"] == "function_call"
    assert "tool_calls" not in choice["message"]


def test_usage_comes_only_when_asked_for() -> None:
    assert all(one["choices"] and "usage" not in one for one in events(streamed(TEXT)))
    last = events(streamed(TEXT, include_usage=True))[-1]
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 10)


def test_tokens_of_thought_are_a_share_of_all() -> None:
    deltas: tuple[Delta, ...] = (START, Thinking("abc"), Text("d"), Finish("stop"), Usage(1, 40))
    assert collected(deltas)["usage"]["completion_tokens_details"] == {"reasoning_tokens": 30}
    assert events(streamed(deltas, include_usage=True))[-1]["usage"] == collected(deltas)["usage"]


def test_the_fingerprint_is_that_of_whoever_answered() -> None:
    here = collected(TEXT)["system_fingerprint"]
    assert {one["system_fingerprint"] for one in events(streamed(TEXT))} == {here}
    other = msgspec.structs.replace(START, engine="ollama")
    assert collected((other, *TEXT[2:]))["system_fingerprint"] != here


def test_several_answers_keep_their_places() -> None:
    said = collected(SEVERAL)["choices"]
    assert [(one["index"], one["message"]["content"], one["finish_reason"]) for one in said] == [
        (0, "a", "length"),
        (1, "b", "stop"),
    ]


@given(answers())
def test_streamed_and_collected_tell_the_same(deltas: tuple[Delta, ...]) -> None:
    raw = streamed(deltas, include_usage=True)
    for event in events(raw):
        jsonschema_rs.validate(documents.CHUNK, event)
    whole = collected(deltas)
    jsonschema_rs.validate(documents.COMPLETION, whole)
    told = put_together(raw)
    assert len(told) == len({delta.choice for delta in deltas if isinstance(delta, Start)})
    for choice, stream in zip(whole["choices"], told, strict=True):
        message = choice["message"]
        assert (message["content"] or "") == stream["content"]
        assert message.get("reasoning_content", "") == stream["thought"]
        calls = [one["function"] for one in message.get("tool_calls", ())]
        assert calls == list(stream["calls"].values())
        assert choice["finish_reason"] == stream["finish"]
