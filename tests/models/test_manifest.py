from pathlib import Path

import msgspec
import pytest

from mycoswarm.core.errors import Fixable, ModelCorrupt
from mycoswarm.core.preset import Preset
from mycoswarm.models import gguf_header, manifest
from mycoswarm.models.describe import describe
from tests.models.gguf_samples import write


def put(home: Path, preset: Preset | None = None) -> manifest.Manifest:
    file = write(home / "model.gguf")
    made = manifest.make(
        file,
        describe(gguf_header.read(file)),
        name="m",
        digest="sha256:1",
        source="here",
        licence="MIT",
        instruct=True,
        preset=preset,
    )
    manifest.write(home, made)
    return made


def test_a_round_trip(tmp_path: Path) -> None:
    made = put(tmp_path, Preset("Be brief."))
    assert manifest.read(tmp_path) == made
    file = manifest.model_file(tmp_path, made)
    assert (file.name, file.family, file.preset, file.context) == ("m", "llama", Preset("Be brief."), 2048)


def test_only_what_older_versions_would_misread_has_the_newer_schema(tmp_path: Path) -> None:
    assert put(tmp_path).schema == 1
    assert put(tmp_path, Preset("x")).schema == manifest.SCHEMA == 2


def test_a_manifest_of_the_first_version_is_read(tmp_path: Path) -> None:
    put(tmp_path)
    path = tmp_path / "manifest.json"
    old = {
        key: value for key, value in msgspec.json.decode(path.read_bytes()).items() if key not in ("family", "pooled")
    }
    path.write_bytes(msgspec.json.encode(old))
    assert manifest.read(tmp_path).family is None


def test_a_newer_one_is_refused_and_a_broken_one_is_damage(tmp_path: Path) -> None:
    put(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"schema": 1', b'"schema": 3'))
    with pytest.raises(Fixable, match="newer"):
        manifest.read(tmp_path)
    path.write_bytes(b"{")
    with pytest.raises(ModelCorrupt):
        manifest.read(tmp_path)
