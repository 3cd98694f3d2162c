"""[io] The node: all its parts put together, and what the user port asks of them.

hardware (what this is)  ─┐
engines (what answers)   ─┼─▶ record ─▶ fabric ─▶ peers
executor (what it bears) ─┘
user port ─▶ Node (api.NodeService) ─▶ router ─▶ executor ─▶ engines
peer port ─▶ handlers below ────────────────────────▲
"""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, get_args

import msgspec

from mycoswarm import __version__
from mycoswarm.access.ring import KeyRing
from mycoswarm.access.store import KeyStore
from mycoswarm.core.access import KeyBody, KeyRemoved, Keys, NewKey, WebCertificate
from mycoswarm.core.chat import ChatRequest, Delta, encode_delta
from mycoswarm.core.clock import Clock, SystemClock
from mycoswarm.core.embed import Embedded, EmbedRequest
from mycoswarm.core.errors import InvalidRequest, MycoError, NotFound, PeerLost, Refused
from mycoswarm.core.hardware import EngineFound, EngineKind, Report, Role
from mycoswarm.core.health import Problem, Severity
from mycoswarm.core.ids import NodeId, RequestId
from mycoswarm.core.model import Progress
from mycoswarm.core.node import PROTOCOL, NodeRecord, NodeView, PeerState, SwarmInfo
from mycoswarm.core.paths import Paths
from mycoswarm.core.placement import Placement
from mycoswarm.core.preset import Recipe
from mycoswarm.core.settings import Settings
from mycoswarm.core.task import Task
from mycoswarm.core.tasks import TaskGroup, repeat
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
    ModelPlace,
    Models,
    ModelView,
    NodeDetail,
    NodeHistory,
    Nodes,
    PullBody,
    Removed,
    Rotated,
    Running,
    WaitingMachines,
)
from mycoswarm.egress import Egress
from mycoswarm.engines.attached import Attached
from mycoswarm.engines.find import addresses, build, configured, find
from mycoswarm.engines.llamacpp import LlamaCpp
from mycoswarm.engines.minilm import MiniLM
from mycoswarm.fabric import bodies, webca, webcerts
from mycoswarm.fabric.peer_app import PeerRequest
from mycoswarm.fabric.service import Fabric
from mycoswarm.fabric.webcerts import WebCertificates
from mycoswarm.fabric.webstore import WebStore
from mycoswarm.hardware import classify
from mycoswarm.hardware import probe as hardware_probe
from mycoswarm.hardware.detect import detect
from mycoswarm.holdings import Holdings
from mycoswarm.models import catalog
from mycoswarm.models.store import ModelStore
from mycoswarm.routing import homes
from mycoswarm.routing.executor import EmbedWork, Executor, Work
from mycoswarm.routing.placement import Policy
from mycoswarm.routing.router import CHAT_PATH, COUNT_PATH, EMBED_PATH, Router, Tokens
from mycoswarm.routing.tasks import TaskBook
from mycoswarm.telemetry import checks, process
from mycoswarm.telemetry.health import Health, Values

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

PULL_PATH = "/peer/models/pull"
REMOVE_PATH = "/peer/models/remove"

DETECT_ROUND = 300.0
"""Seconds between looks at the hardware: how full its disk is decides where models go."""

LOOK_ROUND = 15.0
"""Seconds between looks at engines that are not ours: they load and unload without telling us."""

SETTLE = 0.25
"""Seconds that changes of the record are gathered before peers hear of them; a burst of requests is one message."""


SLOTS: Mapping[EngineKind, int] = {
    "minilm": 4,
    "ollama": 4,
    "llama-server": 4,
    "lmstudio": 4,
    "vllm": 64,
    "openai": 32,
}
"""Answers that engines other than the embedded one are given at once: others' do not tell, the embedder takes turns.
Too few and they idle between answers; too many and the surplus waits in their own queue, where nobody can go first."""


@dataclass(frozen=True)
class Doors:
    """What the LAN's listener needs of the node behind it."""

    name: str
    ring: KeyRing
    web: WebCertificates
    health: Health
    clock: Clock


