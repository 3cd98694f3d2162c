"""[io] An answer printed as plain text while it comes: what `ask` does, and `chat` where there is no full terminal."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from mycoswarm.cli.answer import Answer
from mycoswarm.cli.words import clean
from mycoswarm.core.chat import ChatRequest, Delta, Note, Start, Text, Thinking
from mycoswarm.core.errors import MycoError

if TYPE_CHECKING:
    from mycoswarm.cli.printer import Printer
    from mycoswarm.client.http import Client


def hear(client: "Client", request: ChatRequest, each: Callable[[Delta], None]) -> Answer:
    """Ask, and hand every delta to `each` as it comes, after the answer has taken it in.

    Ctrl-C hangs up and goes on to the caller. An error before the first delta is raised; a later one is kept in the
    answer, beside the text that was delivered.
    """
    answer = Answer(time.monotonic())
    with client.chat(request) as deltas:
        try:
            for delta in deltas:
                answer.feed(delta, time.monotonic())
                each(delta)
        except KeyboardInterrupt as stop:
            answer.stop()
            raise Interrupted(answer) from stop
        except MycoError as problem:
            if answer.start is None:
                raise
            answer.error = problem
    answer.end()
    return answer


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in the middle of an answer; `answer` holds what had come by then."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


def waiting_for(delta: Delta) -> str | None:
    """What a status line says after `delta`; "" takes it away, None leaves it as it is."""
    match delta:
        case Note(kind="queue" | "loading" | "retry" | "resumed"):
            return delta.text or delta.kind
        case Start():
            return f"{delta.node_name or 'the node'} is reading …"
        case Thinking():
            return "thinking …"
        case Text():
            return ""
        case _:
            return None


def speak(printer: "Printer", client: "Client", request: ChatRequest, *, aloud: bool = True) -> Answer:
    """Ask and print the text as it comes, each delta flushed; a line end is added where the answer has none.

    aloud: False prints nothing of the text (`ask --json` prints the whole at the end).
    """
    on_terminal = printer.on_terminal
    written = ""

    def each(delta: Delta) -> None:
        nonlocal written
        status = waiting_for(delta)
        if status == "":
            printer.clear_status()
        elif status is not None and not written:
            printer.status(status)
        if aloud and isinstance(delta, Text):
            # A pipe gets the model's bytes as they are; a terminal would obey control characters.
            text = clean(delta.text) if on_terminal else delta.text
            printer.out.write(text)
            printer.out.flush()
            written = text or written

    printer.status("asking …")
    try:
        return hear(client, request, each)
    finally:
        printer.clear_status()
        if written and not written.endswith("\n"):
            printer.out.write("\n")
            printer.out.flush()


def finish(printer: "Printer", answer: Answer, *, why: bool = False) -> None:
    """What comes after the text: the placement table if asked for, the footer, the error if there was one (raised)."""
    if why and answer.placement is not None:
        explain(printer, answer)
    if answer.start is not None:
        printer.note(answer.footer())
    if answer.error is not None:
        raise answer.error


def explain(printer: "Printer", answer: Answer) -> None:
    """The placement table on stderr."""
    from mycoswarm.cli import render

    if answer.placement is None:
        return
    printer.beside().table(render.placement(answer.placement))
    if answer.placement.reason:
        printer.note(answer.placement.reason)
