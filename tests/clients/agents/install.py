"""[io] Installs the agents' locked versions into .clients/ of this checkout; a stamp makes repeats free.

No package's own install script runs but two that are named here: both only put the program for this machine in place.
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from tests.clients.agents.programs import NODE, Program

HERE = Path(__file__).parent
CACHE = HERE.parents[2] / ".clients"
_SECONDS = 900
_SYSTEMS = {"x86_64": "linux-x64", "aarch64": "linux-arm64"}
_PLACERS = ("@anthropic-ai/claude-code/install.cjs", "opencode-ai/postinstall.mjs")


class CannotInstall(Exception):
    """One sentence, and a hint after a line break."""


def node() -> Path:
    """The JavaScript runtime that came with the agents: theirs want a newer one than many systems have."""
    system = _SYSTEMS.get(platform.machine())
    if platform.system() != "Linux" or system is None:
        raise CannotInstall(
            f"the agents run in network namespaces of Linux, on x86_64 or aarch64, not on {platform.platform()}"
        )
    return CACHE / NODE.format(system=system)


def install(programs: tuple[Program, ...]) -> None:
    """Everything that `programs` need. Raises CannotInstall."""
    if any(program.program.startswith("npm/") for program in programs):
        _npm()
    if any(program.program.startswith("aider/") for program in programs):
        environment("aider", HERE / "aider.lock")


def version(program: Program) -> str:
    """As installed."""
    manifest = CACHE / "npm" / "node_modules" / program.package / "package.json"
    if program.program.startswith("npm/"):
        return str(json.loads(manifest.read_text())["version"])
    name = program.package.replace("-", "_")
    found = next((CACHE / program.program).parents[1].glob(f"lib/python*/site-packages/{name}-*.dist-info"))
    return found.name.removesuffix(".dist-info").rpartition("-")[2]


def _npm() -> None:
    directory = CACHE / "npm"
    locks = [HERE / "package.json", HERE / "package-lock.json"]
    with _Stamped(directory, locks) as done:
        if done:
            return
        if shutil.which("npm") is None:
            raise CannotInstall("npm is not on this machine\nhint: on Debian: apt-get install npm; any version will do")
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        for file in locks:
            shutil.copy(file, directory)
        # Not `npm ci`: it calls a lock wrong in which packages for other systems are missing.
        _run(directory, "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        for placer in _PLACERS:
            _run(directory, str(node()), str(directory / "node_modules" / placer))


def environment(name: str, lock: Path) -> Path:
    """A Python environment of its own in the cache, with what `lock` names and nothing else. Raises CannotInstall."""
    directory = CACHE / name
    with _Stamped(directory, [lock]) as done:
        if done:
            return directory
        shutil.rmtree(directory, ignore_errors=True)
        directory.parent.mkdir(parents=True, exist_ok=True)
        python = str(directory / "bin" / "python")
        uv = next((str(one) for one in (Path(sys.executable).with_name("uv"),) if one.exists()), shutil.which("uv"))
        if uv is not None:
            _run(directory.parent, uv, "venv", "--quiet", "--python", sys.executable, str(directory))
            _run(directory, uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", str(lock))
        else:
            venv.create(directory, with_pip=True)
            _run(directory, python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(lock))
    return directory


def _run(directory: Path, *command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise CannotInstall(f"`{' '.join(command[:3])} …` failed:\n{said}\nhint: is a package index reachable?")


class _Stamped:
    """Whether `directory` holds what `files` say; after an installation without an error it says that it does."""

    def __init__(self, directory: Path, files: list[Path]) -> None:
        self._stamp = directory / ".stamp"
        self._sum = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()

    def __enter__(self) -> bool:
        return self._stamp.exists() and self._stamp.read_text() == self._sum

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._stamp.write_text(self._sum)
