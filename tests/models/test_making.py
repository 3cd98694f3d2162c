"""New models out of old ones and out of uploads: shared bytes, whole or not at all, one at a time."""

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from mycoswarm.core.chat import Sampling, message
from mycoswarm.core.errors import Busy, DiskFull, InvalidRequest, ModelCorrupt, NotFound, UnknownModel
from mycoswarm.core.model import Progress
from mycoswarm.core.preset import Preset, Recipe
from mycoswarm.egress import Egress
from mycoswarm.models import making
from mycoswarm.models.blobs import Blobs
from mycoswarm.models.store import ModelStore
from mycoswarm.routing.placement import ALIASES
from tests.models.gguf_samples import TEMPLATE, write


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models", tmp_path / "downloads", Egress(tmp_path / "ledger"))


@pytest.fixture
def blobs(store: ModelStore) -> Blobs:
    return Blobs(store.directory / ".blobs")


@pytest.fixture
async def uploaded(blobs: Blobs, tmp_path: Path) -> str:
    return await upload(blobs, write(tmp_path / "source.gguf").read_bytes())


async def upload(blobs: Blobs, data: bytes) -> str:
    async def pieces() -> AsyncIterator[bytes]:
        yield data

    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    await blobs.put(digest, pieces())
    return digest


async def make(store: ModelStore, blobs: Blobs, recipe: Recipe) -> list[Progress]:
    return [step async for step in making.make(store, blobs, recipe)]


def names(store: ModelStore) -> list[str]:
    return [file.name for file in store.files()]


def hidden(store: ModelStore) -> list[str]:
    return [path.name for path in store.directory.iterdir() if path.name.startswith(".") and path.name != ".blobs"]


async def test_a_model_of_an_upload(store: ModelStore, blobs: Blobs, uploaded: str) -> None:
    steps = await make(store, blobs, Recipe("mine", blob=uploaded, preset=Preset("Be brief."), licence="MIT"))
    assert [step.stage for step in steps] == ["share", "manifest", "done"]
    file = store.get("mine")
    assert (file.digest, file.family, file.template, file.instruct) == (uploaded, "llama", True, True)
    assert file.preset == Preset("Be brief.")
    assert file.path.stat().st_nlink == 1, "the upload itself is gone"
    assert blobs.find(uploaded) is None
    assert await store.verify("mine") == uploaded
    assert hidden(store) == []


async def test_a_second_model_of_the_same_upload_shares_its_bytes(
    store: ModelStore, blobs: Blobs, uploaded: str
) -> None:
    await make(store, blobs, Recipe("a", blob=uploaded))
    await make(store, blobs, Recipe("b", blob=uploaded))
    assert store.get("a").path.samefile(store.get("b").path)
    store.remove("a")
    assert await store.verify("b") == uploaded
    assert store.remove("b") > 0


async def test_what_is_freed_is_what_nobody_else_holds(store: ModelStore, blobs: Blobs, uploaded: str) -> None:
    await make(store, blobs, Recipe("a", blob=uploaded))
    await make(store, blobs, Recipe("b", source="a"))
    size = store.get("a").size
    assert store.remove("a") < size
    assert store.remove("b") > size


async def test_a_copy_and_a_model_made_from_it(store: ModelStore, blobs: Blobs, uploaded: str) -> None:
    first = Preset("Be brief.", (message("user", "hi"),), Sampling(temperature=0.5), 9, {"temperature": 0.5})
    await make(store, blobs, Recipe("a", blob=uploaded, preset=first, licence="MIT"))
    await make(store, blobs, Recipe("copy", source="a"))
    assert store.get("copy").preset == first
    assert making.facts(store.get("copy")).licence == "MIT"
    await make(store, blobs, Recipe("b", source="copy", preset=Preset("Be long.", sampling=Sampling(seed=1))))
    assert store.get("b").preset == Preset(
        "Be long.", first.messages, Sampling(temperature=0.5, seed=1), 9, {"temperature": 0.5}
    )


async def test_a_plain_model_has_no_preset(store: ModelStore, blobs: Blobs, uploaded: str) -> None:
    await make(store, blobs, Recipe("a", blob=uploaded))
    assert store.get("a").preset is None
    facts = making.facts(store.get("a"))
    assert (facts.template, facts.licence, facts.preset) == (TEMPLATE, "apache-2.0", Preset())
    assert facts.header["llama.context_length"] == 2048
    assert "tokenizer.chat_template" not in facts.header


async def test_an_owner_s_own_file_can_be_the_source_and_is_never_changed(store: ModelStore, blobs: Blobs) -> None:
    store.directory.mkdir()
    own = write(store.directory / "own.gguf")
    before = own.read_bytes()
    steps = await make(store, blobs, Recipe("b", source="own", preset=Preset("x")))
    assert "hash" in [step.stage for step in steps], "nobody knew its digest"
    assert store.get("b").digest == f"sha256:{hashlib.sha256(before).hexdigest()}"
    with pytest.raises(InvalidRequest, match="owner"):
        await make(store, blobs, Recipe("own", source="b"))
    store.remove("b")
    assert own.read_bytes() == before


