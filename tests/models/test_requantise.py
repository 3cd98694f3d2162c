"""Q4_1 to Q8_0: right, the same every time, and only what should change changes."""

import asyncio
import io
import os
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest

from mycoswarm.core.errors import DiskFull, ModelCorrupt
from mycoswarm.core.model import Progress
from mycoswarm.models import catalog, sources
from mycoswarm.models.requantise import requantise
from tests.models.gguf_samples import write
from tests.starter import starter


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "source.gguf", rows=512)


def weights(reader: gguf.GGUFReader, name: str) -> np.ndarray:
    (tensor,) = (tensor for tensor in reader.tensors if tensor.name == name)
    return gguf.quants.dequantize(tensor.data, tensor.tensor_type)


def test_the_gguf_package_reads_the_result(source: Path, tmp_path: Path) -> None:
    requantise(source, tmp_path / "new.gguf", io.BytesIO())
    old, new = gguf.GGUFReader(source), gguf.GGUFReader(tmp_path / "new.gguf")
    assert [t.tensor_type.name for t in new.tensors] == ["F32", "Q8_0", "F16"]
    assert [t.name for t in new.tensors] == [t.name for t in old.tensors]
    assert new.fields.keys() == old.fields.keys()
    changed = {
        k for k in old.fields if k != "GGUF.tensor_count" and old.fields[k].contents() != new.fields[k].contents()
    }
    assert changed == {"general.file_type"}
    assert new.fields["general.file_type"].contents() == 7
    for name in ("norm", "blk.1.weight"):
        assert np.array_equal(weights(old, name), weights(new, name))
    before, after = weights(old, "blk.0.weight"), weights(new, "blk.0.weight")
    # Half a step of Q8_0: the largest value of a block over 127, and its float16 rounding.
    assert np.abs(before - after).max() <= np.abs(before).max() / 127 * 0.51
    assert not np.array_equal(before, after)


def test_two_runs_give_the_same_bytes(source: Path, tmp_path: Path) -> None:
    digests = {requantise(source, tmp_path / f"{run}.gguf", io.BytesIO()) for run in range(2)}
    assert len(digests) == 1
    assert (tmp_path / "0.gguf").read_bytes() == (tmp_path / "1.gguf").read_bytes()


async def test_the_child_reports_progress_and_digest(source: Path, tmp_path: Path) -> None:
    steps = [step async for step in sources.requantise(source, tmp_path / "new.gguf")]
    digest = requantise(source, tmp_path / "again.gguf", io.BytesIO())
    assert steps[-1] == Progress("requantised", digest)


async def test_the_child_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "garbage.gguf").write_bytes(b"not a model at all")
    with pytest.raises(ModelCorrupt, match="does not begin with GGUF"):
        async for _ in sources.requantise(tmp_path / "garbage.gguf", tmp_path / "new.gguf"):
            pass


async def test_a_full_disk_is_named(source: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(DiskFull):
        async for _ in sources.requantise(source, Path("/dev/full")):
            pass


async def test_the_child_ends_with_its_parent(source: Path, tmp_path: Path) -> None:
    """Its stdin closes; a named pipe as source keeps it busy for ever otherwise."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mycoswarm.models.requantise", str(fifo), str(tmp_path / "new.gguf")),
        stdin=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.close()
    async with asyncio.timeout(10):
        assert await process.wait() == 1


@pytest.mark.model
async def test_the_starter_has_the_digest_that_every_machine_gets(tmp_path: Path) -> None:
    """The requantised file was made on this machine at some time; its bytes are those of the catalogue."""
    from hashlib import file_digest

    with (await starter() / "model.gguf").open("rb") as file:
        assert file_digest(file, "sha256").hexdigest() == catalog.find(catalog.STARTER).sha256
