"""The Ollama engine against the double of Ollama, over real sockets."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from mycoswarm.core.chat import (
    ChatRequest,
    Delta,
    Error,
    Finish,
    Sampling,
    Start,
    Text,
    Tool,
    ToolArgs,
    ToolCall,
    ToolChoice,
    Usage,
)
from mycoswarm.core.chat import message as said
from mycoswarm.core.embed import EmbedRequest
from mycoswarm.core.errors import Busy, ContextTooLong, EngineFailed, Refused, UnknownModel
from mycoswarm.core.ids import RequestId
from mycoswarm.engines.ollama import Ollama, is_cloud
from mycoswarm.engines.stream import Deltas
from mycoswarm.testing.double_server import start
from mycoswarm.testing.ollama_double import DoubleModel, OllamaDouble, answer
from tests.engines.eventually import eventually

GEMMA = DoubleModel("gemma3:27b", "27.4B", ("completion", "vision"))
QWEN = DoubleModel("qwen3:8b", "8.2B", ("completion", "tools", "thinking"), trained_context=2048)
NOMIC = DoubleModel("nomic-embed-text:latest", "137M", ("embedding",))
CLOUD = DoubleModel("gpt-oss:120b-cloud", "120B")
ASK = ChatRequest("gemma3:27b", (said("user", "hello é"),), RequestId("req-1"), sampling=Sampling(temperature=0.0))


@asynccontextmanager
async def running(double: OllamaDouble, context: int = 4096) -> AsyncIterator[Ollama]:
    runner, port = await start(double)
    engine = Ollama(f"http://127.0.0.1:{port}", context)
    try:
        yield engine
    finally:
        await engine.close()
        await runner.cleanup()


@pytest.fixture
def double() -> OllamaDouble:
    return OllamaDouble({model.name: model for model in (GEMMA, QWEN, NOMIC, CLOUD)}, token_ms=1)


async def collect(engine: Ollama, request: ChatRequest = ASK) -> list[Delta]:
    return [delta async for delta in engine.chat(request)]


async def test_what_it_offers(double: OllamaDouble) -> None:
    async with running(double) as engine:
        assert (await engine.health()).version == "0.13.5"
        offers = {str(offer.name): offer for offer in await engine.models()}
    assert set(offers) == {"gemma3:27b", "qwen3:8b", "nomic-embed-text:latest"}
    gemma, qwen, nomic = (offers[name] for name in ("gemma3:27b", "qwen3:8b", "nomic-embed-text:latest"))
    assert (gemma.parameters, gemma.state, gemma.context, gemma.quantization) == (
        27_400_000_000,
        "on_disk",
        4096,
        "Q4_K_M",
    )
    assert gemma.engine == engine.id
    assert gemma.digest == f"ollama:{GEMMA.digest}"
    assert (gemma.abilities.vision, gemma.abilities.tools) == (True, False)
    assert (qwen.context, qwen.abilities.tools, qwen.abilities.thinking) == (2048, True, True)
    assert (nomic.abilities.embed, nomic.abilities.chat) == (True, False)


async def test_an_answer_comes_word_by_word(double: OllamaDouble) -> None:
    async with running(double) as engine:
        deltas = await collect(engine)
    assert isinstance(deltas[0], Start)
    texts = [delta for delta in deltas if isinstance(delta, Text)]
    assert "".join(text.text for text in texts) == "".join(answer("gemma3:27b", "hello é"))
    assert len(texts) > 20
    assert [delta.seq for delta in deltas] == list(range(len(deltas)))
    finish, usage = deltas[-2:]
    assert isinstance(finish, Finish)
    assert finish.reason == "stop"
    assert isinstance(usage, Usage)
    assert usage.completion_tokens == len(texts)
    assert usage.prompt_tokens == 2
    assert usage.decode_ms is not None
    assert usage.decode_ms >= len(texts)


async def test_the_context_is_set_and_kept(double: OllamaDouble) -> None:
    async with running(double) as engine:
        await collect(engine)
        assert double.loaded["gemma3:27b"].context == 4096
        double.loaded["gemma3:27b"].context = 32_768
        (gemma, *_) = [offer for offer in await engine.models() if offer.name == "gemma3:27b"]
        assert (gemma.state, gemma.context) == ("loaded", 32_768)
        await collect(engine)
    chats = [body for path, body in double.requests if path == "/api/chat"]
    assert [body["options"]["num_ctx"] for body in chats] == [4096, 32_768]
    assert all(body["truncate"] is False for body in chats)


async def test_max_tokens(double: OllamaDouble) -> None:
    async with running(double) as engine:
        deltas = await collect(engine, msgspec.structs.replace(ASK, max_tokens=3))
    assert sum(isinstance(delta, Text) for delta in deltas) == 3
    assert [delta.reason for delta in deltas if isinstance(delta, Finish)] == ["length"]


async def test_speed_is_learnt_from_answers(double: OllamaDouble) -> None:
    double.token_ms, double.prefill_ms = 5, 20
    long = msgspec.structs.replace(ASK, messages=(said("user", "word " * 50),))
    async with running(double) as engine:
        await collect(engine, long)
        (gemma, *_) = [offer for offer in await engine.models() if offer.name == "gemma3:27b"]
    assert gemma.speed is not None
    assert gemma.speed.measured
    assert 50 < gemma.speed.decode <= 200


async def test_tools(double: OllamaDouble) -> None:
    tool = Tool("look", "looks", {"type": "object", "required": ["q"]})
    asked = msgspec.structs.replace(ASK, tools=(tool,))
    async with running(double) as engine:
        deltas = await collect(engine, msgspec.structs.replace(asked, model="qwen3:8b"))
        double.says = ('{"tool": "look", "argu', 'ments": {"q": "gemma"}}')
        constrained = await collect(engine, asked)
    call, arguments, finish = deltas[1:4]
    assert isinstance(call, ToolCall)
    assert call.name == "look"
    assert isinstance(arguments, ToolArgs)
    assert arguments.text == '{"q":"double"}'
    assert isinstance(finish, Finish)
    assert finish.reason == "tool_calls"
    body = double.requests[-1][1]
    assert "tools" not in body
    assert body["format"]["anyOf"][0]["properties"]["tool"] == {"const": "look"}
    assert "- look(): looks" in body["messages"][0]["content"]
    call, arguments, finish = constrained[1:4]
    assert isinstance(call, ToolCall)
    assert isinstance(arguments, ToolArgs)
    assert (call.name, arguments.text) == ("look", '{"q":"gemma"}')
    assert isinstance(finish, Finish)
    assert finish.reason == "tool_calls"


async def test_a_call_that_is_required_comes_by_schema(double: OllamaDouble) -> None:
    tool = Tool("look", "looks", {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]})
    double.says = ('{"tool": "look", "arguments": {"q": "x"}}',)
    asked = msgspec.structs.replace(ASK, model="qwen3:8b", tools=(tool,), tool_choice=ToolChoice("required"))
    async with running(double) as engine:
        deltas = await collect(engine, asked)
    assert double.requests[-1][1]["format"]["properties"]["tool"] == {"const": "look"}
    assert "tools" not in double.requests[-1][1]
    assert [delta.text for delta in deltas if isinstance(delta, ToolArgs)] == ['{"q":"x"}']


async def test_calls_that_ollama_left_in_the_text(double: OllamaDouble) -> None:
    tool = Tool("look", "looks", {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]})
    double.says = ("Let me ", "see. <tool", "_call>{'name': 'look', 'argu", "ments': {'q': 'x',}}</tool_call>")
    async with running(double) as engine:
        deltas = await collect(engine, msgspec.structs.replace(ASK, model="qwen3:8b", tools=(tool,)))
    assert "".join(delta.text for delta in deltas if isinstance(delta, Text)) == "Let me see."
    assert [delta.name for delta in deltas if isinstance(delta, ToolCall)] == ["look"]
    assert [delta.text for delta in deltas if isinstance(delta, ToolArgs)] == ['{"q":"x"}']
    assert [delta.reason for delta in deltas if isinstance(delta, Finish)] == ["tool_calls"]
    assert [delta.seq for delta in deltas] == list(range(len(deltas)))


async def test_loading_and_unloading(double: OllamaDouble) -> None:
    async with running(double) as engine:
        assert [step.stage async for step in engine.load("qwen3:8b")] == ["load", "done"]
        assert list(double.loaded) == ["qwen3:8b"]
        await engine.unload("qwen3:8b")
        await engine.unload("qwen3:8b")
    assert not double.loaded


async def test_embedding(double: OllamaDouble) -> None:
    async with running(double) as engine:
        one, two, again = (await engine.embed(EmbedRequest("nomic-embed-text:latest", ("a", "b", "a")))).vectors
        assert one == again != two
        with pytest.raises(EngineFailed, match="does not support embeddings"):
            await engine.embed(EmbedRequest("gemma3:27b", ("a",)))


async def test_cloud_models_are_refused(double: OllamaDouble) -> None:
    assert is_cloud("gpt-oss:120b-cloud")
    async with running(double) as engine:
        for refused in (
            collect(engine, msgspec.structs.replace(ASK, model=CLOUD.name)),
            engine.embed(EmbedRequest(CLOUD.name, ("a",))),
            anext(engine.load(CLOUD.name)),  # pyright: ignore[reportArgumentType] an async generator
        ):
            with pytest.raises(Refused, match="vendor's machines"):
                await refused
    assert not double.requests


async def test_errors_before_the_first_word_are_raised(double: OllamaDouble) -> None:
    async with running(double) as engine:
        with pytest.raises(UnknownModel, match="not found"):
            await collect(engine, msgspec.structs.replace(ASK, model="nothing"))
        with pytest.raises(UnknownModel) as caught:
            await anext(engine.load("gema3:27b"))  # pyright: ignore[reportArgumentType] an async generator
        assert caught.value.data["near"] == ["gemma3:27b"]
        with pytest.raises(ContextTooLong):
            await collect(engine, msgspec.structs.replace(ASK, messages=(said("user", "word " * 5000),)))
        double.fail_after = 0
        with pytest.raises(EngineFailed, match="an error was encountered"):
            await collect(engine)
        double.busy = True
        with pytest.raises(Busy, match="server busy"):
            await collect(engine)


@pytest.mark.parametrize("way", ["fail_after", "hang_up_after"])
async def test_errors_after_it_end_the_stream(double: OllamaDouble, way: str) -> None:
    setattr(double, way, 5)
    async with running(double) as engine:
        deltas = await collect(engine)
    assert sum(isinstance(delta, Text) for delta in deltas) == 5
    assert isinstance(deltas[-1], Error)
    assert deltas[-1].error.code == "engine_failed"
    assert [delta.seq for delta in deltas] == list(range(len(deltas)))


async def test_closing_the_generator_cancels_the_work(double: OllamaDouble) -> None:
    double.token_ms = 50
    async with running(double) as engine:
        chat = engine.chat(ASK)
        async for delta in chat:
            if isinstance(delta, Text):
                break
        await chat.aclose()
        await eventually(lambda: double.cancelled == 1, 2.0)


async def test_nobody_there() -> None:
    engine = Ollama("http://127.0.0.1:9")
    health = await engine.health()
    assert not health.ok
    assert "cannot be reached" in health.reason
    with pytest.raises(EngineFailed, match="cannot be reached"):
        await collect(engine)
    await engine.close()


async def test_an_address_on_the_internet_is_not_reached() -> None:
    engine = Ollama("http://192.0.2.1:11434")
    assert "not an address of the local network" in (await engine.health()).reason
    await engine.close()


async def test_a_raw_prompt_and_how_long_the_model_stays(double: OllamaDouble) -> None:
    async with running(double) as engine:
        raw = msgspec.structs.replace(ASK, messages=(), prompt="Once upon a time", keep=0.2)
        deltas = await collect(engine, raw)
        assert isinstance(deltas[0], Start)
        words = [delta.text for delta in deltas if isinstance(delta, Text)]
        assert words == list(answer("gemma3:27b", "Once upon a time"))
        assert [type(delta) for delta in deltas[-2:]] == [Finish, Usage]
        usage = deltas[-1]
        assert isinstance(usage, Usage)
        assert usage.prompt_tokens == 4


async def test_a_prompt_that_is_too_long_is_told_in_both_numbers(double: OllamaDouble) -> None:
    async with running(double, context=512) as engine:
        with pytest.raises(ContextTooLong) as refused:
            await collect(engine, msgspec.structs.replace(ASK, messages=(said("user", "word " * 4000),)))
    assert refused.value.data == {"prompt_tokens": 5004, "context": 512}


async def test_a_wish_for_thinking_is_not_sent_to_a_model_that_cannot(
    double: OllamaDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[object] = []
    async with running(double) as engine:
        await engine.models()
        real = engine._stream  # pyright: ignore[reportPrivateUsage] what it sends is seen nowhere else

        def watched(model: str, body: dict[str, object], deltas: Deltas) -> AsyncGenerator[Delta, None]:
            sent.append(body.get("think"))
            return real(model, body, deltas)

        monkeypatch.setattr(engine, "_stream", watched)
        for model in ("gemma3:27b", "qwen3:8b"):
            await collect(engine, msgspec.structs.replace(ASK, model=model, effort="low"))
    assert sent == [None, "low"]


async def test_an_embedder_tells_its_dimensions(double: OllamaDouble) -> None:
    async with running(double) as engine:
        offers = {str(offer.name): offer for offer in await engine.models()}
    assert (offers["nomic-embed-text:latest"].dimensions or 0) > 0
    assert offers["gemma3:27b"].dimensions is None
    assert offers["gemma3:27b"].family
