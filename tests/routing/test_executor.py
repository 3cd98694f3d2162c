import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from mycoswarm.core.chat import ChatRequest, Finish, Note, Priority, Start, Text, Usage, message
from mycoswarm.core.errors import Busy, EngineFailed, UnknownModel
from mycoswarm.core.hardware import EngineKind
from mycoswarm.core.ids import EngineId, NodeId, RequestId
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.routing import executor as executor_module
from mycoswarm.routing.executor import Executor, Work
from mycoswarm.routing.queue import Queue
from mycoswarm.testing.scripted_engine import Script, ScriptedEngine, offer
from mycoswarm.testing.virtual_clock import VirtualClock
from tests.routing.listening import Gate, Listener, everything, said

ENGINE = EngineId("scripted")
SLOW = Script(pieces=("one", "two"), between=1.0)
"""Says the first word at once and the second when the gate opens."""


@pytest.fixture
async def group() -> AsyncIterator[TaskGroup]:
    made = TaskGroup()
    yield made
    await made.close()


class Desk:
    """An executor with one scripted engine, a gate before every second word, and a clock that stands still."""

    def __init__(self, *scripts: Script, slots: int | None = 1, models: tuple[str, ...] = ("m",)) -> None:
        self.clock = VirtualClock()
        self.gate = Gate()
        self.engine = ScriptedEngine(
            tuple(offer(name) for name in models), list(scripts or (SLOW,)), sleep=self.gate.sleep
        )
        self.changes = 0
        given: dict[EngineKind, int] = {} if slots is None else {"openai": slots}
        self.executor = Executor(NodeId("node-miu"), "miu", self.clock, given, self._changed)
        self.executor.use((self.engine,))

    def _changed(self) -> None:
        self.changes += 1

    def work(self, name: str = "r", model: str = "m", priority: Priority = "interactive", attempt: int = 0) -> Work:
        request = ChatRequest(model, (message("user", name),), id=RequestId(name), priority=priority)
        return Work(ENGINE, request, attempt)

    def ask(self, group: TaskGroup, name: str, priority: Priority = "interactive") -> Listener:
        return Listener(group, self.executor.chat(self.work(name, priority=priority)))

    @property
    def load(self) -> tuple[int, int]:
        """Running and waiting."""
        (queue,) = self.executor.queues()
        return queue.running, queue.waiting

    @property
    def asked(self) -> list[str]:
        return [request.id for request in self.engine.asked]


async def test_an_answer_says_who_gives_it_and_when_it_began() -> None:
    desk = Desk()

    async def half_a_second(_: float) -> None:
        desk.clock.advance(0.25)

    desk.engine.sleep = half_a_second
    deltas = await everything(desk.executor.chat(desk.work("req-9", attempt=3)))
    start = deltas[0]
    assert isinstance(start, Start)
    assert (start.request, start.model, start.attempt) == ("req-9", "m", 3)
    assert (start.node, start.node_name, start.engine) == ("node-miu", "miu", "scripted")
    assert [type(delta) for delta in deltas] == [Start, Text, Text, Finish, Usage]
    usage = deltas[-1]
    assert isinstance(usage, Usage)
    assert usage.first_token_ms == 250
    assert (usage.prompt_tokens, usage.completion_tokens) == (8, 5)


async def test_an_engine_that_is_gone_is_refused() -> None:
    desk = Desk()
    desk.executor.use(())
    with pytest.raises(UnknownModel, match="miu has no engine 'scripted' any more"):
        await everything(desk.executor.chat(desk.work()))
    assert not desk.executor.busy(ENGINE)
    assert desk.executor.queues() == ()


