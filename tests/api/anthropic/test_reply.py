from pathlib import Path
from typing import Any

import msgspec
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message as TheirMessage
from anthropic.types import RawMessageStreamEvent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from mycoswarm.api.anthropic.reply import Collector, EventWriter
from mycoswarm.core.chat import (
    Delta,
    Error,
    Finish,
    FinishReason,
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
from mycoswarm.core.errors import ErrorBody, MycoError
from mycoswarm.core.ids import NodeId, RequestId
from tests.api.anthropic.accumulate import accumulate, events

ID = RequestId("req-1")
START = Start(ID, "m", NodeId("n"), "miu")
WIRE = Path(__file__).parent / "wire"


def wire(*deltas: Delta, thoughts: bool = True, silent: bool = False) -> bytes:
    writer = EventWriter(ID, thoughts=thoughts, silent=silent)
    return b"".join(map(writer.write, deltas)) + writer.end()


def whole(*deltas: Delta, thoughts: bool = True, silent: bool = False) -> dict[str, Any]:
    """The answer in one piece, which is also what its stream says."""
    collector = Collector(ID, thoughts=thoughts, silent=silent)
    for delta in deltas:
        collector.add(delta)
    message = msgspec.json.decode(collector.body())
    assert message == accumulate(wire(*deltas, thoughts=thoughts, silent=silent))
    return message


def answer(*said: Delta, reason: FinishReason = "stop", stop: str | None = None) -> tuple[Delta, ...]:
    return (START, *said, Finish(reason, stop), Usage(7, 3, 2))


# What goes over the wire, letter by letter

TRACES: dict[str, tuple[Delta, ...]] = {
    "text": answer(Text("Hel"), Text("lo", 3)),
    "stop_sequence": answer(Text("one, two"), reason="stop", stop=", three"),
    "tools": answer(
        Text("I look."),
        ToolCall(0, "c1", "look"),
        ToolArgs(0, '{"place":'),
        ToolArgs(0, '"Rome"}'),
        ToolCall(1, "c2", "listen"),
        reason="tool_calls",
    ),
    "thinking": answer(Thinking("hm, "), Thinking("well", "sig"), Text("Hello")),
    "queued": (Note("queue", "2 before this one"), *answer(Text("Hi"))),
    "broken": (START, Text("Hel"), Error(ErrorBody("peer_lost", "miu went away", "ask again"))),
}


@pytest.mark.parametrize("name", TRACES)
def test_the_wire_is_as_written_down(name: str) -> None:
    assert wire(*TRACES[name]).decode() == (WIRE / f"{name}.sse").read_text()


@pytest.mark.parametrize("name", sorted(TRACES.keys() - {"broken"}))
def test_the_message_in_one_piece_is_as_written_down(name: str) -> None:
    assert whole(*TRACES[name]) == msgspec.json.decode((WIRE / f"{name}.json").read_bytes())


@pytest.mark.parametrize("name", sorted(TRACES.keys() - {"broken"}))
def test_their_own_client_reads_the_stream_as_the_message(name: str) -> None:
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    adapter: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
    for kind, data in events(wire(*TRACES[name])):
        if kind != "ping":
            event = adapter.validate_python(data)
            snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    theirs = TheirMessage.model_validate(whole(*TRACES[name]))
    assert TheirMessage.model_validate(snapshot.to_dict()) == theirs


# The answer


@pytest.mark.parametrize(
    ("reason", "stop", "told"),
    [
        ("stop", None, ("end_turn", None)),
        ("stop", "END", ("stop_sequence", "END")),
        ("length", None, ("max_tokens", None)),
        ("content_filter", None, ("refusal", None)),
        ("cancelled", None, ("end_turn", None)),
        ("tool_calls", None, ("end_turn", None)),
    ],
)
def test_why_it_ended(reason: FinishReason, stop: str | None, told: tuple[str, str | None]) -> None:
    message = whole(*answer(Text("x"), reason=reason, stop=stop))
    assert (message["stop_reason"], message["stop_sequence"]) == told


@pytest.mark.parametrize("reason", ["stop", "tool_calls"])
def test_a_call_is_why_it_ended_whatever_the_engine_calls_it(reason: FinishReason) -> None:
    message = whole(*answer(ToolCall(0, "c", "look"), reason=reason))
    assert message["stop_reason"] == "tool_use"
    assert message["content"] == [{"type": "tool_use", "id": "c", "name": "look", "input": {}}]


def test_usage_tells_cached_tokens_apart() -> None:
    assert whole(*answer(Text("x")))["usage"] == {
        "input_tokens": 5,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 2,
        "output_tokens": 3,
    }


def test_an_answer_without_figures_or_reason_is_ended_all_the_same() -> None:
    assert whole(START, Text("x"))["stop_reason"] == "end_turn"
    assert whole(START)["content"] == []


def test_text_after_a_call_is_a_block_of_its_own() -> None:
    message = whole(*answer(Text("a"), ToolCall(0, "c", "look"), ToolArgs(0, "{}"), Text("b"), Text("c")))
    assert [(one["type"], one.get("text")) for one in message["content"]] == [
        ("text", "a"),
        ("tool_use", None),
        ("text", "bc"),
    ]


def test_calls_that_are_written_at_once_follow_one_another() -> None:
    message = whole(
        *answer(
            ToolCall(0, "c0", "a"),
            ToolCall(1, "c1", "b"),
            ToolArgs(1, '{"y":'),
            ToolArgs(0, '{"x":'),
            ToolCall(2, "c2", "c"),
            ToolArgs(0, "1}"),
            ToolArgs(2, '{"z":3}'),
            ToolArgs(1, "2}"),
        )
    )
    assert [(one["id"], one["input"]) for one in message["content"]] == [
        ("c0", {"x": 1}),
        ("c1", {"y": 2}),
        ("c2", {"z": 3}),
    ]


def test_a_signature_ends_its_thoughts() -> None:
    message = whole(*answer(Thinking("a", "s1"), Thinking("b"), Thinking("", "s2"), Text("c")))
    assert message["content"] == [
        {"type": "thinking", "thinking": "a", "signature": "s1"},
        {"type": "thinking", "thinking": "b", "signature": "s2"},
        {"type": "text", "text": "c"},
    ]


def test_thoughts_that_nobody_asked_for_are_kept_back() -> None:
    message = whole(*answer(Thinking("hm", "s"), Text("x"), Thinking("hm"), Text("y")), thoughts=False)
    assert message["content"] == [{"type": "text", "text": "xy"}]


def test_a_prompt_that_was_only_read() -> None:
    message = whole(*answer(Thinking("hm"), Text("x"), ToolCall(0, "c", "look"), ToolArgs(0, "{}")), silent=True)
    assert (message["content"], message["stop_reason"], message["usage"]["output_tokens"]) == ([], "max_tokens", 0)


def test_an_input_that_was_cut_is_left_empty() -> None:
    cut = answer(ToolCall(0, "c0", "a"), ToolArgs(0, '{"x":1'), reason="length")
    assert whole(*cut)["content"][0]["input"] == {}


@pytest.mark.parametrize("arguments", ['{"x":1', "[]", "look", "[" * 50_000])
def test_an_input_that_is_no_object_is_the_model_s_fault(arguments: str) -> None:
    collector = Collector(ID)
    for delta in answer(ToolCall(0, "c", "look"), ToolArgs(0, arguments)):
        collector.add(delta)
    with pytest.raises(MycoError, match="'look'") as caught:
        collector.body()
    assert caught.value.code == "engine_failed"


def test_what_the_dialect_has_no_word_for_is_not_said() -> None:
    quiet = (Logprobs((TokenLogprob("x", -1.0),)), Text(""), Thinking(""))
    assert wire(START, *quiet) == wire(START)


def test_a_second_start_is_no_second_message() -> None:
    again = msgspec.structs.replace(START, attempt=1)
    assert accumulate(wire(START, Text("a"), again, *answer(Text("b"))))["content"] == [{"type": "text", "text": "ab"}]


def test_nothing_follows_an_error() -> None:
    said = events(wire(*TRACES["broken"]))
    assert said[-1] == (
        "error",
        {
            "type": "error",
            "error": {"type": "api_error", "message": "miu went away (ask again)"},
            "request_id": "req-1",
        },
    )


def test_silence_is_filled_with_pings_and_late_names_with_comments() -> None:
    writer = EventWriter(ID)
    assert events(writer.keep_alive()) == [("ping", {"type": "ping"})]
    assert writer.late(START) == b": node: miu\n\n"
    assert accumulate(writer.keep_alive() + writer.write(START) + writer.keep_alive() + writer.end())["content"] == []


# Properties

WORDS = st.text(max_size=12)
INPUTS = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=8) | st.none(), max_size=3)


