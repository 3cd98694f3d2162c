"""Uploads: whole and verified, or not there."""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from mycoswarm.core.errors import DiskFull, InvalidRequest
from mycoswarm.models.blobs import KEPT_SECONDS, Blobs, digest_of
from tests.swarm.lab import require

DATA = random.Random(1).randbytes(9 << 20)
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "models" / ".blobs")


async def pieces(data: bytes, size: int = 65_536, fail: BaseException | None = None) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]
    if fail is not None:
        raise fail


def there(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "models" / ".blobs").iterdir())


@pytest.mark.parametrize("size", [0, None])
async def test_nothing_is_no_upload_whether_or_not_its_length_was_told(
    blobs: Blobs, tmp_path: Path, size: int | None
) -> None:
    for digest in (f"sha256:{hashlib.sha256().hexdigest()}", DIGEST):
        with pytest.raises(InvalidRequest, match="empty"):
            await blobs.put(digest, pieces(b""), size)
    assert there(tmp_path) == []


async def test_an_upload(blobs: Blobs, tmp_path: Path) -> None:
    assert blobs.find(DIGEST) is None
    await blobs.put(DIGEST, pieces(DATA), len(DATA))
    path = blobs.find(DIGEST)
    assert path is not None
    assert path.read_bytes() == DATA
    assert there(tmp_path) == [DIGEST.replace(":", "-")]
    blobs.remove(DIGEST)
    assert blobs.find(DIGEST) is None
    blobs.remove(DIGEST)


async def test_wrong_bytes_are_refused_and_forgotten(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="digest mismatch"):
        await blobs.put(DIGEST, pieces(DATA[:-1]))
    assert there(tmp_path) == []


async def test_an_upload_that_breaks_off_leaves_nothing(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        await blobs.put(DIGEST, pieces(DATA, fail=RuntimeError()))
    assert there(tmp_path) == []
    await blobs.put(DIGEST, pieces(DATA))
    assert blobs.find(DIGEST) is not None


@pytest.mark.parametrize(
    "text", ["", "sha256:", "sha256:" + "g" * 64, "md5:" + "a" * 64, "../../etc/passwd", DIGEST + "0"]
)
async def test_what_is_no_digest_never_becomes_a_path(blobs: Blobs, text: str) -> None:
    with pytest.raises(InvalidRequest, match="digest"):
        blobs.find(text)
    with pytest.raises(InvalidRequest, match="digest"):
        await blobs.put(text, pieces(DATA))


def test_both_ways_to_write_a_digest() -> None:
    assert digest_of(DIGEST.replace(":", "-")) == DIGEST


async def test_a_disk_that_is_too_small_is_told_before_the_first_byte(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=20 << 20))
    asked: list[bytes] = []

    async def watched() -> AsyncIterator[bytes]:
        asked.append(b"")
        yield DATA

    with pytest.raises(DiskFull):
        await blobs.put(DIGEST, watched(), len(DATA))
    assert asked == []


async def test_a_disk_that_fills_up_meanwhile(blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender did not say how much will come."""
    free = iter([100 << 20, 50 << 20, *[10 << 20] * 9])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=next(free)))
    with pytest.raises(DiskFull):
        await blobs.put(DIGEST, pieces(DATA))
    assert there(tmp_path) == []


async def test_what_nobody_uses_for_a_day_goes(blobs: Blobs, tmp_path: Path) -> None:
    await blobs.put(DIGEST, pieces(DATA))
    left = tmp_path / "models" / ".blobs" / ".upload-dead"
    left.write_bytes(b"x")
    past = time.time() - KEPT_SECONDS - 5
    os.utime(left, (past, past))
    other = b"other"
    await blobs.put(f"sha256:{hashlib.sha256(other).hexdigest()}", pieces(other))
    assert not left.exists()
    assert blobs.find(DIGEST) is not None, "it is not old yet"
    path = blobs.find(DIGEST)
    assert path is not None
    os.utime(path, (past, past))
    third = b"third"
    await blobs.put(f"sha256:{hashlib.sha256(third).hexdigest()}", pieces(third))
    assert blobs.find(DIGEST) is None


READ_ONLY = """
import asyncio, sys
from pathlib import Path
from mycoswarm.core.errors import NotWritable
from mycoswarm.models.blobs import Blobs
async def pieces():
    yield b"hello"
async def main():
    try:
        await Blobs(Path(sys.argv[1]) / ".blobs").put(sys.argv[2], pieces())
    except NotWritable as problem:
        print(problem.message)
asyncio.run(main())
"""


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    """On a file system mounted read-only, which stops root too."""
    require()
    script = 'mount -t tmpfs -o ro,size=1m tmpfs "$1" && exec "$2" -c "$3" "$1" "$4"'
    made = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, "sh", str(tmp_path), sys.executable, READ_ONLY, DIGEST],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "cannot be written" in made.stdout, made.stderr


FILL = """
import asyncio, hashlib, os, sys
from pathlib import Path
from mycoswarm.core.errors import DiskFull
from mycoswarm.models import blobs as module
module.RESERVE = 0
blobs = module.Blobs(Path(sys.argv[1]) / ".blobs")
data = os.urandom(12 << 20)
async def pieces():
    for at in range(0, len(data), 65536):
        yield data[at : at + 65536]
async def main():
    # Whoever asks how much is free is told that there is enough: the disk itself has to say no.
    module.shutil.disk_usage = lambda path: type("Usage", (), {"free": 1 << 40})
    try:
        await blobs.put("sha256:" + hashlib.sha256(data).hexdigest(), pieces())
    except DiskFull as problem:
        print("full", [path.name for path in (Path(sys.argv[1]) / ".blobs").iterdir()])
asyncio.run(main())
"""


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    require()
    script = f'mount -t tmpfs -o size=8m none "$1" && exec "{sys.executable}" -c "$2" "$1"'
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, "sh", str(tmp_path), FILL],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "full []", done.stderr