async def test_as_many_run_as_there_are_slots_and_the_next_is_told_its_place(group: TaskGroup) -> None:
    desk = Desk(slots=2)
    first, second = desk.ask(group, "a"), desk.ask(group, "b")
    await first.until_kind(Text)
    await second.until_kind(Text)
    third, fourth = desk.ask(group, "c"), desk.ask(group, "d")
    await third.until_kind(Note)
    await fourth.until_kind(Note)
    assert desk.load == (2, 2)
    assert desk.executor.busy(ENGINE)
    assert desk.asked == ["a", "b"]
    notes = [one for listener in (third, fourth) for one in listener.got if isinstance(one, Note)]
    assert [(note.kind, note.data["ahead"], note.data["node"]) for note in notes] == [
        ("queue", 0, "miu"),
        ("queue", 1, "miu"),
    ]
    desk.gate.open()
    for listener in (first, second, third, fourth):
        assert said(await listener.end()) == "onetwo"
    assert desk.load == (0, 0)
    assert not desk.executor.busy(ENGINE)


async def test_an_engine_of_an_unlisted_kind_writes_one_answer_at_a_time(group: TaskGroup) -> None:
    desk = Desk(slots=None)
    await desk.ask(group, "a").until_kind(Text)
    await desk.ask(group, "b").until_kind(Note)
    assert desk.load == (1, 1)


async def test_models_do_not_wait_for_each_other(group: TaskGroup) -> None:
    desk = Desk(models=("m", "n"))
    await desk.ask(group, "a").until_kind(Text)
    await Listener(group, desk.executor.chat(desk.work("b", model="n"))).until_kind(Text)
    assert {(queue.model, queue.running, queue.slots) for queue in desk.executor.queues()} == {
        ("m", 1, 1),
        ("n", 1, 1),
    }


async def test_a_client_that_leaves_frees_its_slot_at_once(group: TaskGroup) -> None:
    desk = Desk()
    first = desk.ask(group, "a")
    await first.until_kind(Text)
    second = desk.ask(group, "b")
    await second.until_kind(Note)
    await first.leave()
    assert [request.id for request in desk.engine.cancelled] == ["a"]
    await second.until_kind(Text)
    assert desk.load == (1, 0)


async def test_closing_the_generator_is_leaving_too(group: TaskGroup) -> None:
    desk = Desk()
    answer = desk.executor.chat(desk.work("a"))
    assert isinstance(await anext(answer), Start)
    assert isinstance(await anext(answer), Text)
    await answer.aclose()
    assert [request.id for request in desk.engine.cancelled] == ["a"]
    assert desk.load == (0, 0)


async def test_one_that_gives_up_waiting_leaves_no_gap(group: TaskGroup) -> None:
    desk = Desk()
    running = desk.ask(group, "a")
    await running.until_kind(Text)
    waiting = [desk.ask(group, name) for name in "bcd"]
    for listener in waiting:
        await listener.until_kind(Note)
    await waiting[0].leave()
    await waiting[1].leave()
    assert desk.load == (1, 1)
    desk.gate.open()
    assert said(await waiting[2].end()) == "onetwo"
    assert desk.asked == ["a", "d"]
    assert desk.load == (0, 0)


async def test_one_that_was_admitted_and_left_before_it_noticed_gives_the_turn_on(group: TaskGroup) -> None:
    desk = Desk()
    first = desk.executor.chat(desk.work("a"))
    await anext(first)
    second = desk.executor.chat(desk.work("b"))
    assert isinstance(await anext(second), Note)
    third = desk.ask(group, "c")
    await third.until_kind(Note)
    await first.aclose()
    await second.aclose()
    await third.until_kind(Text)
    assert desk.asked == ["a", "c"]
    assert desk.load == (1, 0)


async def test_interactive_goes_before_batch(group: TaskGroup) -> None:
    desk = Desk()
    running = desk.ask(group, "running")
    await running.until_kind(Text)
    listeners = []
    for name, priority in (("batch-1", "batch"), ("batch-2", "batch"), ("person", "interactive")):
        listener = desk.ask(group, name, priority)  # pyright: ignore[reportArgumentType]
        await listener.until_kind(Note)
        listeners.append(listener)
    desk.gate.open()
    for listener in listeners:
        await listener.end()
    assert desk.asked == ["running", "person", "batch-1", "batch-2"]


