"""The marks that models put round a call, by family. Pure."""

import re
from collections.abc import Sequence

OPENERS = (
    # Qwen, Hermes and most that were taught by their data; GLM writes a name and tags behind it
    "<tool_call>",
    "<tool_calls>",
    "<toolcall>",
    "<tools>",
    "<function_call>",
    "<functioncall>",
    "<function_calls>",
    "<minimax:tool_call>",
    "<seed:tool_call>",
    # Phi, Granite; LFM; Apertus; Command R7B
    "<|tool_call|>",
    "<|tool_calls|>",
    "<|tool_call_start|>",
    "<|tools_prefix|>",
    "<|start_action|>",
    # Kimi, DeepSeek
    "<|tool_calls_section_begin|>",
    "<|tool_call_begin|>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    # Llama, Mistral, Firefunction, gpt-oss
    "<|python_tag|>",
    "[tool_calls]",
    "functools",
    "<|channel|>commentary to=",
)
"""In lower case: models write them in any."""

NAMED = ("<function=", "<function name=", "<invoke name=")
"""What opens a call and names its tool at once."""

CLOSERS = (
    "</tool_call>",
    "</tool_calls>",
    "</toolcall>",
    "</tools>",
    "</function_call>",
    "</functioncall>",
    "</function_calls>",
    "</function>",
    "</invoke>",
    "</minimax:tool_call>",
    "</seed:tool_call>",
    "<|/tool_call|>",
    "<|/tool_calls|>",
    "<|tool_call_end|>",
    "<|tools_suffix|>",
    "<|end_action|>",
    "<|tool_calls_section_end|>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁calls▁end｜>",
    "[/tool_calls]",
    "<|call|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|end|>",
    "</s>",
)

CONNECTORS = (
    "[args]",
    "<|tool_call_argument_begin|>",
    "<｜tool▁sep｜>",
    "<|constrain|>json",
    "<|constrain|>",
    "<|message|>",
    "```json",
    "```",
)
"""Between a tool's name and its arguments."""


def pattern(marks: Sequence[str]) -> "re.Pattern[str]":
    """Any of `marks`, the longest first."""
    return re.compile("|".join(re.escape(mark) for mark in sorted(marks, key=len, reverse=True)), re.IGNORECASE)


class Marks:
    """A set of marks that is looked for at one place of a growing text."""

    def __init__(self, marks: Sequence[str]) -> None:
        self._pattern = pattern(marks)
        self._beginnings = frozenset(mark[:length] for mark in marks for length in range(1, len(mark)))
        self._longest = max(map(len, marks))

    def at(self, text: str, index: int) -> int:
        """Length of the mark that stands at `index`, 0 where there is none."""
        found = self._pattern.match(text, index)
        return found.end() - index if found else 0

    def begins(self, text: str, index: int) -> bool:
        """Whether all that is left from `index` is the beginning of a mark."""
        return len(text) - index < self._longest and text[index:].lower() in self._beginnings

    def find(self, text: str, index: int) -> int | None:
        """Where the first one behind `index` stands."""
        found = self._pattern.search(text, index)
        return found.start() if found else None

    def unfinished(self, text: str, start: int = 0) -> int:
        """Where the beginning of a mark stands at the end of `text`; its length where none does."""
        for index in range(max(start, len(text) - self._longest + 1), len(text)):
            if text[index:].lower() in self._beginnings:
                return index
        return len(text)
