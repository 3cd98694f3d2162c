"""[io] What each dialect adds to an engine, against a pipe in front of the same engine that understands nothing.

One machine in a namespace of its own: an engine that paces 20 ms a token, the node beside it, and a pipe of bytes. The
same load goes to the engine directly, through the pipe, and through the node in each dialect, in turn, some rounds in
one run; times are differences of medians to the direct way, and each dialect's stands beside the pipe's.
"""

import json
import tempfile
from pathlib import Path

import msgspec

from tests.bench.dialect_load import DIALECTS
from tests.bench.figures import Figure, at_most, p50, told
from tests.clients.two_nodes import NO_ENGINE, ROOT, port
from tests.swarm.lab import PYTHON, Lab, Machine, eventually

TOKENS = 16
PACE_MS = 20
ROUNDS = 5
LOADS = ((1, 10), (8, 80))
"""(at once, requests in one round)."""

ENGINE_PORT = 9900
PIPE_PORT = 9901
FIRST_TOKEN = 1.5
PER_TOKEN = 0.4
CPU = 0.5
"""docs: one hop, milliseconds: added to the first token, added to each, CPU of a node for a stream of 16 tokens."""

DIRECT, PIPE = "direct", "pipe"


class Cost(msgspec.Struct):
    """Of one way: (first token, per token) of every stream in ms; seconds of CPU of what stands in the way."""

    times: list[tuple[float, float]] = []
    cpu: float = 0.0


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, Lab(Path(directory), ("miu",)) as lab:
        miu = lab["miu"]
        path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
        engine = miu.start(PYTHON, "-m", "tests.bench.engine", str(ENGINE_PORT), str(TOKENS), str(PACE_MS), env=path)
        pipe = miu.start(PYTHON, "-m", "tests.clients.pipe", str(PIPE_PORT), str(ENGINE_PORT), env=path)
        miu.up(env={**NO_ENGINE, "MYCOSWARM_ENGINES": f"127.0.0.1:{ENGINE_PORT}"})
        miu.wait_ready()
        eventually(lambda: "paced" in miu.myco("models").stdout, 30, "the node knows of the model")
        found = miu.node_file()
        assert found is not None
        ways = {DIRECT: (ENGINE_PORT, "chat/completions", engine.pid), PIPE: (PIPE_PORT, "chat/completions", pipe.pid)}
        ways |= {name: (port(miu), name, found.pid) for name in DIALECTS}
        for where, dialect, _ in ways.values():
            _load(miu, where, dialect, 1, 4)
        figures: list[Figure] = []
        for at_once, requests in LOADS:
            costs = {way: Cost() for way in ways}
            for _ in range(ROUNDS):
                for way, (where, dialect, pid) in ways.items():
                    before = _cpu(pid)
                    costs[way].times += _load(miu, where, dialect, at_once, requests)
                    costs[way].cpu += _cpu(pid) - before
            figures += _figures(at_once, requests, costs)
    return figures


def _figures(at_once: int, requests: int, costs: dict[str, Cost]) -> list[Figure]:
    how = f"{ROUNDS} rounds of {requests} streams of {TOKENS} tokens, {PACE_MS} ms apart, p50 minus p50 of direct"
    figures: list[Figure] = []
    direct = costs.pop(DIRECT)
    piped = _milliseconds(costs[PIPE])
    for way, cost in costs.items():
        name = f"{way}, {at_once} at once"
        first = p50([one[0] for one in cost.times]) - p50([one[0] for one in direct.times])
        token = p50([one[1] for one in cost.times]) - p50([one[1] for one in direct.times])
        cpu = _milliseconds(cost)
        streams = f"{len(cost.times)} streams"
        if way == PIPE:
            figures.append(told(f"{name}: added first token", first, "ms", how))
            figures.append(told(f"{name}: added per token", token, "ms", how))
            figures.append(told(f"{name}: CPU", cpu, "ms/stream", streams))
            continue
        figures.append(at_most(f"{name}: added first token", first, "ms", FIRST_TOKEN, how))
        figures.append(at_most(f"{name}: added per token", token, "ms", PER_TOKEN, how))
        figures.append(at_most(f"{name}: CPU", cpu, "ms/stream", CPU * TOKENS / 16, streams))
        figures.append(told(f"{name}: CPU per token", cpu / TOKENS * 1000, "µs", "the request's own share in it"))
        figures.append(told(f"{name}: CPU, times the pipe's", cpu / piped, "x", "of the same run"))
    return figures


def _milliseconds(cost: Cost) -> float:
    return cost.cpu * 1000 / len(cost.times)


def _load(machine: Machine, where: int, dialect: str, at_once: int, requests: int) -> list[tuple[float, float]]:
    done = machine.run(
        PYTHON, "-m", "tests.bench.dialect_load", str(where), dialect, str(at_once), str(requests),
        env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"the load in {dialect} failed: {done.stderr}")
    return [(first, each) for first, each in json.loads(done.stdout)]


def _cpu(pid: int) -> float:
    """Seconds of CPU of all its threads; the usual counters only count ticks of 10 ms."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9
