"""[io] The conversation on a terminal: line editing, answers as they come, commands."""

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mycoswarm.cli import render, speaking, words
from mycoswarm.cli.answer import Answer
from mycoswarm.cli.conversation import COMMANDS, SPECIAL, Command, Conversation, choose_model, parse
from mycoswarm.cli.printer import Cell, Table
from mycoswarm.client import daemon
from mycoswarm.core.chat import ChatRequest, Delta, Text
from mycoswarm.core.errors import DaemonUnreachable, MycoError, NotFound

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

    from mycoswarm.cli.app import App
    from mycoswarm.client.http import Client

PROMPT = "› "
_NAMES_AGE = 5.0
"""Seconds for which model and node names are kept for completion: a keystroke must not ask the node each time."""


class Repl:
    """One conversation with a person. `run` returns when they leave."""

    def __init__(self, app: "App", client: "Client", conversation: Conversation) -> None:
        self._app = app
        self._print = app.printer
        self._client = client
        self._talk = conversation
        self._last: Answer | None = None
        self._names: tuple[float, list[str], list[str]] = (0.0, [], [])

    def run(self) -> None:
        read = self._editor() if self._print.on_terminal else self._plain_line
        self._print.note(self._greeting())
        hinted = False
        while True:
            try:
                line = read()
            except KeyboardInterrupt:
                if hinted:
                    self._print.note("")
                    return
                hinted = True
                self._print.note("Ctrl-D or /quit leaves; Ctrl-C once more does too.")
                continue
            hinted = False
            if line is None:
                return
            if not line.strip():
                continue
            try:
                action = parse(line)
                if isinstance(action, str):
                    self._ask(action)
                elif action.name == "quit":
                    return
                else:
                    self._obey(action)
            except MycoError as problem:
                self._print.error(problem)
                self._print.note("")

    def _greeting(self) -> str:
        up = [node for node in self._client.nodes().nodes if node.state in ("self", "up")]
        where = f" on {self._talk.node}" if self._talk.node else ""
        return f"mycoSwarm · {words.count(len(up), 'node')} · model {self._talk.model}{where} · /help\n"

    def _ask(self, question: str) -> None:
        request = self._talk.request(question)
        try:
            answer = self._hear(request)
        except DaemonUnreachable:
            # The node may have been restarted, with another port, since the conversation began.
            self._client = daemon.connect(self._app.paths)
            answer = self._hear(request)
        self._last = answer
        self._talk.answered(question, answer.text)
        if answer.start is not None:
            self._print.note(answer.footer())
        if answer.error is not None:
            self._print.error(answer.error)
        self._print.note("")

    def _hear(self, request: ChatRequest) -> Answer:
        try:
            if not self._print.on_terminal:
                return speaking.speak(self._print, self._client, request)
            with _silent_keyboard():
                return self._show(request)
        except speaking.Interrupted as stop:
            return stop.answer
        except KeyboardInterrupt:
            answer = Answer(0.0)
            answer.stop()
            self._print.note("stopped")
            return answer

    def _show(self, request: ChatRequest) -> Answer:
        from mycoswarm.cli.markdown import Stream

        out = self._print.out
        markdown = Stream(_terminal_size, time.monotonic, colour=not os.environ.get("NO_COLOR"))

        def each(delta: Delta) -> None:
            status = speaking.waiting_for(delta)
            if status == "":
                self._print.clear_status()
            elif status is not None:
                self._print.status(status)
            if isinstance(delta, Text):
                out.write(markdown.feed(delta.text))
                out.flush()

        out.write("\n\x1b[?25l")  # the cursor would jump about while the last block is drawn again
        out.flush()
        self._print.status("asking …")
        try:
            return speaking.hear(self._client, request, each)
        finally:
            self._print.clear_status()
            out.write(markdown.end() + "\x1b[?25h")
            out.flush()

    def _obey(self, command: Command) -> None:
        match command:
            case Command("help"):
                self._help()
            case Command("clear"):
                self._talk.clear()
                self._last = None
                self._print.note("A new conversation begins.\n")
            case Command("why"):
                self._why()
            case Command("model", ""):
                self._list_models()
            case Command("model", name):
                self._talk.model = choose_model(name, self._models())
                self._print.note(f"Now talking with {self._talk.model}.\n")
            case Command("node", ""):
                self._list_nodes()
            case Command("node", name):
                self._choose_node(name)
            case _:
                raise AssertionError(f"no action for /{command.name}")

    def _help(self) -> None:
        rows = [(f"/{name} {usage}".rstrip(), Cell(about)) for name, (usage, about) in COMMANDS.items()]
        rows += [
            ("Alt-Enter", Cell("begin a new line (so does a \\ at the end of one)")),
            ("Ctrl-C", Cell("stop the answer")),
        ]
        self._print.facts(rows)
        self._print.line()

    def _why(self) -> None:
        if self._last is None or self._last.placement is None:
            raise NotFound("there is no answer yet to explain", "ask something first")
        speaking.explain(self._print, self._last)
        self._print.line()

    def _list_models(self) -> None:
        table = render.models(self._client.models())
        self._print.table(table)
        self._print.note(f"Now: {self._talk.model}. To change it: /model NAME, or /model auto\n")

    def _list_nodes(self) -> None:
        full = render.nodes(self._client.nodes(), None)
        keep = (0, 3, 6, 8)
        self._print.table(
            Table(
                tuple(full.columns[index] for index in keep),
                tuple(tuple(row[index] for index in keep) for row in full.rows),
                frozenset({2}),
                spare=(2,),
            )
        )
        self._print.note(f"Now: {self._talk.node or 'any node'}. To change it: /node NAME, or /node any\n")

    def _choose_node(self, name: str) -> None:
        if name in ("any", "auto", "-"):
            self._talk.node = None
            self._print.note("Any node may answer.\n")
            return
        known = self._nodes()
        if name not in known:
            raise NotFound(f"no node `{name}` in the swarm", "there are " + words.listing(known))
        self._talk.node = name
        self._print.note(f"{name} answers from now on; /node any undoes it.\n")

    def _models(self) -> list[str]:
        return [model.name for model in self._client.models().models]

    def _nodes(self) -> list[str]:
        return [node.name for node in self._client.nodes().nodes]

    def history_file(self) -> Path | None:
        """Where what was typed is kept, for its owner's eyes only; None where it cannot be."""
        file = self._app.paths.state / "history"
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.touch(0o600)
        except OSError as problem:
            self._print.note(f"What you type is not remembered: {file} cannot be written ({problem.strerror}).")
            return None
        return file

    def completions(self, line: str) -> Iterable[tuple[str, int]]:
        """What the last word of `line` could become, with how many characters it replaces."""
        if not line.startswith("/"):
            return []
        word, _, argument = line.partition(" ")
        if " " not in line:
            return [
                (f"/{name} " if usage else f"/{name}", len(word))
                for name, (usage, _) in COMMANDS.items()
                if f"/{name}".startswith(word)
            ]
        made, models, nodes = self._names
        if time.monotonic() - made > _NAMES_AGE:
            try:
                models, nodes = self._models(), self._nodes()
            except MycoError:
                return []  # a key that completes nothing is the right answer while the node is away
            self._names = (time.monotonic(), models, nodes)
        choices = {"/model": [*models, *SPECIAL], "/node": [*nodes, "any"]}.get(word, [])
        return [(name, len(argument)) for name in choices if name.startswith(argument)]

    def _editor(self) -> Callable[[], str | None]:
        """Reads what the person types, with history and completion; None is their leaving."""
        session = _prompt_session(self)

        def read() -> str | None:
            try:
                return session.prompt([("class:prompt", PROMPT)])
            except EOFError:
                return None

        return read

    def _plain_line(self) -> str | None:
        """The same for terminals that cannot move the cursor, and where stdout is not one."""
        self._print.err.write(PROMPT)
        self._print.err.flush()
        line = sys.stdin.readline()
        while line.endswith("\\\n"):
            line = line[:-2] + "\n" + sys.stdin.readline()
        return line or None


