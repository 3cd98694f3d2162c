"""Servers of OpenAI's dialect, over real sockets."""

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
    Usage,
)
from mycoswarm.core.chat import message as said
from mycoswarm.core.embed import EmbedRequest, unpack
from mycoswarm.core.errors import ContextTooLong, EngineFailed, InvalidRequest, UnknownModel
from mycoswarm.core.hardware import EngineKind
from mycoswarm.core.ids import RequestId
from mycoswarm.engines.openai_compatible import OpenAICompatible
from tests.engines.eventually import eventually
from tests.engines.openai_server import OpenAIServer

ASK = ChatRequest("qwen3-8b-q4_k_m", (said("user", "hello"),), RequestId("req-1"))
QWEN = {"id": "qwen3-8b-q4_k_m", "object": "model", "owned_by": "x"}


async def collect(engine: OpenAICompatible, request: ChatRequest = ASK) -> list[Delta]:
    return [delta async for delta in engine.chat(request)]


async def test_an_answer() -> None:
    server = OpenAIServer([QWEN])
    async with server.running() as url:
        engine = OpenAICompatible(url + "/v1", "vllm", version="0.11")
        assert engine.url == url
        assert engine.id == "vllm@" + url.removeprefix("http://")
        assert (await engine.health()).ok
        deltas = await collect(engine)
        await engine.close()
    assert isinstance(deltas[0], Start)
    assert [delta.text for delta in deltas if isinstance(delta, Text)] == [f"w{number} " for number in range(10)]
    assert [type(delta) for delta in deltas[-2:]] == [Finish, Usage]
    assert server.requests[0]["stream"] is True


async def test_offers_of_plain_servers_are_read_from_what_they_tell() -> None:
    told = {
        "id": "gemma-3-4b",
        "meta": {"n_ctx": 8192, "n_params": 3_880_000_000, "size": 2_400_000_000, "ftype": "Q4_K_M"},
        "architecture": {"input_modalities": ["text", "image"]},
    }
    async with OpenAIServer([QWEN | {"max_model_len": 16_384}, told, {"id": "bge-m3"}]).running() as url:
        engine = OpenAICompatible(url, "llama-server")
        qwen, gemma, bge = await engine.models()
        await engine.close()
    assert (qwen.parameters, qwen.quantization, qwen.context) == (8_000_000_000, "Q4_K_M", 16_384)
    assert (gemma.parameters, gemma.quantization, gemma.context) == (3_880_000_000, "Q4_K_M", 8192)
    assert gemma.size == 2_400_000_000
    assert gemma.abilities.vision
    assert (bge.abilities.embed, bge.abilities.chat) == (True, False)


async def test_lm_studio_says_what_is_loaded() -> None:
    own = [
        {"id": "gemma-3-4b", "type": "vlm", "state": "loaded", "quantization": "Q4_0", "loaded_context_length": 4096},
        {"id": "qwen3-8b", "type": "llm", "state": "not-loaded", "max_context_length": 32_768},
        {"id": "nomic", "type": "embeddings", "state": "not-loaded"},
    ]
    server = OpenAIServer([{"id": entry["id"]} for entry in own], {"/api/v0/models": {"data": own}})
    async with server.running() as url:
        engine = OpenAICompatible(url, "lmstudio")
        gemma, qwen, nomic = await engine.models()
        await engine.close()
    assert (gemma.state, gemma.context, gemma.abilities.vision) == ("loaded", 4096, True)
    assert (qwen.state, qwen.context) == ("on_disk", 32_768)
    assert nomic.abilities.embed


async def test_an_older_lm_studio_has_the_plain_list() -> None:
    async with OpenAIServer([QWEN]).running() as url:
        engine = OpenAICompatible(url, "lmstudio")
        (qwen,) = await engine.models()
        await engine.close()
    assert qwen.state == "on_disk"


