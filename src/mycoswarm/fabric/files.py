"""[io] Small private files, written so that a crash leaves the old one or the new one and never half of one.

What returns has reached the disk, its folder included: after a power cut a keeper with the roster of a minute ago would
sign another word in the place of one that the members have, and a key that was destroyed must not be there again.
"""

import contextlib
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
            _settle(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as problem:
        raise from_os_error(problem, path) from problem


def remove(path: Path) -> None:
    """Remove `path` if it is there. Raises NotWritable, Fixable."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    except OSError as problem:
        raise from_os_error(problem, path) from problem
    _settle(path.parent)


def _settle(folder: Path) -> None:
    """Bring a rename or removal in `folder` to the disk."""
    # Not every file system can (some shares refuse it); what was done is done all the same.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def keep(loss: str, write: Callable[[], None]) -> None:
    """Write what can be done without; a full disk must not stop what follows. loss: a clause for the log."""
    try:
        write()
    except (MycoError, OSError) as problem:
        _log.warning("%s: %s", loss, problem)
