"""[io] Where log lines go."""

import logging
import logging.handlers
import sys
import time
from pathlib import Path

_MAX_BYTES = 2 * 1024 * 1024
_KEPT_FILES = 3


class _Line(logging.Formatter):
    """One line a record, its time in UTC, so that the logs of several machines can be laid side by side."""

    converter = time.gmtime
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")


def set_up(file: Path, level: str) -> None:
    """Log to `file` from `level` on; warnings go to stderr as well.

    Raises:
        OSError: the file cannot be written.
    """
    to_file = logging.handlers.RotatingFileHandler(file, maxBytes=_MAX_BYTES, backupCount=_KEPT_FILES, encoding="utf-8")
    to_file.setFormatter(_Line())
    file.chmod(0o600)
    to_stderr = logging.StreamHandler(sys.stderr)
    to_stderr.setLevel(logging.WARNING)
    to_stderr.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [to_file, to_stderr]
    root.setLevel(logging.WARNING)
    logging.getLogger("mycoswarm").setLevel(level.upper())
