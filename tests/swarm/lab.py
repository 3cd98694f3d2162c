"""[io] Several machines on one: network namespaces on a bridge with multicast, made without root.

    holder (unshare -Urnm)          every command of a machine:
      br0 ── miu · naru · …           nsenter into the holder, then `ip netns exec miu …`

Everything lives in the holder's namespaces, so nothing on this computer's own network is touched, and all of it is gone
when the holder ends.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import msgspec
import pytest

from mycoswarm.client.daemon import NodeFile
from mycoswarm.core.paths import resolve

PYTHON = sys.executable
SUBNET = "10.69.0"

_SETUP = """
set -e
mount -t tmpfs tmpfs /run
ip link set lo up
ip link add br0 type bridge mcast_snooping 0
ip link set br0 up
"""

_GET = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode())"


def missing() -> str:
    """What this computer lacks to make namespaces; empty where it can."""
    for program in ("unshare", "nsenter", "ip"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    tried = subprocess.run(["unshare", "-Urnm", "true"], capture_output=True, text=True, check=False)
    return f"no user namespaces here: {tried.stderr.strip()}" if tried.returncode != 0 else ""


def require() -> None:
    """Skip where this computer cannot make namespaces; in CI that is a failure."""
    problem = missing()
    if problem and os.environ.get("CI"):
        pytest.fail(problem)
    if problem:
        pytest.skip(problem)


def eventually(check: Callable[[], object], seconds: float, what: str, every: float = 0.05) -> float:
    """Seconds until `check` was true; fails the test when it never was."""
    started = time.monotonic()
    while True:
        if check():
            return time.monotonic() - started
        if time.monotonic() - started > seconds:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(every)


class Machine:
    """One machine of the lab: a namespace with an address, and a home directory."""

    def __init__(self, lab: "Lab", name: str, address: str, home: Path) -> None:
        self.name = name
        self.address = address
        self.home = home
        self.paths = resolve({"MYCOSWARM_HOME": str(home)})
        self._lab = lab
        self._processes: list[subprocess.Popen[bytes]] = []

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Of this machine's processes: nothing of the caller's own settings."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MYCOSWARM_") and k != "CI"}
        return {**kept, "MYCOSWARM_HOME": str(self.home), "NO_COLOR": "1", "OLLAMA_HOST": "", **(extra or {})}

    def start(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        stdin: int | None = None,
        stderr: IO[bytes] | None = None,
    ) -> "subprocess.Popen[bytes]":
        """Start a process on this machine; it ends with the lab at the latest."""
        process = subprocess.Popen(
            [*self._lab.enter(self.name), *command],
            env=self.environment(env),
            stdin=stdin if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr if stderr is not None else subprocess.PIPE,
        )
        self._processes.append(process)
        return process

    def run(
        self, *command: str, timeout: float = 60, stdin: str = "", env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a process on this machine to its end."""
        return subprocess.run(
            [*self._lab.enter(self.name), *command],
            env=self.environment(env),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def myco(
        self, *arguments: str, timeout: float = 60, stdin: str = "", env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """`mycoswarm …` on this machine."""
        return self.run(PYTHON, "-m", "mycoswarm", *arguments, timeout=timeout, stdin=stdin, env=env)

    def up(self, *flags: str, env: Mapping[str, str] | None = None) -> "subprocess.Popen[bytes]":
        """Start a node here as its user would; returns at once."""
        self.home.mkdir(parents=True, exist_ok=True)
        log = (self.home / "up.log").open("ab")
        with contextlib.closing(log):
            return self.start(PYTHON, "-m", "mycoswarm", "up", "--name", self.name, *flags, env=env, stderr=log)

    def node_file(self) -> NodeFile | None:
        """What the running node says of itself."""
        try:
            return msgspec.json.decode(self.paths.node_file.read_bytes(), type=NodeFile)
        except (OSError, msgspec.DecodeError):
            return None

    def wait_ready(self, seconds: float = 20) -> float:
        """Seconds until the node's API answered."""

        def answers() -> bool:
            found = self.node_file()
            return found is not None and self.get(found.port, "/healthz") is not None

        return eventually(answers, seconds, f"{self.name}'s node answers")

    def get(self, port: int, path: str) -> object | None:
        """JSON of a GET on this machine's loopback; None where nothing answers."""
        text = self.get_text(port, path)
        return msgspec.json.decode(text) if text is not None else None

    def get_text(self, port: int, path: str) -> str | None:
        """What a GET on this machine's loopback answers; None where nothing does."""
        done = self.run(PYTHON, "-S", "-c", _GET, f"http://127.0.0.1:{port}{path}", timeout=10)
        return done.stdout if done.returncode == 0 else None

    def log(self) -> str:
        """Everything the node said, for a failing test's report."""
        said = [self.home / "up.log", self.paths.log_file]
        return "\n".join(f"== {file}\n{file.read_text(errors='replace')}" for file in said if file.exists())

    def end(self) -> None:
        """End whatever was started here."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + 5
        for process in self._processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
            for pipe in (process.stdout, process.stderr, process.stdin):
                if pipe is not None:
                    pipe.close()


class Lab:
    """The bridge and its machines. Use it as a context manager."""

    def __init__(self, directory: Path, names: Sequence[str]) -> None:
        self._directory = directory
        self._names = names
        self.machines: dict[str, Machine] = {}

    def __enter__(self) -> "Lab":
        self._holder = subprocess.Popen(
            ["unshare", "-Urnm", "--kill-child", "sh", "-c", "echo ready; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        script = _SETUP
        for number, name in enumerate(self._names, 1):
            script += f"""
ip netns add {name}
ip link add v-{name} type veth peer name eth0 netns {name}
ip link set v-{name} master br0 up
ip -n {name} link set lo up
ip -n {name} addr add {SUBNET}.{number}/24 dev eth0
ip -n {name} link set eth0 up
ip -n {name} route add default via {SUBNET}.254
"""
            self.machines[name] = Machine(self, name, f"{SUBNET}.{number}", self._directory / name)
        subprocess.run([*self._inside(), "sh", "-c", script], check=True, timeout=60)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for machine in self.machines.values():
            machine.end()
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.wait(10)
        self._holder.stdout.close()

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    def __iter__(self) -> Iterator[Machine]:
        return iter(self.machines.values())

    def enter(self, name: str) -> list[str]:
        """The words before a command that must run on that machine."""
        return [*self._inside(), "ip", "netns", "exec", name]

    def cable(self, name: str, *, plugged: bool) -> None:
        """Pull that machine's cable, or put it back."""
        subprocess.run(
            [*self._inside(), "ip", "link", "set", f"v-{name}", "up" if plugged else "down"], check=True, timeout=10
        )

    def ip(self, *arguments: str) -> None:
        """`ip …` on this network: `-n MACHINE addr add …`."""
        subprocess.run([*self._inside(), "ip", *arguments], check=True, timeout=10)

    def _inside(self) -> list[str]:
        return ["nsenter", "-t", str(self._holder.pid), "-U", "-n", "-m", "--preserve-credentials"]
