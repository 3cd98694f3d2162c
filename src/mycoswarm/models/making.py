"""[io] Makes a model of one that is here, or of an uploaded file: the bytes are shared, what is said of them is new."""

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from mycoswarm.core.errors import DiskFull, InvalidRequest, ModelCorrupt, NotFound, from_os_error
from mycoswarm.core.model import Progress
from mycoswarm.core.preset import Preset, Recipe
from mycoswarm.core.views import ModelFacts
from mycoswarm.engines.model_file import ModelFile
from mycoswarm.models import gguf_header, manifest
from mycoswarm.models.blobs import Blobs, digest_of
from mycoswarm.models.describe import Description, describe
from mycoswarm.models.store import RESERVE, ModelStore

MAX_NAME = 200
"""Characters of a model's name, percent-encoded: it becomes the name of a directory."""
RESERVED = ("auto", "fast", "code", "embed")
"""Names that stand for whatever model suits (`routing.placement.ALIASES`)."""


class _Source(NamedTuple):
    """What a model is made of. digest: None where nobody has hashed the file yet, or it has changed since."""

    path: Path
    digest: str | None
    said: str
    preset: Preset
    licence: str
    instruct: bool | None


def check_name(name: str) -> None:
    """Raises InvalidRequest where no model can be called `name`."""
    if not name or not name.isprintable() or " " in name or len(quote(name, safe="")) > MAX_NAME:
        raise InvalidRequest(f"{name[:80]!r} is no name for a model", "letters, digits, and . _ - / : will do")
    if name.startswith(".") or "@" in name:
        raise InvalidRequest(f"{name!r} is no name for a model", "it must not begin with a dot nor have an @ in it")
    if name.casefold().removesuffix(":latest") in RESERVED:
        raise InvalidRequest(f"{name!r} stands for whatever model suits", "choose another name")


async def make(store: ModelStore, blobs: Blobs, recipe: Recipe) -> AsyncGenerator[Progress, None]:
    """Make the model that `recipe` describes; one that has its name is replaced. The last Progress has stage "done".

    Closing it leaves everything as it was.

    Raises:
        InvalidRequest: the recipe makes no sense, or the file is no model.
        UnknownModel: its source is not here; NotFound: its upload is not.
        Busy: a model of that name is being fetched or made.
        ModelCorrupt, DiskFull, NotWritable, Fixable.
    """
    check_name(recipe.name)
    source = await asyncio.to_thread(_source, store, blobs, recipe)
    home = store.home(recipe.name)
    if (store.directory / f"{recipe.name}.gguf").exists():
        raise InvalidRequest(f"{recipe.name} is a file that its owner put there", "choose another name")
    work = store.directory / f".make-{home.name}"
    size = source.path.stat().st_size
    with store.alone(recipe.name):
        try:
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(mode=0o700)
            file = work / "model.gguf"
            yield Progress("share", source.digest or "", 0, size)
            await asyncio.to_thread(_share, source.path, file)
            said = await asyncio.to_thread(_described, file, recipe)
            if source.digest is None:
                yield Progress("hash", "", 0, size)
            digest = source.digest or await asyncio.to_thread(_hash, file)
            yield Progress("manifest", digest, size, size)
            await asyncio.to_thread(_tell, work, said, recipe, source, digest)
            await asyncio.to_thread(_put, work, home)
        except OSError as problem:
            raise from_os_error(problem, home, size, shutil.disk_usage(store.directory).free) from problem
        finally:
            shutil.rmtree(work, ignore_errors=True)
    if recipe.blob:
        blobs.remove(recipe.blob)
    yield Progress("done", recipe.name, size, size)


def holder_of(store: ModelStore, digest: str) -> ModelFile | None:
    """A model here that has the bytes of that digest."""
    return next((file for file in store.files() if file.digest == digest and not file.damaged), None)


