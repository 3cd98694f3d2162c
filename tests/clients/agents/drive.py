"""[io] A swarm of two machines without internet, its model on one, and agents on the other that write a file by it.

miu   a node, and the scripted server as its engine
boa   a node without any model; the agent; a pipe between the two that keeps what went over the wire
"""

import time
from collections.abc import Sequence
from pathlib import Path

import httptools
import msgspec

from mycoswarm.testing.scripted_answers import WRITTEN
from tests.clients.agents.install import CACHE, node, version
from tests.clients.agents.programs import Program, Task
from tests.clients.two_nodes import ROOT, port
from tests.swarm.lab import PYTHON, Machine

SECONDS = 120
"""For one agent, from its start to its end."""


class Sent(msgspec.Struct):
    """One request as it went over the wire. headers: names in lower case."""

    method: str = ""
    target: str = ""
    headers: dict[str, str] = {}
    body: bytes = b""


class Result(msgspec.Struct, frozen=True):
    """What became of one agent. problem: empty where all is well. first: bytes of the first request with tools."""

    client: str
    version: str
    endpoint: str
    ok: bool
    seconds: float
    requests: int
    first: int
    problem: str = ""


class Run(msgspec.Struct, frozen=True):
    """A result, and all that was said, for who looks for the reason."""

    result: Result
    sent: tuple[Sent, ...]
    output: str
    wire: Path


def drive(boa: Machine, program: Program, directory: Path, listen: int) -> Run:
    """Let `program` write one file, its home and work below `directory`. Ends within SECONDS."""
    wire = directory / "wire"
    task = Task(f"http://127.0.0.1:{listen}", directory / "home", directory / "work")
    for one in (wire, task.home, task.work):
        one.mkdir(parents=True)
    for name, text in program.files(task).items():
        (task.home / name).parent.mkdir(parents=True, exist_ok=True)
        (task.home / name).write_text(text)
    pipe = boa.start(
        PYTHON, "-m", "tests.clients.pipe", str(listen), str(port(boa)), str(wire), env={"PYTHONPATH": str(ROOT)}
    )
    assert pipe.stdout is not None
    pipe.stdout.readline()
    environment = {
        "HOME": str(task.home),
        "PATH": f"{node().parent}:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "NO_COLOR": "1",
        # Programs that think they are in CI change what they print, not what they do.
        "CI": "true",
    } | dict(program.environment(task))
    words = [f"{name}={value}" for name, value in environment.items()]
    started = time.monotonic()
    done = boa.run(
        "timeout", "-k", "5", str(SECONDS), "env", "-i", "-C", str(task.work), *words,
        str(CACHE / program.program), *program.arguments(task), timeout=SECONDS + 20,
    )  # fmt: skip
    seconds = time.monotonic() - started
    pipe.terminate()
    pipe.wait(5)
    sent = requests(wire)
    asked = [one for one in sent if one.method == "POST"]
    output = done.stdout + done.stderr
    problem = _problem(program, task, done.returncode, output, asked)
    result = Result(
        program.name,
        version(program),
        program.endpoint,
        not problem,
        round(seconds, 1),
        len(asked),
        next((len(one.body) for one in asked if b'"tools"' in one.body), len(asked[0].body) if asked else 0),
        problem,
    )
    return Run(result, tuple(sent), output, wire)


def _problem(program: Program, task: Task, code: int, output: str, asked: Sequence[Sent]) -> str:
    """What is wrong, in one sentence; the first thing that is."""
    if not asked:
        return f"it asked no model; it ended with {code}"
    if not any(one.target.partition("?")[0] == program.endpoint for one in asked):
        return f"it asked {asked[0].target} and not {program.endpoint}"
    if code != 0:
        return f"it did not end within {SECONDS} s" if code == 124 else f"it ended with {code}"
    if not task.target.exists():
        return f"there is no {task.file}"
    if task.target.read_text().rstrip("\n") != task.content:
        return f"{task.file} holds {task.target.read_text()[:60]!r}"
    if program.tools and WRITTEN not in output:
        return "it did not print the model's last word, so it did not hear of the tool's result"
    return ""


def requests(wire: Path) -> list[Sent]:
    """All requests of all connections, in the order in which they began."""
    return [one for file in sorted(wire.glob("*.asked")) for one in parse(file.read_bytes())]


def parse(data: bytes) -> list[Sent]:
    """The requests of one connection; a last one that broke off is left out."""
    done: list[Sent] = []

    class Reader:
        def __init__(self) -> None:
            self.one = Sent()

        def on_url(self, url: bytes) -> None:
            self.one.target += url.decode("latin-1")

        def on_header(self, name: bytes, value: bytes) -> None:
            self.one.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

        def on_body(self, body: bytes) -> None:
            self.one.body += body

        def on_message_begin(self) -> None:
            self.one = Sent(headers={})

        def on_message_complete(self) -> None:
            self.one.method = parser.get_method().decode()
            done.append(self.one)

    parser = httptools.HttpRequestParser(Reader())
    parser.feed_data(data)
    return done


def free_directory(base: Path, program: Program) -> Path:
    """A directory of its own for each program: `claude-code`."""
    made = base / program.name.lower().replace(" ", "-")
    made.mkdir(parents=True)
    return made