@st.composite
def answers(draw: st.DrawFn) -> tuple[Delta, ...]:
    """Text, thoughts and calls in any order, the inputs of neighbouring calls mixed as an engine may mix them."""
    deltas: list[Delta] = [START]
    calls = 0
    for _ in range(draw(st.integers(0, 5))):
        match draw(st.sampled_from(["text", "thinking", "calls", "note"])):
            case "text":
                deltas += [Text(piece) for piece in draw(st.lists(WORDS, max_size=3))]
            case "thinking":
                deltas += [Thinking(piece) for piece in draw(st.lists(WORDS, max_size=3))]
                deltas += [Thinking("", signature) for signature in draw(st.lists(WORDS, max_size=1))]
            case "note":
                deltas.append(Note("queue", draw(WORDS)))
            case _:
                rows: list[list[Delta]] = []
                for number in range(draw(st.integers(1, 3))):
                    text = msgspec.json.encode(draw(INPUTS)).decode()
                    cut = draw(st.integers(0, len(text)))
                    pieces = [ToolArgs(calls, text[:cut]), ToolArgs(calls, text[cut:])]
                    rows.append([ToolCall(calls, f"c{calls}", f"tool{number}"), *pieces])
                    calls += 1
                while any(rows):
                    row = draw(st.sampled_from([row for row in rows if row]))
                    deltas.append(row.pop(0))
    deltas.append(Finish(draw(st.sampled_from(["stop", "tool_calls", "length"]))))
    return (*deltas, Usage(draw(st.integers(0, 99)), draw(st.integers(0, 99)), draw(st.integers(0, 99))))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(answers())
def test_the_stream_and_the_message_say_the_same(deltas: tuple[Delta, ...]) -> None:
    message = whole(*deltas)
    text = "".join(delta.text for delta in deltas if isinstance(delta, Text))
    assert "".join(one["text"] for one in message["content"] if one["type"] == "text") == text
    thoughts = "".join(delta.text for delta in deltas if isinstance(delta, Thinking))
    assert "".join(one["thinking"] for one in message["content"] if one["type"] == "thinking") == thoughts
    given_to: dict[str, str] = {}
    for delta in deltas:
        if isinstance(delta, ToolArgs):
            given_to[f"c{delta.index}"] = given_to.get(f"c{delta.index}", "") + delta.text
    told = {one["id"]: one["input"] for one in message["content"] if one["type"] == "tool_use"}
    assert told == {call: msgspec.json.decode(text) for call, text in given_to.items()}
