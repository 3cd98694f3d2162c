"""Tool calls of the real starter model, which knows nothing of tools, through the embedded engine."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest

from mycoswarm.core.chat import (
    ChatRequest,
    Delta,
    Finish,
    Message,
    Note,
    ResponseFormat,
    Sampling,
    Text,
    Tool,
    ToolArgs,
    ToolCall,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    message,
)
from mycoswarm.core.ids import RequestId
from mycoswarm.engines.llamacpp import LlamaCpp
from mycoswarm.engines.model_file import ModelFile
from mycoswarm.models.catalog import STARTER
from tests.starter import shared_store, starter

pytestmark = pytest.mark.model

WEATHER = Tool(
    "get_weather",
    "The weather of a city",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
        "required": ["city", "unit"],
    },
)
TIME = Tool("get_time", "The time now", {"type": "object", "properties": {}})
ASK = ChatRequest(
    STARTER,
    (message("user", "What is the weather in Paris?"),),
    RequestId("r"),
    sampling=Sampling(temperature=0.0, seed=1),
    max_tokens=120,
    tools=(WEATHER, TIME),
)
ODD: dict[str, Any] = {
    "type": "object",
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "v": {"type": "integer"}}}},
    "properties": {
        "tree": {"$ref": "#/$defs/node"},
        "lost": {"$ref": "https://example.com/schema.json"},
        "mail": {"type": "string", "format": "email", "pattern": "^(?!x)[a-z]+@x$", "maxLength": 100000},
        "many": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 100000, "uniqueItems": True},
        "huge": {"enum": [f"value-{number}" for number in range(5000)]},
        "not": {"not": {"type": "string"}},
        "open": {"type": "object", "patternProperties": {"^x-": {"type": "integer"}}},
        "both": {"allOf": [{"properties": {"x": {"type": "string"}}}, {"required": ["x"]}]},
        "if": {"if": {"type": "string"}, "then": {"minLength": 3}},
        "any": True,
        "tuple": {"type": "array", "prefixItems": [{"type": "integer"}], "items": False},
    },
    "dependentRequired": {"tree": ["mail"]},
}


class Files:
    def __init__(self, file: ModelFile) -> None:
        self._file = file

    def files(self) -> Sequence[ModelFile]:
        return [self._file]


@pytest.fixture
async def engine() -> AsyncIterator[LlamaCpp]:
    await starter()
    made = LlamaCpp(Files(shared_store().get(STARTER)), context=2048, slots=1)
    yield made
    await made.close()


async def collect(engine: LlamaCpp, **changes: Any) -> list[Delta]:
    return [delta async for delta in engine.chat(msgspec.structs.replace(ASK, **changes))]


def calls(deltas: Sequence[Delta]) -> list[tuple[str, Any]]:
    names = [delta.name for delta in deltas if isinstance(delta, ToolCall)]
    arguments = [json.loads(delta.text) for delta in deltas if isinstance(delta, ToolArgs)]
    return list(zip(names, arguments, strict=True))


def reason(deltas: Sequence[Delta]) -> str:
    return next(delta.reason for delta in deltas if isinstance(delta, Finish))


async def test_every_choice(engine: LlamaCpp) -> None:
    required = await collect(engine, tool_choice=ToolChoice("required"))
    ((name, arguments),) = calls(required)
    assert name in ("get_weather", "get_time")
    assert reason(required) == "tool_calls"
    assert not any(isinstance(delta, Text) for delta in required)
    assert [delta.seq for delta in required] == list(range(len(required)))
    if name == "get_weather":
        assert isinstance(arguments["city"], str)
        assert arguments["unit"] in ("celsius", "fahrenheit")

    named = await collect(engine, tool_choice=ToolChoice("named", "get_time"))
    assert calls(named) == [("get_time", {})]

    auto = await collect(engine)
    text = "".join(delta.text for delta in auto if isinstance(delta, Text))
    assert bool(calls(auto)) != bool(text)
    assert reason(auto) in ("tool_calls", "stop", "length")

    none = await collect(engine, tool_choice=ToolChoice("none"), max_tokens=8)
    assert calls(none) == []

    several = await collect(engine, tool_choice=ToolChoice("required"), parallel_tools=True)
    assert calls(several)


async def test_the_result_goes_back_and_the_answer_streams(engine: LlamaCpp) -> None:
    history = (
        message("user", "What is the weather in Paris?"),
        Message("assistant", (ToolCallPart("c1", "get_weather", '{"city":"Paris","unit":"celsius"}'),)),
        Message("tool", (ToolResultPart("c1", "Sunny, 21 degrees"),)),
    )
    deltas = await collect(engine, messages=history, tools=(TIME,), max_tokens=60)
    texts = [delta for delta in deltas if isinstance(delta, Text)]
    if calls(deltas):
        assert calls(deltas) == [("get_time", {})]
        return
    assert len(texts) > 3
    said = "".join(delta.text for delta in texts)
    assert not said.startswith("{")
    assert [delta.offset for delta in texts] == [
        len("".join(one.text for one in texts[:index]).encode()) for index in range(len(texts))
    ]


async def test_half_a_call_is_none(engine: LlamaCpp) -> None:
    deltas = await collect(engine, tool_choice=ToolChoice("required"), max_tokens=6)
    assert calls(deltas) == []
    assert reason(deltas) == "length"
    assert [delta.kind for delta in deltas if isinstance(delta, Note)] == ["tool_call"]


async def test_tools_and_an_answer_schema(engine: LlamaCpp) -> None:
    schema = {"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}}, "required": ["mood"]}
    deltas = await collect(engine, tools=(TIME,), response_format=ResponseFormat("json_schema", schema))
    text = "".join(delta.text for delta in deltas if isinstance(delta, Text))
    assert calls(deltas) == [("get_time", {})] or json.loads(text)["mood"] in ("good", "bad")


async def test_schemas_that_no_grammar_can_hold(engine: LlamaCpp) -> None:
    for name, part in ODD["properties"].items():
        schema = {"type": "object", "$defs": ODD["$defs"], "properties": {name: part}, "required": [name]}
        odd = Tool("odd", "", schema)
        deltas = await collect(engine, tools=(odd,), tool_choice=ToolChoice("required"), max_tokens=40)
        assert reason(deltas) in ("tool_calls", "length"), name
    whole = Tool("odd", "", ODD)
    deltas = await collect(engine, tools=(whole,), tool_choice=ToolChoice("required"), max_tokens=200)
    assert reason(deltas) in ("tool_calls", "length")


async def test_tools_are_counted(engine: LlamaCpp) -> None:
    request = msgspec.structs.replace(ASK, tools=())
    await anext(engine.chat(request))
    bare, tooled = await engine.count_tokens(request), await engine.count_tokens(ASK)
    assert bare is not None
    assert tooled is not None
    assert tooled > bare + 20
