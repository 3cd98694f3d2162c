"""The embedded engine with the real starter model: loading, answering, cancelling, dying and recovering."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import psutil
import pytest

from mycoswarm.core.chat import (
    ChatRequest,
    Delta,
    Error,
    Finish,
    ImagePart,
    Logprobs,
    Message,
    Note,
    ResponseFormat,
    Sampling,
    Start,
    Text,
    Tool,
    Usage,
    message,
)
from mycoswarm.core.embed import EmbedRequest, unpack
from mycoswarm.core.errors import (
    Busy,
    ContextTooLong,
    EngineFailed,
    InvalidRequest,
    ModelCorrupt,
    UnknownModel,
)
from mycoswarm.core.ids import RequestId
from mycoswarm.core.model import Abilities
from mycoswarm.engines.llamacpp import LlamaCpp
from mycoswarm.engines.model_file import ModelFile
from mycoswarm.models.catalog import STARTER
from tests.engines.eventually import eventually
from tests.starter import shared_store, starter

ASK = ChatRequest(
    STARTER,
    (message("user", "Count from one to twenty in words."),),
    RequestId("req-1"),
    sampling=Sampling(temperature=0.0, seed=1),
    max_tokens=16,
)
LONG = msgspec.structs.replace(ASK, max_tokens=1500, messages=(message("user", "Write a very long story."),))


class Files:
    """Model files that a test says there are."""

    def __init__(self, *files: ModelFile) -> None:
        self.list = list(files)

    def files(self) -> Sequence[ModelFile]:
        return self.list


async def collect(engine: LlamaCpp, request: ChatRequest = ASK) -> list[Delta]:
    return [delta async for delta in engine.chat(request)]


def text_of(deltas: Sequence[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, Text))


def usage_of(deltas: Sequence[Delta]) -> Usage:
    (usage,) = [delta for delta in deltas if isinstance(delta, Usage)]
    return usage


@pytest.fixture
async def file() -> ModelFile:
    await starter()
    return shared_store().get(STARTER)


@pytest.fixture
async def engine(file: ModelFile) -> AsyncIterator[LlamaCpp]:
    made = LlamaCpp(Files(file), context=1024, slots=2)
    yield made
    await made.close()


# Without a model


async def test_a_machine_that_cannot_run_it_says_why() -> None:
    engine = LlamaCpp(Files(), gate="this processor has no AVX2")
    health = await engine.health()
    assert not health.ok
    assert health.reason == "this processor has no AVX2"
    assert await engine.models() == ()
    with pytest.raises(EngineFailed, match="no AVX2"):
        await collect(engine)


async def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mycoswarm.engines.llamacpp.importlib.util.find_spec", lambda name: None)
    assert 'pip install "mycoswarm[engine]"' in (await LlamaCpp(Files()).health()).reason


async def test_unknown_models_are_refused_here() -> None:
    with pytest.raises(UnknownModel, match="no model 'gpt'"):
        await collect(LlamaCpp(Files()), msgspec.structs.replace(ASK, model="gpt"))


async def test_what_a_model_cannot_do_is_refused_and_not_ignored(tmp_path: Path) -> None:
    chat = ModelFile("chat", tmp_path / "x", 1, abilities=Abilities())
    embedder = ModelFile("embedder", tmp_path / "x", 1, abilities=Abilities(chat=False, embed=True))
    engine = LlamaCpp(Files(chat, embedder))
    tools = msgspec.structs.replace(ASK, model="chat", tools=(Tool("look"),))
    image = msgspec.structs.replace(ASK, model="chat", messages=(Message("user", (ImagePart("image/png", "AA"),)),))
    for request, why in ((tools, "cannot call tools"), (image, "cannot look at images")):
        with pytest.raises(InvalidRequest, match=why):
            await collect(engine, request)
    with pytest.raises(InvalidRequest, match="does not chat"):
        await collect(engine, msgspec.structs.replace(ASK, model="embedder"))
    with pytest.raises(InvalidRequest, match="no embedding model"):
        await engine.embed(EmbedRequest("chat", ("a",)))


async def test_a_model_that_does_not_fit_is_offered_as_unfit(tmp_path: Path) -> None:
    huge = ModelFile("huge", tmp_path / "x", 10**15)
    engine = LlamaCpp(Files(huge))
    (offer,) = await engine.models()
    assert offer.state == "unfit"
    assert offer.reason.startswith("needs 100000")
    (tmp_path / "x").touch()
    sparse = msgspec.structs.replace(huge, size=2**42)
    os.truncate(tmp_path / "x", 2**42)
    with pytest.raises(EngineFailed, match="does not fit into memory"):
        await collect(LlamaCpp(Files(sparse)), msgspec.structs.replace(ASK, model="huge"))


async def test_a_model_never_loaded_is_estimated_once_the_memory_is_measured(tmp_path: Path) -> None:
    engine = LlamaCpp(Files(ModelFile("m", tmp_path / "x", 10**8)))
    assert [offer.speed for offer in await engine.models()] == [None]
    engine.bandwidth = 1e10
    (offer,) = await engine.models()
    assert offer.speed is not None
    assert not offer.speed.measured


async def test_a_damaged_model_is_offered_with_its_damage(tmp_path: Path) -> None:
    mend = "mycoswarm rm bad && mycoswarm pull bad"
    file = ModelFile("bad", tmp_path / "x", 1, damaged="the model file of bad is damaged: why", mend=mend)
    engine = LlamaCpp(Files(file))
    (offer,) = await engine.models()
    assert (offer.state, offer.reason) == ("unfit", f"the model file of bad is damaged: why; to mend it: {mend}")
    with pytest.raises(ModelCorrupt) as caught:
        await collect(engine, msgspec.structs.replace(ASK, model="bad"))
    assert caught.value.hint == mend


async def test_garbage_is_named_with_the_engines_own_words(tmp_path: Path) -> None:
    path = tmp_path / "garbage.gguf"
    path.write_bytes(b"GGUF" + b"\xff" * 5000)
    engine = LlamaCpp(Files(ModelFile("garbage", path, path.stat().st_size)))
    with pytest.raises(EngineFailed, match="garbage could not be loaded: ") as caught:
        await collect(engine, msgspec.structs.replace(ASK, model="garbage"))
    assert "Traceback" not in caught.value.message
    assert caught.value.data["stderr"]
    with pytest.raises(EngineFailed, match="started again in"):
        await collect(engine, msgspec.structs.replace(ASK, model="garbage"))
    await engine.close()


async def test_a_missing_file_and_a_shortened_one(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    engine = LlamaCpp(Files(ModelFile("m", path, 100, digest="sha256:0")))
    asked = msgspec.structs.replace(ASK, model="m")
    with pytest.raises(ModelCorrupt, match=r"model\.gguf is missing"):
        await collect(engine, asked)
    path.write_bytes(b"x" * 60)
    with pytest.raises(ModelCorrupt, match="60 of 100 bytes are there"):
        await collect(engine, asked)
    path.write_bytes(b"x" * 100)
    with pytest.raises(ModelCorrupt, match="not those that were pulled"):
        await collect(engine, asked)


# With the starter model


@pytest.mark.model
async def test_load_answer_and_unload(engine: LlamaCpp) -> None:
    (before,) = await engine.models()
    assert before.state == "on_disk"
    steps = [step async for step in engine.load(STARTER)]
    assert [step.stage for step in steps] == ["load", "probe", "done"]
    (loaded,) = await engine.models()
    assert loaded.state == "loaded"
    assert loaded.speed is not None
    assert loaded.speed.measured
    assert loaded.speed.load is not None
    assert loaded.needs is not None
    pid = engine.child_pids()[STARTER]
    assert loaded.needs == pytest.approx(psutil.Process(pid).memory_info().rss, rel=0.1)

    deltas = await collect(engine)
    assert isinstance(deltas[0], Start)
    assert [delta.seq for delta in deltas] == list(range(len(deltas)))
    texts = [delta for delta in deltas if isinstance(delta, Text)]
    assert len(texts) >= 10
    offset = 0
    for delta in texts:
        assert delta.offset == offset
        offset += len(delta.text.encode())
    assert [delta.reason for delta in deltas if isinstance(delta, Finish)] == ["length"]
    usage = usage_of(deltas)
    assert usage.completion_tokens == 16
    assert usage.prefill_ms is not None
    assert usage.decode_ms is not None
    assert await engine.count_tokens(ASK) == usage.prompt_tokens

    again = await collect(engine)
    assert text_of(again) == text_of(deltas)
    assert usage_of(again).cached_tokens >= usage.prompt_tokens - 1

    await engine.unload(STARTER)
    assert not psutil.pid_exists(pid)
    (after,) = await engine.models()
    assert (after.state, after.speed is not None, after.needs) == ("on_disk", True, loaded.needs)


@pytest.mark.model
async def test_answers_at_the_same_time_do_not_mix(engine: LlamaCpp) -> None:
    alone = text_of(await collect(engine))
    other = msgspec.structs.replace(ASK, messages=(message("user", "Name three colours."),))
    both = await asyncio.gather(collect(engine), collect(engine, other))
    assert text_of(both[1]) != text_of(both[0])
    assert text_of(both[0])[:12] == alone[:12]
    assert all(isinstance(deltas[-1], Usage) for deltas in both)


@pytest.mark.model
async def test_emoji_are_never_split(engine: LlamaCpp) -> None:
    asked = msgspec.structs.replace(ASK, messages=(message("user", "Repeat this: 🎉🎊🥳 日本語 é"),), max_tokens=40)
    deltas = await collect(engine, asked)
    assert "\ufffd" not in text_of(deltas)
    assert all(delta.text.encode().decode() == delta.text for delta in deltas if isinstance(delta, Text))


@pytest.mark.model
async def test_schema_logprobs_and_stop(engine: LlamaCpp) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    formed = msgspec.structs.replace(ASK, response_format=ResponseFormat("json_schema", schema), max_tokens=60)
    assert isinstance(msgspec.json.decode(text_of(await collect(engine, formed)))["n"], int)
    told = await collect(engine, msgspec.structs.replace(ASK, logprobs=2, max_tokens=3))
    logprobs = [delta for delta in told if isinstance(delta, Logprobs)]
    assert len(logprobs) >= 2
    assert len(logprobs[0].tokens[0].top) == 2
    sea = msgspec.structs.replace(ASK, messages=(message("user", "Tell me about the sea."),))
    word = text_of(await collect(engine, sea)).split()[3]
    stopped = await collect(engine, msgspec.structs.replace(sea, sampling=Sampling(0.0, seed=1, stop=(word,))))
    assert word not in text_of(stopped)
    assert [delta.reason for delta in stopped if isinstance(delta, Finish)] == ["stop"]


@pytest.mark.model
async def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(engine: LlamaCpp) -> None:
    asked = msgspec.structs.replace(ASK, messages=(message("user", "word " * 3000),))
    with pytest.raises(ContextTooLong) as caught:
        await collect(engine, asked)
    assert caught.value.data["context"] == 1024
    assert caught.value.data["prompt_tokens"] > 3000


@pytest.mark.model
async def test_max_tokens_beyond_the_context_is_clamped(engine: LlamaCpp) -> None:
    short = ChatRequest(STARTER, (message("user", "Say only: hi"),), max_tokens=32_000, sampling=Sampling(0.0))
    deltas = await collect(engine, short)
    assert usage_of(deltas).completion_tokens <= 1024


@pytest.mark.model
async def test_closing_the_generator_frees_the_slot(engine: LlamaCpp) -> None:
    await collect(engine)
    child = psutil.Process(engine.child_pids()[STARTER])
    chat = engine.chat(LONG)
    seen = 0
    async for delta in chat:
        seen += isinstance(delta, Text)
        if seen == 5:
            break
    await chat.aclose()
    began = time.monotonic()
    while True:
        before = child.cpu_times()
        await asyncio.sleep(0.05)
        after = child.cpu_times()
        if after.user - before.user <= 0.01:
            break
        assert time.monotonic() - began < 2.0, "it went on generating"
    # And the slots are all free again: as many answers as there are slots start at once.
    done = await asyncio.gather(collect(engine), collect(engine))
    assert all(isinstance(deltas[-1], Usage) for deltas in done)


@pytest.mark.model
async def test_killed_in_the_middle_of_an_answer(engine: LlamaCpp) -> None:
    got: list[Delta] = []
    async for delta in engine.chat(LONG):
        got.append(delta)
        if isinstance(delta, Text) and sum(isinstance(one, Text) for one in got) == 3:
            os.kill(engine.child_pids()[STARTER], signal.SIGKILL)
    assert isinstance(got[-1], Error)
    assert "died in the middle of an answer: its process was killed" in got[-1].error.message
    assert not any(isinstance(delta, Note | Finish) for delta in got)
    with pytest.raises(EngineFailed, match="started again in 1 s"):
        await collect(engine)
    await eventually(lambda: bool(engine.child_pids()), 10.0)
    assert isinstance((await collect(engine))[-1], Usage)


def _starting() -> list[psutil.Process]:
    """The engine's children; other tests may have left children of their own."""
    return [one for one in psutil.Process().children() if "llamacpp_child" in " ".join(one.cmdline())]


