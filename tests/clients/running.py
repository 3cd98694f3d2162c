"""A real node process for the tests that drive other people's clients against it."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mycoswarm.client import daemon
from mycoswarm.core.paths import Paths, resolve

START_SECONDS = 30.0
END_SECONDS = 15.0


@dataclass(frozen=True)
class RunningNode:
    """url: of the user port, without a slash at its end. token: for what is not free on loopback."""

    url: str
    token: str
    paths: Paths
    pid: int


@contextlib.contextmanager
def running_node(home: Path, settings: Mapping[str, str] | None = None) -> Iterator[RunningNode]:
    """A node whose directories lie below `home`, until the block ends; its log is printed when it ends badly.

    Args:
        settings: by their names in the settings file, e.g. {"engines": "http://127.0.0.1:5000", "embedded": "no"}.
    """
    paths = resolve({"MYCOSWARM_HOME": str(home)})
    # Neither the settings nor the engine of whoever runs the tests belong to this node.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MYCOSWARM_")}
    environment |= {"MYCOSWARM_HOME": str(home), "MYCOSWARM_ANNOUNCE": "no", "OLLAMA_HOST": ""}
    environment |= {f"MYCOSWARM_{name.upper()}": value for name, value in (settings or {}).items()}
    process = subprocess.Popen(
        [*daemon.COMMAND, "run", "--name", "boa", "--port", "0", "--peer-port", "0"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        found = daemon.wait_ready(paths, process.pid, lambda: process.poll() is None, timeout=START_SECONDS)
        assert found is not None, f"the node did not start: {_log(paths)}"
        token = paths.token_file.read_text().strip()
        yield RunningNode(f"http://127.0.0.1:{found.port}", token, paths, process.pid)
        assert process.poll() is None, f"the node ended by itself: {_log(paths)}"
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            print(_log(paths))
            raise


def _log(paths: Paths) -> str:
    return paths.log_file.read_text()[-4000:] if paths.log_file.exists() else "it wrote no log"
