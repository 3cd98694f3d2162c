import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.api.dialect import Arrival
from mycoswarm.api.openai.chat_request import ChatCompletionBody, read
from mycoswarm.core.chat import (
    ChatRequest,
    ImagePart,
    ResponseFormat,
    Sampling,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)
from mycoswarm.core.errors import InvalidRequest
from mycoswarm.core.ids import RequestId
from tests.api.openai.golden import WIRE, same
from tests.api.openai.strategies import json_values

ID = RequestId("req-1")


def arrival(body: bytes, **headers: str) -> Arrival:
    return Arrival(ID, 5, headers, {}, body)


def request(**fields: object) -> ChatRequest:
    body = {"messages": [{"role": "user", "content": "hi"}], **fields}
    return read(arrival(msgspec.json.encode(body))).request


def test_the_smallest_request_goes_to_auto() -> None:
    asked = request()
    assert asked.model == "auto"
    assert asked.messages[0].text == "hi"
    assert asked.max_tokens is None


def test_the_key_of_a_cache_names_the_conversation_and_is_kept_short() -> None:
    assert request(prompt_cache_key="mine").session == "mine"
    assert len(request(prompt_cache_key="k" * 100_000).session or "") == 32


def test_custom_tools_are_refused_by_name_and_not_dropped() -> None:
    with pytest.raises(InvalidRequest) as raised:
        request(tools=[{"type": "custom", "custom": {"name": "patch"}}])
    assert raised.value.data["param"] == "tools[0].type"
    assert request(tools=[{"type": "web_search"}]).tools == ()


def test_every_field_may_be_null_and_unknown_ones_are_ignored() -> None:
    nulls = dict.fromkeys(("model", "stream", "stop", "tools", "n", "logprobs", "response_format", "seed"))
    assert request(**nulls, store=True, metadata={"a": 1}).model == "auto"


def test_sampling_and_limits() -> None:
    asked = request(temperature=0, top_p=0.5, seed=7, stop="END", max_completion_tokens=9, max_tokens=99)
    assert (asked.sampling.temperature, asked.sampling.top_p, asked.sampling.seed) == (0, 0.5, 7)
    assert asked.sampling.stop == ("END",)
    assert asked.max_tokens == 9
    assert request(stop=["a", "b"]).sampling.stop == ("a", "b")


def test_a_conversation_with_tools_images_and_null_text() -> None:
    asked = request(
        messages=[
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [
                {"type": "text", "text": "what is it"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            ]},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{\"x\":1}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
        ],
        tools=[{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}, {"type": "web"}],
        tool_choice={"type": "function", "function": {"name": "look"}},
    )  # fmt: skip
    assert [one.role for one in asked.messages] == ["system", "user", "assistant", "tool"]
    assert asked.messages[1].parts == (TextPart("what is it"), ImagePart("image/png", "AAAA"))
    assert asked.messages[2].parts == (ToolCallPart("c1", "look", '{"x":1}'),)
    assert asked.messages[3].parts == (ToolResultPart("c1", "a cat"),)
    assert asked.tools == (Tool("look", "", {"type": "object"}),)
    assert asked.tool_choice == ToolChoice("named", "look")


def test_formats() -> None:
    assert request(response_format={"type": "json_object"}).response_format == ResponseFormat("json_object")
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    assert request(response_format=schema).response_format == ResponseFormat("json_schema", {"type": "object"})


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"nonsense", "JSON"),
        (b"{}", "messages"),
        (b'{"messages": []}', "messages"),
        (b'{"messages": [{"role": "user", "content": 5}]}', "content"),
        (b'{"messages": [{"role": "wizard", "content": "x"}]}', "wizard"),
        (b'{"messages": [{"role": "user", "content": [{"type": "audio"}]}]}', "audio"),
        (b'{"messages": [{"role": "user", "content": "x"}], "n": 17}', "`n`"),
        (b'{"messages": [{"role": "user", "content": "x"}], "max_tokens": 0}', "max_tokens"),
        (b'{"messages": [{"role": "user", "content": "x"}], "temperature": "hot"}', "temperature"),
        (
            b'{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y"}}]}]}',
            "inside the request",
        ),
    ],
)
def test_bad_requests_name_what_is_wrong(body: bytes, names: str) -> None:
    with pytest.raises(InvalidRequest, match=names):
        read(arrival(body))


