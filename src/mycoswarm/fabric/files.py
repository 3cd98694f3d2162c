"""[io] Small private files, written so that a crash leaves the old one or the new one and never half of one."""

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from mycoswarm.core.errors import MycoError, from_os_error

_log = logging.getLogger(__name__)


def read_private(path: Path) -> bytes | None:
    """The file's bytes, None where there is none. Raises NotWritable, Fixable where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise from_os_error(problem, path) from problem


def write_private(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, mode 0600, its folder 0700. Raises DiskFull, NotWritable, Fixable."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as problem:
        raise from_os_error(problem, path) from problem


def remove(path: Path) -> None:
    """Remove `path` if it is there. Raises NotWritable, Fixable."""
    try:
        path.unlink(missing_ok=True)
    except OSError as problem:
        raise from_os_error(problem, path) from problem


def keep(loss: str, write: Callable[[], None]) -> None:
    """Write what can be done without; a full disk must not stop what follows. loss: a clause for the log."""
    try:
        write()
    except (MycoError, OSError) as problem:
        _log.warning("%s: %s", loss, problem)
