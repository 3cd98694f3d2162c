import io
import os
import sys
import threading
import time

import pytest

from mycoswarm.cli import question
from mycoswarm.cli.printer import Printer
from mycoswarm.core.errors import InvalidRequest


@pytest.mark.parametrize(
    ("words", "text", "whole"),
    [
        ("summarise", "the notes", "summarise\n\nthe notes"),
        ("hi", "", "hi"),
        ("", "only this", "only this"),
        (" ", "", ""),
    ],
)
def test_join(words: str, text: str, whole: str) -> None:
    assert question.join(words, text) == whole


class _Piped:
    """stdin over a real descriptor."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reader, self.writer = os.pipe()
        self._file = os.fdopen(reader)
        monkeypatch.setattr(sys, "stdin", self._file)

    def close(self) -> None:
        self._file.close()


def _printer() -> tuple[Printer, io.StringIO]:
    err = io.StringIO()
    return Printer(io.StringIO(), err, terminal=False), err


def test_a_pipe_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    piped = _Piped(monkeypatch)
    os.write(piped.writer, "\nzwei\n\nZeilen ä\n".encode())
    os.close(piped.writer)
    printer, err = _printer()
    assert question.piped(printer) == "zwei\n\nZeilen ä"
    assert err.getvalue() == ""
    piped.close()


def test_a_silent_pipe_is_waited_for_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question, "_PATIENCE", 0.05)
    piped = _Piped(monkeypatch)

    def late() -> None:
        time.sleep(0.3)
        os.write(piped.writer, b"late")
        os.close(piped.writer)

    thread = threading.Thread(target=late)
    thread.start()
    printer, err = _printer()
    assert question.piped(printer) == "late"
    assert "Waiting for the end of standard input" in err.getvalue()
    thread.join()
    piped.close()


def test_what_is_no_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    piped = _Piped(monkeypatch)
    os.write(piped.writer, b"\x89PNG\xff\xfe")
    os.close(piped.writer)
    with pytest.raises(InvalidRequest, match="not UTF-8"):
        question.piped(_printer()[0])
    piped.close()


def test_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question, "LIMIT", 1 << 10)
    monkeypatch.setattr(sys, "stdin", io.StringIO("x" * 2000))
    with pytest.raises(InvalidRequest, match="longer than"):
        question.piped(_printer()[0])


def test_no_stdin_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert question.piped(_printer()[0]) == ""