def test_fields_that_nobody_here_knows_go_on_to_engines_of_the_same_dialect() -> None:
    asked = request(mirostat=2, logit_bias={"5": -100}, user="me", store=True, metadata={"a": "b"}, top_a=None)
    assert (asked.dialect, asked.extra) == ("openai", {"mirostat": 2, "logit_bias": {"5": -100}})


def test_a_session_is_named_by_the_cache_key_or_by_a_header() -> None:
    body = b'{"messages":[{"role":"user","content":"hi"}]}'
    assert read(Arrival(ID, 5, {"x-session-id": "s"}, {}, body)).request.session == "s"
    assert request(prompt_cache_key="k").session == "k"
    assert request().session is None


def test_sampling_as_engines_of_open_models_name_it() -> None:
    assert request(repetition_penalty=1.1).sampling.repeat_penalty == 1.1
    assert request(repeat_penalty=1.2, top_k=40, min_p=0.1).sampling == Sampling(
        repeat_penalty=1.2, top_k=40, min_p=0.1
    )


@pytest.mark.parametrize(
    ("fields", "thinking", "effort"),
    [
        ({}, None, None),
        ({"reasoning_effort": "none"}, False, None),
        ({"reasoning_effort": "minimal"}, None, "low"),
        ({"reasoning_effort": "xhigh"}, None, "high"),
        ({"chat_template_kwargs": {"enable_thinking": False}}, False, None),
        ({"chat_template_kwargs": {"enable_thinking": True}, "reasoning_effort": "low"}, True, "low"),
    ],
)
def test_thinking(fields: dict[str, object], thinking: bool | None, effort: str | None) -> None:
    asked = request(**fields)
    assert (asked.thinking, asked.effort) == (thinking, effort)


def test_logprobs() -> None:
    assert request(logprobs=True).logprobs == 0
    assert request(logprobs=True, top_logprobs=20).logprobs == 20
    assert request(logprobs=False).logprobs is None


def test_functions_of_the_old_kind_are_tools() -> None:
    asked = request(
        functions=[{"name": "look", "parameters": {"type": "object"}}],
        function_call={"name": "look"},
        messages=[
            {"role": "user", "content": "what is it"},
            {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}},
            {"role": "function", "name": "look", "content": "a cat"},
            {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}},
            {"role": "function", "name": "look", "content": "a dog"},
        ],
    )
    assert asked.tools == (Tool("look", "", {"type": "object"}),)
    assert (asked.tool_choice, asked.parallel_tools) == (ToolChoice("named", "look"), False)
    calls = [part.id for one in asked.messages for part in one.parts if isinstance(part, ToolCallPart)]
    results = [part.id for one in asked.messages for part in one.parts if isinstance(part, ToolResultPart)]
    assert calls == results
    assert len(set(calls)) == 2, "two calls of one function are two calls"


