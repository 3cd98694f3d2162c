import msgspec
import pytest

from mycoswarm.api.dialect import Arrival
from mycoswarm.api.openai.chat import ChunkWriter, Collector, read
from mycoswarm.api.openai.models import models_json
from mycoswarm.core.chat import (
    ChatRequest,
    Delta,
    Error,
    Finish,
    ImagePart,
    Note,
    ResponseFormat,
    Start,
    Text,
    TextPart,
    Thinking,
    Tool,
    ToolArgs,
    ToolCall,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    Usage,
)
from mycoswarm.core.errors import ErrorBody, InvalidRequest
from mycoswarm.core.ids import EngineId, ModelName, NodeId, RequestId
from mycoswarm.core.model import ModelOffer
from mycoswarm.core.views import ModelPlace, Models, ModelView

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


def events(*deltas: Delta, include_usage: bool = False) -> list[dict[str, object]]:
    writer = ChunkWriter(ID, 5, include_usage=include_usage)
    raw = b"".join(writer.write(delta) for delta in deltas)
    lines = [line for line in raw.split(b"\n\n") if line.startswith(b"data: ")]
    return [msgspec.json.decode(line.removeprefix(b"data: ")) for line in lines]


ANSWER: tuple[Delta, ...] = (
    Start(ID, "m", NodeId("n"), "miu"),
    Thinking("hm"),
    Text("Hel"),
    Text("lo"),
    ToolCall(0, "c1", "look"),
    ToolArgs(0, '{"x":'),
    ToolArgs(0, "1}"),
    Finish("tool_calls"),
    Usage(prompt_tokens=7, completion_tokens=3, cached_tokens=2),
)


def test_chunks_tell_the_whole_answer() -> None:
    said = events(*ANSWER, include_usage=True)
    assert {one["id"] for one in said} == {"chatcmpl-req-1"}
    assert {one["model"] for one in said} == {"m"}
    deltas = [one["choices"][0]["delta"] for one in said if one["choices"]]  # pyright: ignore[reportIndexIssue,reportArgumentType]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(one.get("content") or "" for one in deltas) == "Hello"
    assert deltas[1] == {"reasoning_content": "hm"}
    assert said[-2]["choices"][0]["finish_reason"] == "tool_calls"  # pyright: ignore[reportIndexIssue,reportArgumentType]
    assert said[-1]["choices"] == []
    assert said[-1]["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 2},
    }


def test_usage_comes_only_when_asked_for_and_notes_are_comments() -> None:
    assert all(one["choices"] for one in events(*ANSWER))
    writer = ChunkWriter(ID, 5, include_usage=False)
    assert writer.write(Note("queue", "2 before\nthis")) == b": queue: 2 before this\n\n"


def test_an_error_in_the_middle_is_an_event() -> None:
    said = events(ANSWER[0], Text("Hel"), Error(ErrorBody("peer_lost", "miu went away", "ask again")))
    assert said[-1]["error"]["message"] == "miu went away (ask again)"  # pyright: ignore[reportIndexIssue,reportArgumentType]


def test_several_answers_keep_their_places() -> None:
    deltas: tuple[Delta, ...] = (
        Start(ID, "m"),
        Start(ID, "m", choice=1),
        Text("b", choice=1),
        Text("a"),
        Finish("stop", choice=1),
        Finish("length"),
        Usage(7, 2),
    )
    collector = Collector(ID, 5)
    for delta in deltas:
        collector.add(delta)
    choices = msgspec.json.decode(collector.body())["choices"]
    assert [(one["index"], one["message"]["content"], one["finish_reason"]) for one in choices] == [
        (0, "a", "length"),
        (1, "b", "stop"),
    ]
    said = [one["choices"][0] for one in events(*deltas)]  # pyright: ignore[reportIndexIssue]
    assert [one["index"] for one in said] == [0, 1, 1, 0, 1, 0]


def test_the_collected_answer_equals_the_streamed_one() -> None:
    collector = Collector(ID, 5)
    for delta in ANSWER:
        collector.add(delta)
    whole = msgspec.json.decode(collector.body())
    message = whole["choices"][0]["message"]
    assert message["content"] == "Hello"
    assert message["reasoning_content"] == "hm"
    assert message["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"x":1}'}}
    ]
    assert whole["choices"][0]["finish_reason"] == "tool_calls"
    assert whole["usage"]["total_tokens"] == 10


def test_only_models_that_can_answer_now_are_listed() -> None:
    def place(node: str, *, up: bool = True, state: str = "loaded") -> ModelPlace:
        offer = ModelOffer(ModelName("m"), EngineId("e"), state)  # pyright: ignore[reportArgumentType]
        return ModelPlace(NodeId(node), node, up, offer)

    models = Models(
        (
            ModelView("here", (place("miu"), place("boa"))),
            ModelView("away", (place("miu", up=False),)),
            ModelView("big", (place("miu", state="unfit"),)),
        )
    )
    listed = msgspec.json.decode(models_json(models))["data"]
    assert [(one["id"], one["owned_by"]) for one in listed] == [("here", "boa, miu")]
