"""Pulling, listing, verifying and removing, with a small model of our own behind the user's own installer."""

import asyncio
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from mycoswarm.core.errors import Busy, DiskFull, Fixable, IndexUnreachable, ModelCorrupt, UnknownModel
from mycoswarm.core.model import Progress
from mycoswarm.egress import Egress
from mycoswarm.models import catalog, requantise
from mycoswarm.models.catalog import CatalogModel, Package
from mycoswarm.models.store import ModelStore
from tests.models.gguf_samples import write

NAME = "sample:1m"


def make_model(directory: Path, *, pieces: int = 1) -> CatalogModel:
    """Wheels with a sample GGUF, and the catalogue's entry for it."""
    import io

    gguf = write(directory / "source.gguf", rows=512)
    digest = requantise.requantise(gguf, directory / "final.gguf", io.BytesIO()).removeprefix("sha256:")
    content = gguf.read_bytes()
    cut = -(-len(content) // pieces)
    packages: list[Package] = []
    for number in range(pieces):
        name = f"sample_part{number}"
        path = directory / f"{name}-1.0-py3-none-any.whl"
        piece = content[number * cut : (number + 1) * cut]
        info = f"{name}-1.0.dist-info"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(f"{name}/piece", piece)
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        packages.append(Package(name, "1.0", sha256, path.stat().st_size, f"{name}/piece", len(piece)))
    return CatalogModel(
        name=NAME,
        summary="for tests",
        licence="MIT",
        packages=tuple(packages),
        source_sha256=hashlib.sha256(content).hexdigest(),
        sha256=digest,
        size=(directory / "final.gguf").stat().st_size,
        requantise=True,
    )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that the installer takes packages from, and nothing else."""
    directory = tmp_path / "index"
    directory.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    return directory


@pytest.fixture
def model(index: Path, monkeypatch: pytest.MonkeyPatch) -> CatalogModel:
    made = make_model(index)
    monkeypatch.setattr(catalog, "CATALOG", (made,))
    return made


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models", tmp_path / "downloads", Egress(tmp_path / "ledger"))


async def pull(store: ModelStore, name: str = NAME) -> list[Progress]:
    return [step async for step in store.pull(name)]


def left_behind(store: ModelStore, tmp_path: Path) -> list[str]:
    """What a failed pull must not leave: anything in the models directory, any whole or wrong archive."""
    return [str(path) for path in store.directory.rglob("*")] + [str(p) for p in (tmp_path / "downloads").glob("*.whl")]


async def test_a_pull_from_end_to_end(store: ModelStore, model: CatalogModel, tmp_path: Path) -> None:
    steps = await pull(store)
    assert [step.stage for step in steps][-1] == "done"
    assert {"resolve", "download", "unpack"} <= {step.stage for step in steps}
    (file,) = store.files()
    assert file.name == NAME
    assert file.digest == f"sha256:{model.sha256}"
    assert file.path.read_bytes() == (tmp_path / "index" / "final.gguf").read_bytes()
    assert (file.quantization, file.context, file.instruct, file.damaged) == ("Q8_0", 2048, True, "")
    assert await store.verify(NAME) == file.digest
    assert sorted(path.name for path in file.path.parent.iterdir()) == ["manifest.json", "model.gguf"]
    assert [path.name for path in store.directory.iterdir()] == ["sample%3A1m"]
    assert not list((tmp_path / "downloads").glob("*.whl*"))


async def test_a_model_that_is_there_is_not_fetched_again(store: ModelStore, model: CatalogModel) -> None:
    await pull(store)
    assert [step.stage for step in await pull(store)] == ["done"]


async def test_a_model_in_pieces(
    store: ModelStore, index: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(catalog, "CATALOG", (make_model(index, pieces=3),))
    steps = await pull(store)
    assert store.get(NAME).path.read_bytes() == (index / "final.gguf").read_bytes()
    done = [step.done for step in steps if step.stage == "download"]
    assert done == sorted(done)


async def test_an_index_with_another_file(store: ModelStore, model: CatalogModel, index: Path, tmp_path: Path) -> None:
    wheel = next(index.glob("*.whl"))
    wheel.write_bytes(wheel.read_bytes()[:-1] + b"\1")
    with pytest.raises(ModelCorrupt):
        await pull(store)
    assert not left_behind(store, tmp_path)


async def test_a_package_with_other_content(
    store: ModelStore, model: CatalogModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(catalog, "CATALOG", (msgspec.structs.replace(model, source_sha256="0" * 64),))
    with pytest.raises(ModelCorrupt, match="not the pinned one"):
        await pull(store)
    assert not store.files()
    assert not list(store.directory.iterdir())


async def test_requantising_to_something_else_is_refused(
    store: ModelStore, model: CatalogModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "CATALOG", (msgspec.structs.replace(model, sha256="0" * 64),))
    with pytest.raises(ModelCorrupt, match="did not give the pinned file"):
        await pull(store)
    assert not list(store.directory.iterdir())


async def test_an_unreachable_index(
    store: ModelStore, model: CatalogModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    with pytest.raises(IndexUnreachable):
        await pull(store)
    assert not left_behind(store, tmp_path)


async def test_space_is_checked_before_anything_is_fetched(
    store: ModelStore, model: CatalogModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    with pytest.raises(DiskFull, match="1 MB are free") as caught:
        await pull(store)
    assert caught.value.data["free"] == 1_000_000
    assert caught.value.data["needed"] > model.size
    assert not (tmp_path / "ledger").exists()
    assert not left_behind(store, tmp_path)


async def test_one_pull_of_a_model_at_a_time(store: ModelStore, model: CatalogModel) -> None:
    first = store.pull(NAME)
    await anext(first)
    with pytest.raises(Busy, match="being fetched or made already"):
        await pull(store)
    await first.aclose()  # pyright: ignore[reportAttributeAccessIssue] an async generator
    assert (await pull(store))[-1].stage == "done"


async def test_a_pull_given_up_leaves_nothing_half_written(store: ModelStore, model: CatalogModel) -> None:
    pulling = store.pull(NAME)
    async for step in pulling:
        if step.stage == "unpack":
            break
    await pulling.aclose()  # pyright: ignore[reportAttributeAccessIssue] an async generator
    assert not list(store.directory.iterdir())


async def test_what_a_killed_pull_left_is_cleared(store: ModelStore, model: CatalogModel) -> None:
    stale = store.directory / ".pull-sample%3A1m"
    stale.mkdir(parents=True)
    (stale / "model.gguf").write_bytes(b"half")
    assert not store.files()
    await pull(store)
    assert [path.name for path in store.directory.iterdir()] == ["sample%3A1m"]


async def test_a_truncated_model_is_listed_as_damaged_and_pulled_anew(store: ModelStore, model: CatalogModel) -> None:
    await pull(store)
    path = store.get(NAME).path
    path.write_bytes(path.read_bytes()[:1000])
    (file,) = store.files()
    assert file.damaged == f"the model file of {NAME} is damaged: 1000 of {model.size} bytes are there"
    with pytest.raises(ModelCorrupt) as caught:
        await store.verify(NAME)
    assert caught.value.hint == f"mycoswarm rm {NAME} && mycoswarm pull {NAME}"
    await pull(store)
    assert await store.verify(NAME) == f"sha256:{model.sha256}"


async def test_a_flipped_bit_is_found_by_verify_and_mended_by_pull(store: ModelStore, model: CatalogModel) -> None:
    await pull(store)
    path = store.get(NAME).path
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelCorrupt, match="not those that were pulled"):
        await store.verify(NAME)
    await pull(store)
    assert await store.verify(NAME)


async def test_a_missing_file_and_an_unreadable_manifest(store: ModelStore, model: CatalogModel) -> None:
    await pull(store)
    home = store.get(NAME).path.parent
    (home / "model.gguf").unlink()
    assert "model.gguf is missing" in store.get(NAME).damaged
    (home / "manifest.json").write_text("{")
    assert "manifest cannot be read" in store.get(NAME).damaged
    assert store.remove(NAME) == 1
    assert not store.files()


async def test_a_newer_store_is_refused_and_not_touched(store: ModelStore, model: CatalogModel) -> None:
    await pull(store)
    manifest = store.get(NAME).path.parent / "manifest.json"
    newer = manifest.read_text().replace('"schema": 1', '"schema": 3')
    manifest.write_text(newer)
    assert "newer mycoswarm" in store.get(NAME).damaged
    with pytest.raises(Fixable, match="newer mycoswarm"):
        await pull(store)
    assert manifest.read_text() == newer


async def test_removing(store: ModelStore, model: CatalogModel) -> None:
    await pull(store)
    assert store.remove(NAME) > model.size
    assert not store.files()
    with pytest.raises(UnknownModel):
        store.remove(NAME)


def test_the_owners_own_files(store: ModelStore) -> None:
    store.directory.mkdir()
    write(store.directory / "Mine-Q4.gguf")
    (store.directory / "broken.gguf").write_bytes(b"GGUF but no more")
    (store.directory / "notes.txt").write_text("not a model")
    (store.directory / "folder").mkdir()
    mine, broken = store.files()
    assert (mine.name, mine.digest, mine.quantization, mine.damaged) == ("Mine-Q4", None, "Q4_1", "")
    assert broken.name == "broken"
    assert "not a whole GGUF file" in broken.damaged
    assert store.remove("Mine-Q4") == mine.size
    assert [file.name for file in store.files()] == ["broken"]


def test_an_owners_file_that_changes_is_read_again(store: ModelStore) -> None:
    store.directory.mkdir()
    write(store.directory / "mine.gguf")
    assert store.get("mine").abilities.tools is False
    write(store.directory / "mine.gguf", template="{{ tools }} and more")
    assert store.get("mine").abilities.tools is True


def test_an_unknown_model_is_answered_with_the_nearest(store: ModelStore) -> None:
    store.directory.mkdir()
    write(store.directory / "gemma-small.gguf")
    with pytest.raises(UnknownModel) as caught:
        store.get("gema-small")
    assert caught.value.data["near"] == ["gemma-small"]


@pytest.mark.parametrize("name", ["", "..", "../../etc"])
def test_a_name_never_leaves_the_directory(store: ModelStore, name: str, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    with pytest.raises(UnknownModel):
        store.remove(name)
    assert (tmp_path / "etc").exists()


FULL_DISK = """
import asyncio, sys
from pathlib import Path
from mycoswarm.core.errors import DiskFull
from mycoswarm.egress import Egress
from mycoswarm.models import catalog
from mycoswarm.models.store import ModelStore
from tests.models.test_store import make_model

index, disk, lie = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "lie"
catalog.CATALOG = (make_model(index),)
store = ModelStore(disk / "models", disk / "downloads", Egress(disk / "ledger"))
if lie:
    # The disk fills up while the pull runs: by the time it looked, there was room.
    store._check_space = lambda model: None

async def main():
    try:
        async for _ in store.pull("sample:1m"):
            pass
    except DiskFull as problem:
        print("DiskFull:", problem.message)
    print("left:", [str(path) for path in store.directory.rglob("*")])

asyncio.run(main())
"""


@pytest.mark.parametrize("lie", ["honest", "lie"])
def test_a_disk_that_is_really_full(index: Path, tmp_path: Path, lie: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=220k none {disk} && exec {sys.executable} -c '{FULL_DISK}' {index} {disk} {lie}"
    probe = subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("this kernel lets nobody but root make a mount namespace")
    run = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", mount],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert "DiskFull:" in run.stdout, run.stderr
    assert "left: []" in run.stdout
    assert "MB are free" in run.stdout


def test_listing_costs_little(store: ModelStore) -> None:
    """The node lists its models every few seconds: a second look reads no file."""
    store.directory.mkdir()
    write(store.directory / "mine.gguf")
    first = store.files()
    assert store.files()[0] is first[0]


async def test_files_can_be_called_in_a_thread(store: ModelStore) -> None:
    store.directory.mkdir()
    write(store.directory / "mine.gguf")
    names = await asyncio.gather(*(asyncio.to_thread(store.files) for _ in range(8)))
    assert {tuple(file.name for file in files) for files in names} == {("mine",)}
