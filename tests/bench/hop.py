"""[io] What the way through one node and through two adds to an engine, and what a node costs.

Two machines in namespaces of their own. miu has an engine that paces 20 ms a token and the node beside it; boa has a
node and no engine. The same load goes to the engine directly, to miu's node (one hop) and to boa's node (two hops, the
second over mutual TLS), in turn, several rounds in one run; the figures are differences of medians.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.bench.figures import Figure, at_most, p50, told
from tests.swarm.lab import PYTHON, Lab, Machine, eventually

TOKENS = 16
PACE_MS = 20
ROUNDS = 5
LOADS = ((1, 20), (8, 80), (32, 192))
"""(at once, requests in one round)."""
ENGINE_PORT = 9900
IDLE = 60.0
ROOT = Path(__file__).parents[2]

Times = list[tuple[float, float]]


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        figures = _start_and_idle(Path(directory))
        figures += _hops(Path(directory) / "hops")
    return figures + _command_line() + _environment()


def _load(machine: Machine, port: int, at_once: int, requests: int) -> Times:
    done = machine.run(
        PYTHON, "-m", "tests.bench.load", str(port), "paced", str(at_once), str(requests), env={"PYTHONPATH": str(ROOT)}
    )
    if done.returncode != 0:
        raise SystemExit(f"the load failed: {done.stderr}")
    return [(first, each) for first, each in json.loads(done.stdout)]


def _port(machine: Machine) -> int:
    found = machine.node_file()
    assert found is not None
    return found.port


def _cpu(process: psutil.Process) -> float:
    """Seconds of CPU that it has used."""
    times = process.cpu_times()
    return times.user + times.system


_USED_BY = {"direct": ("the engine alone",), "one hop": (), "two hops": ("the executor", "the entry node")}


def _hops(directory: Path) -> list[Figure]:
    figures: list[Figure] = []
    with Lab(directory, ("miu", "boa")) as lab:
        miu, boa = lab["miu"], lab["boa"]
        engine = miu.start(
            PYTHON,
            "-m",
            "tests.bench.engine",
            str(ENGINE_PORT),
            str(TOKENS),
            str(PACE_MS),
            env={"PYTHONPATH": str(ROOT)},
        )
        no_engine = {"MYCOSWARM_EMBEDDED": "no"}
        miu.up(env={**no_engine, "MYCOSWARM_ENGINES": f"127.0.0.1:{ENGINE_PORT}"})
        boa.up(env=no_engine)
        for machine in lab:
            machine.wait_ready()
        code = miu.myco("invite", "--quiet").stdout.split()[0]
        joined = boa.myco("join", code)
        assert joined.returncode == 0, joined.stderr
        eventually(lambda: "paced" in boa.myco("models").stdout, 30, "boa knows of miu's model")
        ways: dict[str, Callable[[int, int], Times]] = {
            "direct": lambda at_once, requests: _load(miu, ENGINE_PORT, at_once, requests),
            "one hop": lambda at_once, requests: _load(miu, _port(miu), at_once, requests),
            "two hops": lambda at_once, requests: _load(boa, _port(boa), at_once, requests),
        }
        for way in ways.values():
            way(1, 4)
        for at_once, requests in LOADS:
            times: dict[str, Times] = {way: [] for way in ways}
            processes = {
                "the engine alone": psutil.Process(engine.pid),
                "the executor": _process(miu),
                "the entry node": _process(boa),
            }
            cpu = dict.fromkeys(processes, 0.0)
            for _ in range(ROUNDS):
                for name, way in ways.items():
                    before = {one: _cpu(process) for one, process in processes.items()}
                    times[name] += way(at_once, requests)
                    for one in _USED_BY[name]:
                        cpu[one] += _cpu(processes[one]) - before[one]
            how = (
                f"{ROUNDS} rounds of {requests} streams of {TOKENS} tokens, {PACE_MS} ms apart, p50 minus p50 of direct"
            )
            direct = times["direct"]
            for name, first_target, token_target in (
                ("one hop", 1.5, 0.4),
                ("two hops", 4.0 if at_once <= 8 else 8.0, 0.8),
            ):
                first = p50([one[0] for one in times[name]]) - p50([one[0] for one in direct])
                token = p50([one[1] for one in times[name]]) - p50([one[1] for one in direct])
                figures.append(at_most(f"{name}, {at_once} at once: added first token", first, "ms", first_target, how))
                figures.append(at_most(f"{name}, {at_once} at once: added per token", token, "ms", token_target, how))
            streams = len(times["two hops"])
            for one, used in cpu.items():
                name, value = f"two hops, {at_once} at once: CPU of {one}", used * 1000 / streams
                if one == "the engine alone":
                    figures.append(
                        told(name, value, "ms/stream", f"{streams} direct streams: what the system itself takes")
                    )
                else:
                    figures.append(at_most(name, value, "ms/stream", 0.5, f"{streams} streams"))
    return figures


def _start_and_idle(directory: Path) -> list[Figure]:
    """Four nodes, as in the reference swarm: how soon they answer and see each other, and what they cost at rest."""
    names = ("miu", "naru", "uncho", "boa")
    ready: list[float] = []
    seen: list[float] = []
    with Lab(directory, names) as lab:
        for machine in lab:
            machine.up(env={"MYCOSWARM_EMBEDDED": "no"})
        for machine in lab:
            machine.wait_ready()
        for name in names[1:]:
            code = lab["miu"].myco("invite", "--quiet").stdout.split()[0]
            assert lab[name].myco("join", code).returncode == 0
        eventually(lambda: all(_up(machine) == len(names) for machine in lab), 20, "all see all")
        boa = lab["boa"]
        for _ in range(ROUNDS):
            found = boa.node_file()
            assert found is not None
            process = psutil.Process(found.pid)
            process.terminate()
            psutil.wait_procs([process], timeout=10)
            watcher = boa.start(PYTHON, "-c", _WATCH, str(boa.paths.node_file), str(len(names)))
            begun = time.monotonic()
            boa.up(env={"MYCOSWARM_EMBEDDED": "no"})
            assert watcher.stdout is not None
            ready.append(float(watcher.stdout.readline()) - begun)
            seen.append(float(watcher.stdout.readline()) - begun)
            watcher.wait(10)
        time.sleep(5)
        processes = {machine.name: _process(machine) for machine in lab}
        before = {name: _cpu(process) for name, process in processes.items()}
        time.sleep(IDLE)
        cpu = [(_cpu(process) - before[name]) / IDLE * 100 for name, process in processes.items()]
        rss = [process.memory_info().rss / 2**20 for process in processes.values()]
    return [
        told("start to API ready", statistics.median(ready), "s", f"median of {ROUNDS}, `up` to /healthz"),
        at_most("start to seeing all", statistics.median(seen), "s", 2.0, f"median of {ROUNDS}, 4 nodes"),
        at_most("idle memory", max(rss), "MiB", 70.0, f"RSS, largest of 4 joined nodes after {IDLE:.0f} s"),
        at_most("idle CPU", max(cpu), "%", 0.5, f"largest of 4 joined nodes over {IDLE:.0f} s"),
    ]


_WATCH = """
import json, sys, time, urllib.request
file, wanted = sys.argv[1], int(sys.argv[2])
def get(path):
    try:
        port = json.load(open(file))["port"]
        return json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1))
    except (OSError, ValueError):
        return None
