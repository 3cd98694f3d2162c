"""What their clients send, read. Any body at all is a request, a load, or an InvalidRequest."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.api.dialect import Arrival, Asked
from mycoswarm.api.ollama.ask import Load, read_chat, read_generate
from mycoswarm.core.chat import ChatRequest, ImagePart, TextPart, Tool
from mycoswarm.core.errors import InvalidRequest
from mycoswarm.core.ids import RequestId

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner), max_leaves=8
)
KEYS = ("model", "messages", "prompt", "stream", "format", "options", "keep_alive", "think", "tools", "images", "raw")
KEYS += ("system", "template", "suffix", "context", "logprobs", "top_logprobs")
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "messages": st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(("user", "assistant", "tool", "boss"))},
            optional={"content": SCALARS, "images": VALUES, "tool_calls": VALUES, "tool_name": SCALARS},
        ),
        max_size=4,
    ),
    "options": st.dictionaries(st.sampled_from(("temperature", "stop", "num_predict", "seed", "num_ctx", "x")), VALUES),
    "keep_alive": SCALARS | st.from_regex(r"-?[0-9]{1,3}(ms|s|m|h)"),
    "model": st.sampled_from(("m", "", None)),
}
BODIES = st.fixed_dictionaries({}, optional={key: FIELDS.get(key, VALUES) | VALUES for key in KEYS})


def arrival(body: bytes, **headers: str) -> Arrival:
    return Arrival(RequestId("req-1"), 5, headers, {}, body)


def chat(**fields: object) -> ChatRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    asked = read_chat(arrival(json.dumps(body).encode()))
    assert isinstance(asked, Asked)
    return asked.request


def generate(**fields: object) -> Asked | Load:
    return read_generate(arrival(json.dumps({"model": "m", **fields}).encode()))


def generated(**fields: object) -> ChatRequest:
    asked = generate(**fields)
    assert isinstance(asked, Asked)
    return asked.request


def test_the_smallest_chat_is_streamed() -> None:
    asked = read_chat(arrival(b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'))
    assert isinstance(asked, Asked)
    assert (asked.request.model, asked.request.messages[0].text, asked.request.dialect) == ("m", "hi", "ollama")
    assert asked.writer is not None
    whole = read_chat(arrival(b'{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":false}'))
    assert isinstance(whole, Asked)
    assert (whole.writer, whole.collector is None) == (None, False)


def test_every_field_may_be_null_and_unknown_ones_are_ignored() -> None:
    assert (
        chat(**dict.fromkeys(("stream", "options", "tools", "think", "format", "keep_alive")), shift=True).tools == ()
    )


def test_everything_a_chat_can_say() -> None:
    asked = chat(
        options={"temperature": 0.5, "num_predict": 4, "mirostat": 2},
        think="low",
        keep_alive="5m",
        format="json",
        logprobs=True,
        top_logprobs=3,
        tools=[{"type": "function", "function": {"name": "f"}}],
    )
    assert (asked.sampling.temperature, asked.max_tokens) == (0.5, 4)
    assert (asked.thinking, asked.effort, asked.keep) == (True, "low", 300.0)
    assert (asked.response_format.kind, asked.logprobs) == ("json_object", 3)
    assert asked.tools == (Tool("f"),)
    assert asked.extra == {"options": {"mirostat": 2}}


def test_headers_that_ask_for_more() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
    asked = read_chat(arrival(body, **{"x-mycoswarm-why": "1", "x-session-affinity": "s"}))
    assert isinstance(asked, Asked)
    assert (asked.request.why, asked.request.session) == (True, "s")


def test_a_prompt_is_a_chat_of_one_message() -> None:
    asked = generated(prompt="why", system="be brief", images=["iVBORw0K"], context=[1, 2, 3])
    assert [one.role for one in asked.messages] == ["system", "user"]
    assert asked.messages[1].parts == (TextPart("why"), ImagePart("image/png", "iVBORw0K"))
    assert asked.prompt is None


def test_a_raw_prompt_is_continued_as_it_stands() -> None:
    asked = generated(prompt="<s>why", raw=True, system="ignored, as theirs does")
    assert (asked.prompt, asked.messages) == ("<s>why", ())
    with pytest.raises(InvalidRequest, match="raw"):
        generate(prompt="x", raw=True, images=["iVBORw0K"])


@pytest.mark.parametrize(("field", "value"), [("suffix", "end"), ("template", "{{ .Prompt }}")])
def test_what_would_silently_change_nothing_is_refused(field: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match=field):
        generate(prompt="x", **{field: value})
    assert isinstance(generate(prompt="x", **{field: ""}), Asked)


def test_nothing_asked_is_a_load_and_for_no_time_an_unload() -> None:
    load = generate(keep_alive="10m")
    assert load == Load("m", "generate", 5, 600.0)
    assert isinstance(load, Load)
    assert not load.out
    assert json.loads(load.body()) == {
        "model": "m",
        "created_at": "1970-01-01T00:00:05Z",
        "response": "",
        "done": True,
        "done_reason": "load",
    }
    unload = read_chat(arrival(b'{"model":"m","messages":[],"keep_alive":0}'))
    assert isinstance(unload, Load)
    assert unload.out
    said = json.loads(unload.body())
    assert (said["message"], said["done_reason"]) == ({"role": "assistant", "content": ""}, "unload")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"messages":[{}]}', b"[" * 100_000, b'{"model":1}'])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    for read in (read_chat, read_generate):
        with pytest.raises(InvalidRequest):
            read(arrival(body))


def test_the_model_must_be_named() -> None:
    for body in (b"{}", b'{"messages":[{"role":"user","content":"x"}]}', b'{"prompt":"x","model":""}'):
        for read in (read_chat, read_generate):
            with pytest.raises(InvalidRequest, match="model is required"):
                read(arrival(body))


def test_too_many_alternatives_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="top_logprobs"):
        chat(logprobs=True, top_logprobs=21)


@given(BODIES)
def test_any_object_is_a_request_a_load_or_refused(body: dict[str, Any]) -> None:
    data = json.dumps(body).encode()
    for read in (read_chat, read_generate):
        with contextlib.suppress(InvalidRequest):
            assert isinstance(read(arrival(data)), Asked | Load)
