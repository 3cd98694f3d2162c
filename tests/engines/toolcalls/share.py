"""How many of the corpus's calls are rescued, by kind: with a strict reader of JSON, and with ours.

Strict is what an engine's own parser does: the marks as they were taught, JSON as the standard has it, the tool by its
very name, arguments as its schema has them. `python -m tests.engines.toolcalls.share` prints the table.
"""

import random
import re
from typing import Any

import msgspec

from mycoswarm.engines.toolcalls import schema
from tests.engines.toolcalls.corpus import Case, cases, run, tools

_TAUGHT = (
    re.compile(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", re.DOTALL),
    re.compile(r"\[TOOL_CALLS\]\s*(\[.*\])\s*(?:</s>)?$", re.DOTALL),
    re.compile(r"<\|tool_call\|>(\[.*\])(?:<\|/tool_call\|>)?$", re.DOTALL),
    re.compile(r"functools(\[.*\])$", re.DOTALL),
    re.compile(r"<\|START_ACTION\|>(\[.*\])<\|END_ACTION\|>", re.DOTALL),
    re.compile(r"^(?:<\|python_tag\|>)?(\{.*\})\s*$", re.DOTALL),
)
_BY_NAME = (
    re.compile(r"<function=(\w+)>(\{.*?\})</function>", re.DOTALL),
    re.compile(
        r"<\|tool_call_begin\|>functions\.(\w+):\d+<\|tool_call_argument_begin\|>(.*?)<\|tool_call_end\|>", re.DOTALL
    ),
    re.compile(
        r"<｜tool▁call▁begin｜>(?:function<｜tool▁sep｜>)?(\w+)\n```json\n(.*?)\n```<｜tool▁call▁end｜>", re.DOTALL
    ),
    re.compile(r"<｜tool▁call▁begin｜>(\w+)<｜tool▁sep｜>(\{.*?\})<｜tool▁call▁end｜>", re.DOTALL),
    re.compile(r"\[TOOL_CALLS\](\w+)\[ARGS\](\{.*?\})(?=\[TOOL_CALLS\]|$)", re.DOTALL),
    re.compile(r"commentary to=functions\.(\w+) <\|constrain\|>json<\|message\|>(\{.*?\})<\|call\|>", re.DOTALL),
)
_CODER = re.compile(r"<tool_call>\s*<function=(\w+)>\s*(.*?)</function>\s*</tool_call>", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=(\w+)>\n(.*?)\n</parameter>\s*", re.DOTALL)


class Share(msgspec.Struct, frozen=True):
    """Of one kind of case: how many hold calls, and how many of those each reader gets right."""

    kind: str
    cases: int
    strict: int
    ours: int


def strict(written: str) -> tuple[tuple[str, Any], ...]:
    """The calls that a strict reader finds."""
    found: list[tuple[str, Any]] = []
    try:
        for pattern in _TAUGHT:
            for body in pattern.findall(written):
                value = msgspec.json.decode(body)
                calls = value if isinstance(value, list) else [value]
                found += [(call.get("name"), call.get("arguments", call.get("parameters"))) for call in calls]
            if found:
                break
        for pattern in _BY_NAME:
            found += [(name, msgspec.json.decode(body)) for name, body in pattern.findall(written)]
        for name, body in _CODER.findall(written):
            found.append((name, {key: _typed(name, key, value) for key, value in _PARAMETER.findall(body)}))
    except (msgspec.DecodeError, AttributeError):
        return ()
    return tuple(found) if all(_taken(name, arguments) for name, arguments in found) else ()


def _typed(name: str, key: str, value: str) -> Any:
    """Qwen3-Coder's own parser reads numbers and lists by the tool's schema."""
    wanted = next((tool.parameters["properties"].get(key, {}) for tool in tools() if tool.name == name), {})
    return value if wanted.get("type") == "string" else msgspec.json.decode(value)


def _taken(name: Any, arguments: Any) -> bool:
    tool = next((tool for tool in tools() if tool.name == name), None)
    if tool is None or not isinstance(arguments, dict):
        return False
    try:
        fitted = schema.fit(arguments, tool.parameters)
    except schema.Mismatch:
        return False
    return msgspec.json.encode(fitted) == msgspec.json.encode(arguments)


def _right(case: Case) -> bool:
    found = run(case)
    return found.calls == case.calls and found.text == case.text


def shares() -> list[Share]:
    """By kind, and of all at the end."""
    wanted = [case for case in cases() if case.calls]
    kinds = list(dict.fromkeys(case.kind for case in wanted))
    rows = [_share(kind, [case for case in wanted if case.kind == kind]) for kind in kinds]
    return [*rows, _share("all", wanted)]


def _share(kind: str, wanted: list[Case]) -> Share:
    return Share(
        kind,
        len(wanted),
        sum(strict(case.written) == case.calls for case in wanted),
        sum(_right(case) for case in wanted),
    )


_LOST = '{}[]":,'
_DAMAGED = 400


def damaged() -> list[Share]:
    """Right calls with one structural character lost or doubled at random: nothing that the readers were made for."""
    chance = random.Random(1)
    right = [case for case in cases() if "{" in case.written and case.calls and strict(case.written) == case.calls]
    rows: list[Share] = []
    for kind, times in (("one lost", 0), ("one doubled", 2)):
        wanted: list[Case] = []
        for _ in range(_DAMAGED):
            case = chance.choice(right)
            # Of the JSON only: a broken mark is another mistake.
            places = [at for at, char in enumerate(case.written) if char in _LOST and at >= case.written.index("{")]
            at = chance.choice(places)
            written = case.written[:at] + case.written[at] * times + case.written[at + 1 :]
            wanted.append(msgspec.structs.replace(case, written=written))
        rows.append(_share(kind, wanted))
    return rows


def kept() -> tuple[int, int]:
    """Answers without a call: how many come out byte for byte, of how many."""
    plain = [case for case in cases() if not case.calls]
    return sum(run(case).text == case.written and not run(case).calls for case in plain), len(plain)


def main() -> None:
    print(f"{'kind':14} {'cases':>5} {'strict':>7} {'ours':>7}")
    for row in [*shares(), *damaged()]:
        print(f"{row.kind:14} {row.cases:5} {row.strict / row.cases:7.0%} {row.ours / row.cases:7.0%}")
    right, of = kept()
    print(f"answers without a call, byte for byte: {right} of {of}")


if __name__ == "__main__":
    main()
