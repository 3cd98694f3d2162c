"""The tools of one request, and which of them a model means by the name it wrote. Pure."""

import difflib
import re
from collections.abc import Iterable

from mycoswarm.core.chat import Tool

_NEAR = 0.84
"""Likeness of two names; `get_wether` is taken for `get_weather`, `set_weather` (.82 in its plain form) is not."""
_PREFIX = re.compile(r"^(?:functions?|tools?|default_api|api|namespace|mcp)(?:[.:/]|__)", re.IGNORECASE)
_NUMBERED = re.compile(r":\d+$")
"""Kimi writes `functions.look:0`."""
_SEPARATORS = re.compile(r"[\s_\-.:/]+")
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Toolbox:
    """The tools by every spelling under which they are known."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self.tools = tuple(tools)
        self._exact = {tool.name: tool for tool in self.tools}
        self._plain: dict[str, list[Tool]] = {}
        for tool in self.tools:
            self._plain.setdefault(_plain(tool.name), []).append(tool)

    def find(self, name: str) -> Tool | None:
        """The tool of that name, or of a spelling of it: case, hyphens, `functions.` before it."""
        name = name.strip().strip("`'\"")
        for spelling in (name, _NUMBERED.sub("", name), bare(name)):
            if (tool := self._exact.get(spelling)) is not None:
                return tool
            same = self._plain.get(_plain(spelling), [])
            if len(same) == 1:
                return same[0]
        return None

    def begins(self, name: str) -> bool:
        """Whether a tool's name, in some spelling, begins like this."""
        plain = _plain(name)
        return any(spelling.startswith(plain) for spelling in self._plain)

    def nearest(self, name: str) -> Tool | None:
        """As `find`, or the one tool whose name is nearly this. For what is certainly meant as a call."""
        if (tool := self.find(name)) is not None:
            return tool
        near = difflib.get_close_matches(_plain(bare(name)), self._plain, 2, _NEAR)
        found = [tool for spelling in near for tool in self._plain[spelling]]
        return found[0] if len(found) == 1 else None


def bare(name: str) -> str:
    """A name without the namespace or the number that some models put round it."""
    return _PREFIX.sub("", _NUMBERED.sub("", name.strip()))


def _plain(name: str) -> str:
    return _SEPARATORS.sub("", _WORD_START.sub("_", name)).lower()
