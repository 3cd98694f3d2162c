import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.api.anthropic.request import read, read_prompt
from mycoswarm.api.dialect import Arrival, Asked
from mycoswarm.core.chat import (
    ChatRequest,
    ImagePart,
    Message,
    ResponseFormat,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    message,
)
from mycoswarm.core.errors import InvalidRequest
from mycoswarm.core.ids import RequestId

ID = RequestId("req-1")
TOOL = {"name": "look", "description": "at it", "input_schema": {"type": "object"}}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}


def arrival(body: bytes, **headers: str) -> Arrival:
    return Arrival(ID, 5, headers, {}, body)


def asked(**fields: Any) -> Asked:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **fields}
    return read(arrival(msgspec.json.encode(body)))


def request(**fields: Any) -> ChatRequest:
    return asked(**fields).request


def said(*blocks: Any, role: str = "user") -> tuple[Message, ...]:
    return request(messages=[{"role": role, "content": list(blocks)}]).messages


def test_the_smallest_request() -> None:
    assert request() == ChatRequest("m", (message("user", "hi"),), ID, max_tokens=9, dialect="anthropic")
    assert request(model=None).model == "auto"


def test_streamed_or_in_one_piece() -> None:
    assert asked(stream=True).writer is not None
    for whole in (asked(), asked(stream=False), asked(stream=None)):
        assert (whole.writer, whole.collector is not None) == (None, True)


def test_every_optional_field_may_be_null_and_unknown_ones_are_ignored() -> None:
    samplings = ("stop_sequences", "temperature", "top_p", "top_k", "metadata", "mcp_servers", "stream", "model")
    names = (*samplings, "system", "tools", "tool_choice", "thinking", "output_config", "output_format")
    unknown = {"container": "c", "context_management": {"edits": []}, "service_tier": "auto", "betas": ["x"]}
    assert request(**dict.fromkeys(names), **unknown) == request(model="auto")


def test_sampling_and_limits() -> None:
    one = request(temperature=0, top_p=0.5, top_k=7, stop_sequences=["END", "\n\n"], max_tokens=32_000)
    assert (one.sampling.temperature, one.sampling.top_p, one.sampling.top_k) == (0, 0.5, 7)
    assert one.sampling.stop == ("END", "\n\n")
    assert one.max_tokens == 32_000


def test_no_tokens_at_all_reads_the_prompt_only() -> None:
    assert request(max_tokens=0).max_tokens == 1


def test_the_system_prompt_is_text_or_paragraphs() -> None:
    assert request(system="be brief").messages[0] == message("system", "be brief")
    blocks = [
        {"type": "text", "text": "You are brief.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": ""},
        {"type": "text", "text": "You are kind."},
    ]
    assert request(system=blocks).messages[0].text == "You are brief.\nYou are kind."
    for nothing in ("", [], [{"type": "text", "text": ""}]):
        assert request(system=nothing).messages == (message("user", "hi"),)


@pytest.mark.parametrize("billing", ["cc_version=2.1.330; cc_entrypoint=cli; cch=8f3a1;", ""])
def test_the_line_for_claude_code_s_vendor_is_taken_off(billing: str) -> None:
    line = f"x-anthropic-billing-header: {billing}"
    assert request(system=line).messages == (message("user", "hi"),)
    assert request(system=f"{line}\nYou are brief.").messages[0].text == "You are brief."
    blocks = [{"type": "text", "text": line}, {"type": "text", "text": "You are brief."}]
    assert request(system=blocks).messages[0] == message("system", "You are brief.")
    assert request(system=f"Never write {line}").messages[0].text == f"Never write {line}"


def test_system_messages_may_stand_in_the_middle() -> None:
    turns = [{"role": role, "content": role} for role in ("user", "system", "assistant", "user")]
    assert [one.role for one in request(messages=turns).messages] == ["user", "system", "assistant", "user"]


def test_an_answer_that_is_begun_stays_as_it_is() -> None:
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo "}]},
    ]
    last = request(messages=turns).messages[-1]
    assert (last.role, last.parts) == ("assistant", (TextPart("Hel"), TextPart("lo ")))


def test_a_round_of_tools() -> None:
    turns = [
        {"role": "user", "content": "what is it"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sig"},
                {"type": "redacted_thinking", "data": "opaque"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "c1", "name": "look", "input": {"x": 1, "deep": {"y": [None]}}},
                {"type": "tool_use", "id": "c2", "name": "look", "input": {}, "caller": {"type": "direct"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "a cat"},
                {
                    "type": "tool_result",
                    "tool_use_id": "c2",
                    "is_error": True,
                    "content": [{"type": "text", "text": "two"}, PICTURE, {"type": "tool_reference", "tool_name": "n"}],
                },
                {"type": "text", "text": "well?"},
            ],
        },
    ]
    one = request(messages=turns, tools=[TOOL])
    assert [turn.role for turn in one.messages] == ["user", "assistant", "tool", "tool", "user"]
    assert one.messages[1].parts == (
        ThinkingPart("hm", "sig"),
        ThinkingPart("", "opaque"),
        TextPart("I look."),
        ToolCallPart("c1", "look", '{"x":1,"deep":{"y":[null]}}'),
        ToolCallPart("c2", "look", "{}"),
    )
    assert one.messages[2].parts == (ToolResultPart("c1", "a cat"),)
    assert one.messages[3].parts == (ToolResultPart("c2", "two\n[image]\nn", is_error=True),)
    assert one.messages[4].parts == (ImagePart("image/png", "AAAA"), TextPart("well?"))
    assert one.tools == (Tool("look", "at it", {"type": "object"}),)


