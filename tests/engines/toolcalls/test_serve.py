"""Round an engine's chat: what goes in, what comes out, and that it ends when its reader does."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from mycoswarm.core.chat import (
    ChatRequest,
    Delta,
    Error,
    Finish,
    FinishReason,
    Note,
    ResponseFormat,
    Sampling,
    Start,
    Text,
    Thinking,
    ToolArgs,
    ToolCall,
    ToolChoice,
    Usage,
    message,
)
from mycoswarm.core.errors import EngineFailed, InvalidRequest
from mycoswarm.core.ids import RequestId
from mycoswarm.core.model import Abilities
from mycoswarm.engines.toolcalls.serve import prepared, serve
from tests.engines.toolcalls.corpus import tools

ASK = ChatRequest("m", (message("user", "?"),), RequestId("r"), tools=tools())
NATIVE, SCHEMA = Abilities(tools=True), Abilities(json_schema=True)
CALL = '<tool_call>{"name": "get_time", "arguments": {}}</tool_call>'


class Engine:
    """Says what it is told to."""

    def __init__(self, *said: Delta, reason: FinishReason = "stop") -> None:
        self._said = (Start(RequestId("r"), "m"), *said, Finish(reason), Usage(3, 4))
        self.asked: list[ChatRequest] = []
        self.closed = False

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        self.asked.append(request)
        try:
            for seq, delta in enumerate(self._said):
                yield msgspec.structs.replace(delta, seq=seq)
        finally:
            self.closed = True


async def collect(engine: Engine, abilities: Abilities = NATIVE, **changes: Any) -> list[Delta]:
    found = [delta async for delta in serve(msgspec.structs.replace(ASK, **changes), abilities, engine.chat)]
    assert [delta.seq for delta in found] == list(range(len(found)))
    return found


def shape(deltas: Sequence[Delta]) -> list[Any]:
    """What was said, without numbers."""
    said: list[Any] = []
    for delta in deltas:
        match delta:
            case Text(text) | Thinking(text):
                said.append(text)
            case ToolCall(index, call_id, name):
                said.append((index, call_id, name))
            case ToolArgs(index, text):
                said.append((index, text))
            case Note(kind, text):
                said.append((kind, text))
            case Finish(reason):
                said.append(reason)
            case _:
                pass
    return said


async def test_without_tools_nothing_is_touched() -> None:
    engine = Engine(Text(CALL))
    assert shape(await collect(engine, tools=())) == [CALL, "stop"]
    assert shape(await collect(Engine(Text(CALL)), tool_choice=ToolChoice("none"))) == [CALL, "stop"]
    assert engine.asked == [msgspec.structs.replace(ASK, tools=())]


async def test_calls_in_text_and_offsets() -> None:
    deltas = await collect(Engine(Text("é "), Text(f"x {CALL}", 3), Text(f" y {CALL}", 90), Text(" ü", 160)))
    assert shape(deltas) == ["é", " x", (0, "call-r-0", "get_time"), (0, "{}"), " y", *shape(deltas)[5:]]
    assert shape(deltas)[5:] == [(1, "call-r-1", "get_time"), (1, "{}"), " ü", "tool_calls"]
    offsets = [(delta.offset, delta.text) for delta in deltas if isinstance(delta, Text)]
    assert offsets == [(0, "é"), (2, " x"), (4, " y"), (6, " ü")]
    assert isinstance(deltas[-1], Usage)


async def test_native_calls_and_those_in_text_are_counted_together() -> None:
    said = (ToolCall(0, "a", "get_weather"), ToolArgs(0, "{'city':"), ToolArgs(0, " 'x'}"), Text(CALL))
    deltas = await collect(Engine(*said, reason="tool_calls"))
    assert shape(deltas) == [
        (0, "a", "get_weather"),
        (0, '{"city":"x"}'),
        (1, "call-r-1", "get_time"),
        (1, "{}"),
        "tool_calls",
    ]


async def test_beyond_repair_a_note_says_why() -> None:
    text = '<tool_call>{"name": "fly", "arguments": {}}</tool_call>'
    assert shape(await collect(Engine(Text(text)))) == [("tool_call", "there is no tool 'fly'"), text, "stop"]
    native = (ToolCall(0, "a", "fly"), ToolArgs(0, "{}"))
    assert shape(await collect(Engine(*native, reason="tool_calls"))) == [
        ("tool_call", "there is no tool 'fly'"),
        (0, "a", "fly"),
        (0, "{}"),
        "tool_calls",
    ]


async def test_the_limit() -> None:
    half = '<tool_call>{"name": "get_weather", "arguments": {"city": "Pa'
    why = "the answer was cut off in the middle of a call"
    assert shape(await collect(Engine(Text(half), reason="length"))) == [("tool_call", why), half, "length"]
    native = (ToolCall(0, "a", "get_weather"), ToolArgs(0, '{"ci'))
    assert shape(await collect(Engine(*native, reason="length"))) == [("tool_call", f"{why} of get_weather"), "length"]


async def test_no_call_is_no_reason() -> None:
    assert shape(await collect(Engine(Text("x"), reason="tool_calls"))) == ["x", "stop"]


async def test_one_call_only() -> None:
    deltas = await collect(Engine(Text(CALL + CALL)), parallel_tools=False)
    assert shape(deltas)[:2] == [(0, "call-r-0", "get_time"), (0, "{}")]
    assert shape(deltas)[2] == ("tool_call", "one call was asked for: another one of get_time is left out")


async def test_what_was_held_back_comes_before_an_error() -> None:
    class Breaking(Engine):
        async def chat(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
            yield Start(RequestId("r"), "m")
            yield Text("a <tool_c", seq=1)
            yield Error(EngineFailed("gone").body(), seq=2)

    deltas = await collect(Breaking())
    assert "".join(delta.text for delta in deltas if isinstance(delta, Text)) == "a <tool_c"
    assert isinstance(deltas[-1], Error)


async def test_thinking_models_think() -> None:
    text = Text("<think>a</think>\n\nb")
    deltas = await collect(Engine(text), Abilities(tools=True, thinking=True))
    assert [type(delta) for delta in deltas[1:3]] == [Thinking, Text]
    assert shape(deltas) == ["a", "b", "stop"]
    assert shape(await collect(Engine(text))) == ["<think>a</think>\n\nb", "stop"]


async def test_constraint() -> None:
    engine = Engine(Text('{"answer": "He'), Text('llo"}'))
    assert shape(await collect(engine, SCHEMA)) == ["He", "llo", "stop"]
    assert engine.asked[0].tools == ()
    assert engine.asked[0].response_format.kind == "json_schema"
    call = Engine(Text('{"tool": "get_weather", "arguments": {"city": "Par'), Text('is"}}'))
    assert shape(await collect(call, SCHEMA)) == [
        (0, "call-r-0", "get_weather"),
        (0, '{"city":"Paris"}'),
        "tool_calls",
    ]


async def test_stop_strings_are_looked_for_in_the_answer_and_not_in_its_wrapping() -> None:
    engine = Engine(Text('{"answer": "one\\'), Text('ntwo", "'), Text('"}'))
    deltas = await collect(engine, SCHEMA, sampling=Sampling(stop=("\ntw", '"')))
    assert shape(deltas) == ["one", "stop"]
    assert [delta.stop for delta in deltas if isinstance(delta, Finish)] == ["\ntw"]
    assert engine.asked[0].sampling.stop == ()


async def test_a_model_that_can_do_neither() -> None:
    engine = Engine()
    with pytest.raises(InvalidRequest, match="cannot call tools"):
        await collect(engine, Abilities())
    assert engine.asked == []
    with pytest.raises(InvalidRequest, match="cannot call tools"):
        prepared(ASK, Abilities())


def test_a_schema_beside_a_required_call_is_left_out() -> None:
    both = msgspec.structs.replace(
        ASK, tool_choice=ToolChoice("required"), response_format=ResponseFormat("json_object")
    )
    assert prepared(both, NATIVE).response_format == ResponseFormat()


async def test_leaving_closes_the_engines_answer() -> None:
    engine = Engine(Text("a"), Text("b"))
    async with aclosing(serve(ASK, NATIVE, engine.chat)) as answer:
        await anext(answer)
    assert engine.closed
