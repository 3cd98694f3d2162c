"""`mycoswarm logs`: the node's log, read from its file, so that it can be read when the node cannot."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import click

from mycoswarm.cli.app import App, Verb, pass_app

_BLOCK = 1 << 16
_POLL = 0.2


@click.command(cls=Verb)
@click.option("-n", "--lines", type=click.IntRange(min=0), default=100, show_default=True, help="How many of the last.")
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows, until Ctrl-C.")
@pass_app
def logs(app: App, lines: int, follow: bool) -> None:
    """Show the node's log."""
    from mycoswarm.core.errors import NotFound

    file = app.paths.log_file
    if not file.exists():
        raise NotFound(f"there is no log at {file}", "it is written by the node: mycoswarm up")
    text, end = tail(file, lines)
    app.printer.out.write(text)
    app.printer.out.flush()
    if follow:
        for more in growth(file, end):
            app.printer.out.write(more)
            app.printer.out.flush()


def tail(file: Path, lines: int) -> tuple[str, int]:
    """The last `lines` lines, read from the end, and the offset behind them."""
    with file.open("rb") as log:
        end = start = log.seek(0, os.SEEK_END)
        data = b""
        while start > 0 and data.count(b"\n") <= lines:
            start = max(0, start - _BLOCK)
            log.seek(start)
            data = log.read(end - start)
    kept = data.splitlines(keepends=True)[-lines:] if lines else []
    return b"".join(kept).decode("utf-8", "replace"), end


def growth(file: Path, offset: int) -> Iterator[str]:
    """What is appended from `offset` on, for ever; begins anew where the file is replaced or cut."""
    identity = file.stat().st_ino
    while True:
        try:
            now = file.stat()
        except FileNotFoundError:  # between the renaming and the new file of a rotation
            time.sleep(_POLL)
            continue
        if now.st_ino != identity or now.st_size < offset:
            identity, offset = now.st_ino, 0
        if now.st_size > offset:
            with file.open("rb") as log:
                log.seek(offset)
                data = log.read(_BLOCK)
            offset += len(data)
            yield data.decode("utf-8", "replace")
        else:
            time.sleep(_POLL)
