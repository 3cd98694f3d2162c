"""The shipped fakes keep the promises of what they stand for."""

import asyncio
import json
import subprocess
import sys

import aiohttp
import pytest

from mycoswarm.core.chat import ChatRequest, Error, Finish, Start, Text, Usage, message
from mycoswarm.core.embed import EmbedRequest
from mycoswarm.core.errors import Busy, EngineFailed, UnknownModel
from mycoswarm.egress import lan_session
from mycoswarm.engines.engine import Engine
from mycoswarm.testing.double_server import start
from mycoswarm.testing.ollama_double import DoubleModel, OllamaDouble, answer, parse_model
from mycoswarm.testing.scripted_engine import Script, ScriptedEngine, offer

ASK = ChatRequest("m", (message("user", "hello"),))


# The scripted engine


async def test_a_script_is_played() -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    engine: Engine = ScriptedEngine((offer("m"),), [Script(("a", "é", "b"), before=2.0, between=0.5)], sleep=sleep)
    deltas = [delta async for delta in engine.chat(ASK)]
    assert [type(delta) for delta in deltas] == [Start, Text, Text, Text, Finish, Usage]
    assert [delta.offset for delta in deltas if isinstance(delta, Text)] == [0, 1, 3]
    assert waited == [2.0, 0.5, 0.5]


async def test_scripts_are_used_up_in_turn() -> None:
    engine = ScriptedEngine((offer("m"),), [Script(refuse=Busy("full")), Script((), fail=EngineFailed("x")), Script()])
    for kind in (Busy, EngineFailed):
        with pytest.raises(kind):
            _ = [delta async for delta in engine.chat(ASK)]
    for _ in range(2):
        assert isinstance([delta async for delta in engine.chat(ASK)][-1], Usage)
    assert len(engine.asked) == 4
    assert len(engine.finished) == 2


async def test_failing_in_the_middle_and_being_cancelled() -> None:
    engine = ScriptedEngine((offer("m"),), [Script(("a",), fail=EngineFailed("gone")), Script()])
    assert isinstance([delta async for delta in engine.chat(ASK)][-1], Error)
    chat = engine.chat(ASK)
    await anext(chat)
    await chat.aclose()
    assert engine.cancelled == [ASK]


async def test_its_models() -> None:
    engine = ScriptedEngine((offer("m", state="on_disk"),))
    _ = [step async for step in engine.load("m")]
    assert [one.state for one in await engine.models()] == ["loaded"]
    with pytest.raises(UnknownModel):
        await engine.embed(EmbedRequest("other", ("x",)))


# The double of Ollama


async def lines(session: aiohttp.ClientSession, url: str, body: object) -> list[dict[str, object]]:
    async with session.post(url, json=body) as reply:
        assert reply.status == 200
        return [json.loads(line) async for line in reply.content]


async def test_it_streams_over_time() -> None:
    double = OllamaDouble({"gemma3:27b": DoubleModel("gemma3:27b", "27.4B")}, token_ms=5)
    runner, port = await start(double)
    loop = asyncio.get_running_loop()
    try:
        async with lan_session(aiohttp.ClientTimeout(total=10)) as session:
            body = {"model": "gemma3:27b", "messages": [{"role": "user", "content": "hi"}]}
            async with session.post(f"http://127.0.0.1:{port}/api/chat", json=body) as reply:
                arrived = [loop.time() async for _ in reply.content]
    finally:
        await runner.cleanup()
    assert len(arrived) == len(answer("gemma3:27b", "hi")) + 1
    assert arrived[-1] - arrived[0] > 0.1


async def test_generate_pull_and_delete() -> None:
    double = OllamaDouble({}, token_ms=0)
    runner, port = await start(double)
    base = f"http://127.0.0.1:{port}"
    try:
        async with lan_session(aiohttp.ClientTimeout(total=10)) as session:
            pulled = await lines(session, f"{base}/api/pull", {"model": "tiny:1b"})
            assert [pulled[0]["status"], pulled[-1]["status"]] == ["pulling manifest", "success"]
            told = await lines(session, f"{base}/api/generate", {"model": "tiny:1b", "prompt": "hi"})
            assert "".join(str(line.get("response", "")) for line in told) == "".join(answer("tiny:1b", "hi"))
            assert told[-1]["done_reason"] == "stop"
            whole = {"model": "tiny:1b", "prompt": "hi", "stream": False}
            (alone,) = await lines(session, f"{base}/api/generate", whole)
            assert alone["response"] == "".join(answer("tiny:1b", "hi"))
            async with session.delete(f"{base}/api/delete", json={"model": "tiny:1b"}) as reply:
                assert reply.status == 200
            async with session.post(f"{base}/api/show", json={"model": "tiny:1b"}) as reply:
                assert reply.status == 404
                assert await reply.json() == {"error": "model 'tiny:1b' not found"}
    finally:
        await runner.cleanup()


async def test_keep_alive_ends() -> None:
    double = OllamaDouble({"m:1": DoubleModel("m:1", "1B")}, token_ms=0)
    runner, port = await start(double)
    try:
        async with lan_session(aiohttp.ClientTimeout(total=10)) as session:
            await lines(session, f"http://127.0.0.1:{port}/api/generate", {"model": "m:1", "keep_alive": "50ms"})
            assert list(double.loaded) == ["m:1"]
            await asyncio.sleep(0.1)
            async with session.get(f"http://127.0.0.1:{port}/api/ps") as reply:
                assert await reply.json() == {"models": []}
    finally:
        await runner.cleanup()


async def test_its_command_line() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mycoswarm.testing.ollama_double", "--port", "0", "--model", "gemma3:27b=27.4B"),
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            port = int((await process.stdout.readline()).split(b":")[-1])
        limits = aiohttp.ClientTimeout(total=5)
        async with lan_session(limits) as session, session.get(f"http://127.0.0.1:{port}/api/tags") as reply:
            (model,) = (await reply.json())["models"]
    finally:
        process.terminate()
        await process.wait()
    assert (model["name"], model["details"]["parameter_size"]) == ("gemma3:27b", "27.4B")


def test_models_of_the_command_line() -> None:
    assert parse_model("gemma3:27b=27.4B").count == 27_400_000_000
    assert parse_model("nomic-embed-text=137M").capabilities == ("embedding",)
    with pytest.raises(Exception, match="is not NAME=SIZE"):
        parse_model("gemma3:27b")
