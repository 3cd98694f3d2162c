import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mycoswarm.core.chat import (
    ChatRequest,
    Delta,
    Error,
    Finish,
    Note,
    Start,
    Text,
    Thinking,
    Usage,
    encode_delta,
    message,
)
from mycoswarm.core.errors import (
    Busy,
    CannotServe,
    ContextTooLong,
    DiskFull,
    EngineFailed,
    ErrorBody,
    InvalidRequest,
    ModelCorrupt,
    MycoError,
    PeerLost,
    UnknownModel,
)
from mycoswarm.core.ids import EngineId, NodeId, RequestId
from mycoswarm.core.model import Speed
from mycoswarm.core.node import NodeRecord, NodeView
from mycoswarm.core.placement import Placement
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.fabric.peer_app import PeerRequest
from mycoswarm.routing.executor import Executor, Work
from mycoswarm.routing.placement import Policy
from mycoswarm.routing.router import CHAT_PATH, Router
from mycoswarm.routing.tasks import LIFETIME, TaskBook
from mycoswarm.testing.loopback_network import LoopbackNetwork
from mycoswarm.testing.scripted_engine import Script, ScriptedEngine, offer
from mycoswarm.testing.virtual_clock import VirtualClock
from tests.routing.listening import Gate, Listener, everything, said

SPEEDS = {"boa": 1.0, "naru": 10.0, "miu": 100.0}
"""Tokens/s: miu is asked first, then naru, then boa itself."""

SLOW = Script(pieces=("one", "two"), between=1.0)
REQUEST = RequestId("req-1")
ENGINE = EngineId("scripted")


class Swarm:
    """boa asks; the named nodes have the model. One engine, executor and peer port a node, all on one clock."""

    def __init__(self, *names: str, model: str = "m", speeds: Mapping[str, float] = SPEEDS) -> None:
        self.clock = VirtualClock()
        self.gate = Gate()
        self.network = LoopbackNetwork()
        self.engines: dict[str, ScriptedEngine] = {}
        self.executors: dict[str, Executor] = {}
        self.views: list[NodeView] = []
        self.book = TaskBook(self.clock)
        for name in dict.fromkeys(("boa", *names)):
            speed = Speed(1000.0, speeds[name], samples=3)
            offers = (offer(model, speed=speed),) if name in names else ()
            engine = self.engines[name] = ScriptedEngine(offers, sleep=self.gate.sleep)
            executor = self.executors[name] = Executor(NodeId(name), name, self.clock, {"openai": 1})
            executor.use((engine,))
            record = NodeRecord(NodeId(name), name, 1, 1, "0", models=offers)
            state = "self" if name == "boa" else "up"
            self.views.append(NodeView(NodeId(name), name, state, rtt=0.001, record=record))
            self.network.add(NodeId(name), {("POST", CHAT_PATH): _serving(executor)}, name)
        self.router = Router(
            NodeId("boa"),
            self.executors["boa"],
            self.network.add(NodeId("boa"), {}, "boa"),
            lambda: self.views,
            Policy(),
            self.book,
            random.Random(1),
        )

    def script(self, name: str, *scripts: Script) -> None:
        self.engines[name].scripts = list(scripts)

    def answer_with(self, name: str, *lines: bytes, failure: MycoError | None = None) -> None:
        """Node `name` sends exactly these bytes instead of what its engine says."""

        async def handler(_: PeerRequest) -> AsyncGenerator[bytes, None]:
            for line in lines:
                yield line
            if failure is not None:
                raise failure

        self.network.add(NodeId(name), {("POST", CHAT_PATH): handler}, name)

    def chat(self, model: str = "m", **fields: object) -> AsyncGenerator[Delta, None]:
        given: dict[str, object] = {"id": REQUEST, **fields}
        return self.router.chat(ChatRequest(model, (message("user", "hi"),), **given))  # pyright: ignore[reportArgumentType]

    @property
    def asked(self) -> dict[str, int]:
        return {name: len(engine.asked) for name, engine in self.engines.items() if engine.asked}

    @property
    def state(self) -> str:
        return self.book.get(REQUEST).state


def _serving(executor: Executor) -> Callable[[PeerRequest], AsyncGenerator[bytes, None]]:
    async def handler(request: PeerRequest) -> AsyncGenerator[bytes, None]:
        async with aclosing(executor.chat(msgspec.json.decode(request.body, type=Work))) as deltas:
            async for delta in deltas:
                yield encode_delta(delta)

    return handler


