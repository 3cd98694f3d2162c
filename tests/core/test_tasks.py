import asyncio
import gc
import logging

import pytest

from mycoswarm.core.tasks import TaskGroup, repeat


async def test_a_task_is_kept_and_named_until_it_ends() -> None:
    group = TaskGroup()
    go = asyncio.Event()

    async def work() -> int:
        await go.wait()
        return 7

    task = group.start(work(), "the work")
    del work
    gc.collect()
    assert task.get_name() == "the work"
    go.set()
    assert await task == 7
    await group.close()


async def test_a_failure_is_logged_with_the_name_and_leaves_the_siblings_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    group = TaskGroup()
    go = asyncio.Event()

    async def fail() -> None:
        raise RuntimeError("broken")

    async def live() -> str:
        await go.wait()
        return "alive"

    with caplog.at_level(logging.ERROR):
        failing = group.start(fail(), "the failing one")
        living = group.start(live(), "the living one")
        await asyncio.wait({failing})
        go.set()
        assert await living == "alive"
    (record,) = caplog.records
    assert "the failing one" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], RuntimeError)


async def test_close_cancels_and_waits_for_the_clean_up(caplog: pytest.LogCaptureFixture) -> None:
    group = TaskGroup()
    told: list[str] = []
    running = asyncio.Event()

    async def work() -> None:
        try:
            running.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            told.append("cleaned up")

    task = group.start(work(), "work")
    await running.wait()
    await group.close()
    assert told == ["cleaned up"]
    assert task.cancelled()
    assert caplog.records == []


async def test_close_does_not_stumble_over_a_clean_up_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    group = TaskGroup()
    running = asyncio.Event()

    async def work() -> None:
        try:
            running.set()
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("while cleaning up")

    group.start(work(), "careless")
    await running.wait()
    await group.close()
    assert "careless" in caplog.text


async def test_close_of_nothing_and_close_again() -> None:
    group = TaskGroup()
    await group.close()
    await group.close()


async def test_a_loop_outlives_a_bad_turn_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    group = TaskGroup()
    turns: list[int] = []
    third = asyncio.Event()

    async def step() -> None:
        turns.append(len(turns))
        if len(turns) == 2:
            raise RuntimeError("a bad turn")
        if len(turns) == 3:
            third.set()

    task = group.start(repeat(step, 0.001, "looking round"), "loop")
    await asyncio.wait_for(third.wait(), 1)
    await group.close()
    assert task.cancelled()
    assert [record.getMessage() for record in caplog.records] == ["looking round failed; it is tried again in 0.001 s"]