def _prompt_session(repl: Repl) -> "PromptSession[str]":
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
    from prompt_toolkit.shortcuts import CompleteStyle
    from prompt_toolkit.styles import Style

    class Names(Completer):
        def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
            for text, replaced in repl.completions(document.text_before_cursor):
                yield Completion(text, -replaced)

    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    file = repl.history_file()
    history: History = FileHistory(str(file)) if file is not None else InMemoryHistory()
    return PromptSession(
        history=history,
        completer=Names(),
        # Names are listed below the line on Tab; a menu would keep eight empty rows under every prompt.
        complete_style=CompleteStyle.READLINE_LIKE,
        complete_while_typing=False,
        key_bindings=keys,
        multiline=True,
        prompt_continuation=" " * len(PROMPT),
        style=Style.from_dict({"prompt": "bold ansicyan"}),
    )


@contextlib.contextmanager
def _silent_keyboard() -> Iterator[None]:
    """No echo while an answer is drawn: keys typed ahead would land in the middle of it.

    They stay for the prompt, key by key: collected into lines, a Ctrl-D among them would reach it as a zero byte.
    """
    import termios

    try:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (OSError, ValueError, termios.error):
        yield
        return
    silent = [*before]
    silent[3] = before[3] & ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(descriptor, termios.TCSANOW, silent)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)


def _terminal_size() -> tuple[int, int]:
    size = shutil.get_terminal_size()
    return size.columns, size.lines
