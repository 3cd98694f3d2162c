"""[io] The report of a failure that nobody foresaw: a traceback in the state directory, never on the terminal."""

import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from mycoswarm import __version__
from mycoswarm.cli.app import App


def write_report(app: App, problem: BaseException) -> Path:
    """Write it, readable by its owner only; falls back to the temporary directory where the state cannot be written.

    It holds code lines and the verb, but no arguments and no values: those may be somebody's question.
    """
    verb = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    text = (
        f"mycoswarm {__version__}, Python {sys.version.split()[0]}, {sys.platform}, verb {verb or 'none'}\n\n"
        + "".join(traceback.format_exception(problem))
    )
    name = time.strftime("crash-%Y%m%d-%H%M%S.txt")
    for folder in (app.paths.state, Path(tempfile.gettempdir())):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError:
            continue
        with os.fdopen(file, "w", encoding="utf-8") as out:
            out.write(text)
        return folder / name
    return Path(os.devnull)
