"""The event stream of OpenAI-style engines, however it is cut."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.core.chat import (
    Delta,
    Finish,
    Logprobs,
    Start,
    Text,
    Thinking,
    TokenLogprob,
    ToolArgs,
    ToolCall,
    Usage,
)
from mycoswarm.core.errors import EngineFailed
from mycoswarm.core.ids import RequestId
from mycoswarm.engines.stream import Deltas, Lines, OpenAIStream


def deltas() -> Deltas:
    return Deltas(RequestId("req"), "m", "e")


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def said(content: str | None = None, finish: str | None = None, **fields: Any) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": content, **fields}, "finish_reason": finish}]})


def run(data: bytes, cuts: list[int] | None = None) -> list[Delta]:
    made = deltas()
    stream = OpenAIStream(made)
    out: list[Delta] = [made.start()]
    edges = [0, *sorted(cuts or []), len(data)]
    for start, end in itertools.pairwise(edges):
        out += stream.feed(data[start:end])
    return [*out, *stream.end()]


DONE = b"data: [DONE]\n\n"
USAGE = event(
    {
        "choices": [],
        "usage": {"prompt_tokens": 40, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 24}},
        "timings": {"cache_n": 24, "prompt_n": 16, "prompt_ms": 50.5, "predicted_n": 3, "predicted_ms": 60.25},
    }
)


def test_an_answer_as_llama_cpp_gives_it() -> None:
    data = said(None, role="assistant") + said("H") + said("é 🎉") + said("!") + said(finish="length") + USAGE + DONE
    assert run(data) == [
        Start(RequestId("req"), "m", engine="e", seq=0),
        Text("H", 0, seq=1),
        Text("é 🎉", 1, seq=2),
        Text("!", 8, seq=3),
        Finish("length", seq=4),
        Usage(40, 3, 24, prefill_ms=50.5, decode_ms=60.25, seq=5),
    ]


@given(st.lists(st.text(min_size=1), max_size=12), st.lists(st.integers(0, 2000), max_size=20))
def test_cuts_change_nothing(texts: list[str], cuts: list[int]) -> None:
    data = b"".join(said(text) for text in texts) + said(finish="stop") + USAGE + DONE
    out = run(data, [cut % (len(data) + 1) for cut in cuts])
    assert out == run(data)
    assert "".join(delta.text for delta in out if isinstance(delta, Text)) == "".join(texts)
    assert [delta.seq for delta in out] == list(range(len(out)))
    offset = 0
    for delta in out:
        if isinstance(delta, Text):
            assert delta.offset == offset
            offset += len(delta.text.encode())


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_comments_ids_and_both_line_ends(end: bytes) -> None:
    data = (b": ping\n\nid: 7\nevent: message\n" + said("a") + said(finish="stop") + DONE).replace(b"\n", end)
    assert [delta for delta in run(data) if isinstance(delta, Text)] == [Text("a", 0, seq=1)]


def test_a_last_line_without_an_end() -> None:
    assert isinstance(run(said("a") + said(finish="stop") + DONE.rstrip())[-1], Usage)


def test_an_event_in_several_data_lines() -> None:
    data = b'data: {"choices": [{"delta":\ndata: {"content": "x"}}]}\n\n' + said(finish="stop") + DONE
    assert Text("x", 0, seq=1) in run(data)


def test_thinking_by_both_names() -> None:
    out = run(said(reasoning_content="hm") + said(reasoning="so") + said("x", "stop") + DONE)
    assert out[1:4] == [Thinking("hm", seq=1), Thinking("so", seq=2), Text("x", 0, seq=3)]


def test_tool_calls_in_pieces() -> None:
    def call(index: int, call_id: str | None, name: str | None, arguments: str) -> bytes:
        piece = {"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}
        return said(tool_calls=[piece])

    data = (
        call(0, "a", "look", "") + call(0, None, None, '{"q":') + call(1, "b", "go", "{}") + call(0, None, None, "1}")
    )
    out = run(data + said(finish="tool_calls") + DONE)
    assert out[1:-1] == [
        ToolCall(0, "a", "look", seq=1),
        ToolArgs(0, '{"q":', seq=2),
        ToolCall(1, "b", "go", seq=3),
        ToolArgs(1, "{}", seq=4),
        ToolArgs(0, "1}", seq=5),
        Finish("tool_calls", seq=6),
    ]


def test_tool_calls_without_index_or_id() -> None:
    one = {"function": {"name": "look", "arguments": "{}"}}
    out = run(said(tool_calls=[{"id": "x", **one}]) + said(tool_calls=[{"id": "y", **one}]) + DONE)
    calls = [delta for delta in out if isinstance(delta, ToolCall)]
    assert [(call.index, call.id) for call in calls] == [(0, "x"), (1, "y")]
    assert Finish("tool_calls", seq=5) in out
    (alone,) = [d for d in run(said(tool_calls=[one]) + DONE) if isinstance(d, ToolCall)]
    assert alone.id == "call-req-0"


def test_logprobs_come_with_alternatives() -> None:
    token = {"token": "é", "logprob": -0.5, "bytes": [195, 169], "top_logprobs": [{"token": "e", "logprob": -1.0}]}
    chunk = {"choices": [{"index": 0, "delta": {"content": "é"}, "logprobs": {"content": [token]}}]}
    out = run(event(chunk) + said(finish="stop") + DONE)
    assert out[2] == Logprobs((TokenLogprob("é", -0.5, (195, 169), (TokenLogprob("e", -1.0),)),), seq=2)


def test_other_choices_are_not_mixed_in() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "no"}}]}
    assert not any(isinstance(delta, Text) for delta in run(event(other) + said(finish="stop") + DONE))


def test_usage_by_timings_alone() -> None:
    data = said("a", "stop") + event({"timings": {"cache_n": 5, "prompt_n": 7, "prompt_ms": 1.0, "predicted_n": 1}})
    assert run(data + DONE)[-1] == Usage(12, 1, 5, prefill_ms=1.0, seq=3)


def test_no_usage_is_zero_usage() -> None:
    assert run(said("a", "stop") + DONE)[-1] == Usage(seq=3)


@pytest.mark.parametrize(
    "line",
    [b'data: {"error": {"message": "out of memory", "code": 500}}\n\n', b'error: {"error": "out of memory"}\n\n'],
)
def test_an_error_in_the_middle(line: bytes) -> None:
    stream = OpenAIStream(deltas())
    assert list(stream.feed(said("a")))
    with pytest.raises(EngineFailed, match="out of memory"):
        list(stream.feed(line))


def test_an_end_in_the_middle() -> None:
    with pytest.raises(EngineFailed, match="in the middle"):
        run(said("a"))


@pytest.mark.parametrize("line", [b"data: {nonsense\n\n", b'data: {"choices": 7}\n\n'])
def test_nonsense(line: bytes) -> None:
    with pytest.raises(EngineFailed, match="cannot be read"):
        run(line)


def test_a_line_without_end_is_refused() -> None:
    lines = Lines()
    assert not list(lines.feed(b"x" * (16 << 20)))
    with pytest.raises(EngineFailed, match="more than 16 MiB"):
        list(lines.feed(b"x"))


@given(st.binary(max_size=200), st.integers(1, 20))
def test_lines_are_those_of_the_whole(data: bytes, size: int) -> None:
    lines = Lines()
    found = [line for start in range(0, len(data), size) for line in lines.feed(data[start : start + size])]
    assert [*found, lines.end()] == [line.removesuffix(b"\r") for line in data.split(b"\n")]


def completion(text: str, finish: str | None = None, **fields: Any) -> bytes:
    return event({"choices": [{"index": 0, "text": text, "finish_reason": finish, **fields}]})


def read(data: bytes, *stops: str) -> tuple[list[Delta], OpenAIStream]:
    stream = OpenAIStream(deltas(), stops)
    got = list(stream.feed(data))
    return got + list(stream.end()), stream


def test_a_raw_completion() -> None:
    got, _ = read(completion("Once ") + completion("upon") + completion("", "length"))
    assert [delta.text for delta in got if isinstance(delta, Text)] == ["Once ", "upon"]
    assert [delta.reason for delta in got if isinstance(delta, Finish)] == ["length"]


def test_logprobs_of_raw_completions_come_in_parallel_lists() -> None:
    told = {"tokens": ["a", "b"], "token_logprobs": [None, -0.5], "top_logprobs": [None, {"c": -2.0, "b": -0.5}]}
    got, _ = read(completion("ab", "stop", logprobs=told))
    assert [delta.tokens for delta in got if isinstance(delta, Logprobs)] == [
        (
            TokenLogprob("a", 0.0),
            TokenLogprob("b", -0.5, None, (TokenLogprob("b", -0.5), TokenLogprob("c", -2.0))),
        )
    ]


def test_a_stop_string_across_pieces_ends_the_answer_with_its_name() -> None:
    data = said("one t") + said("wo th") + said("ree four") + said("never")
    got, stream = read(data, "two three", "zzz")
    assert stream.stopped
    assert "".join(delta.text for delta in got if isinstance(delta, Text)) == "one "
    assert [(delta.reason, delta.stop) for delta in got if isinstance(delta, Finish)] == [("stop", "two three")]
    assert isinstance(got[-1], Usage)


def test_what_was_held_back_is_said_at_the_end() -> None:
    got, stream = read(said("one tw") + said(None, "length"), "two")
    assert not stream.stopped
    assert "".join(delta.text for delta in got if isinstance(delta, Text)) == "one tw"
    assert [delta.reason for delta in got if isinstance(delta, Finish)] == ["length"]


def test_vllm_tells_the_stop_string_that_it_met() -> None:
    got, _ = read(event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "END"}]}))
    assert [(delta.reason, delta.stop) for delta in got if isinstance(delta, Finish)] == [("stop", "END")]
    got, _ = read(event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": 2}]}))
    assert [(delta.reason, delta.stop) for delta in got if isinstance(delta, Finish)] == [("stop", None)]