class Node:
    """One node. `start`, then `close`; in between it is the API's NodeService.

    Args:
        private: started by a command for itself: not announced, no peers.
        ended: called by `shut_down`.
        renewed: called when this node has a new key and must be closed and made anew to use it.
    """

    def __init__(
        self,
        paths: Paths,
        settings: Settings,
        name: str,
        *,
        private: bool,
        ended: Callable[[], None],
        renewed: Callable[[], None],
    ) -> None:
        self._paths = paths
        self._settings = settings
        self._name = name
        self._private = private
        self._ended = ended
        self._renewed = renewed
        self._clock = SystemClock()
        self._started = self._clock.monotonic()
        self._tasks = TaskGroup()
        self._report: Report | None = None
        self._own: tuple[EngineFound, ...] = ()
        self._gate = ""
        self._not_let_in: MycoError | None = None
        self._changed = asyncio.Event()
        self.port = 0
        self.lan_urls: Callable[[], tuple[str, ...]] = tuple

        self._store = _model_store(paths, settings)
        self._health = Health(self._clock)
        self._fabric = Fabric(paths, name, settings, self._record, self._clock, self._health)
        slots: dict[EngineKind, int] = {**SLOTS, "embedded": settings.slots}
        self._executor = Executor(self._fabric.id, name, self._clock, slots, self._changed.set)
        self._ring = KeyRing(KeyStore(paths.keys_file), self._clock, self._health)
        around = webcerts.Surroundings(
            self._fabric.id,
            name,
            lambda: self._fabric.swarm,
            self._fabric.nodes,
            self._fabric.admitted,
            self._fabric.transport,
        )
        self._web = WebCertificates(WebStore(paths.state), around, self._clock)
        self._book = TaskBook(self._clock)
        self._router = Router(
            self._fabric.id,
            self._executor,
            self._fabric.transport,
            self._fabric.nodes,
            Policy(settings.prefer, settings.patience, settings.stand_in == "auto"),
            self._book,
        )
        self._holdings = Holdings(
            self._fabric,
            self._store,
            self._executor,
            self.models,
            self._router.place,
            lambda: self._attached.all,
            self._tell,
        )

    @property
    def id(self) -> NodeId:
        return self._fabric.id

    @property
    def peer_port(self) -> int | None:
        """None for a private node."""
        return self._fabric.peer_port

    @property
    def doors(self) -> Doors:
        """For whoever opens this node to the LAN."""
        return Doors(self._name, self._ring, self._web, self._health, self._clock)

    async def start(self) -> None:
        """Bind the peer port, look at the hardware and the engines, and keep the record true from now on.

        Raises:
            PortTaken: the peer port.
        """
        self._fabric.add_handler("POST", CHAT_PATH, self._peer_chat)
        self._fabric.add_handler("POST", EMBED_PATH, self._peer_embed)
        self._fabric.add_handler("POST", COUNT_PATH, self._peer_count)
        self._fabric.add_handler("POST", PULL_PATH, self._peer_pull)
        self._fabric.add_handler("POST", REMOVE_PATH, self._peer_remove)
        self._holdings.serve()
        for (method, path), handler in self._web.handlers().items():
            self._fabric.add_handler(method, path, handler)
        self._embedded = await _embedded(self._store, self._settings)
        self._embedded.changed = self._changed.set
        where = addresses(self._settings.engines)
        minilm = MiniLM(
            threads=self._settings.threads,
            keep_loaded=self._settings.keep_loaded,
            gate=None if self._settings.embedder == "auto" else "`embedder = no` in the settings",
        )
        self._attached = Attached(
            (self._embedded, minilm),
            lambda: find(where),
            lambda found: build(found, where, self._settings.context),
            self._executor.busy,
            self._changed.set,
        )
        self._watch_health()
        # Before the ports open: whoever asks as soon as they answer must find the models.
        await self._look()
        try:
            await self._fabric.start()
        except BaseException:
            await self._attached.close()
            raise
        for step, pause, name in (
            (self._publish, 0.0, "publishing this node's record"),
            (self._look, LOOK_ROUND, "looking at the engines"),
            (self._detect, DETECT_ROUND, "looking at the hardware"),
            (self._web.step, webcerts.ROUND, "looking after the web certificate"),
        ):
            self._tasks.start(repeat(step, pause, name), name)
        code = self._settings.join or _read(self._paths.join_file)
        if code and not self._private:
            self._tasks.start(self._join_by(code), "join by the headless code")

    async def _join_by(self, code: str) -> None:
        try:
            await self._fabric.headless_join(code)
        except MycoError as problem:
            _log.warning("the headless code lets this machine in nowhere: %s", problem.message)
            self._not_let_in = problem

    async def close(self) -> None:
        """Say goodbye to peers and end every child. The user port is closed before this."""
        async with AsyncExitStack() as steps:
            # In reverse: each runs whatever became of the one before it.
            steps.callback(self._ring.flush)
            steps.push_async_callback(self._attached.close)
            steps.push_async_callback(self._fabric.close)
            steps.push_async_callback(self._tasks.close)

    # What the user port asks

    def detail(self) -> NodeDetail:
        fabric = self._fabric
        return NodeDetail(
            view=fabric.nodes()[0],
            version=__version__,
            pid=os.getpid(),
            uptime=round(self._clock.monotonic() - self._started, 1),
            port=self.port,
            peer_port=self.peer_port,
            private=self._private,
            swarm=fabric.swarm,
            nearby=fabric.nearby(),
            warnings=_said(self._health.problems()),
            lan=self.lan_urls(),
        )

    def nodes(self) -> Nodes:
        return Nodes(self._fabric.nodes())

    async def history(self, node: str) -> NodeHistory:
        view = self._meant(node)
        return NodeHistory(view, self._fabric.history(view.id), self._fabric.added_by(view.id) or NodeId(""))

    def health(self) -> HealthReport:
        return HealthReport(self._health.problems())

    def metrics(self) -> str:
        return self._health.metrics()

    def models(self) -> Models:
        by_name: dict[str, list[ModelPlace]] = {}
        for view in self._fabric.nodes():
            for offer in view.record.models if view.record else ():
                place = ModelPlace(view.id, view.name, view.state in ("self", "up"), offer)
                by_name.setdefault(offer.name, []).append(place)
        models = tuple(ModelView(name, tuple(places)) for name, places in sorted(by_name.items()))
        return Models(models, self._store.catalog())

    def running(self) -> Running:
        loaded = tuple(
            place
            for model in self.models().models
            for place in model.places
            if place.reachable and place.offer.state in ("loaded", "loading")
        )
        return Running(loaded, self._book.open_ones())

    def tasks(self) -> tuple[Task, ...]:
        return self._book.all()

    def task(self, task: RequestId) -> Task:
        return self._book.get(task)

    def place(self, request: ChatRequest) -> Placement:
        return self._router.place(request)

    def chat(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        return self._router.chat(request)

    async def embed(self, request: EmbedRequest) -> Embedded:
        return await self._router.embed(request)

    async def count_tokens(self, request: ChatRequest) -> Counted:
        return await self._router.count_tokens(request)

    async def pull(self, name: str, node: str) -> AsyncGenerator[Progress, None]:
        """Fetch a model of the catalogue onto the best or the named node."""
        size = catalog.find(name).size
        home = homes.home(size, self._fabric.nodes(), node)
        if home.state == "self":
            async with aclosing(self._pull_here(name)) as steps:
                async for step in steps:
                    yield step
            return
        body = msgspec.json.encode(PullBody(name))
        yield Progress("start", f"{home.name} fetches it")
        async with aclosing(self._fabric.transport.stream(home.id, PULL_PATH, body)) as lines:
            last = ""
            async for line in lines:
                step = bodies.answered(line, Progress, home.name)
                last = step.stage
                yield step
        if last != "done":
            raise PeerLost(f"{home.name} went away while it fetched {name}", "what it has is kept: pull again")

    async def remove_model(self, name: str, node: str) -> Removed:
        target = self._with_model(name, node)
        if target.state == "self":
            return await self._remove_here(name)
        reply = await self._fabric.transport.request(
            target.id, "POST", REMOVE_PATH, msgspec.json.encode(PullBody(name)), timeout=30.0
        )
        await self._holdings.removed(name, target.id)
        return bodies.answered(reply, Removed, target.name)

    async def show_model(self, name: str) -> ModelDetail:
        return await self._holdings.show(name)

    async def load_model(self, name: str, keep: float | None) -> ModelPlace:
        return await self._holdings.load(name, keep)

    async def unload_model(self, name: str) -> None:
        await self._holdings.unload(name)

    def create_model(self, recipe: Recipe) -> AsyncGenerator[Progress, None]:
        return self._holdings.create(recipe)

    async def has_blob(self, digest: str) -> bool:
        return await self._holdings.has_blob(digest)

    async def put_blob(self, digest: str, pieces: AsyncIterator[bytes], size: int | None) -> None:
        await self._holdings.put_blob(digest, pieces, size)

    async def invite(self, headless: bool, name: str, open_for: float) -> Invitation:
        self._not_private("invite")
        return await self._fabric.invite(headless, name, open_for)

    async def join(self, code: str, address: str, swarm: str, move: bool) -> Joined:
        self._not_private("join")
        return await self._fabric.join(code, address or None, move, swarm)

    async def compare(self, address: str, swarm: str, move: bool) -> Comparing:
        self._not_private("join")
        return await self._fabric.compare(address, swarm, move)

    def comparing(self, run: str) -> Comparing:
        return self._fabric.comparing(run)

    async def compared(self, run: str, same: bool) -> Comparing:
        return await self._fabric.compared(run, same)

    def waiting(self) -> WaitingMachines:
        return WaitingMachines(self._fabric.waiting())

    async def admit(self, run: str, same: bool) -> Admitted:
        return await self._fabric.admit(run, same)

    async def leave(self) -> Left:
        swarm = await self._fabric.leave()
        departure = self._fabric.last_departure
        return Left(swarm, departure.told, departure.members) if departure is not None else Left(swarm)

    async def expel(self, node: str) -> Expelled:
        view = self._member(node)
        if view.state == "self":
            raise InvalidRequest(
                f"{view.name} is this machine itself", "mycoswarm leave takes it out; to remove it, ask another machine"
            )
        if view.state == "removed":
            raise NotFound(f"{view.name} is no member any more: {view.why}", "mycoswarm nodes shows who is one")
        return await self._fabric.remove(view.id)

    async def add_keeper(self, node: str) -> SwarmInfo:
        return await self._fabric.add_keeper(self._member(node).id)

    async def remove_keeper(self, node: str) -> SwarmInfo:
        return await self._fabric.remove_keeper(self._member(node).id)

    async def recover(self, phrase: str, without: tuple[str, ...]) -> SwarmInfo:
        return await self._fabric.recover(phrase, tuple(self._member(one).id for one in without))

    async def rotate(self) -> Rotated:
        self._not_private("rotate")
        rotated = await self._fabric.rotate()
        self._renewed()
        return rotated

    def keys(self) -> Keys:
        return Keys(self._ring.all())

    def add_key(self, body: KeyBody) -> NewKey:
        return self._ring.add(body)

    def remove_key(self, key: str) -> KeyRemoved:
        return self._ring.remove(key)

    async def certificate(self) -> WebCertificate:
        authority = await self._web.authority()
        shown = self._web.shown
        return WebCertificate(
            authority=webca.pem(authority),
            fingerprint=webcerts.fingerprint(authority),
            names=webca.names_of(shown.certificate) if shown is not None else (),
            until=int(webca.validity(shown.certificate)[1]) if shown is not None else 0,
            urls=self.lan_urls(),
            problem=self._web.problem,
        )

    def shut_down(self) -> None:
        self._ended()

    # What peers ask

    async def _peer_chat(self, request: PeerRequest) -> AsyncGenerator[bytes, None]:
        work = bodies.asked(request.body, Work)
        async with aclosing(self._executor.chat(work)) as deltas:
            async for delta in deltas:
                yield encode_delta(delta)

    async def _peer_embed(self, request: PeerRequest) -> AsyncGenerator[bytes, None]:
        yield msgspec.json.encode(await self._executor.embed(bodies.asked(request.body, EmbedWork))) + b"\n"

    async def _peer_count(self, request: PeerRequest) -> bytes:
        return msgspec.json.encode(Tokens(await self._executor.count_tokens(bodies.asked(request.body, Work))))

    async def _peer_pull(self, request: PeerRequest) -> AsyncGenerator[bytes, None]:
        wanted = bodies.asked(request.body, PullBody)
        async with aclosing(self._pull_here(wanted.name)) as steps:
            async for step in steps:
                yield msgspec.json.encode(step) + b"\n"

    async def _peer_remove(self, request: PeerRequest) -> bytes:
        return msgspec.json.encode(await self._remove_here(bodies.asked(request.body, PullBody).name))

    # Models on this node

    async def _pull_here(self, name: str) -> AsyncGenerator[Progress, None]:
        async with aclosing(self._store.pull(name)) as steps:
            async for step in steps:
                if step.stage == "done":
                    # Before "done" goes out, so that whoever pulled can ask at once.
                    await self._tell()
                yield step

    async def _remove_here(self, name: str) -> Removed:
        await self._embedded.unload(name)
        freed = await asyncio.to_thread(self._store.remove, name)
        await self._tell()
        return Removed(name, self.id, freed)

    async def _tell(self) -> None:
        """The models here have changed: now, not when the next change is gathered."""
        await self._attached.ask(self._attached.all)
        self._fabric.publish(self._record())

    def _with_model(self, name: str, node: str) -> NodeView:
        """The named node, else this one if it has the model, else the only other one that has it."""
        holders = [
            view
            for view in self._fabric.nodes()
            if view.state in ("self", "up")
            and view.record
            and any(offer.name == name and offer.engine == "embedded" for offer in view.record.models)
        ]
        if node:
            return homes.named(node, self._fabric.nodes())
        if len(holders) > 1 and holders[0].state != "self":
            names = ", ".join(view.name for view in holders)
            raise InvalidRequest(f"several nodes have {name}: {names}", "say which: --node NAME")
        return holders[0] if holders else self._fabric.nodes()[0]

    # How it feels

    def _watch_health(self) -> None:
        """Tell the registry where to look. The fabric tells of itself."""
        health = self._health
        health.source(self._own_problems)
        health.source(lambda: checks.members(self._fabric.nodes()))
        health.source(lambda: checks.theirs(self._fabric.nodes()))
        health.source(self._ring.problems)
        health.source(self._web.problems)
        process.watch(health)
        health.reading("mycoswarm_info", self._info)
        health.reading("mycoswarm_uptime_seconds", lambda: {(): round(self._clock.monotonic() - self._started, 1)})
        health.reading("mycoswarm_nodes", self._nodes_by_state)
        health.reading("mycoswarm_links", lambda: {(): float(self._fabric.links)})
        health.reading("mycoswarm_requests", self._requests)
        health.reading("mycoswarm_problems", self._problems_by_severity)

    def _own_problems(self) -> tuple[Problem, ...]:
        """Of this machine and its engines; the others hear of them by the record."""
        attached = self._attached
        report = self._report
        silent = [(engine.kind, engine.url) for engine in attached.others if engine.id not in attached.offers]
        return (
            *(checks.machine(report.warnings) if report is not None else ()),
            *(checks.disk(classify.summary(report)) if report is not None else ()),
            *checks.headless(self._not_let_in if self._fabric.swarm is None else None),
            *checks.embedded(self._gate if self._settings.embedded != "no" else ""),
            *checks.engines(configured(self._settings.engines), (one.url for one in attached.found), silent),
        )

    def _info(self) -> Values:
        return {(("version", __version__), ("protocol", str(PROTOCOL))): 1.0}

    def _nodes_by_state(self) -> Values:
        states: list[PeerState] = [view.state for view in self._fabric.nodes()]
        return {(("state", state),): float(states.count(state)) for state in get_args(PeerState)}

    def _requests(self) -> Values:
        queues = self._executor.queues()
        return {
            (("state", "running"),): float(sum(queue.running for queue in queues)),
            (("state", "waiting"),): float(sum(queue.waiting for queue in queues)),
        }

    def _problems_by_severity(self) -> Values:
        found: list[Severity] = [problem.severity for problem in self._health.problems()]
        return {(("severity", severity),): float(found.count(severity)) for severity in get_args(Severity)}

    # The record

    async def _detect(self) -> None:
        """What the machine is. Again and again, because disks fill and cards are taken by others."""
        report = await detect(self._paths.state, self._paths.cache)
        if _worth_telling(self._report, report):
            self._report = report
            self._embedded.bandwidth = report.cpu.memory_bandwidth
            self._changed.set()

    async def _look(self) -> None:
        """Which engines are here now, and what they hold."""
        await self._attached.look()
        self._executor.use(self._attached.all)
        self._gate = (await self._embedded.health()).reason
        self._own = await _as_found(self._embedded)

    async def _publish(self) -> None:
        await self._changed.wait()
        await asyncio.sleep(SETTLE)
        # Work has begun or ended, so models may have come into memory or been measured anew.
        await self._attached.ask()
        self._changed.clear()
        self._fabric.publish(self._record())

    def _record(self) -> NodeRecord:
        return NodeRecord(
            id=self.id,
            name=self._name,
            incarnation=0,
            seq=0,
            version=__version__,
            hardware=classify.summary(self._report) if self._report else None,
            roles=self._roles(),
            engines=tuple(engine.kind for engine in self._attached.all if engine.id in self._attached.offers),
            models=tuple(offer for offers in self._attached.offers.values() for offer in offers),
            queues=self._executor.queues(),
            warnings=_said(self._own_problems()),
        )

    def _not_private(self, verb: str) -> None:
        if self._private:
            raise Refused(
                "this node was started by a command for itself and has no peers",
                f"start a real one: mycoswarm up, then {verb}",
            )

    def _roles(self) -> tuple[Role, ...]:
        if self._report is None:
            return ()
        return classify.classify(self._report, self._own + self._attached.found)

    def _member(self, node: str) -> NodeView:
        """As `_meant`, of those who belong to the swarm or did. Raises Refused where this machine is in none."""
        if self._fabric.swarm is None:
            raise Refused("this machine is in no swarm", "mycoswarm join CODE enters one, mycoswarm invite founds one")
        return self._meant(node)

    def _meant(self, node: str) -> NodeView:
        """By id, start of an id, or name. Raises InvalidRequest where it may be several, NotFound."""
        return homes.only(node, self._fabric.nodes())


def _said(problems: Iterable[Problem]) -> tuple[str, ...]:
    """Problems of this node, sentence and action in one, as `checks.theirs` takes them apart; notes are left out."""
    return tuple(
        f"{problem.message}: {problem.action}"
        for problem in problems
        if problem.severity != "note" and not problem.node
    )


def _worth_telling(before: Report | None, now: Report) -> bool:
    """Free memory and disk change all the time; a tenth of the whole is news."""
    if before is None:
        return True
    old, new = classify.summary(before), classify.summary(now)
    moved = abs(old.memory_available - new.memory_available) > new.memory_total / 10
    moved = moved or abs(old.disk_free - new.disk_free) > max(old.disk_free, new.disk_free) / 10
    return moved or old.gpus != new.gpus or before.warnings != now.warnings


def _model_store(paths: Paths, settings: Settings) -> ModelStore:
    directory = Path(settings.models_dir).expanduser() if settings.models_dir else paths.models
    return ModelStore(directory, paths.downloads, Egress(paths.egress_ledger, settings.internet))


async def _embedded(store: ModelStore, settings: Settings) -> LlamaCpp:
    """The embedded engine; where it cannot run it exists too, and says why."""
    if settings.embedded == "no":
        gate = "`embedded = no` in the settings"
    else:
        gate = classify.engine_gate(await hardware_probe.cpu(hardware_probe.Host()))
    return LlamaCpp(
        store,
        context=settings.context,
        slots=settings.slots,
        threads=settings.threads,
        keep_loaded=settings.keep_loaded,
        gate=gate,
    )


async def _as_found(engine: LlamaCpp) -> tuple[EngineFound, ...]:
    """The embedded engine among those found; nothing where it cannot run."""
    health = await engine.health()
    if not health.ok:
        return ()
    offers = await engine.models()
    loaded = tuple(str(offer.name) for offer in offers if offer.state == "loaded")
    return (EngineFound("embedded", "", health.version, tuple(str(offer.name) for offer in offers), loaded),)


async def report(paths: Paths, settings: Settings) -> Report:
    """What `detect` tells, engines included; needs no running node."""
    engine = await _embedded(_model_store(paths, settings), settings)
    bare, own, others = await asyncio.gather(
        detect(paths.state, paths.cache), _as_found(engine), find(addresses(settings.engines))
    )
    return classify.with_engines(bare, own + others)


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
