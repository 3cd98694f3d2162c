"""What models write, and what was meant: the cases of corpus/*.toml, one file a family or kind of mistake."""

import functools
import itertools
import json
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mycoswarm.core.chat import Tool
from mycoswarm.engines.toolcalls.recognise import Piece, Recogniser, Said, Thought
from mycoswarm.engines.toolcalls.repair import Call, Hopeless
from mycoswarm.engines.toolcalls.toolbox import Toolbox

FOLDER = Path(__file__).parent / "corpus"
NULL = "null!"
"""TOML has no null; this stands for it."""


class Case(msgspec.Struct, frozen=True):
    """`text`: what must be left as text; where the file does not say and no call is expected, all of it.

    hopeless: part of the note that says why something stayed text.
    """

    kind: str
    name: str
    written: str
    calls: tuple[tuple[str, Any], ...]
    text: str
    thought: str = ""
    thinks: bool = False
    hopeless: str = ""

    @property
    def label(self) -> str:
        return f"{self.kind}: {self.name}"


class Outcome(msgspec.Struct, frozen=True):
    """What came out, neighbouring texts joined."""

    calls: tuple[tuple[str, Any], ...]
    text: str
    thought: str
    notes: tuple[str, ...]


@functools.cache
def tools() -> tuple[Tool, ...]:
    return tuple(Tool(**tool) for tool in json.loads((FOLDER / "tools.json").read_text()))


@functools.cache
def cases() -> tuple[Case, ...]:
    return tuple(
        _case(file.stem, found)
        for file in sorted(FOLDER.glob("*.toml"))
        for found in tomllib.loads(file.read_text())["case"]
    )


def _case(kind: str, found: dict[str, Any]) -> Case:
    calls = tuple((name, _with_nulls(arguments)) for name, arguments in found.get("calls", ()))
    text = found.get("text", "" if calls else found["in"])
    return Case(
        kind,
        found["name"],
        found["in"],
        calls,
        text,
        found.get("thought", ""),
        found.get("thinks", False),
        found.get("hopeless", ""),
    )


def _with_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nulls(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_nulls(each) for each in value]
    return None if value == NULL else value


def run(case: Case, cuts: Sequence[int] = ()) -> Outcome:
    """The case's text through the recogniser, cut at `cuts`."""
    recogniser = Recogniser(Toolbox(tools()), thinks=case.thinks)
    pieces: list[Piece] = []
    edges = [0, *sorted(cut for cut in set(cuts) if 0 < cut < len(case.written)), len(case.written)]
    for start, stop in itertools.pairwise(edges):
        pieces += recogniser.feed(case.written[start:stop])
    return outcome([*pieces, *recogniser.end()])


def outcome(pieces: Iterable[Piece]) -> Outcome:
    calls: list[tuple[str, Any]] = []
    text = thought = ""
    notes: list[str] = []
    for piece in pieces:
        match piece:
            case Said(said):
                text += said
            case Thought(said):
                thought += said
            case Call(name, arguments):
                calls.append((name, json.loads(arguments)))
            case Hopeless(_, why):
                notes.append(why)
    return Outcome(tuple(calls), text, thought, tuple(notes))
