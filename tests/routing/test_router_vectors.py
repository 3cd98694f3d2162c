"""Vectors and counted prompts: brought back from whichever node is done soonest."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator

import msgspec
import pytest

from mycoswarm.core.chat import ChatRequest, message
from mycoswarm.core.embed import Embedded, EmbedRequest, unpack
from mycoswarm.core.errors import (
    Busy,
    CannotServe,
    ContextTooLong,
    EngineFailed,
    InvalidRequest,
    MycoError,
    PeerLost,
    TooLarge,
)
from mycoswarm.core.ids import NodeId, RequestId
from mycoswarm.core.model import Abilities, ModelState, Speed
from mycoswarm.core.node import NodeRecord, NodeView
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.fabric.peer_app import PeerRequest
from mycoswarm.routing.door import MAX_TEXTS
from mycoswarm.routing.executor import EmbedWork, Executor, Work
from mycoswarm.routing.placement import Policy
from mycoswarm.routing.router import COUNT_PATH, EMBED_PATH, Router, Tokens
from mycoswarm.routing.tasks import TaskBook
from mycoswarm.testing.loopback_network import LoopbackNetwork
from mycoswarm.testing.scripted_engine import Script, ScriptedEngine, offer
from mycoswarm.testing.virtual_clock import VirtualClock
from tests.routing.listening import PATIENCE, Gate

REQUEST = RequestId("req-1")
VECTORS = Abilities(chat=False, embed=True)
SPEEDS = {"boa": 1000.0, "naru": 10_000.0, "miu": 100_000.0}
"""Tokens/s: miu is asked first, then naru, then boa itself."""


class Swarm:
    """boa asks; every named node has the embedder, and a chat model to count with."""

    def __init__(
        self, *names: str, states: dict[str, ModelState] | None = None, speeds: dict[str, float] = SPEEDS
    ) -> None:
        self.clock = VirtualClock()
        self.gate = Gate()
        self.network = LoopbackNetwork()
        self.engines: dict[str, ScriptedEngine] = {}
        self.executors: dict[str, Executor] = {}
        self.views: list[NodeView] = []
        self.book = TaskBook(self.clock)
        for name in dict.fromkeys(("boa", *names)):
            speed = Speed(speeds[name], speeds[name], 1e8, samples=3)
            state = (states or {}).get(name, "loaded")
            vectors = offer("all-minilm", state=state, speed=speed, abilities=VECTORS, size=23_000_000)
            offers = (vectors, offer("chat", speed=speed)) if name in names else ()
            engine = self.engines[name] = ScriptedEngine(offers, sleep=self.gate.sleep)
            executor = self.executors[name] = Executor(NodeId(name), name, self.clock, {"openai": 1})
            executor.use((engine,))
            record = NodeRecord(NodeId(name), name, 1, 1, "0", models=offers)
            self.views.append(NodeView(NodeId(name), name, "self" if name == "boa" else "up", rtt=0.001, record=record))
            self.network.add(NodeId(name), _handlers(executor), name)
        self.router = Router(
            NodeId("boa"),
            self.executors["boa"],
            self.network.add(NodeId("boa"), {}, "boa"),
            lambda: self.views,
            Policy(),
            self.book,
            random.Random(1),
        )

    async def embed(self, *texts: str, model: str = "embed") -> Embedded:
        async with asyncio.timeout(PATIENCE):
            return await self.router.embed(EmbedRequest(model, texts or ("hello",), REQUEST))

    def refuse(self, name: str, problem: MycoError) -> None:
        self.engines[name].embeds = [Script(refuse=problem)]

    def hold(self, name: str) -> None:
        self.engines[name].embeds = [Script(before=1.0)]

    @property
    def asked(self) -> list[str]:
        return [name for name, engine in self.engines.items() if engine.embedded]

    @property
    def state(self) -> str:
        return self.book.get(REQUEST).state


def _handlers(executor: Executor):
    async def embed(request: PeerRequest) -> AsyncGenerator[bytes, None]:
        work = msgspec.json.decode(request.body, type=EmbedWork)
        yield msgspec.json.encode(await executor.embed(work)) + b"\n"

    async def count(request: PeerRequest) -> bytes:
        work = msgspec.json.decode(request.body, type=Work)
        return msgspec.json.encode(Tokens(await executor.count_tokens(work)))

    return {("POST", EMBED_PATH): embed, ("POST", COUNT_PATH): count}


@pytest.fixture
async def group() -> AsyncIterator[TaskGroup]:
    made = TaskGroup()
    yield made
    await made.close()


@pytest.mark.parametrize("name", ["boa", "miu"])
async def test_vectors_come_back_whole_and_say_who_made_them(name: str) -> None:
    swarm = Swarm(name)
    answer = await swarm.embed("a", "bbb")
    assert [unpack(vector) for vector in answer.embedding.vectors] == [[1.0, 1.0], [3.0, 1.0]]
    assert (answer.node, answer.node_name, answer.model, answer.engine) == (name, name, "all-minilm", "scripted")
    assert answer.embedding.tokens == 2
    assert swarm.state == "done"


@pytest.mark.parametrize("model", ["embed", "all-minilm", "All-MiniLM:latest", "text-embedding-3-small", "gpt-4o"])
async def test_the_alias_a_vendors_name_and_its_own_name_mean_it(model: str) -> None:
    swarm = Swarm("miu")
    assert (await swarm.embed(model=model)).model == "all-minilm"
    assert swarm.engines["miu"].embedded[0].model == "all-minilm"


async def test_the_node_that_has_it_warm_is_asked_even_where_another_is_faster() -> None:
    swarm = Swarm("naru", "miu", states={"miu": "on_disk"})
    assert (await swarm.embed("a short text")).node_name == "naru"
    away = Swarm("boa", "naru", states={"boa": "on_disk"}, speeds={"boa": 10_000.0, "naru": 10_000.0})
    assert (await away.embed("a short text")).node_name == "naru"


async def test_a_big_load_goes_to_the_fast_node_although_it_is_cold() -> None:
    swarm = Swarm("naru", "miu", states={"miu": "on_disk"})
    assert (await swarm.embed(*["a long text " * 100] * 100)).node_name == "miu"


@pytest.mark.parametrize(
    "failure", [EngineFailed("it died"), Busy("full", retry_after=1.0), PeerLost("gone"), MycoError("a bug")]
)
async def test_a_place_that_fails_is_replaced_by_the_next(failure: MycoError) -> None:
    swarm = Swarm("boa", "naru", "miu")
    swarm.refuse("miu", failure)
    assert (await swarm.embed()).node_name == "naru"
    assert swarm.asked == ["naru", "miu"]
    assert swarm.state == "done"


@pytest.mark.parametrize("failure", [InvalidRequest("no"), ContextTooLong("long", prompt_tokens=600, context=512)])
async def test_the_requests_own_fault_is_nobody_elses_business(failure: MycoError) -> None:
    swarm = Swarm("boa", "miu")
    swarm.refuse("miu", failure)
    with pytest.raises(type(failure)) as refused:
        await swarm.embed()
    assert refused.value.data == failure.data
    assert swarm.asked == ["miu"]
    assert swarm.state == "failed"


async def test_all_full_is_told_as_busy_with_the_shortest_wait() -> None:
    swarm = Swarm("boa", "miu")
    swarm.refuse("boa", Busy("full", retry_after=7.0))
    swarm.refuse("miu", Busy("full", retry_after=3.0))
    with pytest.raises(Busy) as refused:
        await swarm.embed()
    assert refused.value.data["retry_after"] == 3.0


async def test_a_node_that_is_lost_in_the_middle_is_replaced(group: TaskGroup) -> None:
    swarm = Swarm("boa", "miu")
    swarm.hold("miu")
    work = group.start(swarm.embed(), "a client")
    await asyncio.sleep(0.01)
    assert swarm.state == "running"
    swarm.network.lose(NodeId("miu"))
    assert (await work).node_name == "boa"


async def test_a_peer_that_answers_nonsense_or_nothing_is_replaced() -> None:
    for said in (b"nonsense\n", b"{}\n", b"\n", b""):
        swarm = Swarm("boa", "miu")

        async def handler(_: PeerRequest, said: bytes = said) -> AsyncGenerator[bytes, None]:
            yield said

        swarm.network.add(NodeId("miu"), {("POST", EMBED_PATH): handler}, "miu")
        assert (await swarm.embed()).node_name == "boa"


@pytest.mark.parametrize("name", ["boa", "miu"])
async def test_a_client_that_leaves_cancels_the_work_wherever_it_runs(name: str, group: TaskGroup) -> None:
    swarm = Swarm(name)
    swarm.hold(name)
    work = group.start(swarm.embed(), "a client")
    await asyncio.sleep(0.01)
    assert swarm.asked == [name]
    work.cancel()
    await asyncio.wait({work}, timeout=PATIENCE)
    await asyncio.sleep(0.01)
    assert len(swarm.engines[name].unread) == 1
    assert swarm.state == "cancelled"
    (queue,) = swarm.executors[name].queues()
    assert (queue.running, queue.waiting) == (0, 0)


async def test_requests_wait_in_the_executors_queue(group: TaskGroup) -> None:
    swarm = Swarm("miu")
    swarm.hold("miu")
    work = [group.start(swarm.router.embed(EmbedRequest("embed", (text,))), text) for text in ("a", "bb", "ccc")]
    await asyncio.sleep(0.01)
    (queue,) = swarm.executors["miu"].queues()
    assert (queue.running, queue.waiting) == (1, 2)
    swarm.gate.open()
    async with asyncio.timeout(PATIENCE):
        answers = [await one for one in work]
    assert [unpack(answer.embedding.vectors[0])[0] for answer in answers] == [1.0, 2.0, 3.0]


async def test_a_burst_spreads_over_equal_nodes(group: TaskGroup) -> None:
    swarm = Swarm("naru", "miu", speeds={"boa": 1.0, "naru": 1000.0, "miu": 1000.0})
    for name in ("naru", "miu"):
        swarm.hold(name)
    work = [group.start(swarm.router.embed(EmbedRequest("embed", ("a",))), str(number)) for number in range(4)]
    await asyncio.sleep(0.01)
    assert [queue.running + queue.waiting for name in ("naru", "miu") for queue in swarm.executors[name].queues()] == [
        2,
        2,
    ]
    swarm.gate.open()
    await asyncio.gather(*work)


async def test_nobody_has_an_embedder() -> None:
    swarm = Swarm()
    with pytest.raises(CannotServe):
        await swarm.embed()
    swarm = Swarm("miu")
    with pytest.raises(InvalidRequest, match="no embedding model"):
        await swarm.embed(model="chat")


async def test_what_no_engine_could_do_is_refused_at_the_door() -> None:
    swarm = Swarm("miu")
    with pytest.raises(InvalidRequest, match="no text"):
        await swarm.router.embed(EmbedRequest("embed", ()))
    with pytest.raises(TooLarge, match=str(MAX_TEXTS)):
        await swarm.router.embed(EmbedRequest("embed", ("a",) * (MAX_TEXTS + 1)))
    assert swarm.asked == []


# Counted prompts


def ask(model: str = "chat", text: str = "one two three") -> ChatRequest:
    return ChatRequest(model, (message("user", text),))


@pytest.mark.parametrize("name", ["boa", "miu"])
async def test_tokens_are_counted_by_who_would_answer(name: str) -> None:
    counted = await Swarm(name).router.count_tokens(ask())
    assert (counted.tokens, counted.exact, counted.model, counted.node) == (3, True, "chat", name)


@pytest.mark.parametrize("name", ["boa", "miu"])
async def test_where_no_engine_can_tell_they_are_estimated(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    swarm = Swarm(name)

    async def silent(_: ChatRequest) -> None:
        return None

    monkeypatch.setattr(swarm.engines[name], "count_tokens", silent)
    counted = await swarm.router.count_tokens(ask(text="x" * 400))
    assert (counted.tokens, counted.exact) == (104, False)


async def test_a_node_that_cannot_be_reached_does_not_count() -> None:
    swarm = Swarm("boa", "miu")
    swarm.network.lose(NodeId("miu"))
    assert (await swarm.router.count_tokens(ask())).node == "boa"


async def test_counting_needs_a_model_that_could_answer() -> None:
    with pytest.raises(InvalidRequest, match="embedding model"):
        await Swarm("miu").router.count_tokens(ask("all-minilm"))
