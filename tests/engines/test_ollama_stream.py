"""The NDJSON of Ollama's chat, however it is cut."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.core.chat import Delta, Finish, Logprobs, Text, Thinking, TokenLogprob, ToolArgs, ToolCall, Usage
from mycoswarm.core.errors import EngineFailed
from mycoswarm.core.ids import RequestId
from mycoswarm.engines.ollama_stream import OllamaStream
from mycoswarm.engines.stream import Deltas


def line(message: dict[str, Any] | None = None, **fields: Any) -> bytes:
    body = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": False, **fields}
    return json.dumps(body | ({"message": message} if message else {}), ensure_ascii=False).encode() + b"\n"


def said(text: str) -> bytes:
    return line({"role": "assistant", "content": text})


FINAL = line(
    {"role": "assistant", "content": ""},
    done=True,
    done_reason="stop",
    total_duration=5_000_000_000,
    load_duration=1_500_000,
    prompt_eval_count=26,
    prompt_eval_duration=130_000_000,
    eval_count=3,
    eval_duration=300_500_000,
)


def run(data: bytes, size: int = 1 << 20) -> list[Delta]:
    stream = OllamaStream(Deltas(RequestId("req"), "m", "e"))
    out = [delta for start in range(0, len(data), size) for delta in stream.feed(data[start : start + size])]
    return [*out, *stream.end()]


def test_an_answer_with_its_durations() -> None:
    assert run(said("Hé") + said("llo") + FINAL) == [
        Text("Hé", 0, seq=0),
        Text("llo", 3, seq=1),
        Finish("stop", seq=2),
        Usage(26, 3, prefill_ms=130.0, decode_ms=300.5, load_ms=1.5, seq=3),
    ]


def test_fields_that_are_zero_are_left_out() -> None:
    usage = run(line(done=True, done_reason="length"))
    assert usage == [Finish("length", seq=0), Usage(load_ms=0.0, seq=1)]


@given(st.lists(st.text(min_size=1), max_size=10), st.integers(1, 64))
def test_cuts_change_nothing(texts: list[str], size: int) -> None:
    data = b"".join(said(text) for text in texts) + FINAL
    assert run(data, size) == run(data)
    assert "".join(delta.text for delta in run(data, size) if isinstance(delta, Text)) == "".join(texts)


def test_thinking_and_tool_calls_with_arguments_as_objects() -> None:
    call = {"function": {"name": "look", "arguments": {"q": "é"}}}
    data = line({"role": "assistant", "content": "", "thinking": "hm"})
    data += line({"role": "assistant", "content": "", "tool_calls": [call, call]}) + FINAL
    assert run(data)[:-1] == [
        Thinking("hm", seq=0),
        ToolCall(0, "call-req-0", "look", seq=1),
        ToolArgs(0, '{"q":"é"}', seq=2),
        ToolCall(1, "call-req-1", "look", seq=3),
        ToolArgs(1, '{"q":"é"}', seq=4),
        Finish("tool_calls", seq=5),
    ]


def test_logprobs() -> None:
    entry = {"token": "a", "logprob": -0.1, "top_logprobs": [{"token": "b", "logprob": -2.0}]}
    out = run(line({"role": "assistant", "content": "a"}, logprobs=[entry]) + FINAL)
    assert out[1] == Logprobs((TokenLogprob("a", -0.1, None, (TokenLogprob("b", -2.0),)),), seq=1)


def test_an_error_under_status_200() -> None:
    with pytest.raises(EngineFailed, match="out of memory"):
        run(said("a") + b'{"error":"out of memory"}\n')


def test_an_end_in_the_middle() -> None:
    with pytest.raises(EngineFailed, match="in the middle"):
        run(said("a"))


def test_a_line_that_is_no_json() -> None:
    with pytest.raises(EngineFailed, match="cannot be read"):
        run(b"<html>\n")