async def test_unknown_names_are_refused_here() -> None:
    server = OpenAIServer([QWEN])
    async with server.running() as url:
        engine = OpenAICompatible(url)
        with pytest.raises(UnknownModel) as caught:
            await collect(engine, msgspec.structs.replace(ASK, model="qwen3-8b"))
        assert caught.value.data["near"] == ["qwen3-8b-q4_k_m"]
        assert [step.stage async for step in engine.load("qwen3-8b-q4_k_m")] == ["done"]
        with pytest.raises(InvalidRequest, match="cannot be told to unload"):
            await engine.unload("qwen3-8b-q4_k_m")
        await engine.close()
    assert not server.requests


async def test_a_key_is_sent_and_its_lack_is_said() -> None:
    server = OpenAIServer([QWEN], api_key="secret")
    async with server.running() as url:
        engine, without = OpenAICompatible(url, api_key="secret"), OpenAICompatible(url)
        assert len(await collect(engine)) > 10
        health = await without.health()
        await engine.close()
        await without.close()
    assert "wants an API key" in health.reason
    assert "secret" not in health.reason


async def test_a_break_in_the_middle_is_an_error_delta() -> None:
    async with OpenAIServer([QWEN], cut_after=4).running() as url:
        engine = OpenAICompatible(url)
        deltas = await collect(engine)
        await engine.close()
    assert sum(isinstance(delta, Text) for delta in deltas) == 4
    assert isinstance(deltas[-1], Error)


async def test_a_break_before_the_first_word_is_raised() -> None:
    async with OpenAIServer([QWEN], cut_after=0).running() as url:
        engine = OpenAICompatible(url)
        with pytest.raises(EngineFailed):
            await collect(engine)
        await engine.close()


async def test_closing_the_generator_closes_the_connection() -> None:
    server = OpenAIServer([QWEN], words=1000, pause=0.01)
    async with server.running() as url:
        engine = OpenAICompatible(url)
        chat = engine.chat(ASK)
        async for delta in chat:
            if isinstance(delta, Text):
                break
        await chat.aclose()
        await eventually(lambda: server.cancelled == 1, 2.0)
        await engine.close()


async def test_an_engine_closed_in_the_middle_of_an_answer() -> None:
    async with OpenAIServer([QWEN], words=1000, pause=0.01).running() as url:
        engine = OpenAICompatible(url)
        got: list[Delta] = []
        async for delta in engine.chat(ASK):
            got.append(delta)
            if len(got) == 3:
                await engine.close()
    assert isinstance(got[-1], Error)
    assert "no longer used" in got[-1].error.message


async def test_vectors_come_in_the_order_of_the_texts() -> None:
    async with OpenAIServer([QWEN]).running() as url:
        engine = OpenAICompatible(url)
        made = await engine.embed(EmbedRequest("bge", ("a", "bbb")))
        assert [unpack(vector) for vector in made.vectors] == [[1.0, 0.5], [3.0, 0.5]]
        await engine.close()


async def test_llama_server_and_vllm_count_tokens() -> None:
    async with OpenAIServer([QWEN]).running() as url:
        asked = msgspec.structs.replace(ASK, messages=(said("user", "one two three"),))
        raw = msgspec.structs.replace(ASK, messages=(), prompt="one two three four")
        kinds: tuple[tuple[EngineKind, tuple[int | None, ...]], ...] = (
            ("llama-server", (3, 4)),
            ("vllm", (3, 4)),
            ("lmstudio", (None, None)),
        )
        for kind, counts in kinds:
            engine = OpenAICompatible(url, kind)
            assert (await engine.count_tokens(asked), await engine.count_tokens(raw)) == counts
            await engine.close()


async def test_a_raw_prompt_is_continued_without_a_template() -> None:
    server = OpenAIServer([QWEN], words=3)
    async with server.running() as url:
        engine = OpenAICompatible(url, "vllm")
        deltas = await collect(engine, msgspec.structs.replace(ASK, messages=(), prompt="Once upon", logprobs=1))
        await engine.close()
    assert [delta.text for delta in deltas if isinstance(delta, Text)] == ["w0 ", "w1 ", "w2 "]
    (sent,) = server.requests
    assert (sent["prompt"], sent["logprobs"]) == ("Once upon", 1)
    assert "messages" not in sent


