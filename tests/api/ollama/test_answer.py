"""Golden traces: deltas in, the lines of their public API documents out; and a stream says what one object says."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.api.ollama.answer import Kind, Lines, Whole
from mycoswarm.core.chat import (
    Delta,
    Error,
    Finish,
    Logprobs,
    Note,
    Start,
    Text,
    Thinking,
    TokenLogprob,
    ToolArgs,
    ToolCall,
    Usage,
)
from mycoswarm.core.errors import ErrorBody
from mycoswarm.core.ids import NodeId, RequestId
from mycoswarm.engines.ollama_stream import OllamaStream
from mycoswarm.engines.stream import Deltas

START = Start(RequestId("req-1"), "m:7b", NodeId("id"), "miu", "embedded")
USAGE = Usage(26, 290, 4, prefill_ms=130.079, decode_ms=4709.213, load_ms=5.025959, first_token_ms=140.0)
HEAD = {"model": "m:7b", "created_at": "1970-01-01T00:00:05Z"}


def lines(kind: Kind, *deltas: Delta) -> list[dict[str, Any]]:
    writer = Lines(kind, "m", 5)
    data = b"".join(writer.write(delta) for delta in deltas) + writer.end()
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def whole(kind: Kind, *deltas: Delta) -> dict[str, Any]:
    collector = Whole(kind, "m", 5)
    for delta in deltas:
        collector.add(delta)
    return json.loads(collector.body())


def test_a_streamed_chat() -> None:
    deltas = (START, Text("The"), Text(" sky", 3), Finish("stop"), USAGE)
    assert lines("chat", *deltas) == [
        HEAD | {"message": {"role": "assistant", "content": "The"}, "done": False},
        HEAD | {"message": {"role": "assistant", "content": " sky"}, "done": False},
        HEAD
        | {
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": "stop",
            "total_duration": 4_849_213_000,
            "load_duration": 5_025_959,
            "prompt_eval_count": 26,
            "prompt_eval_duration": 130_079_000,
            "eval_count": 290,
            "eval_duration": 4_709_213_000,
        },
    ]


def test_a_generated_answer_in_one_piece() -> None:
    said = whole("generate", START, Thinking("hm"), Text("Blue"), Finish("length"), Usage(3, 1))
    assert said == HEAD | {
        "response": "Blue",
        "thinking": "hm",
        "done": True,
        "done_reason": "length",
        "prompt_eval_count": 3,
        "eval_count": 1,
    }, "what is zero or not known is left out"


def test_a_call_is_told_when_it_is_whole_and_its_arguments_are_an_object() -> None:
    deltas = (
        START,
        Thinking("hm"),
        ToolCall(0, "c1", "weather"),
        ToolArgs(0, '{"town":'),
        ToolArgs(0, '"Bern"}'),
        ToolCall(1, "c2", "time"),
        Finish("tool_calls"),
        Usage(1, 1),
    )
    first = {"id": "c1", "function": {"index": 0, "name": "weather", "arguments": {"town": "Bern"}}}
    second = {"id": "c2", "function": {"index": 1, "name": "time", "arguments": {}}}
    told = lines("chat", *deltas)
    assert [one["message"].get("tool_calls") for one in told] == [None, [first], [second], None]
    assert told[0]["message"]["thinking"] == "hm"
    assert told[-1]["done_reason"] == "stop"
    message = whole("chat", *deltas)["message"]
    assert message == {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [first, second]}


def test_a_call_that_broke_off_is_text_and_no_call() -> None:
    deltas = (START, ToolCall(0, "c", "weather"), ToolArgs(0, '{"town":"Be'), Finish("length"), Usage(1, 1))
    told = lines("chat", *deltas)
    assert told[0]["message"] == {"role": "assistant", "content": 'weather({"town":"Be'}
    assert whole("chat", *deltas)["message"]["content"] == 'weather({"town":"Be'


def test_logprobs() -> None:
    token = TokenLogprob("Hi", -0.25, (72, 105), (TokenLogprob("Ho", -2.0),))
    expected = [
        {"token": "Hi", "logprob": -0.25, "bytes": [72, 105], "top_logprobs": [{"token": "Ho", "logprob": -2.0}]}
    ]
    deltas = (START, Text("Hi"), Logprobs((token,)), Finish("stop"), Usage(1, 1))
    assert lines("chat", *deltas)[1]["logprobs"] == expected
    assert whole("chat", *deltas)["logprobs"] == expected


@pytest.mark.parametrize(("kind", "text"), [("chat", "message"), ("generate", "response")])
def test_what_is_said_beside_the_answer_is_an_empty_piece_of_it(kind: Kind, text: str) -> None:
    writer = Lines(kind, "auto", 5)
    empty: Any = {"role": "assistant", "content": ""} if kind == "chat" else ""
    silent = json.loads(writer.keep_alive())
    assert silent == {"model": "auto", "created_at": HEAD["created_at"], text: empty, "done": False}
    note = json.loads(writer.write(Note("queue", "2 before this one")))
    assert (note[text], note["done"], note["mycoswarm"]) == (empty, False, {"queue": "2 before this one"})
    late = json.loads(writer.late(START))
    assert (late[text], late["done"], late["mycoswarm"]) == (empty, False, {"node": "miu", "model": "m:7b"})


def test_a_failure_in_the_middle_is_one_line_and_the_last() -> None:
    told = lines("chat", START, Text("The"), Error(ErrorBody("peer_lost", "miu went away", "ask again")))
    assert told[-1] == {"error": "miu went away (ask again)"}
    assert len(told) == 2


PIECES = st.one_of(
    st.builds(Text, st.text(min_size=1)),
    st.builds(Thinking, st.text(min_size=1)),
    st.builds(
        lambda tokens: Logprobs(tuple(TokenLogprob(token, -1.0) for token in tokens)), st.lists(st.text(), max_size=2)
    ),
    st.builds(Note, st.just("queue"), st.text()),
)
CALLS = st.lists(st.sampled_from(('{"a":1}', "{}", "", "{", "[]")), max_size=3)


@given(
    st.lists(PIECES), CALLS, st.sampled_from(("chat", "generate")), st.sampled_from(("stop", "length", "tool_calls"))
)
def test_a_stream_and_one_object_agree(pieces: list[Delta], calls: list[str], kind: Kind, reason: Any) -> None:
    called = [
        step
        for index, text in enumerate(calls)
        for step in (ToolCall(index, f"c{index}", "f"), ToolArgs(index, text[:3]), ToolArgs(index, text[3:]))
    ]
    deltas = (START, *pieces, *called, Finish(reason), USAGE)
    told, said = lines(kind, *deltas), whole(kind, *deltas)
    assert [one["done"] for one in told] == [False] * (len(told) - 1) + [True]
    if kind == "generate":
        assert "".join(one["response"] for one in told) == said["response"]
    else:
        assert "".join(one["message"]["content"] for one in told) == said["message"]["content"]
        made = [call for one in told for call in one["message"].get("tool_calls", ())]
        assert made == said["message"].get("tool_calls", [])
    place = (lambda one: one["message"]) if kind == "chat" else (lambda one: one)
    assert "".join(place(one).get("thinking", "") for one in told) == place(said).get("thinking", "")
    assert [token for one in told for token in one.get("logprobs", ())] == said.get("logprobs", [])
    assert {key: told[-1].get(key) for key in ("done_reason", "eval_count", "total_duration")} == {
        key: said.get(key) for key in ("done_reason", "eval_count", "total_duration")
    }


@given(st.lists(st.text(min_size=1), max_size=5))
def test_our_own_reader_of_their_streams_reads_ours(texts: list[str]) -> None:
    """A node may stand before another one's Ollama port; what went in comes out."""
    writer = Lines("chat", "m", 5)
    data = b"".join(writer.write(delta) for delta in (START, *(Text(text) for text in texts), Finish("length"), USAGE))
    deltas = Deltas(RequestId("req-2"), "m", "ollama")
    deltas.start()
    stream = OllamaStream(deltas)
    read = [*stream.feed(data + writer.end()), *stream.end()]
    assert "".join(delta.text for delta in read if isinstance(delta, Text)) == "".join(texts)
    assert [delta.reason for delta in read if isinstance(delta, Finish)] == ["length"]
    (usage,) = [delta for delta in read if isinstance(delta, Usage)]
    assert (usage.prompt_tokens, usage.completion_tokens, usage.decode_ms) == (26, 290, 4709.213)