@pytest.mark.model
async def test_one_who_leaves_while_it_loads_does_not_stop_the_load(engine: LlamaCpp) -> None:
    first = asyncio.get_running_loop().create_task(collect(engine))
    await eventually(lambda: engine.child_pids() == {} and _starting() != [], 5.0)
    first.cancel()
    (offer,) = await engine.models()
    assert offer.state == "loading"
    (child,) = _starting()
    assert isinstance((await collect(engine))[-1], Usage)
    assert engine.child_pids() == {STARTER: child.pid}


@pytest.mark.model
async def test_unloading_in_the_middle_of_an_answer_says_so(engine: LlamaCpp) -> None:
    got: list[Delta] = []
    async for delta in engine.chat(LONG):
        got.append(delta)
        if isinstance(delta, Text) and not any(isinstance(one, Text) for one in got[:-1]):
            await engine.unload(STARTER)
    assert isinstance(got[-1], Error)
    assert "was unloaded in the middle" in got[-1].error.message
    assert not engine.child_pids()


@pytest.mark.model
async def test_killed_while_loading(engine: LlamaCpp, monkeypatch: pytest.MonkeyPatch) -> None:
    from mycoswarm.engines import child as child_module

    started: list[asyncio.subprocess.Process] = []
    real = asyncio.create_subprocess_exec

    async def start_and_kill(*arguments: str, **named: object) -> asyncio.subprocess.Process:
        process = await real(*arguments, **named)  # pyright: ignore[reportArgumentType]
        started.append(process)
        # As the kernel does it; `Process.kill` would take the exit status that is tested here.
        asyncio.get_running_loop().call_later(0.25, os.kill, process.pid, signal.SIGKILL)
        return process

    monkeypatch.setattr(child_module.asyncio, "create_subprocess_exec", start_and_kill)
    with pytest.raises(EngineFailed, match="could not be loaded: its process was killed"):
        await collect(engine)
    monkeypatch.setattr(child_module.asyncio, "create_subprocess_exec", real)
    assert started[0].returncode == -signal.SIGKILL
    await asyncio.sleep(1.1)
    assert isinstance((await collect(engine))[-1], Usage)