def test_a_result_may_be_empty() -> None:
    assert said({"type": "tool_result", "tool_use_id": "c1"}) == (Message("tool", (ToolResultPart("c1", ""),)),)


def test_images_and_documents() -> None:
    document = {
        "type": "document",
        "title": "Fable",
        "context": "old",
        "source": {"type": "text", "media_type": "text/plain", "data": "A fox."},
    }
    pieces = {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}, PICTURE]}}
    plain = {"type": "document", "source": {"type": "content", "content": "y"}}
    (one,) = said(PICTURE, document, pieces, plain)
    image = ImagePart("image/png", "AAAA")
    texts = [TextPart(text) for text in ("Fable\n", "old\n", "A fox.\n", "x")]
    assert one.parts == (image, *texts, image, TextPart("y"))


def test_line_breaks_in_base64_are_taken_out() -> None:
    folded = {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": "AA\r\nA=\n"}}
    assert said(folded)[0].parts == (ImagePart("image/webp", "AAA="),)


def test_tools_that_only_their_servers_know_are_passed_over() -> None:
    tools = [
        {"type": "web_search_20260318", "name": "web_search", "max_uses": 5},
        {"type": "custom", **TOOL},
        {"type": "mcp_toolset", "mcp_server_name": "x"},
        {"name": "bare", "input_schema": {}, "cache_control": None},
    ]
    assert [tool.name for tool in request(tools=tools).tools] == ["look", "bare"]


@pytest.mark.parametrize(
    ("choice", "meant", "parallel"),
    [
        ({"type": "auto"}, ToolChoice(), None),
        ({"type": "auto", "disable_parallel_tool_use": True}, ToolChoice(), False),
        ({"type": "any", "disable_parallel_tool_use": False}, ToolChoice("required"), None),
        ({"type": "tool", "name": "look", "disable_parallel_tool_use": True}, ToolChoice("named", "look"), False),
        ({"type": "none"}, ToolChoice("none"), None),
    ],
)
def test_tool_choice(choice: dict[str, Any], meant: ToolChoice, parallel: bool | None) -> None:
    one = request(tools=[TOOL], tool_choice=choice)
    assert (one.tool_choice, one.parallel_tools) == (meant, parallel)


@pytest.mark.parametrize(
    ("thinking", "config", "thinks", "effort"),
    [
        (None, None, None, None),
        ({"type": "disabled"}, None, False, None),
        ({"type": "adaptive"}, {"effort": "max"}, None, "high"),
        ({"type": "between_tools"}, {"effort": "low"}, None, "low"),
        ({"type": "enabled", "budget_tokens": 1_024}, None, True, "low"),
        ({"type": "enabled", "budget_tokens": 4_097}, None, True, "medium"),
        ({"type": "enabled", "budget_tokens": 31_999}, None, True, "high"),
        ({"type": "enabled", "budget_tokens": 31_999}, {"effort": "medium"}, True, "medium"),
    ],
)
def test_thinking(thinking: Any, config: Any, thinks: bool | None, effort: str | None) -> None:
    one = request(thinking=thinking, output_config=config)
    assert (one.thinking, one.effort) == (thinks, effort)


def test_an_answer_held_to_a_schema() -> None:
    wanted = {"type": "json_schema", "schema": {"type": "object"}}
    meant = ResponseFormat("json_schema", {"type": "object"})
    assert request(output_config={"format": wanted}).response_format == meant
    assert request(output_format=wanted).response_format == meant
    assert request(output_config={"effort": "low"}).response_format == ResponseFormat()


def test_which_conversation_it_is() -> None:
    body = msgspec.json.encode(
        {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "metadata": {"user_id": "user_1_session_2"}}
    )
    assert read(arrival(body)).request.session == "user_1_session_2"
    assert read(arrival(body, **{"x-claude-code-session-id": "s"})).request.session == "s"


def test_a_prompt_to_count_is_the_same_prompt() -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "system": "be brief", "tools": [TOOL], "model": "m"}
    counted = read_prompt(arrival(msgspec.json.encode(body)))
    whole = read(arrival(msgspec.json.encode(body | {"max_tokens": 9}))).request
    assert msgspec.structs.replace(counted, max_tokens=9) == whole


def block(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [fields]}]}


