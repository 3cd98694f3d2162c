import asyncio
from collections.abc import AsyncGenerator

import msgspec
import pytest

from mycoswarm.api.choices import several
from mycoswarm.core.chat import ChatRequest, Delta, Error, Finish, Sampling, Start, Text, Usage, message
from mycoswarm.core.errors import Busy, EngineFailed
from mycoswarm.core.ids import RequestId

REQUEST = ChatRequest("m", (message("user", "hi"),), id=RequestId("r"), sampling=Sampling(seed=7))


class Model:
    """Answers with its number. fail: the choice that ends in an error; hang: those that never end."""

    def __init__(self, fail: int | None = None, *, hang: bool = False, late: bool = True) -> None:
        self.asked: list[ChatRequest] = []
        self.closed = 0
        self._fail, self._hang, self._late = fail, hang, late

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        number = len(self.asked)
        self.asked.append(request)
        try:
            if number == self._fail and not self._late:
                raise Busy("full")
            yield Start(request.id, "m", seq=0)
            if number == self._fail:
                await asyncio.sleep(0.01)
                raise EngineFailed("it died")
            yield Text(str(number), seq=1)
            if self._hang:
                await asyncio.Event().wait()
            yield Finish("stop", seq=2)
            yield Usage(10, 2, 4, seq=3)
        finally:
            self.closed += 1


async def told(model: Model, count: int) -> list[Delta]:
    return [delta async for delta in several(model.chat, REQUEST, count)]


async def test_one_answer_is_passed_through_as_it_is() -> None:
    model = Model()
    assert [type(one) for one in await told(model, 1)] == [Start, Text, Finish, Usage]
    assert model.asked == [REQUEST]


async def test_several_are_one_stream_with_seq_without_gaps_and_one_usage() -> None:
    model = Model()
    deltas = await told(model, 3)
    assert [one.seq for one in deltas] == list(range(len(deltas)))
    texts = sorted((one.choice, one.text) for one in deltas if isinstance(one, Text))
    assert texts == [(0, "0"), (1, "1"), (2, "2")]
    assert [one for one in deltas if isinstance(one, Usage)] == [Usage(10, 6, 4, seq=len(deltas) - 1)]
    assert [one.sampling.seed for one in model.asked] == [7, 8, 9]
    assert len({one.id for one in model.asked}) == 3


@pytest.mark.parametrize(
    ("asked", "answers", "then"),
    [("auto", "m", "m"), ("auto@miu", "m", "m@miu"), ("M", "m", "m"), ("auto", "m@q4", "auto")],
)
async def test_all_of_them_are_of_the_model_that_answers_first(asked: str, answers: str, then: str) -> None:
    names: list[str] = []

    async def chat(request: ChatRequest) -> AsyncGenerator[Delta, None]:
        names.append(request.model)
        yield Start(request.id, answers)
        yield Finish("stop")

    async for _ in several(chat, msgspec.structs.replace(REQUEST, model=asked), 3):
        pass
    assert names == [asked, then, then]


async def test_an_answer_without_a_start_keeps_nobody_waiting() -> None:
    async def nothing(request: ChatRequest) -> AsyncGenerator[Delta, None]:
        if request.id == "r-1":
            yield Text(request.model)

    async with asyncio.timeout(1):
        assert [one for one in [delta async for delta in several(nothing, REQUEST, 2)] if isinstance(one, Text)]


async def test_the_first_that_fails_ends_them_all() -> None:
    model = Model(fail=1, hang=True)
    deltas = await told(model, 3)
    assert isinstance(deltas[-1], Error)
    assert deltas[-1].error.code == "engine_failed"
    assert model.closed == 3


async def test_a_failure_before_anything_is_raised() -> None:
    model = Model(fail=0, late=False, hang=True)
    with pytest.raises(Busy):
        await told(model, 2)
    assert model.closed == len(model.asked)


async def test_who_leaves_ends_all_of_them() -> None:
    model = Model(hang=True)
    answer = several(model.chat, REQUEST, 4)
    await anext(answer)
    await answer.aclose()
    assert model.closed == len(model.asked) == 4


async def test_a_reader_that_does_not_read_stops_the_models() -> None:
    said = 0

    async def endless(request: ChatRequest) -> AsyncGenerator[Delta, None]:
        nonlocal said
        yield Start(request.id, "m")
        while True:
            said += 1
            yield Text("x")
            await asyncio.sleep(0)

    answer = several(endless, REQUEST, 2)
    await anext(answer)
    for _ in range(500):
        await asyncio.sleep(0)
    assert said < 50
    await answer.aclose()


async def test_several_prompts_are_numbered_prompt_by_prompt_and_each_counts_once() -> None:
    model = Model()
    deltas = [delta async for delta in several(model.chat, REQUEST, 2, ("a", "b"))]
    asked = {one.id: (one.prompt, one.sampling.seed) for one in model.asked}
    assert asked == {"r-0": ("a", 7), "r-1": ("a", 8), "r-2": ("b", 7), "r-3": ("b", 8)}
    assert sorted(one.choice for one in deltas if isinstance(one, Text)) == [0, 1, 2, 3]
    assert [one for one in deltas if isinstance(one, Usage)] == [Usage(20, 8, 8, seq=len(deltas) - 1)]


async def test_one_prompt_of_a_list_is_passed_through() -> None:
    model = Model()
    deltas = [delta async for delta in several(model.chat, REQUEST, 1, ("a",))]
    assert [type(one) for one in deltas] == [Start, Text, Finish, Usage]
    assert [one.prompt for one in model.asked] == ["a"]
