"""[io] Uploaded files that wait for a model to be made of them, each under the digest of its bytes.

A file is there whole and verified or not at all. What nobody made a model of within a day is thrown away; once a model
is made of it, the model holds the bytes.
"""

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from mycoswarm.core.errors import DiskFull, InvalidRequest, from_os_error
from mycoswarm.models.manifest import flush_directory
from mycoswarm.models.store import RESERVE

KEPT_SECONDS = 86_400.0
"""An upload and the request that makes a model of it come from one program, one after the other."""

_PIECE = 4 << 20
"""Bytes that are hashed and written at once, in a thread: small enough for memory, large enough for the disk."""
_NOTHING = f"sha256:{hashlib.sha256().hexdigest()}"
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")


def digest_of(text: str) -> str:
    """`sha256:…` as it is written here. Raises InvalidRequest."""
    found = _DIGEST.fullmatch(text)
    if found is None:
        raise InvalidRequest(f"{text[:80]!r} is no digest", "write sha256: and 64 hexadecimal digits")
    return f"sha256:{found[1]}"


class Blobs:
    """The uploads in `directory`, which is made when the first one comes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, digest: str) -> Path | None:
        """The whole file with that digest."""
        path = self._path(digest)
        return path if path.exists() else None

    def remove(self, digest: str) -> None:
        """It is needed no more."""
        self._path(digest).unlink(missing_ok=True)

    async def put(self, digest: str, pieces: AsyncIterator[bytes], size: int | None = None) -> None:
        """Take a file in. Whoever breaks off leaves nothing behind.

        Args:
            size: bytes that will come, where the sender told.

        Raises:
            InvalidRequest: the bytes have another digest, or there are none.
            DiskFull, NotWritable, Fixable.
        """
        path = self._path(digest)
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep()
            self._check_room(size or 0)
            descriptor, name = tempfile.mkstemp(prefix=".upload-", dir=self._directory)
        except OSError as problem:
            raise from_os_error(problem, path) from problem
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                found = await self._take(file, pieces)
            if found == _NOTHING:
                raise InvalidRequest("an empty file is no model", "send its bytes as the body")
            if found != digest:
                raise InvalidRequest(f"digest mismatch, expected {digest}, got {found}", "send the file again")
            temporary.replace(path)
            flush_directory(self._directory)
        except OSError as problem:
            raise from_os_error(problem, path, size, self._free()) from problem
        finally:
            temporary.unlink(missing_ok=True)

    async def _take(self, file: BinaryIO, pieces: AsyncIterator[bytes]) -> str:
        hashing = hashlib.sha256()
        held = bytearray()

        def write(data: bytes) -> None:
            self._check_room(len(data))
            hashing.update(data)
            file.write(data)

        async for piece in pieces:
            held += piece
            if len(held) >= _PIECE:
                await asyncio.to_thread(write, bytes(held))
                held.clear()
        await asyncio.to_thread(write, bytes(held))
        file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())
        return f"sha256:{hashing.hexdigest()}"

    def _check_room(self, size: int) -> None:
        free = self._free()
        if free < size + RESERVE:
            raise DiskFull(
                f"the upload needs {size / 1e6:.0f} MB on the disk of {self._directory}, {free / 1e6:.0f} MB are free",
                "make room there, or set models_dir to another disk",
                needed=size,
                free=free,
            )

    def _free(self) -> int:
        return shutil.disk_usage(self._directory).free

    def _sweep(self) -> None:
        """Throw away what nobody has touched for long: left by a process that was killed, or never used."""
        for path in self._directory.iterdir():
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > KEPT_SECONDS:
                    path.unlink()

    def _path(self, digest: str) -> Path:
        return self._directory / digest_of(digest).replace(":", "-")