@pytest.fixture
async def group() -> AsyncIterator[TaskGroup]:
    made = TaskGroup()
    yield made
    await made.close()


def kinds(deltas: Sequence[Delta]) -> list[str]:
    return [type(delta).__name__ for delta in deltas]


def start_of(deltas: Sequence[Delta]) -> Start:
    (start,) = [delta for delta in deltas if isinstance(delta, Start)]
    return start


def in_order(deltas: Sequence[Delta]) -> bool:
    return [delta.seq for delta in deltas] == list(range(len(deltas)))


WHOLE = ["Start", "Text", "Text", "Text", "Text", "Text", "Finish", "Usage"]


# An answer


@pytest.mark.parametrize("name", ["boa", "miu"])
async def test_the_answer_of_a_node_is_brought_back_whole(name: str) -> None:
    swarm = Swarm(name)
    deltas = await everything(swarm.chat())
    assert kinds(deltas) == WHOLE
    assert in_order(deltas)
    assert said(deltas) == "Hello from the script."
    start = start_of(deltas)
    assert (start.request, start.node, start.node_name, start.attempt) == (REQUEST, name, name, 0)
    assert deltas[-1] == Usage(8, 5, first_token_ms=0.0, seq=7)


async def test_it_comes_piece_by_piece_from_afar(group: TaskGroup) -> None:
    swarm = Swarm("miu")
    swarm.script("miu", SLOW)
    listener = Listener(group, swarm.chat())
    await listener.until_kind(Text)
    assert kinds(listener.got) == ["Start", "Text"]
    swarm.gate.open()
    assert said(await listener.end()) == "onetwo"


async def test_the_fastest_is_asked_by_its_own_name_for_the_model_and_never_why() -> None:
    swarm = Swarm("miu", "naru", "boa", model="gemma3:latest")
    deltas = await everything(swarm.chat("Gemma3", why=True))
    assert swarm.asked == {"miu": 1}
    (asked,) = swarm.engines["miu"].asked
    assert (asked.model, asked.why, asked.id) == ("gemma3:latest", False, REQUEST)
    assert start_of(deltas).model == "gemma3:latest"


async def test_why_is_told_before_anything_else_in_full() -> None:
    swarm = Swarm("miu", "naru")
    deltas = await everything(swarm.chat(why=True))
    note = deltas[0]
    assert isinstance(note, Note)
    assert note.kind == "placement"
    explained = msgspec.convert(note.data, Placement)
    assert [one.node_name for one in explained.candidates] == ["miu", "naru"]
    assert all(one.terms is not None for one in explained.candidates)
    assert note.text == explained.reason
    assert kinds(deltas[1:]) == WHOLE
    assert in_order(deltas)


async def test_without_asking_nobody_is_told_why() -> None:
    assert kinds(await everything(Swarm("miu").chat())) == WHOLE


async def test_a_request_without_an_id_gets_one() -> None:
    swarm = Swarm("miu")
    start = start_of(await everything(swarm.chat(id=RequestId(""))))
    assert start.request.startswith("req-")
    assert swarm.book.get(start.request).state == "done"


async def test_place_tells_where_it_would_go_and_runs_nothing() -> None:
    swarm = Swarm("miu", "naru")
    placement = swarm.router.place(ChatRequest("m", (message("user", "hi"),)))
    assert placement.candidates[0].node_name == "miu"
    assert swarm.asked == {}
    assert swarm.book.all() == ()


async def test_a_burst_spreads_and_what_has_ended_counts_no_more(group: TaskGroup) -> None:
    swarm = Swarm("miu", "naru", speeds=dict.fromkeys(SPEEDS, 10.0))
    for name in ("miu", "naru"):
        swarm.script(name, SLOW)
    listeners = [Listener(group, swarm.chat(id=RequestId(f"r{number}"))) for number in range(4)]
    for listener in listeners:
        await listener.until(bool)
    swarm.gate.open()
    for listener in listeners:
        await listener.end()
    assert swarm.asked == {"miu": 2, "naru": 2}
    candidates = swarm.router.place(ChatRequest("m", (message("user", "hi"),))).candidates
    assert [one.terms.wait for one in candidates if one.terms] == [0.0, 0.0]


