"""The scripted server is an engine that a node finds and uses, and does as its script says."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from mycoswarm.core.chat import (
    ChatRequest,
    Finish,
    Logprobs,
    Message,
    Text,
    Tool,
    ToolArgs,
    ToolCall,
    ToolCallPart,
    ToolResultPart,
    Usage,
    message,
)
from mycoswarm.core.embed import EmbedRequest, unpack
from mycoswarm.core.errors import UnknownModel
from mycoswarm.egress import lan_session
from mycoswarm.engines.find import addresses, build, find
from mycoswarm.engines.openai_compatible import OpenAICompatible
from mycoswarm.testing.double_server import start
from mycoswarm.testing.scripted_answers import WRITTEN, chat, completion, fill, vector
from mycoswarm.testing.scripted_server import ScriptedServer, parse_model

ASK = "Create the file /tmp/demo/hello.txt with exactly this content: hello from the swarm"
CONTENT = "hello from the swarm\n"
PATH = "/tmp/demo/hello.txt"
STRING = {"type": "string"}


def function(name: str, *required: str, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": [*required] or [*properties]}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


@pytest.fixture
async def server() -> AsyncIterator[tuple[ScriptedServer, OpenAICompatible]]:
    models = {"writer": "write", "caller": "call", "paced": "echo:5", "my-embedder": "embed"}
    scripted = ScriptedServer(models)
    runner, port = await start(scripted)
    engine = OpenAICompatible(f"http://127.0.0.1:{port}")
    yield scripted, engine
    await engine.close()
    await runner.cleanup()


async def test_a_node_finds_it_by_its_address(server: tuple[ScriptedServer, OpenAICompatible]) -> None:
    address = server[1].url.removeprefix("http://")
    where = [one for one in addresses([address], {}) if one.url.endswith(address)]
    found = await find(where)
    assert [one.kind for one in found] == ["openai"]
    (engine,) = build(found, where, 4096)
    offers = {str(offer.name): offer for offer in await engine.models()}
    assert offers["writer"].abilities.tools
    assert offers["writer"].context == 131_072
    assert offers["my-embedder"].abilities.embed
    await engine.close()


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        (function("Write", file_path=STRING, content=STRING), {"file_path": PATH, "content": CONTENT}),
        (function("write", filePath=STRING, content=STRING), {"filePath": PATH, "content": CONTENT}),
        (function("write", path=STRING, content=STRING), {"path": PATH, "content": CONTENT}),
        (function("write_file", file_path=STRING, content=STRING), {"file_path": PATH, "content": CONTENT}),
        (
            function("shell", "command", command={"type": "array", "items": STRING}, workdir=STRING),
            {"command": ["sh", "-c", f"printf '%s\\n' 'hello from the swarm' > '{PATH}'"]},
        ),
        (
            function("exec_command", "cmd", cmd=STRING),
            {"cmd": f"printf '%s\\n' 'hello from the swarm' > '{PATH}'"},
        ),
        (
            function("bash", command=STRING, description=STRING),
            {"command": f"printf '%s\\n' 'hello from the swarm' > '{PATH}'", "description": "scripted"},
        ),
        (
            function("apply_patch", input=STRING),
            {"input": f"*** Begin Patch\n*** Add File: {PATH}\n+hello from the swarm\n*** End Patch\n"},
        ),
    ],
)
def test_every_client_is_asked_with_its_own_tool(tool: dict[str, Any], expected: dict[str, Any]) -> None:
    other = function("read", file_path=STRING)
    body = {"messages": [{"role": "user", "content": ASK}], "tools": [other, tool]}
    answer = chat("write", body)
    assert answer.finish == "tool_calls"
    (call,) = answer.calls
    assert call.name == tool["function"]["name"]
    assert len(call.arguments) > 2
    assert json.loads("".join(call.arguments)) == expected


def test_without_a_tool_that_writes_or_without_tools_it_speaks() -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": ASK}]}]
    only_read = chat("write", {"messages": messages, "tools": [function("read", path=STRING)]})
    assert not only_read.calls
    assert "scripted answer" in "".join(only_read.words)
    whole = chat("write", {"messages": messages})
    assert "".join(whole.words) == "hello.txt\n```\nhello from the swarm\n```\n"
    forbidden = {"messages": messages, "tools": [function("Write", file_path=STRING, content=STRING)]}
    assert not chat("write", forbidden | {"tool_choice": "none"}).calls


def test_a_later_instruction_is_a_new_task() -> None:
    tool = function("Write", file_path=STRING, content=STRING)
    history = [
        {"role": "user", "content": ASK},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "tool_call_id": "x", "content": "ok"},
    ]
    assert "".join(chat("write", {"messages": history, "tools": [tool]}).words) == WRITTEN
    again = [*history, {"role": "user", "content": ASK.replace("hello.txt", "two.txt")}]
    (call,) = chat("write", {"messages": again, "tools": [tool]}).calls
    assert "two.txt" in "".join(call.arguments)


def test_an_instruction_in_quotes_has_none_in_its_content() -> None:
    body = {"messages": [{"role": "user", "content": f'"{ASK}"'}]}
    assert "".join(chat("write", body).words) == "hello.txt\n```\nhello from the swarm\n```\n"


def test_formats_limits_and_continued_prompts() -> None:
    messages = [{"role": "user", "content": "hello"}]
    schema = {"type": "object", "properties": {"age": {"type": "integer"}, "on": {"type": "boolean"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert json.loads("".join(chat("write", {"messages": messages, "response_format": wanted}).words)) == {
        "age": 1,
        "on": True,
    }
    plain = chat("write", {"messages": messages, "response_format": {"type": "json_object"}})
    assert json.loads("".join(plain.words)) == {"answer": "hello"}
    cut = chat("echo:9", {"messages": messages, "max_tokens": 3})
    assert (cut.words, cut.finish) == (("tok0 ", "tok1 ", "tok2 "), "length")
    assert completion("echo:9", {"prompt": "a b c", "max_tokens": 2}).finish == "length"
    assert "a b c" in "".join(completion("write", {"prompt": "a b c"}).words)


def test_a_schema_is_filled_with_the_least_that_fits() -> None:
    assert fill({"anyOf": [{"type": "null"}, STRING]}) is None
    assert fill({"enum": ["a", "b"]}) == "a"
    assert fill({"const": 3}) == 3
    assert fill({"type": ["integer", "null"], "minimum": 4}) == 4
    assert fill({"type": "array", "items": STRING, "minItems": 1}) == ["scripted"]
    assert fill({"type": "array", "items": STRING}) == []


async def test_the_engine_of_a_node_reads_calls_words_and_probabilities(
    server: tuple[ScriptedServer, OpenAICompatible],
) -> None:
    scripted, engine = server
    tool = Tool("write", "", {"type": "object", "properties": {"path": STRING, "content": STRING}})
    request = ChatRequest("writer", (message("user", ASK),), tools=(tool,))
    deltas = [delta async for delta in engine.chat(request)]
    (call,) = [delta for delta in deltas if isinstance(delta, ToolCall)]
    pieces = [delta.text for delta in deltas if isinstance(delta, ToolArgs)]
    assert json.loads("".join(pieces)) == {"path": PATH, "content": CONTENT}
    # Whole, because what a model wrote is checked against its tool's schema before anybody gets to see it.
    assert len(pieces) == 1
    assert [delta.reason for delta in deltas if isinstance(delta, Finish)] == ["tool_calls"]
    result = Message("tool", (ToolResultPart(call.id, "ok"),))
    called = Message("assistant", (ToolCallPart(call.id, call.name, "".join(pieces)),))
    after = ChatRequest("writer", (*request.messages, called, result), tools=(tool,))
    assert "".join([delta.text async for delta in engine.chat(after) if isinstance(delta, Text)]) == WRITTEN

    echoed = [delta async for delta in engine.chat(ChatRequest("paced", (message("user", "hi"),), logprobs=2))]
    assert "".join(delta.text for delta in echoed if isinstance(delta, Text)) == "tok0 tok1 tok2 tok3 tok4 "
    assert len([delta for delta in echoed if isinstance(delta, Logprobs)]) == 5
    (usage,) = [delta for delta in echoed if isinstance(delta, Usage)]
    assert (usage.prompt_tokens, usage.completion_tokens) == (1, 5)
    assert [path for path, _ in scripted.requests] == ["/v1/chat/completions"] * 3

    made = await engine.embed(EmbedRequest("my-embedder", ("one two", "three")))
    assert [unpack(row) for row in made.vectors] == [vector("one two", 8), vector("three", 8)]
    assert made.tokens == 3
    with pytest.raises(UnknownModel):
        _ = [delta async for delta in engine.chat(ChatRequest("nobody", (message("user", "hi"),)))]


async def test_the_whole_answer_says_the_same_as_the_streamed_one(
    server: tuple[ScriptedServer, OpenAICompatible],
) -> None:
    body = {"model": "caller", "messages": [{"role": "user", "content": "x"}], "tools": [function("f", a=STRING)]}
    async with lan_session(aiohttp.ClientTimeout(total=5)) as session:
        async with session.post(server[1].url + "/v1/chat/completions", json=body) as reply:
            whole = (await reply.json())["choices"][0]
        async with session.post(server[1].url + "/v1/completions", json={"model": "paced", "prompt": "x"}) as reply:
            assert (await reply.json())["choices"][0]["text"] == "tok0 tok1 tok2 tok3 tok4 "
        streamed = {"model": "paced", "prompt": "x", "stream": True}
        async with session.post(server[1].url + "/v1/completions", json=streamed) as reply:
            events = [line for line in (await reply.text()).split("\n\n") if line]
    assert whole["finish_reason"] == "tool_calls"
    assert whole["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a": "scripted"}'}
    assert events[-1] == "data: [DONE]"
    assert "".join(json.loads(event[6:])["choices"][0]["text"] for event in events[:-1]) == "tok0 tok1 tok2 tok3 tok4 "


def test_it_runs_as_a_program() -> None:
    started = subprocess.Popen(
        [sys.executable, "-m", "mycoswarm.testing.scripted_server", "--port", "0", "--model", "m=echo:2"],
        stdout=subprocess.PIPE,
    )
    assert started.stdout is not None
    try:
        assert started.stdout.readline().startswith(b"scripted server on 127.0.0.1:")
    finally:
        started.terminate()
        started.wait(5)
        started.stdout.close()


def test_a_script_that_does_not_exist_is_told() -> None:
    assert parse_model("a=b=echo:3") == ("a=b", "echo:3")
    with pytest.raises(Exception, match="scripts are"):
        parse_model("m=dance")
