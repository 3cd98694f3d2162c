"""[io] `manifest.json` beside a model's file: what it is, where it came from, and what its owner gave it."""

import os
from pathlib import Path
from urllib.parse import unquote

import msgspec

from mycoswarm.core.errors import Fixable, ModelCorrupt, from_os_error
from mycoswarm.core.model import Abilities
from mycoswarm.core.preset import Preset
from mycoswarm.engines.model_file import Geometry, ModelFile
from mycoswarm.models.describe import Description

SCHEMA = 2
"""2 added the preset. A manifest without one is written as schema 1, which every version before it reads as well."""


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """`manifest.json`. stamp: modification time in ns of model.gguf when its digest was taken; size: bytes."""

    schema: int
    name: str
    digest: str
    size: int
    stamp: int
    source: str
    licence: str
    parameters: int
    quantization: str | None = None
    context: int | None = None
    geometry: Geometry | None = None
    template: bool = True
    instruct: bool = True
    abilities: Abilities = Abilities()
    family: str | None = None
    dimensions: int | None = None
    pooled: bool = True
    preset: Preset | None = None


def make(
    path: Path,
    said: Description,
    *,
    name: str,
    digest: str,
    source: str,
    licence: str,
    instruct: bool,
    preset: Preset | None = None,
) -> Manifest:
    """The manifest of the model file at `path`, whose header says `said` and whose bytes have `digest` now."""
    stat = path.stat()
    return Manifest(
        schema=1 if preset is None else SCHEMA,
        name=name,
        digest=digest,
        size=stat.st_size,
        stamp=stat.st_mtime_ns,
        source=source,
        licence=licence,
        parameters=said.parameters,
        quantization=said.quantization,
        context=said.context,
        geometry=said.geometry,
        template=said.template,
        instruct=instruct,
        abilities=said.abilities,
        family=said.family,
        dimensions=said.dimensions,
        pooled=said.pooled,
        preset=preset,
    )


def write(home: Path, manifest: Manifest) -> None:
    """Put it beside the model's file, and both on the disk."""
    with (home / "manifest.json").open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    flush_directory(home)


def read(home: Path) -> Manifest:
    """The manifest in `home`, held against the file beside it.

    Raises:
        ModelCorrupt: it cannot be read, or the file is not as long as it says.
        Fixable: a newer version wrote it.
    """
    path = home / "model.gguf"
    try:
        raw = (home / "manifest.json").read_bytes()
        size = path.stat().st_size if path.exists() else None
    except OSError as problem:
        raise from_os_error(problem, home / "manifest.json") from problem
    try:
        schema = msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).get("schema", msgspec.Raw(b"0"))
        if msgspec.json.decode(schema, type=int) > SCHEMA:
            raise Fixable(
                f"{home / 'manifest.json'} was written by a newer mycoswarm", "update mycoswarm on this machine"
            )
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.DecodeError as problem:
        raise corrupt(unquote(home.name), f"its manifest cannot be read ({problem})") from problem
    if size is None:
        raise corrupt(manifest.name, "model.gguf is missing")
    if size != manifest.size:
        raise corrupt(manifest.name, f"{size} of {manifest.size} bytes are there")
    return manifest


def model_file(home: Path, manifest: Manifest) -> ModelFile:
    """As an engine takes it."""
    return ModelFile(
        name=manifest.name,
        path=home / "model.gguf",
        size=manifest.size,
        digest=manifest.digest,
        stamp=manifest.stamp,
        parameters=manifest.parameters,
        quantization=manifest.quantization,
        context=manifest.context,
        geometry=manifest.geometry,
        template=manifest.template,
        instruct=manifest.instruct,
        abilities=manifest.abilities,
        pooled=manifest.pooled,
        family=manifest.family,
        dimensions=manifest.dimensions,
        preset=manifest.preset,
    )


def corrupt(name: str, why: str) -> ModelCorrupt:
    """The error for a damaged model file, with the way out."""
    return ModelCorrupt(f"the model file of {name} is damaged: {why}", f"mycoswarm rm {name} && mycoswarm pull {name}")


def flush_directory(path: Path) -> None:
    """A rename survives a power cut only once its directory is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