async def test_the_queue_of_a_far_node_is_told_here(group: TaskGroup) -> None:
    swarm = Swarm("miu")
    swarm.script("miu", SLOW)
    first = Listener(group, swarm.chat(id=RequestId("first")))
    await first.until_kind(Text)
    second = Listener(group, swarm.chat())
    await second.until_kind(Note)
    note = second.got[0]
    assert isinstance(note, Note)
    assert (note.kind, note.data["node"]) == ("queue", "miu")
    assert swarm.state == "queued"
    swarm.gate.open()
    deltas = await second.end()
    assert kinds([one for one in deltas if not isinstance(one, Note)]) == ["Start", "Text", "Text", "Finish", "Usage"]
    assert in_order(deltas)


# Failures before the first content

OF_ONE_PLACE = [
    EngineFailed("it died"),
    Busy("full", retry_after=3),
    CannotServe("no memory left"),
    UnknownModel("it was deleted"),
    ModelCorrupt("its file is broken"),
    DiskFull("no room"),
    PeerLost("it went away"),
    MycoError("a bug"),
]
OF_THE_REQUEST = [InvalidRequest("nonsense"), ContextTooLong("too long")]


@pytest.mark.parametrize("failure", OF_ONE_PLACE, ids=lambda one: one.code)
@pytest.mark.parametrize("far", [True, False], ids=["there", "here"])
async def test_a_place_that_fails_is_replaced_by_the_next(failure: MycoError, far: bool) -> None:
    broken = "miu" if far else "boa"
    swarm = Swarm(broken, "naru", speeds=SPEEDS | {"boa": 50.0})
    swarm.script(broken, Script(refuse=failure))
    deltas = await everything(swarm.chat())
    note = deltas[0]
    assert isinstance(note, Note)
    assert note.kind == "retry"
    assert failure.message in note.text
    assert "naru" in note.text
    assert kinds(deltas[1:]) == WHOLE
    assert in_order(deltas)
    start = start_of(deltas)
    assert (start.node_name, start.attempt) == ("naru", 1)
    assert swarm.asked == {broken: 1, "naru": 1}
    assert swarm.state == "done"


@pytest.mark.parametrize("failure", OF_THE_REQUEST, ids=lambda one: one.code)
async def test_the_request_s_own_fault_is_nobody_else_s_business(failure: MycoError) -> None:
    swarm = Swarm("miu", "naru")
    swarm.script("miu", Script(refuse=failure))
    with pytest.raises(type(failure), match=failure.message):
        await everything(swarm.chat())
    assert swarm.asked == {"miu": 1}
    assert swarm.state == "failed"


async def test_a_node_that_cannot_be_reached_is_replaced() -> None:
    swarm = Swarm("miu", "naru")
    swarm.network.lose(NodeId("miu"))
    deltas = await everything(swarm.chat())
    assert kinds(deltas) == ["Note", *WHOLE]
    assert start_of(deltas).node_name == "naru"


async def test_a_node_that_is_lost_before_its_first_word_is_replaced(group: TaskGroup) -> None:
    swarm = Swarm("miu", "naru")
    swarm.script("miu", Script(before=1.0))
    listener = Listener(group, swarm.chat())
    async with asyncio.timeout(1):
        while swarm.state != "running":
            await asyncio.sleep(0)
    swarm.network.lose(NodeId("miu"))
    deltas = await listener.end()
    assert kinds(deltas) == ["Note", *WHOLE]
    assert start_of(deltas).node_name == "naru"
    assert swarm.book.get(REQUEST).node == "naru"


async def test_when_every_place_fails_the_last_reason_is_told() -> None:
    swarm = Swarm("miu", "naru")
    swarm.network.lose(NodeId("miu"))
    swarm.script("naru", Script(refuse=EngineFailed("its engine died", "start it again")))
    with pytest.raises(CannotServe) as caught:
        await everything(swarm.chat())
    assert caught.value.message == "no node can serve 'm': its engine died"
    assert caught.value.hint == "start it again"
    assert caught.value.exit_code == 6
    assert swarm.book.get(REQUEST).error == caught.value.message