def source(kind: str, **fields: Any) -> dict[str, Any]:
    return block(type=kind, source=fields)


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user"}]}, "content"),
        ({"messages": [{"role": "user", "content": 5}]}, "content"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"max_tokens": 2**31}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"top_k": 10**30}, "top_k"),
        ({"stop_sequences": [""]}, "stop_sequences"),
        ({"system": [PICTURE]}, "system"),
        ({"mcp_servers": [{"type": "url", "url": "http://x"}]}, "mcp_servers"),
        ({"tools": [{"name": "x"}]}, "'x'"),
        ({"tools": [{"input_schema": {}}]}, "a tool has"),
        ({"tool_choice": {"type": "any"}}, "no tool to call"),
        ({"tool_choice": {"type": "tool", "name": "x"}, "tools": [TOOL]}, "there are look"),
        ({"tool_choice": {"type": "tool"}, "tools": [TOOL]}, "tool_choice"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"thinking": {"type": "deep"}}, "thinking"),
        ({"output_format": {"type": "xml", "schema": {}}}, "output_format"),
        (block(type="search_result", source="x", title="y", content=[]), "search_result"),
        (block(type="container_upload", file_id="x"), "container_upload"),
        (block(type="server_tool_use", id="x", name="web_search", input={}), "server_tool_use"),
        (block(text="untyped"), "type"),
        (block(type="tool_use", id="c", name="x", input="{}"), "input"),
        (source("image", type="url", url="http://x/y.png"), "inside the request"),
        (source("image", type="file", file_id="f"), "inside the request"),
        (source("image", type="base64", media_type="image/tiff", data="AAAA"), "image/tiff"),
        (source("image", type="base64", media_type="image/png", data="../etc"), "base64"),
        (source("image", type="base64", media_type="image/png", data=""), "base64"),
        (source("document", type="base64", media_type="application/pdf", data="AAAA"), "application/pdf"),
        (source("document", type="url", url="http://x/y.pdf"), "inside the request"),
    ],
)
def test_bad_requests_name_what_is_wrong(fields: dict[str, Any], names: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        request(**fields)
    assert names in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("body", "names"),
    [(b"", "JSON"), (b"nonsense", "JSON"), (b"[]", "object"), (b"{}", "messages"), (b'{"model":"\xff"}', "JSON")],
)
def test_what_is_no_request(body: bytes, names: str) -> None:
    for endpoint in (read, read_prompt):
        with pytest.raises(InvalidRequest, match=names):
            endpoint(arrival(body))
    with pytest.raises(InvalidRequest, match="max_tokens"):
        read(arrival(b'{"messages":[{"role":"user","content":"hi"}]}'))


# Properties

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KINDS = "text image document thinking redacted_thinking tool_use tool_result search_result content base64 url file"
BLOCK = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS.split())},
    optional={
        "text": st.text(),
        "source": st.fixed_dictionaries(
            {"type": st.sampled_from(["base64", "url", "file", "text", "content"])},
            optional={"data": st.text(), "media_type": st.sampled_from(["image/png", "text/plain"]), "content": JSON},
        ),
        "thinking": st.text(),
        "signature": st.text(),
        "data": st.text(),
        "id": st.text(),
        "name": st.text(),
        "input": JSON,
        "tool_use_id": st.text(),
        "content": JSON,
        "is_error": st.booleans(),
    },
)
ROLE = st.sampled_from(["user", "assistant", "system", "tool"])
BODY = st.fixed_dictionaries(
    {
        "messages": st.lists(
            st.fixed_dictionaries({"role": ROLE, "content": st.text() | st.lists(BLOCK)}),
            max_size=4,
        ),
        "max_tokens": st.integers(-1, 99) | JSON,
    },
    optional={
        "system": st.text() | st.lists(BLOCK, max_size=3),
        "tools": st.lists(JSON | st.just(TOOL), max_size=3),
        "tool_choice": st.just({"type": "any"}) | JSON,
        "thinking": st.just({"type": "enabled", "budget_tokens": 2_000}) | JSON,
        "output_config": JSON,
        "stop_sequences": JSON,
        "temperature": JSON,
        "metadata": JSON,
        "stream": st.booleans(),
    },
)  # fmt: skip


def holds(body: bytes) -> None:
    """It is a request that can travel to another node, or it is refused."""
    for endpoint in (lambda one: read(one).request, read_prompt):
        with contextlib.suppress(InvalidRequest):
            one = endpoint(arrival(body))
            assert msgspec.json.decode(msgspec.json.encode(one), type=ChatRequest) == one


@given(BODY)
def test_a_body_that_looks_like_one_is_understood_or_refused(body: Any) -> None:
    holds(msgspec.json.encode(body))


@given(JSON)
def test_any_json_is_understood_or_refused(body: Any) -> None:
    holds(msgspec.json.encode(body))


@given(st.binary())
def test_any_bytes_are_understood_or_refused(body: bytes) -> None:
    holds(body)