async def test_llama_server_tells_which_stop_string_it_was() -> None:
    server = OpenAIServer([QWEN], words=500)
    async with server.running() as url:
        engine = OpenAICompatible(url, "llama-server")
        stops = Sampling(stop=("w9", "3 w"))
        deltas = await collect(engine, msgspec.structs.replace(ASK, sampling=stops))
        await eventually(lambda: server.cancelled == 1, 5)
        await engine.close()
    assert "".join(delta.text for delta in deltas if isinstance(delta, Text)) == "w0 w1 w2 w"
    finish, usage = deltas[-2:]
    assert isinstance(finish, Finish)
    assert (finish.reason, finish.stop) == ("stop", "3 w")
    assert isinstance(usage, Usage)
    assert (usage.prompt_tokens, usage.completion_tokens) == (3, 5)
    assert "stop" not in server.requests[0]


@pytest.mark.parametrize(("words", "wanted", "sent"), [(10, 32_000, 4086), (10, 100, 100), (3000, 32_000, 1096)])
async def test_no_more_tokens_are_asked_for_than_the_context_leaves(words: int, wanted: int, sent: int) -> None:
    server = OpenAIServer([QWEN | {"max_model_len": 4096}])
    async with server.running() as url:
        engine = OpenAICompatible(url, "vllm")
        await engine.models()
        prompt = (said("user", "word " * words),)
        await collect(engine, msgspec.structs.replace(ASK, messages=prompt, max_tokens=wanted))
        await engine.close()
    assert server.requests[-1]["max_tokens"] == sent


async def test_who_tells_no_numbers_is_told_in_estimated_ones() -> None:
    server = OpenAIServer([QWEN | {"max_model_len": 4096}], refusal={"error": {"code": "context_length_exceeded"}})
    async with server.running() as url:
        engine = OpenAICompatible(url, "vllm")
        await engine.models()
        with pytest.raises(ContextTooLong) as refused:
            await collect(engine, msgspec.structs.replace(ASK, messages=(said("user", "x" * 40_000),)))
        await engine.close()
    assert refused.value.data == {"prompt_tokens": 10_004, "context": 4096}


LOOK = Tool("look", "looks", {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]})


async def test_calls_that_the_server_left_in_the_text() -> None:
    pieces = ({"content": "Let me see. ```js"}, {"content": 'on\n{"name": "look", "parameters": {"Q": 1}}\n`'})
    server = OpenAIServer([QWEN], says=(*pieces, {"content": "``"}))
    async with server.running() as url:
        engine = OpenAICompatible(url)
        deltas = await collect(engine, msgspec.structs.replace(ASK, tools=(LOOK,)))
        await engine.close()
    assert "".join(delta.text for delta in deltas if isinstance(delta, Text)) == "Let me see."
    assert [delta.name for delta in deltas if isinstance(delta, ToolCall)] == ["look"]
    assert [delta.text for delta in deltas if isinstance(delta, ToolArgs)] == ['{"q":"1"}']
    assert [delta.reason for delta in deltas if isinstance(delta, Finish)] == ["tool_calls"]
    assert [delta.seq for delta in deltas] == list(range(len(deltas)))


async def test_calls_that_the_server_found_are_repaired() -> None:
    begun = {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "functions.look", "arguments": ""}}]}
    more = {"tool_calls": [{"index": 0, "function": {"arguments": "{'q': 'x'"}}]}
    server = OpenAIServer([QWEN], says=(begun, more))
    async with server.running() as url:
        engine = OpenAICompatible(url)
        deltas = await collect(engine, msgspec.structs.replace(ASK, tools=(LOOK,)))
        await engine.close()
    assert [(delta.id, delta.name) for delta in deltas if isinstance(delta, ToolCall)] == [("a", "look")]
    assert [delta.text for delta in deltas if isinstance(delta, ToolArgs)] == ['{"q":"x"}']