async def test_the_only_place_tells_its_own_failure_but_a_lost_one_means_nobody() -> None:
    swarm = Swarm("miu")
    swarm.script("miu", Script(refuse=Busy("the queue is full", retry_after=7)))
    with pytest.raises(Busy) as busy:
        await everything(swarm.chat())
    assert busy.value.data["retry_after"] == 7
    swarm.network.lose(NodeId("miu"))
    with pytest.raises(CannotServe, match="miu cannot be reached"):
        await everything(swarm.chat())


async def test_all_are_full_is_told_as_busy_with_the_shortest_wait() -> None:
    swarm = Swarm("miu", "naru")
    swarm.script("miu", Script(refuse=Busy("full", retry_after=9)))
    swarm.script("naru", Script(refuse=Busy("full", retry_after=4)))
    with pytest.raises(Busy) as busy:
        await everything(swarm.chat())
    assert busy.value.data["retry_after"] == 4


@pytest.mark.parametrize(("elsewhere", "answered"), [(8192, True), (4096, False)])
async def test_a_prompt_too_long_for_one_place_is_tried_where_there_is_more_room(
    elsewhere: int, answered: bool
) -> None:
    swarm = Swarm("miu", "naru")
    for index, context in ((1, 4096), (2, elsewhere)):
        view = swarm.views[index]
        assert view.record is not None
        offers = tuple(msgspec.structs.replace(one, context=context) for one in view.record.models)
        record = msgspec.structs.replace(view.record, models=offers)
        swarm.views[index] = msgspec.structs.replace(view, record=record)
    swarm.script("miu", Script(refuse=ContextTooLong("5000 tokens, and 4096 fit")))
    if answered:
        assert said(await everything(swarm.chat()))
        assert swarm.asked == {"miu": 1, "naru": 1}
    else:
        with pytest.raises(ContextTooLong):
            await everything(swarm.chat())
        assert swarm.asked == {"miu": 1}


async def test_nobody_has_the_model() -> None:
    swarm = Swarm("miu")
    with pytest.raises(UnknownModel):
        await everything(swarm.chat("nothing-like-it"))
    assert swarm.state == "failed"


# Failures after the first content


@pytest.mark.parametrize("name", ["boa", "miu"])
async def test_a_failure_in_the_middle_is_one_error_and_the_end(name: str) -> None:
    swarm = Swarm(name, "naru") if name == "miu" else Swarm("boa")
    swarm.script(name, Script(pieces=("a", "b"), fail=EngineFailed("it died", "ask again")))
    deltas = await everything(swarm.chat())
    assert kinds(deltas) == ["Start", "Text", "Text", "Error"]
    assert in_order(deltas)
    last = deltas[-1]
    assert isinstance(last, Error)
    assert (last.error.code, last.error.message) == ("engine_failed", "it died")
    assert swarm.asked == {name: 1}
    task = swarm.book.get(REQUEST)
    assert (task.state, task.error, task.delivered) == ("failed", "it died", 2)


async def test_a_node_that_dies_in_the_middle_is_not_replaced_in_silence(group: TaskGroup) -> None:
    swarm = Swarm("miu", "naru")
    swarm.script("miu", SLOW)
    listener = Listener(group, swarm.chat())
    await listener.until_kind(Text)
    swarm.network.lose(NodeId("miu"))
    deltas = await listener.end()
    assert kinds(deltas) == ["Start", "Text", "Error"]
    last = deltas[-1]
    assert isinstance(last, Error)
    assert last.error.code == "peer_lost"
    assert swarm.asked == {"miu": 1}


@pytest.mark.parametrize("failure", [*OF_ONE_PLACE, *OF_THE_REQUEST], ids=lambda one: one.code)
async def test_whatever_is_raised_in_the_middle_becomes_the_error_at_the_end(failure: MycoError) -> None:
    swarm = Swarm("miu", "naru")
    swarm.answer_with("miu", encode_delta(Start(REQUEST, "m")), encode_delta(Text("a")), failure=failure)
    deltas = await everything(swarm.chat())
    assert kinds(deltas) == ["Start", "Text", "Error"]
    last = deltas[-1]
    assert isinstance(last, Error)
    assert last.error == failure.body()
    assert swarm.state == "failed"


async def test_a_reader_that_leaves_at_the_error_has_not_cancelled_anything() -> None:
    swarm = Swarm("miu")
    swarm.script("miu", Script(pieces=("a",), fail=EngineFailed("it died")))
    async with aclosing(swarm.chat()) as deltas:
        async for delta in deltas:
            if isinstance(delta, Error):
                break
    assert swarm.state == "failed"


