"""[io] The file of keys: `keys.json` in the state directory, 0600, with a schema version.

It holds hashes, so it lets nobody in; but who may ask what is the owner's business, and whoever could write it could
let himself in.
"""

import logging
import stat
from pathlib import Path

import msgspec

from mycoswarm.access.keys import Key
from mycoswarm.core.errors import Fixable
from mycoswarm.fabric.files import read_private, write_private

_log = logging.getLogger(__name__)

VERSION = 1


class _Version(msgspec.Struct, frozen=True):
    version: int


class _File(msgspec.Struct, frozen=True):
    version: int
    keys: tuple[Key, ...]


class KeyStore:
    """One file of keys."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> tuple[Key, ...]:
        """The keys, none where there is no file. Raises Fixable for a damaged or newer one, which is left as it is."""
        data = read_private(self.path)
        if data is None:
            return ()
        try:
            version = msgspec.json.decode(data, type=_Version).version
            if version > VERSION:
                raise Fixable(
                    f"the API keys in {self.path} were written by a newer version of mycoSwarm",
                    "update this machine; until then its keys are not accepted",
                )
            return msgspec.json.decode(data, type=_File).keys
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            raise Fixable(
                f"the API keys in {self.path} cannot be read: {problem}",
                "bring the file back from a backup, or move it away and make new keys",
            ) from None

    def save(self, keys: tuple[Key, ...]) -> None:
        """Replace the file. Raises DiskFull, NotWritable."""
        write_private(self.path, msgspec.json.format(msgspec.json.encode(_File(VERSION, keys)), indent=1))

    def exposed(self) -> bool:
        """Whether other users of this machine can read or write the file."""
        try:
            return bool(stat.S_IMODE(self.path.stat().st_mode) & 0o077)
        except OSError:
            return False