def test_only_tools_that_are_allowed_are_offered() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("a", "b")]
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "b"}}]}
    asked = request(tools=tools, tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert ([tool.name for tool in asked.tools], asked.tool_choice.mode) == (["b"], "required")
    assert request(tools=tools, parallel_tool_calls=False).parallel_tools is False


def test_a_conversation_as_models_that_think_leave_it() -> None:
    asked = request(
        messages=[
            {"role": "user", "content": ""},
            {"role": "assistant", "content": "yes", "reasoning_content": "hm"},
            {"role": "system", "content": "in the middle"},
            {"role": "assistant", "content": None, "refusal": "no"},
            {"role": "assistant", "content": None},
        ]
    )
    assert [one.parts for one in asked.messages] == [
        (),
        (ThinkingPart("hm"), TextPart("yes")),
        (TextPart("in the middle"),),
        (TextPart("no"),),
        (),
    ]


@pytest.mark.parametrize(
    ("written", "read_as"), [("", "{}"), (None, "{}"), ('{"a":1}', '{"a":1}'), ('{"a":', '{"input":"{\\"a\\":"}')]
)
def test_arguments_that_a_model_broke_off_are_still_an_object(written: str | None, read_as: str) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": written}}
    asked = request(messages=[{"role": "assistant", "tool_calls": [call]}])
    assert asked.messages[0].parts == (ToolCallPart("c", "f", read_as),)


def picture(url: str) -> list[dict[str, object]]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url, "detail": "low"}}]}]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://example.org/cat.png", "invalid_image_url"),
        ("file:///etc/passwd", "invalid_image_url"),
        ("data:image/png,abc", "invalid_image_url"),
        ("data:text/html;base64,AAAA", "unsupported_image_media_type"),
        ("data:image/png;base64,", "empty_image_file"),
        ("data:image/png;base64,A*==", "invalid_base64_image"),
        ("data:image/png;base64,AAA", "invalid_base64_image"),
        ("data:image/png;base64,☃AAA", "invalid_base64_image"),
    ],
)
def test_an_image_that_is_none_is_refused(url: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        request(messages=picture(url))
    assert (refusal.value.data["code"], refusal.value.data["param"]) == (code, "messages[0].content[0].image_url")


def test_an_image_loses_its_line_breaks() -> None:
    asked = request(messages=picture("data:image/jpeg;name=a;base64,AA\nAA"))
    assert asked.messages[0].parts == (ImagePart("image/jpeg", "AAAA"),)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"messages": None}, "messages", "invalid_type"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter"),
        ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "messages[0].content[0].type",
         "invalid_value"),
        ({"messages": [{"role": "tool", "content": picture("data:image/png;base64,AAAA")[0]["content"]}]},
         "messages[0].content", "invalid_value"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]}, "messages[0].tool_calls[0].function",
         "invalid_value"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "invalid_value"),
        ({"temperature": -1}, "temperature", "invalid_value"),
        ({"top_p": 1.5}, "top_p", "invalid_value"),
        ({"seed": 2**70}, "seed", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"max_completion_tokens": 0}, "max_completion_tokens", "invalid_value"),
        ({"stop": ["x"] * 17}, "stop", "invalid_value"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice", "invalid_value"),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "invalid_value"),
        ({"tools": [{}]}, "tools[0].type", "invalid_value"),
        ({"reasoning_effort": "much"}, "reasoning_effort", "invalid_value"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "invalid_value"),
        ({"response_format": {"type": "xml"}}, "response_format", "invalid_value"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_field(fields: dict[str, object], param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        request(**fields)
    assert (refusal.value.data["param"], refusal.value.data["code"]) == (param, code)


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b'{"model":"\xff"}', b"[" * 100_000])
def test_what_is_no_json_says_so(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read(arrival(body))
    assert refusal.value.data.get("code") in ("invalid_json", "invalid_type")


def test_nonsense_in_an_unknown_field_is_the_client_s_fault() -> None:
    deep = b'{"messages":[{"role":"user","content":"x"}],"x":' + b"[" * 5000 + b"]" * 5000 + b"}"
    with pytest.raises(InvalidRequest):
        read(arrival(deep))


def test_the_wanted_format_may_be_flat_and_keeps_its_strictness() -> None:
    schema = {"type": "object"}
    wanted = ResponseFormat("json_schema", schema, True)
    nested = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    assert request(response_format=nested).response_format == wanted
    flat = {"type": "json_schema", "name": "x", "schema": schema, "strict": True}
    assert request(response_format=flat).response_format == wanted
    assert request(response_format={"type": "json_object", "schema": schema}).response_format.kind == "json_schema"


@pytest.mark.parametrize("name", ["chat_tools", "chat_vision", "chat_structured"])
def test_requests_of_the_public_reference_are_understood(name: str) -> None:
    body = (WIRE / f"{name}.request.json").read_bytes()
    asked = read(arrival(body)).request
    same(f"{name}.canonical.json", msgspec.json.format(msgspec.json.encode(asked)) + b"\n")


@given(json_values)
def test_any_json_is_refused_or_understood(value: object) -> None:
    with contextlib.suppress(InvalidRequest):
        read(arrival(msgspec.json.encode(value)))


@given(st.dictionaries(st.sampled_from(ChatCompletionBody.__struct_encode_fields__), json_values))
def test_any_object_is_refused_or_understood(fields: dict[str, object]) -> None:
    with contextlib.suppress(InvalidRequest):
        request(**fields)