# Peers that break the rules

BEGINNING = (encode_delta(Start(REQUEST, "m")), encode_delta(Text("a")))
GARBAGE = [
    b"<html>502</html>\n",
    b"[]\n",
    b'{"type":"prophecy"}\n',
    b'{"type":"text","text":"\xff"}\n',
    b'{"type":"note","kind":"x","data":{"a":' + b"[" * 50_000 + b"\n",
]


@pytest.mark.parametrize("line", GARBAGE, ids=lambda line: line[:12].decode("latin-1").strip())
async def test_garbage_before_content_is_a_lost_peer(line: bytes) -> None:
    swarm = Swarm("miu", "naru")
    swarm.answer_with("miu", BEGINNING[0], line)
    deltas = await everything(swarm.chat())
    assert kinds(deltas) == ["Note", *WHOLE]
    assert start_of(deltas).node_name == "naru"


@pytest.mark.parametrize("line", GARBAGE, ids=lambda line: line[:12].decode("latin-1").strip())
async def test_garbage_after_content_is_an_error(line: bytes) -> None:
    swarm = Swarm("miu", "naru")
    swarm.answer_with("miu", *BEGINNING, line, encode_delta(Text("never")))
    deltas = await everything(swarm.chat())
    assert kinds(deltas) == ["Start", "Text", "Error"]
    last = deltas[-1]
    assert isinstance(last, Error)
    assert "not a delta" in last.error.message


@pytest.mark.parametrize(
    ("lines", "retried"),
    [
        ((), True),
        ((BEGINNING[0],), True),
        ((encode_delta(Text("no start")), encode_delta(Usage())), True),
        (BEGINNING, False),
        ((*BEGINNING, encode_delta(Finish("stop"))), False),
    ],
    ids=["nothing", "start only", "no start", "half", "no usage"],
)
async def test_an_incomplete_answer_is_replaced_or_told(lines: tuple[bytes, ...], retried: bool) -> None:
    swarm = Swarm("miu", "naru")
    swarm.answer_with("miu", *lines)
    deltas = await everything(swarm.chat())
    if retried:
        assert kinds(deltas) == ["Note", *WHOLE]
    else:
        assert kinds(deltas)[-1] == "Error"
        assert swarm.asked == {}
    assert in_order(deltas)


async def test_facts_of_a_foreign_error_cannot_break_the_router() -> None:
    swarm = Swarm("miu", "naru")
    strange = ErrorBody("engine_failed", "it died", data={"message": 1, "hint": 2, "self": 3})
    swarm.answer_with("miu", encode_delta(Error(strange)))
    assert start_of(await everything(swarm.chat())).node_name == "naru"


async def test_nothing_follows_the_usage_and_a_second_start_is_passed_over() -> None:
    swarm = Swarm("miu")
    swarm.answer_with(
        "miu",
        *BEGINNING,
        encode_delta(Start(REQUEST, "other")),
        encode_delta(Text("b", 1)),
        encode_delta(Finish("stop")),
        encode_delta(Usage()),
        encode_delta(Text("late")),
        encode_delta(Error(ErrorBody("x", "late"))),
    )
    deltas = await everything(swarm.chat())
    assert kinds(deltas) == ["Start", "Text", "Text", "Finish", "Usage"]
    assert said(deltas) == "ab"
    assert swarm.state == "done"


seqs = st.integers(0, 9)
anything = st.one_of(
    st.builds(Start, st.just(REQUEST), st.just("m"), seq=seqs),
    st.builds(Text, st.sampled_from(["a", "é"]), seq=seqs),
    st.builds(Thinking, st.just("hm"), seq=seqs),
    st.builds(Note, st.just("queue"), seq=seqs),
    st.builds(Finish, st.just("stop"), seq=seqs),
    st.builds(Usage, seq=seqs),
    st.builds(Error, st.builds(ErrorBody, st.sampled_from(["busy", "internal", "new"]), st.just("no")), seq=seqs),
).map(encode_delta)


