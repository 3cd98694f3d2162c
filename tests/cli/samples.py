"""The reference swarm as a node's views: miu, naru, uncho and boa, seen from boa."""

from mycoswarm.core.access import KeyView, WebCertificate
from mycoswarm.core.hardware import (
    Cpu,
    Disk,
    EngineFound,
    Gpu,
    GpuProcess,
    GpuSummary,
    HardwareSummary,
    Memory,
    NetworkInterface,
    Report,
    Role,
)
from mycoswarm.core.health import Problem
from mycoswarm.core.ids import EngineId, ModelName, NodeId, RequestId, SwarmId
from mycoswarm.core.model import Abilities, ModelOffer, Speed
from mycoswarm.core.node import NearbySwarm, NodeRecord, NodeView, StateChange, SwarmInfo
from mycoswarm.core.placement import Candidate, Placement, Terms
from mycoswarm.core.task import Task
from mycoswarm.core.views import (
    CatalogEntry,
    Comparing,
    HealthReport,
    Invitation,
    ModelPlace,
    Models,
    ModelView,
    NodeDetail,
    NodeHistory,
    Nodes,
    Running,
    Waiting,
    WaitingMachines,
)

MIU, NARU, UNCHO, BOA = (
    NodeId(name + "a2b3c4d5e6f7g2h3i4j5k6l7m2n3o4p5q6r7s2t3u4v5w6x7"[: 52 - len(name)])
    for name in ("miu", "naru", "uncho", "boa")
)
GIB = 1 << 30

MINI = HardwareSummary("Intel(R) Core(TM) i5-6500T CPU @ 2.50GHz", 4, 4, 8 * GIB, 6 * GIB, 200_000_000_000, 2.1e10)
TOWER = HardwareSummary(
    "AMD Ryzen 9 5900X 12-Core Processor",
    24,
    12,
    64 * GIB,
    50 * GIB,
    900_000_000_000,
    4.1e10,
    (GpuSummary("nvidia", "RTX 3090", 24 * GIB, 20 * GIB),),
)
WORKER = (Role("cpu_worker", "4 cores and 8 GiB of RAM"),)

GEMMA = ModelOffer(
    ModelName("gemma3:27b"),
    EngineId("ollama@127.0.0.1:11434"),
    "loaded",
    size=17_396_941_853,
    parameters=27_400_000_000,
    context=8192,
    needs=19 * GIB,
    speed=Speed(900.0, 31.2, 2e9, 7),
)
STARTER = ModelOffer(
    ModelName("smollm2:135m"),
    EngineId("embedded"),
    "on_disk",
    size=144_811_968,
    parameters=134_515_008,
    context=4096,
    needs=420 << 20,
    speed=Speed(270.0, 41.5, 1e8),
)
BIG = ModelOffer(
    ModelName("llama3.3:70b"),
    EngineId("ollama@127.0.0.1:11434"),
    "unfit",
    size=42_520_413_916,
    reason="needs 44 GiB, 24 GiB of VRAM and 50 GiB of RAM are there",
)
EMBEDDER = ModelOffer(
    ModelName("nomic-embed-text"),
    EngineId("ollama@127.0.0.1:11434"),
    "on_disk",
    size=274_302_450,
    abilities=Abilities(chat=False, embed=True),
)


def swarm() -> SwarmInfo:
    return SwarmInfo(SwarmId(MIU + "-1"), "miu's swarm", 4, (MIU,), False)


def _record(node: NodeId, name: str, hardware: HardwareSummary, *offers: ModelOffer) -> NodeRecord:
    roles = (Role("gpu_inference", "RTX 3090 with 24 GiB"),) if hardware.gpus else WORKER
    return NodeRecord(node, name, 1, 1, "0.1.0", hardware=hardware, roles=roles, models=offers)


def me() -> NodeView:
    return NodeView(BOA, "boa", "self", record=_record(BOA, "boa", MINI))


def nodes(*, solo: bool = False, up: bool = True) -> Nodes:
    if solo:
        return Nodes((me(),))
    miu = NodeView(
        MIU, "miu", "up", "beat seen", 0.4, 0.00031, ("192.168.1.10",), _record(MIU, "miu", TOWER, GEMMA, BIG)
    )
    naru = NodeView(NARU, "naru", "up", "beat seen", 0.9, 0.00052, ("192.168.1.11",), _record(NARU, "naru", MINI))
    uncho = NodeView(
        UNCHO, "uncho", "down", "no beat for 3.2 s, and no other member has heard it", 754.0, None, ("192.168.1.12",)
    )
    if not up:
        miu = NodeView(
            MIU, "miu", "down", "its connection was reset and redial fails", 12.0, None, miu.addresses, miu.record
        )
    return Nodes((me(), miu, naru, uncho))


def detail(*, solo: bool = False, private: bool = False, port: int = 6926, open_near: bool = False) -> NodeDetail:
    return NodeDetail(
        view=me(),
        version="0.1.0",
        pid=4711,
        uptime=8040.0,
        port=port,
        peer_port=None if private else 6927,
        private=private,
        swarm=None if solo or private else swarm(),
        nearby=(NearbySwarm("k3vq7x2mplda", 3, (7,), open_near),) if solo else (),
        warnings=() if solo or private else ("the disk of the models is 93 % full: free some, or set models_dir",),
    )


WORDS = ("guitar", "lemon", "window", "otter")
PHRASE = "acid apple arrow badge beach candle coral dance eagle forest garden harbor"


