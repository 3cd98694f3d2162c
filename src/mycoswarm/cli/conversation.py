"""A conversation: what was said, whom it is with, and the commands that steer it. Pure."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from mycoswarm.core.chat import ChatRequest, Message, message
from mycoswarm.core.errors import InvalidRequest, UnknownModel

AUTO = "auto"
SPECIAL = (AUTO, "fast", "code")
"""Model names that every swarm understands: the router chooses what they stand for."""

COMMANDS: dict[str, tuple[str, str]] = {
    "model": ("[NAME]", "talk with another model; without a name: list them"),
    "node": ("[NAME]", "let this node answer; `any` lets the swarm choose again; without a name: list them"),
    "why": ("", "show why the last answer came from where it came"),
    "clear": ("", "forget this conversation and begin a new one"),
    "help": ("", "show this"),
    "quit": ("", "leave (or Ctrl-D)"),
}
_COMMAND = re.compile(r"/([A-Za-z?]+)(?:\s+(.*))?$", re.DOTALL)


@dataclass(frozen=True)
class Command:
    """`/name argument`."""

    name: str
    argument: str = ""


def parse(line: str) -> Command | str:
    """A command, or the question that `line` is. Paths such as `/etc/hosts` are questions.

    Raises:
        InvalidRequest: a command that does not exist.
    """
    found = _COMMAND.match(line)
    if found is None:
        return line.strip()
    name = {"?": "help", "exit": "quit", "q": "quit", "bye": "quit"}.get(found[1].lower(), found[1].lower())
    if name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean /{near[0]}?" if near else "/help lists the commands"
        raise InvalidRequest(f"there is no command /{name}", hint)
    return Command(name, (found[2] or "").strip())


class Conversation:
    """The turns so far, sent whole with every question. A question without any answer leaves no trace."""

    def __init__(self, model: str = AUTO, node: str | None = None) -> None:
        self.model = model
        self.node = node
        self._turns: list[Message] = []
        self._session = ""
        self.clear()

    @property
    def turns(self) -> tuple[Message, ...]:
        return tuple(self._turns)

    def clear(self) -> None:
        """Begin a new one, with the same model and node."""
        self._turns.clear()
        # Tells the router which requests belong together; random, so it says nothing about the conversation.
        self._session = "chat-" + secrets.token_hex(8)

    def request(self, question: str) -> ChatRequest:
        """What is sent for `question`; placement is always asked for, so that /why can show it afterwards."""
        return ChatRequest(
            model=self.model,
            messages=(*self._turns, message("user", question)),
            session=self._session,
            prefer_node=self.node,
            why=True,
        )

    def answered(self, question: str, answer: str) -> None:
        """Keep the turn; of a stopped answer what was heard."""
        if answer:
            self._turns += [message("user", question), message("assistant", answer)]


def choose_model(asked: str, known: Sequence[str]) -> str:
    """`asked` if the swarm has it (`NAME`, `NAME@NODE`, or a special name).

    Raises:
        UnknownModel: with the nearest name as hint.
    """
    name = asked.partition("@")[0]
    if name in known or name in SPECIAL:
        return asked
    near = get_close_matches(name, [*known, *SPECIAL], 1, 0.5)
    raise UnknownModel(f"no model `{name}` in the swarm", f"did you mean {near[0]}?" if near else "/model lists them")


def split_arguments(words: Sequence[str], known: Sequence[str]) -> tuple[str | None, str]:
    """The positional arguments of `chat` as (model, question).

    The first word is a model where it is written like one (`name:tag`, `name@node`) or is one of the swarm or a special
    name. Everything else is the question. A single word that is nearly a model's name is refused rather than
    asked.

    Raises:
        UnknownModel: a lone word that is nearly a model's name.
    """
    if not words:
        return None, ""
    first = words[0]
    alone = len(words) == 1
    name = first.partition("@")[0]
    if name in known or name in SPECIAL or re.fullmatch(r"[\w.\-/]+(:[\w.\-]+(@[\w.\-]+)?|@[\w.\-]+)", first):
        return first, " ".join(words[1:])
    if alone and not re.search(r"\s", first) and (near := get_close_matches(first, known, 1, 0.8)):
        raise UnknownModel(
            f"no model `{first}` in the swarm", f"did you mean {near[0]}? To ask the word itself: mycoswarm ask {first}"
        )
    return None, " ".join(words)