@settings(max_examples=150, deadline=None)
@given(st.lists(anything | st.sampled_from([b"garbage\n", b"\n"]), max_size=8), st.booleans())
def test_whatever_a_peer_sends_the_client_gets_a_stream_by_the_rules(lines: list[bytes], another: bool) -> None:
    async def run() -> None:
        swarm = Swarm("miu", "naru") if another else Swarm("miu")
        swarm.answer_with("miu", *lines)
        got: list[Delta] = []
        refused = False
        try:
            async for delta in swarm.chat():
                got.append(delta)  # noqa: PERF401 what came before a failure counts too
        except MycoError:
            refused = True
        told = [one for one in got if not isinstance(one, Note)]
        assert in_order(got)
        if refused:
            assert told == []
            assert swarm.state == "failed"
            return
        assert isinstance(told[0], Start)
        assert sum(isinstance(one, Start) for one in told) == 1
        assert isinstance(told[-1], Usage | Error)
        assert sum(isinstance(one, Usage | Error) for one in told) == 1
        assert swarm.state == ("failed" if isinstance(told[-1], Error) else "done")

    asyncio.run(run())


# Leaving, and what the book says


@pytest.mark.parametrize("name", ["boa", "miu"])
async def test_a_client_that_leaves_cancels_the_work_wherever_it_runs(name: str, group: TaskGroup) -> None:
    swarm = Swarm(name)
    swarm.script(name, SLOW)
    listener = Listener(group, swarm.chat())
    await listener.until_kind(Text)
    assert swarm.state == "running"
    assert swarm.executors[name].busy(ENGINE)
    await listener.leave()
    assert [one.id for one in swarm.engines[name].cancelled] == [REQUEST]
    assert not swarm.executors[name].busy(ENGINE)
    task = swarm.book.get(REQUEST)
    assert (task.state, task.node, task.delivered) == ("cancelled", name, 1)


async def test_closing_before_the_first_word_cancels_too(group: TaskGroup) -> None:
    swarm = Swarm("miu")
    swarm.script("miu", SLOW)
    await Listener(group, swarm.chat(id=RequestId("first"))).until_kind(Text)
    answer = swarm.chat()
    assert isinstance(await anext(answer), Note)
    await answer.aclose()
    assert swarm.state == "cancelled"
    assert len(swarm.engines["miu"].asked) == 1
    (queue,) = swarm.executors["miu"].queues()
    assert (queue.running, queue.waiting) == (1, 0)


async def test_the_book_follows_a_request_from_queued_to_done(group: TaskGroup) -> None:
    swarm = Swarm("miu")
    swarm.script("miu", SLOW)
    assert swarm.state == "unknown"
    first = Listener(group, swarm.chat(id=RequestId("first")))
    await first.until_kind(Text)
    listener = Listener(group, swarm.chat())
    await listener.until_kind(Note)
    assert swarm.state == "queued"
    swarm.clock.advance(3)
    await first.leave()
    await listener.until_kind(Text)
    assert swarm.state == "running"
    swarm.clock.advance(2)
    swarm.gate.open()
    await listener.end()
    task = swarm.book.get(REQUEST)
    assert (task.state, task.node, task.model, task.entry, task.delivered) == ("done", "miu", "m", "boa", 2)
    assert task.started is not None
    assert task.ended is not None
    assert (task.started - task.created, task.ended - task.started) == (3, 2)


async def test_a_bug_is_a_failure_in_the_book_and_not_a_cancellation() -> None:
    swarm = Swarm("boa")

    async def broken(_: float) -> None:
        raise ZeroDivisionError

    swarm.engines["boa"].sleep = broken
    with pytest.raises(ZeroDivisionError):
        await everything(swarm.chat())
    task = swarm.book.get(REQUEST)
    assert (task.state, task.error) == ("failed", "internal")
    assert not swarm.executors["boa"].busy(ENGINE)


async def test_an_id_that_is_used_again_never_confuses_the_book(group: TaskGroup) -> None:
    swarm = Swarm("miu")
    swarm.script("miu", Script(), SLOW)
    await everything(swarm.chat())
    swarm.clock.advance(LIFETIME - 1)
    listener = Listener(group, swarm.chat())
    await listener.until_kind(Text)
    swarm.clock.advance(2)
    assert swarm.state == "running"
    swarm.gate.open()
    await listener.end()
    assert swarm.state == "done"
    swarm.clock.advance(LIFETIME)
    assert swarm.state == "unknown"
    swarm.script("miu", Script())
    await everything(swarm.chat())
    assert swarm.state == "done"
