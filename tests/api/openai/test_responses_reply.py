from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.api.openai import documents
from mycoswarm.api.openai.responses_reply import Collector, EventWriter, Telling
from mycoswarm.api.openai.responses_tools import Kind, Offered
from mycoswarm.core.chat import Delta, Error, Finish, Start, Text, Thinking, ToolArgs, ToolCall, Usage
from mycoswarm.core.errors import ErrorBody
from tests.api.openai.answers import BROKEN, CREATED, ID, START, TEXT, TOOLS, WEIGHED
from tests.api.openai.golden import same
from tests.api.openai.strategies import answers

ECHO: dict[str, Any] = {
    "instructions": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
KINDS = Offered((), {"patch": Kind("patch", custom=True), "git__log": Kind("log", "git")})
PATCH: tuple[Delta, ...] = (
    START,
    ToolCall(0, "call_1", "patch"),
    ToolArgs(0, '{"input": "*** Begin'),
    ToolArgs(0, ' Patch\\n"}'),
    ToolCall(1, "call_2", "git__log"),
    ToolArgs(1, "{}"),
    Finish("tool_calls"),
    Usage(5, 9),
)


def telling(*, summary: bool = False) -> Telling:
    return Telling(ID, CREATED, "asked", ECHO, KINDS, summary=summary)


def streamed(deltas: tuple[Delta, ...], *, summary: bool = False) -> bytes:
    writer = EventWriter(telling(summary=summary))
    return b"".join(writer.write(delta) for delta in deltas) + writer.end()


def collected(deltas: tuple[Delta, ...], *, summary: bool = False) -> dict[str, Any]:
    collector = Collector(telling(summary=summary))
    for delta in deltas:
        collector.add(delta)
    return msgspec.json.decode(collector.body())


def events(raw: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for block in raw.split(b"\n\n"):
        if block.startswith(b"event: "):
            name, data = block.split(b"\n")
            found.append(msgspec.json.decode(data.removeprefix(b"data: ")))
            assert name == b"event: " + found[-1]["type"].encode()
    return found


@pytest.mark.parametrize(
    ("name", "deltas"),
    [("text", TEXT), ("tools", TOOLS), ("weighed", WEIGHED), ("broken", BROKEN), ("patch", PATCH)],
)
def test_every_byte_of_a_stream(name: str, deltas: tuple[Delta, ...]) -> None:
    same(f"responses_{name}.sse", streamed(deltas))


def test_thinking_is_told_as_a_summary_where_one_is_asked_for() -> None:
    same("responses_summary.sse", streamed(TOOLS, summary=True))
    reasoning = collected(TOOLS, summary=True)["output"][0]
    assert reasoning["summary"] == [{"type": "summary_text", "text": "I need the weather."}]
    assert (reasoning["content"], reasoning["encrypted_content"]) == ([], "sig")


def test_an_answer_that_was_cut_off_says_why() -> None:
    cut = collected(WEIGHED)
    assert (cut["status"], cut["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert cut["output"][0]["status"] == "incomplete"
    assert events(streamed(WEIGHED))[-1]["type"] == "response.incomplete"


def test_a_custom_call_is_told_by_its_text_and_a_group_s_by_its_names() -> None:
    patch, log = collected(PATCH)["output"]
    assert (patch["type"], patch["name"], patch["input"]) == ("custom_tool_call", "patch", "*** Begin Patch\n")
    assert (log["type"], log["namespace"], log["name"], log["arguments"]) == ("function_call", "git", "log", "{}")


def test_a_failure_before_the_first_word_is_a_failed_response_of_the_asked_model() -> None:
    busy = Error(ErrorBody("busy", "all slots are taken", "", True))
    *begun, first, last = events(streamed((busy,)))
    assert [one["type"] for one in begun] == ["response.created", "response.in_progress"]
    assert (first["type"], first["code"], last["type"]) == ("error", "rate_limit_exceeded", "response.failed")
    assert (last["response"]["model"], last["response"]["error"]["code"]) == ("asked", "rate_limit_exceeded")


@pytest.mark.parametrize(
    "deltas", [(), (START,), (START, Text("a")), (START, Text("a"), Finish("stop"))], ids=["0", "1", "2", "3"]
)
def test_a_response_ends_whatever_the_deltas_leave_out(deltas: tuple[Delta, ...]) -> None:
    told = events(streamed(deltas))
    assert (told[0]["type"], told[-1]["type"]) == ("response.created", "response.completed")
    assert [one["sequence_number"] for one in told] == list(range(len(told)))
    assert all(item["status"] == "completed" for item in told[-1]["response"]["output"])
    assert collected(deltas) == told[-1]["response"]


def test_words_after_a_call_are_an_item_of_their_own() -> None:
    deltas: tuple[Delta, ...] = (START, Text("a"), ToolCall(0, "c", "f"), Text("b"), Finish("stop"), Usage(1, 1))
    assert [item["type"] for item in collected(deltas)["output"]] == ["message", "function_call", "message"]


def test_tokens_of_thought_are_a_share_of_all() -> None:
    deltas: tuple[Delta, ...] = (START, Thinking("abc"), Text("d"), Finish("stop"), Usage(1, 40))
    assert collected(deltas)["usage"]["output_tokens_details"] == {"reasoning_tokens": 30}


def put_together(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The output as a client adds it up from the small events alone."""
    output: list[dict[str, Any]] = []
    for event in said:
        match event["type"]:
            case "response.output_item.added":
                assert event["output_index"] == len(output)
                output.append({"type": event["item"]["type"], "id": event["item"]["id"], "text": "", "done": 0})
            case (
                "response.output_text.delta"
                | "response.reasoning_text.delta"
                | "response.reasoning_summary_text.delta"
                | "response.function_call_arguments.delta"
                | "response.custom_tool_call_input.delta"
            ):
                item = output[event["output_index"]]
                assert (item["id"], item["done"]) == (event["item_id"], 0)
                item["text"] += event["delta"]
            case "response.output_item.done":
                output[event["output_index"]]["done"] += 1
    assert all(item["done"] == 1 for item in output)
    return output


def text_of(item: dict[str, Any]) -> str:
    match item["type"]:
        case "message":
            return "".join(part["text"] for part in item["content"])
        case "reasoning":
            return "".join(part["text"] for part in (*item["content"], *item["summary"]))
        case "custom_tool_call":
            return item["input"]
        case _:
            return item["arguments"]


@given(answers(), st.booleans())
def test_streamed_and_collected_tell_the_same(deltas: tuple[Delta, ...], summary: bool) -> None:
    said = events(streamed(deltas, summary=summary))
    for event in said:
        jsonschema_rs.validate(documents.RESPONSE_EVENT, event)
    assert [event["sequence_number"] for event in said] == list(range(len(said)))
    assert [event["type"] for event in said[:2]] == ["response.created", "response.in_progress"]
    whole = collected(deltas, summary=summary)
    jsonschema_rs.validate(documents.RESPONSE, whole)
    assert said[-1] == {"type": f"response.{whole['status']}", "response": whole, "sequence_number": len(said) - 1}
    output = put_together(said)
    assert [(item["id"], item["text"]) for item in output] == [(item["id"], text_of(item)) for item in whole["output"]]
    assert isinstance(deltas[0], Start)
