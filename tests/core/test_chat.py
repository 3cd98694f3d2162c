import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.core.chat import (
    DELTA_TYPES,
    ChatRequest,
    Delta,
    Error,
    Finish,
    ImagePart,
    Logprobs,
    Message,
    Note,
    ResponseFormat,
    Sampling,
    Start,
    Text,
    TextPart,
    Thinking,
    ThinkingPart,
    TokenLogprob,
    Tool,
    ToolArgs,
    ToolCall,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    Usage,
    decode_delta,
    encode_delta,
    message,
)
from mycoswarm.core.errors import ErrorBody
from mycoswarm.core.ids import NodeId, RequestId

# What JSON can carry: no half of a surrogate pair, no number beyond 64 bits, no NaN.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
counts = st.integers(0, 2**53)
numbers = st.floats(allow_nan=False, allow_infinity=False)
facts = st.dictionaries(texts, st.none() | st.booleans() | counts | texts | st.lists(texts, max_size=2), max_size=3)
place = {"seq": counts, "choice": st.integers(0, 7)}


token = st.builds(
    TokenLogprob,
    texts,
    numbers,
    st.none() | st.lists(st.integers(0, 255), max_size=4).map(tuple),
    st.lists(st.builds(TokenLogprob, texts, numbers), max_size=2).map(tuple),
)
milliseconds = st.none() | numbers
DELTAS: dict[type[msgspec.Struct], st.SearchStrategy[Delta]] = {
    Start: st.builds(Start, texts.map(RequestId), texts, texts.map(NodeId), texts, texts, counts, **place),
    Text: st.builds(Text, texts, counts, st.none() | st.lists(counts, max_size=3).map(tuple), **place),
    Thinking: st.builds(Thinking, texts, st.none() | texts, **place),
    ToolCall: st.builds(ToolCall, counts, texts, texts, **place),
    ToolArgs: st.builds(ToolArgs, counts, texts, **place),
    Logprobs: st.builds(Logprobs, st.lists(token, max_size=3).map(tuple), **place),
    Finish: st.builds(
        Finish,
        st.sampled_from(["stop", "length", "tool_calls", "content_filter", "cancelled"]),
        st.none() | texts,
        **place,
    ),
    Usage: st.builds(Usage, counts, counts, counts, milliseconds, milliseconds, milliseconds, milliseconds, **place),
    Error: st.builds(Error, st.builds(ErrorBody, texts, texts, texts, st.booleans(), facts), **place),
    Note: st.builds(Note, texts, texts, facts, **place),
}


def test_the_vocabulary_is_what_was_fixed() -> None:
    tags = [kind.__struct_config__.tag for kind in DELTA_TYPES]
    assert tags == [
        "start", "text", "thinking", "tool_call", "tool_args", "logprobs", "finish", "usage", "error", "note",
    ]  # fmt: skip
    assert set(DELTAS) == set(DELTA_TYPES)


@pytest.mark.parametrize("kind", DELTA_TYPES, ids=lambda kind: kind.__name__)
@given(st.data())
def test_every_delta_is_one_line_and_comes_back_whole(kind: type[msgspec.Struct], data: st.DataObject) -> None:
    delta = data.draw(DELTAS[kind])
    line = encode_delta(delta)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    back = decode_delta(line)
    assert type(back) is kind
    assert back == delta


def test_the_wire_form_of_a_delta_is_fixed() -> None:
    assert encode_delta(Text("né", 3, seq=4)) == '{"type":"text","text":"né","offset":3,"seq":4}\n'.encode()
    assert encode_delta(Finish("stop")) == b'{"type":"finish","reason":"stop"}\n'
    assert encode_delta(Usage()) == b'{"type":"usage"}\n'


def test_fields_of_a_newer_version_are_passed_over() -> None:
    assert decode_delta(b'{"type":"text","text":"a","mood":"bright"}') == Text("a")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b"<html>",
        b'{"error":{"code":"x","message":"y"}}',
        b'{"type":"prophecy"}',
        b'{"type":"text"}',
        b'{"type":"text","text":5}',
        b'{"type":"text","text":"\xff\xfe"}',
        b'{"type":"text","text":"a"}{"type":"text","text":"b"}',
        b'{"type":"note","kind":"x","data":{"a":' + b"[" * 100_000,
    ],
    ids=lambda line: line[:24].decode("latin-1"),
)
def test_anything_else_is_one_kind_of_failure(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_delta(line)


@given(st.binary(max_size=60))
def test_noise_never_fails_otherwise(line: bytes) -> None:
    try:
        delta = decode_delta(line)
    except msgspec.DecodeError:
        return
    assert isinstance(delta, DELTA_TYPES)


optional_number = st.none() | numbers
samplings = st.builds(
    Sampling,
    optional_number,
    optional_number,
    st.none() | counts,
    optional_number,
    st.none() | counts,
    optional_number,
    optional_number,
    optional_number,
    st.lists(texts, max_size=2).map(tuple),
)
parts = st.one_of(
    st.builds(TextPart, texts),
    st.builds(ImagePart, texts, texts),
    st.builds(ThinkingPart, texts, st.none() | texts),
    st.builds(ToolCallPart, texts, texts, texts),
    st.builds(ToolResultPart, texts, texts, st.booleans()),
)
messages = st.builds(
    Message, st.sampled_from(["system", "user", "assistant", "tool"]), st.lists(parts, max_size=3).map(tuple)
)
requests = st.builds(
    ChatRequest,
    texts,
    st.lists(messages, max_size=3).map(tuple),
    texts.map(RequestId),
    st.none() | texts,
    samplings,
    st.none() | counts,
    st.lists(st.builds(Tool, texts, texts, facts), max_size=2).map(tuple),
    st.builds(ToolChoice, st.sampled_from(["auto", "none", "required", "named"]), st.none() | texts),
    st.builds(ResponseFormat, st.sampled_from(["text", "json_object", "json_schema"]), facts),
    st.none() | st.booleans(),
    st.none() | counts,
    st.none() | st.booleans(),
    st.sampled_from([None, "low", "medium", "high"]),
    st.none() | numbers,
    st.sampled_from(["interactive", "batch"]),
    st.none() | texts,
    st.none() | texts,
    texts,
    facts,
    st.booleans(),
)


@given(requests)
def test_every_request_comes_back_whole(request: ChatRequest) -> None:
    assert msgspec.json.decode(msgspec.json.encode(request), type=ChatRequest) == request


def test_the_smallest_request_is_small_on_the_wire() -> None:
    sent = msgspec.json.encode(ChatRequest("auto", (message("user", "hi"),)))
    assert sent == b'{"model":"auto","messages":[{"role":"user","parts":[{"type":"text","text":"hi"}]}]}'


def test_the_text_of_a_message_is_its_text_parts() -> None:
    one = Message("assistant", (ThinkingPart("hm"), TextPart("a"), ToolCallPart("c", "f", "{}"), TextPart("b")))
    assert one.text == "ab"
    assert message("user", "hi") == Message("user", (TextPart("hi"),))