async def test_batch_that_has_waited_long_goes_before_a_newcomer(group: TaskGroup) -> None:
    desk = Desk()
    await desk.ask(group, "running").until_kind(Text)
    batch = desk.ask(group, "batch", "batch")
    await batch.until_kind(Note)
    desk.clock.advance(61)
    person = desk.ask(group, "person")
    await person.until_kind(Note)
    desk.gate.open()
    await batch.end()
    await person.end()
    assert desk.asked == ["running", "batch", "person"]


async def test_a_place_in_the_queue_is_told_again_as_it_changes(
    group: TaskGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor_module, "TELL_AGAIN", 0.01)
    desk = Desk()
    await desk.ask(group, "a").until_kind(Text)
    second, third = desk.ask(group, "b"), desk.ask(group, "c")
    await third.until(lambda got: any(isinstance(one, Note) and one.data["ahead"] == 1 for one in got))
    await second.leave()
    await third.until(lambda got: any(isinstance(one, Note) and one.data["ahead"] == 0 for one in got))


async def test_the_expected_wait_follows_measured_service(group: TaskGroup) -> None:
    desk = Desk(Script(between=1.0), SLOW)
    first = desk.ask(group, "a")
    await first.until_kind(Text)
    desk.clock.advance(10)
    desk.gate.open()
    await first.end()
    desk.gate.shut()
    await desk.ask(group, "b").until_kind(Text)
    waiting = desk.ask(group, "c")
    await waiting.until_kind(Note)
    note = waiting.got[0]
    assert isinstance(note, Note)
    assert note.data["wait"] == 10.0
    assert note.text == "0 before this one on miu, about 10 s"


async def test_an_answer_that_was_left_teaches_nothing_about_the_wait(group: TaskGroup) -> None:
    desk = Desk()
    first = desk.ask(group, "a")
    await first.until_kind(Text)
    desk.clock.advance(10)
    await first.leave()
    await desk.ask(group, "b").until_kind(Text)
    (queue,) = desk.executor.queues()
    assert queue.wait == 0.0


async def test_a_full_queue_says_when_to_come_again(group: TaskGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_module, "Queue", partial(Queue, limit=1, service=4.0))
    desk = Desk()
    await desk.ask(group, "a").until_kind(Text)
    await desk.ask(group, "b").until_kind(Note)
    with pytest.raises(Busy) as caught:
        await everything(desk.executor.chat(desk.work("c")))
    assert caught.value.data["retry_after"] == 8.0
    assert desk.load == (1, 1)


@pytest.mark.parametrize(
    "script", [Script(refuse=EngineFailed("it died")), Script(pieces=(), fail=EngineFailed("it died"))]
)
async def test_a_failure_frees_the_slot(script: Script, group: TaskGroup) -> None:
    desk = Desk(SLOW, script, Script())
    running = desk.ask(group, "a")
    await running.until_kind(Text)
    failing, following = desk.ask(group, "b"), desk.ask(group, "c")
    await following.until_kind(Note)
    desk.gate.open()
    with pytest.raises(EngineFailed, match="it died"):
        await failing.end()
    assert said(await following.end()) == "Hello from the script."
    assert desk.load == (0, 0)


async def test_whoever_publishes_the_figures_hears_of_every_change(group: TaskGroup) -> None:
    desk = Desk()
    first = desk.ask(group, "a")
    await first.until_kind(Text)
    assert desk.changes == 1
    second = desk.ask(group, "b")
    await second.until_kind(Note)
    assert desk.changes == 2
    desk.gate.open()
    await asyncio.gather(first.end(), second.end())
    assert desk.changes == 4


async def test_a_running_answer_survives_a_change_of_engines(group: TaskGroup) -> None:
    desk = Desk()
    first = desk.ask(group, "a")
    await first.until_kind(Text)
    desk.executor.use(())
    (queue,) = desk.executor.queues()
    assert queue.running == 1
    desk.gate.open()
    assert said(await first.end()) == "onetwo"
    desk.executor.use(())
    assert desk.executor.queues() == ()