while get("/healthz") is None:
    time.sleep(0.01)
print(time.monotonic(), flush=True)
while sum(node["state"] in ("self", "up") for node in (get("/swarm/v1/nodes") or {"nodes": []})["nodes"]) < wanted:
    time.sleep(0.01)
print(time.monotonic(), flush=True)
"""


def _process(machine: Machine) -> psutil.Process:
    found = machine.node_file()
    assert found is not None
    return psutil.Process(found.pid)


def _up(machine: Machine) -> int:
    listed = json.loads(machine.myco("nodes", "--json").stdout)
    return sum(node["state"] in ("self", "up") for node in listed["nodes"])


def _command_line() -> list[Figure]:
    program = str(Path(sys.executable).with_name("mycoswarm"))
    figures: list[Figure] = []
    for argument in ("--version", "--help"):
        times: list[float] = []
        for _ in range(10):
            started = time.perf_counter()
            subprocess.run([program, argument], capture_output=True, check=True)
            times.append((time.perf_counter() - started) * 1000)
        how = "median of 10, whole process"
        value = statistics.median(times)
        name = f"mycoswarm {argument}"
        figures.append(
            at_most(name, value, "ms", 200, how) if argument == "--version" else told(name, value, "ms", how)
        )
    return figures


def _environment() -> list[Figure]:
    """A fresh environment with the core dependencies only."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
        uv = next((one for one in (Path(sys.executable).with_name("uv"), Path("uv")) if one.exists()), Path("uv"))
        subprocess.run(
            [str(uv), "pip", "install", "--quiet", "--python", f"{directory}/bin/python", "--require-hashes",
             "-c", str(ROOT / "requirements.lock"), "-r", str(ROOT / "pyproject.toml")],
            check=True,
            cwd=ROOT,
        )  # fmt: skip
        size = sum(
            (Path(folder) / file).stat().st_size
            for folder, _, files in os.walk(directory)
            for file in files
            if not (Path(folder) / file).is_symlink()
        )
        count = len(list(Path(directory).glob("lib/python*/site-packages/*.dist-info")))
    return [told("environment without extras", size / 1e6, "MB", f"{count} packages, installed anew, without bytecode")]