def history() -> NodeHistory:
    """Of uncho."""
    uncho = nodes().nodes[-1]
    return NodeHistory(
        uncho,
        (
            StateChange(754.0, "down", uncho.why),
            StateChange(755.2, "suspect", "no beat for 2.1 s"),
            StateChange(90_000.0, "up", "beat seen"),
        ),
        MIU,
    )


def health() -> HealthReport:
    return HealthReport(
        (
            Problem(
                "disk",
                "error",
                "147 MB of disk are free where this node keeps its files",
                "make room there: `mycoswarm models` shows what models take, `mycoswarm rm` deletes one",
            ),
            Problem(
                "one-keeper",
                "warning",
                "only miu can let machines in or out",
                "make a second keeper, in case it is lost: mycoswarm keeper add NODE",
            ),
            Problem(
                "member-warning",
                "warning",
                "nvidia-smi took longer than 5 s",
                "is the driver hung? reboot or reload it",
                MIU,
                "miu",
            ),
            Problem(
                "strangers-refused",
                "note",
                "3 requests of machines that are no members were refused, the last one 2 min ago from 10.0.0.9",
                "it was removed, or belongs to another swarm; if it is yours, let it in with `mycoswarm invite`",
            ),
        )
    )


def waiting(*names: str) -> WaitingMachines:
    return WaitingMachines(
        tuple(
            Waiting(f"run-{number}", name, f"192.168.1.{20 + number}", WORDS, 3.0 + 60 * number)
            for number, name in enumerate(names)
        )
    )


def comparing() -> Comparing:
    return Comparing("run-0", WORDS, "miu", 118.0)


def invitation(*, founded: bool = False, open_for: float = 0.0) -> Invitation:
    phrase = PHRASE if founded else ""
    return Invitation("" if open_for else "7-guitar-lemon", open_for or 600.0, "miu's swarm", founded, phrase)


def models(*, empty: bool = False) -> Models:
    catalog = (
        CatalogEntry("smollm2:135m", "SmolLM2 135M Instruct, demo grade", "Apache-2.0", 88_100_000, 144_811_968),
        CatalogEntry("gemma3:270m-base", "a base model for tests", "Gemma", 253_000_000, 253_000_000, False),
    )
    if empty:
        return Models((), catalog)
    places = (ModelPlace(MIU, "miu", True, GEMMA), ModelPlace(MIU, "miu", True, BIG))
    return Models(
        (
            ModelView("gemma3:27b", places[:1]),
            ModelView("llama3.3:70b", places[1:]),
            ModelView("nomic-embed-text", (ModelPlace(UNCHO, "uncho", False, EMBEDDER),)),
            ModelView("smollm2:135m", (ModelPlace(BOA, "boa", True, STARTER), ModelPlace(NARU, "naru", True, STARTER))),
        ),
        catalog,
    )


def running(*, empty: bool = False) -> Running:
    if empty:
        return Running(())
    task = Task(RequestId("req-0123456789abcdef0123"), "chat", "running", "gemma3:27b", BOA, MIU, created=1.0e9)
    return Running((ModelPlace(MIU, "miu", True, GEMMA),), (task,))


def placement() -> Placement:
    return Placement(
        "auto",
        (
            Candidate(MIU, "miu", GEMMA.engine, GEMMA.name, Terms(0.0003, 0.0, 0.0, 0.031, 9.6)),
            Candidate(
                BOA, "boa", STARTER.engine, STARTER.name, Terms(0.0, 1.45, 0.0, 0.11, 7.2, guessed=("load", "decode"))
            ),
            Candidate(MIU, "miu", BIG.engine, BIG.name, rejected="does not fit: needs 44 GiB"),
        ),
        0,
        "the most capable model whose first token is due within 5 s",
    )


def report() -> Report:
    return Report(
        Cpu(
            "AMD Ryzen 9 5900X 12-Core Processor",
            "x86_64",
            12,
            24,
            3700.0,
            4950.0,
            ("avx", "avx2", "f16c", "fma"),
            4.1e10,
        ),
        Memory(64 * GIB, 50 * GIB, 2 * GIB),
        (
            Gpu(
                0,
                "nvidia",
                "NVIDIA GeForce RTX 3090",
                24 * GIB,
                5 * GIB,
                "570.86",
                "CUDA 12.8",
                processes=(GpuProcess(1234, "ollama", 19 * GIB),),
                wheel="cuda",
                install="pip install xllamacpp --index-url …",
            ),
        ),
        (Disk("/", "/dev/nvme0n1p2", "ext4", 1_000_000_000_000, 640_000_000_000, True),),
        (
            NetworkInterface("enp5s0", True, ("192.168.1.10", "fe80::1"), "00:11:22:33:44:55", 1000, "ethernet"),
            NetworkInterface("wlp4s0", False, (), None, None, "wifi"),
        ),
        (EngineFound("ollama", "http://127.0.0.1:11434", "0.12.3", ("gemma3:27b", "llama3.3:70b"), ("gemma3:27b",)),),
        (Role("gpu_inference", "RTX 3090 with 24 GiB"), Role("storage", "640 GB free")),
        ("nvidia-smi took longer than 5 s: is the driver hung? reboot or reload it",),
    )


def key() -> KeyView:
    made = 1_800_000_000
    return KeyView("abcdefgh", "laptop", ("inference", "read"), "me", made, made + 86400, 0, 60, 2)


def certificate(*, lan: bool = False) -> WebCertificate:
    pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    names = ("localhost", "boa.local", "10.0.0.4", "127.0.0.1")
    urls = ("https://10.0.0.4:6926",) if lan else ()
    return WebCertificate(pem, ":".join(["AB:CD"] * 16), names, 1_830_000_000, urls)
