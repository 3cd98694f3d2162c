"""A NodeService that answers by the book: what it is told to, and a record of what it was asked."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from mycoswarm.core.access import KeyBody, KeyRemoved, Keys, KeyView, NewKey, WebCertificate
from mycoswarm.core.chat import ChatRequest, Delta, Finish, Sampling, Start, Text, Usage
from mycoswarm.core.embed import Embedded, Embedding, EmbedRequest, pack
from mycoswarm.core.errors import Refused
from mycoswarm.core.health import Problem
from mycoswarm.core.ids import EngineId, ModelName, NodeId, RequestId, SwarmId
from mycoswarm.core.model import ModelOffer, Progress
from mycoswarm.core.node import NodeView, StateChange, SwarmInfo
from mycoswarm.core.placement import Candidate, Placement, Terms
from mycoswarm.core.preset import Preset, Recipe
from mycoswarm.core.task import Task
from mycoswarm.core.views import (
    Admitted,
    Comparing,
    Counted,
    Expelled,
    HealthReport,
    Invitation,
    Joined,
    Left,
    ModelDetail,
    ModelFacts,
    ModelPlace,
    Models,
    ModelView,
    NodeDetail,
    NodeHistory,
    Nodes,
    Removed,
    Rotated,
    Running,
    Waiting,
    WaitingMachines,
)

ME = NodeId("boa-node-id")
SWARM = SwarmInfo(SwarmId("s"), "home", 2, (ME,), True)
VIEW = NodeView(ME, "boa", "self")
DETAIL = NodeDetail(VIEW, "0.1", 42, 1.5, 6926, 6927, swarm=SWARM)
PLACE = ModelPlace(NodeId("miu"), "miu", True, ModelOffer(ModelName("org/m:7b"), EngineId("ollama"), "loaded"))
MODELS = Models((ModelView("org/m:7b", (PLACE,)),))
TASK = Task(RequestId("req-1"), "chat", "done", "m")
PLACED = Placement("m", (Candidate(NodeId("miu"), "miu", EngineId("e"), ModelName("m"), Terms(0, 0, 0, 0, 1)),), 0)
HISTORY = NodeHistory(VIEW, (StateChange(12.0, "up", "beat seen"), StateChange(60.0, "down", "no beat")))
PROBLEMS = HealthReport((Problem("one-keeper", "warning", "there is one keeper only", "make a second one"),))
FACTS = ModelFacts(
    {"general.architecture": "llama", "llama.context_length": 2048},
    "{{ messages }}",
    "MIT",
    Preset("Be brief.", sampling=Sampling(temperature=0.5), parameters={"temperature": 0.5, "stop": ["END", "\n"]}),
    1_000_000_000.0,
)
METRICS = "# TYPE mycoswarm_info gauge\nmycoswarm_info 1\n"
COMPARING = Comparing("run-1", ("apple", "bread", "candle", "door"), "miu", 120.0)
WAITING = WaitingMachines((Waiting("run-1", "uncho", "10.0.0.7", COMPARING.words, 3.0),))

KEY = KeyView("abcdefgh", "laptop", ("inference",), "me", 1_700_000_000)
WEB = WebCertificate("-----BEGIN CERTIFICATE-----\n", "AB:CD", ("boa.local",), 1_800_000_000)

START = Start(RequestId("req-1"), "m", NodeId("miu"), "miu", "ollama")
ANSWER: tuple[Delta, ...] = (START, Text("Hel"), Text("lo", 3), Finish("stop"), Usage(3, 2))

Step = Delta | Progress | BaseException | asyncio.Event
"""What a stream does next: say it, raise it, or wait for it."""


class FakeNode:
    """script: of the next chat or pull. closed: how many streams were closed before their end."""

    def __init__(self, *script: Step) -> None:
        self.script: Sequence[Step] = script or ANSWER
        self.asked: list[ChatRequest] = []
        self.embedded: list[EmbedRequest] = []
        self.calls: list[tuple[object, ...]] = []
        self.blobs: dict[str, bytes] = {}
        self.closed = 0
        self.broken: Exception | None = None

    @property
    def id(self) -> NodeId:
        return ME

    def detail(self) -> NodeDetail:
        if self.broken is not None:
            raise self.broken
        return DETAIL

    def nodes(self) -> Nodes:
        return Nodes((VIEW,))

    def models(self) -> Models:
        return MODELS

    def running(self) -> Running:
        return Running((PLACE,), (TASK,))

    def tasks(self) -> tuple[Task, ...]:
        return (TASK,)

    def task(self, task: RequestId) -> Task:
        return TASK if task == TASK.id else Task(task, "chat", "unknown")

    def place(self, request: ChatRequest) -> Placement:
        self.asked.append(request)
        return PLACED

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        self.asked.append(request)
        async with aclosing(self._play()) as steps:
            async for step in steps:
                assert not isinstance(step, Progress)
                yield step

    async def embed(self, request: EmbedRequest) -> Embedded:
        self.embedded.append(request)
        vectors = tuple(pack((float(len(text)), 1.0)) for text in request.texts)
        return Embedded(Embedding(vectors, 3 * len(vectors)), "minilm", NodeId("uncho"), "uncho", "minilm")

    async def count_tokens(self, request: ChatRequest) -> Counted:
        self.asked.append(request)
        return Counted(11, True, "m", "miu")

    async def pull(self, name: str, node: str) -> AsyncGenerator[Progress, None]:
        self.calls.append(("pull", name, node))
        async with aclosing(self._play()) as steps:
            async for step in steps:
                assert isinstance(step, Progress)
                yield step

    async def _play(self) -> AsyncGenerator[Delta | Progress, None]:
        try:
            for step in self.script:
                match step:
                    case asyncio.Event():
                        await step.wait()
                    case BaseException():
                        raise step
                    case _:
                        yield step
        except (GeneratorExit, asyncio.CancelledError):
            self.closed += 1
            raise

    async def remove_model(self, name: str, node: str) -> Removed:
        self.calls.append(("remove", name, node))
        return Removed(name, ME, 7)

    async def show_model(self, name: str) -> ModelDetail:
        self.calls.append(("show", name))
        if self.broken is not None:
            raise self.broken
        return ModelDetail(PLACE, FACTS)

    async def load_model(self, name: str, keep: float | None) -> ModelPlace:
        self.calls.append(("load", name, keep))
        return PLACE

    async def unload_model(self, name: str) -> None:
        self.calls.append(("unload", name))

    async def create_model(self, recipe: Recipe) -> AsyncGenerator[Progress, None]:
        self.calls.append(("create", recipe))
        async with aclosing(self._play()) as steps:
            async for step in steps:
                assert isinstance(step, Progress)
                yield step

    async def has_blob(self, digest: str) -> bool:
        return digest in self.blobs

    async def put_blob(self, digest: str, pieces: AsyncIterator[bytes], size: int | None) -> None:
        self.calls.append(("blob", digest, size))
        self.blobs[digest] = b"".join([piece async for piece in pieces])

    async def history(self, node: str) -> NodeHistory:
        self.calls.append(("history", node))
        return HISTORY

    def health(self) -> HealthReport:
        return PROBLEMS

    def metrics(self) -> str:
        return METRICS

    async def invite(self, headless: bool, name: str, open_for: float) -> Invitation:
        self.calls.append(("invite", headless, name, open_for))
        return Invitation("7-guitar-lemon", 600, "home", True)

    async def join(self, code: str, address: str, swarm: str, move: bool) -> Joined:
        self.calls.append(("join", code, address, swarm, move))
        return Joined(SWARM)

    async def compare(self, address: str, swarm: str, move: bool) -> Comparing:
        self.calls.append(("compare", address, swarm, move))
        return COMPARING

    def comparing(self, run: str) -> Comparing:
        self.calls.append(("comparing", run))
        return COMPARING

    async def compared(self, run: str, same: bool) -> Comparing:
        self.calls.append(("compared", run, same))
        return COMPARING

    def waiting(self) -> WaitingMachines:
        return WAITING

    async def admit(self, run: str, same: bool) -> Admitted:
        self.calls.append(("admit", run, same))
        return Admitted("uncho", same)

    async def leave(self) -> Left:
        raise Refused("this node is in no swarm", "nothing to do")

    async def expel(self, node: str) -> Expelled:
        self.calls.append(("expel", node))
        return Expelled(ME, "uncho", 1, 2)

    async def add_keeper(self, node: str) -> SwarmInfo:
        self.calls.append(("add_keeper", node))
        return SWARM

    async def remove_keeper(self, node: str) -> SwarmInfo:
        self.calls.append(("remove_keeper", node))
        return SWARM

    async def recover(self, phrase: str, without: tuple[str, ...]) -> SwarmInfo:
        self.calls.append(("recover", phrase, without))
        return SWARM

    async def rotate(self) -> Rotated:
        self.calls.append(("rotate",))
        return Rotated(ME, NodeId("after"))

    def keys(self) -> Keys:
        return Keys((KEY,))

    def add_key(self, body: KeyBody) -> NewKey:
        self.calls.append(("add_key", body))
        return NewKey(KEY, "myco-secret")

    def remove_key(self, key: str) -> KeyRemoved:
        self.calls.append(("remove_key", key))
        return KeyRemoved(KEY, 1)

    async def certificate(self) -> WebCertificate:
        return WEB

    def shut_down(self) -> None:
        self.calls.append(("shut_down",))