async def test_a_model_is_replaced_whole(store: ModelStore, blobs: Blobs, uploaded: str) -> None:
    await make(store, blobs, Recipe("a", blob=uploaded))
    await make(store, blobs, Recipe("b", source="a", preset=Preset("one")))
    await make(store, blobs, Recipe("b", source="b", preset=Preset("two")))
    preset = store.get("b").preset
    assert preset is not None
    assert preset.system == "two"
    assert hidden(store) == []


async def test_two_at_once_of_one_name(store: ModelStore, blobs: Blobs, uploaded: str) -> None:
    await make(store, blobs, Recipe("a", blob=uploaded))
    async with aclosing(making.make(store, blobs, Recipe("b", source="a"))) as first:
        await anext(first)
        with pytest.raises(Busy, match="made already"):
            await make(store, blobs, Recipe("b", source="a"))
        await make(store, blobs, Recipe("c", source="a"))
        assert [step.stage async for step in first][-1] == "done"
    assert names(store) == ["a", "b", "c"]


async def test_whoever_breaks_off_leaves_everything_as_it_was(store: ModelStore, blobs: Blobs, uploaded: str) -> None:
    await make(store, blobs, Recipe("a", blob=uploaded, preset=Preset("one")))
    async with aclosing(making.make(store, blobs, Recipe("a", source="a", preset=Preset("two")))) as steps:
        await anext(steps)
    assert store.get("a").preset == Preset("one")
    assert hidden(store) == []


async def test_what_is_no_model_is_refused_and_leaves_nothing(store: ModelStore, blobs: Blobs, uploaded: str) -> None:
    data = blobs.find(uploaded)
    assert data is not None
    for wrong in (b"x", b"GGUF", b"hello world" * 100, data.read_bytes()[:-40]):
        digest = await upload(blobs, wrong)
        with pytest.raises(InvalidRequest, match="no model"):
            await make(store, blobs, Recipe("b", blob=digest))
    assert names(store) == []
    assert hidden(store) == []


async def test_sources_that_are_not_there(store: ModelStore, blobs: Blobs) -> None:
    store.directory.mkdir()
    with pytest.raises(UnknownModel):
        await make(store, blobs, Recipe("b", source="a"))
    with pytest.raises(NotFound, match="not uploaded"):
        await make(store, blobs, Recipe("b", blob="sha256:" + "0" * 64))


async def test_a_damaged_source(store: ModelStore, blobs: Blobs, uploaded: str) -> None:
    await make(store, blobs, Recipe("a", blob=uploaded))
    path = store.get("a").path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelCorrupt):
        await make(store, blobs, Recipe("b", source="a"))


async def test_a_template_and_a_quantisation_must_be_the_file_s_own(
    store: ModelStore, blobs: Blobs, uploaded: str
) -> None:
    await make(store, blobs, Recipe("a", blob=uploaded, template=TEMPLATE, quantization="q4_1"))
    with pytest.raises(InvalidRequest, match="template"):
        await make(store, blobs, Recipe("b", source="a", template="{{ .Prompt }}"))
    with pytest.raises(InvalidRequest, match="quantised"):
        await make(store, blobs, Recipe("b", source="a", quantization="q8_0"))
    assert names(store) == ["a"]


@pytest.mark.parametrize(
    "name", ["", " ", "a b", ".hidden", "..", "a@b", "auto", "Embed:latest", "x" * 201, "ü" * 40, "a\nb", "a\0b"]
)
async def test_names_that_cannot_be(store: ModelStore, blobs: Blobs, name: str) -> None:
    with pytest.raises(InvalidRequest):
        await make(store, blobs, Recipe(name, source="a"))


def test_no_model_can_be_called_what_stands_for_any() -> None:
    assert making.RESERVED == ALIASES


async def test_a_name_with_a_path_in_it_is_one_directory(store: ModelStore, blobs: Blobs, uploaded: str) -> None:
    await make(store, blobs, Recipe("me/../mine:7b", blob=uploaded))
    assert names(store) == ["me/../mine:7b"]
    assert store.get("me/../mine:7b").path.parent.parent == store.directory


async def test_where_bytes_cannot_be_shared_they_are_copied(
    store: ModelStore, blobs: Blobs, uploaded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(store, blobs, Recipe("a", blob=uploaded))

    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "link", refuse)
    await make(store, blobs, Recipe("b", source="a"))
    assert not store.get("b").path.samefile(store.get("a").path)
    assert await store.verify("b") == uploaded
    monkeypatch.setattr(making, "RESERVE", 1 << 60)
    with pytest.raises(DiskFull):
        await make(store, blobs, Recipe("c", source="a"))
    assert names(store) == ["a", "b"]
    assert hidden(store) == []


async def test_the_holder_of_a_digest(store: ModelStore, blobs: Blobs, uploaded: str) -> None:
    assert making.holder_of(store, uploaded) is None
    await make(store, blobs, Recipe("a", blob=uploaded))
    holder = making.holder_of(store, uploaded)
    assert holder is not None
    assert holder.name == "a"