def _source(store: ModelStore, blobs: Blobs, recipe: Recipe) -> _Source:
    if recipe.source:
        return _of_model(store.get(recipe.source))
    digest = digest_of(recipe.blob)
    if (path := blobs.find(digest)) is not None:
        return _Source(path, digest, "uploaded", Preset(), "", None)
    if (file := holder_of(store, digest)) is not None:
        return _Source(file.path, _true_digest(file), "uploaded", Preset(), "", None)
    raise NotFound(f"the file {digest} was not uploaded", f"POST it to /api/blobs/{digest} first")


def _of_model(file: ModelFile) -> _Source:
    if file.damaged:
        raise ModelCorrupt(file.damaged, file.mend)
    told = manifest.read(file.path.parent) if (file.path.parent / "manifest.json").exists() else None
    licence = told.licence if told is not None else ""
    said = f"made from {file.name}"
    return _Source(file.path, _true_digest(file), said, file.preset or Preset(), licence, file.instruct)


def _true_digest(file: ModelFile) -> str | None:
    """Its digest, if it was taken of the bytes that are there now."""
    return file.digest if file.stamp == file.path.stat().st_mtime_ns else None


def _share(source: Path, target: Path) -> None:
    """The same bytes under another name; written anew only where the file system cannot share them."""
    try:
        os.link(source, target)
    except OSError:
        size, free = source.stat().st_size, shutil.disk_usage(target.parent).free
        if free < size + RESERVE:
            raise DiskFull(
                f"a copy needs {size / 1e6:.0f} MB on the disk of {target.parent.parent}, {free / 1e6:.0f} MB are free",
                "make room there, or set models_dir to another disk",
                needed=size,
                free=free,
            ) from None
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())


def _described(file: Path, recipe: Recipe) -> Description:
    """What the file is. Raises InvalidRequest where it is no model, or not the one that the recipe speaks of."""
    try:
        header = gguf_header.read(file)
    except ModelCorrupt as problem:
        raise InvalidRequest(f"the file is no model: {problem.message}", "upload a whole GGUF file") from problem
    said = describe(header)
    if not header.tensors:
        raise InvalidRequest("the file is no model: it has no weights", "upload a whole GGUF file")
    if recipe.template and recipe.template != header.values.get("tokenizer.chat_template"):
        raise InvalidRequest(
            "a template of one's own is not taken: a model is spoken to by the one in its file", "leave it out"
        )
    if recipe.quantization and recipe.quantization.casefold() != (said.quantization or "").casefold():
        raise InvalidRequest(
            f"nothing is quantised here: the file is {said.quantization}, not {recipe.quantization}",
            "quantise it before it is uploaded",
        )
    return said


def _tell(work: Path, said: Description, recipe: Recipe, source: _Source, digest: str) -> None:
    preset = recipe.preset.over(source.preset)
    told = manifest.make(
        work / "model.gguf",
        said,
        name=recipe.name,
        digest=digest,
        source=source.said,
        licence=recipe.licence or source.licence or said.licence or "",
        instruct=said.template if source.instruct is None else source.instruct,
        preset=None if preset == Preset() else preset,
    )
    manifest.write(work, told)


def _put(work: Path, home: Path) -> None:
    """In the place of what was there, which stays until the new one can take it."""
    old = work.with_name(f".old-{home.name}")
    shutil.rmtree(old, ignore_errors=True)
    if home.exists():
        home.rename(old)
    try:
        work.rename(home)
    except OSError:
        if old.exists():
            old.rename(home)
        raise
    manifest.flush_directory(home.parent)
    shutil.rmtree(old, ignore_errors=True)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def facts(file: ModelFile) -> ModelFacts:
    """[io] What the file at hand says of itself, and what its owner gave it. Raises ModelCorrupt, NotFound."""
    source = _of_model(file)
    header = gguf_header.read(file.path)
    values = {key: value for key, value in header.values.items() if not isinstance(value, tuple)}
    template = values.pop("tokenizer.chat_template", "")
    return ModelFacts(
        header=values,
        template=template if isinstance(template, str) else "",
        licence=source.licence or describe(header).licence or "",
        preset=source.preset,
        modified=file.path.stat().st_mtime,
    )