@pytest.mark.model
async def test_idle_models_leave_memory(file: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mycoswarm.engines.llamacpp._HEARTBEAT_SECONDS", 0.2)
    engine = LlamaCpp(Files(file), context=512, slots=1, keep_loaded=0.5)
    await collect(engine)
    (pid,) = engine.child_pids().values()
    await eventually(lambda: not psutil.pid_exists(pid), 5.0)
    assert not engine.child_pids()
    assert isinstance((await collect(engine))[-1], Usage)
    await engine.close()


@pytest.mark.model
async def test_room_is_made_by_ending_what_is_idle(file: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    other = msgspec.structs.replace(file, name="other")
    engine = LlamaCpp(Files(file, other), context=512, slots=1)
    await collect(engine)
    real = psutil.virtual_memory()

    class Scarce:
        """Enough for one model only while none is loaded."""

        @property
        def available(self) -> int:
            return 100 if engine.child_pids() else real.available

    monkeypatch.setattr("mycoswarm.engines.llamacpp.psutil.virtual_memory", Scarce)
    await collect(engine, msgspec.structs.replace(ASK, model="other"))
    assert list(engine.child_pids()) == ["other"]
    running = engine.chat(msgspec.structs.replace(LONG, model="other"))
    await anext(running)
    with pytest.raises(Busy, match="does not fit into memory"):
        await collect(engine)
    await running.aclose()
    await engine.close()


@pytest.mark.model
async def test_an_embedding_model_embeds(file: ModelFile) -> None:
    """The starter's weights under another flag: no embedding model is small enough to fetch for a test."""
    embedder = msgspec.structs.replace(file, name="embedder", abilities=Abilities(chat=False, embed=True), pooled=False)
    engine = LlamaCpp(Files(embedder), context=512, slots=1)
    made = await engine.embed(EmbedRequest("embedder", ("a cat", "the stock market fell", "a cat")))
    one, two, again = map(unpack, made.vectors)
    assert made.tokens >= 8
    assert len(one) == 576
    assert one == pytest.approx(again, abs=1e-3)
    assert one != pytest.approx(two, abs=1e-3)
    await engine.close()


@pytest.mark.model
async def test_nothing_is_left_behind(file: ModelFile) -> None:
    engine = LlamaCpp(Files(file), context=512, slots=1)
    await collect(engine)
    (pid,) = engine.child_pids().values()
    sockets = {Path(str(one.laddr)).parent for one in psutil.Process(pid).net_connections("unix") if one.laddr}
    assert sockets
    assert all(home.stat().st_mode & 0o077 == 0 for home in sockets)
    await engine.close()
    assert not psutil.pid_exists(pid)
    assert not any(home.exists() or home.parent.exists() for home in sockets)
    await engine.close()


@pytest.mark.model
async def test_the_child_dies_with_a_node_that_is_killed(file: ModelFile) -> None:
    script = textwrap.dedent(
        """
        import asyncio
        from mycoswarm.engines.llamacpp import LlamaCpp
        from tests.starter import shared_store

        async def main():
            engine = LlamaCpp(shared_store(), context=512, slots=1)
            async for _ in engine.load("smollm2:135m"):
                pass
            print(engine.child_pids()["smollm2:135m"], flush=True)
            await asyncio.sleep(60)

        asyncio.run(main())
        """
    )
    node = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script), stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    try:
        assert node.stdout is not None
        async with asyncio.timeout(30):
            pid = int(await node.stdout.readline())
        home = {Path(str(one.laddr)).parent for one in psutil.Process(pid).net_connections("unix") if one.laddr}
    finally:
        node.kill()
        await node.wait()
    await eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", 3.0)
    await eventually(lambda: not any(one.exists() for one in home), 2.0)
