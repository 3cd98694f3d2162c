"""What a model's chat template does with tools. Pure.

The template is a program (Jinja); its source is read, not run: whether it has a place for tools is what decides if an
engine may be asked to pass them on, for one without such a place drops them without a word.
"""

import re
from collections.abc import Mapping

_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_CODE = re.compile(r"\{\{(?P<shown>.*?)\}\}|\{%(?P<done>.*?)%\}", re.DOTALL)
_LITERAL = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
_TOOLS = r"(?<![\w.])tools(?!\w|\s*=[^=]|\s*\()"
_USED = re.compile(_TOOLS)
_LOOPED = re.compile(r"\bfor\b.+?\bin\b[^%]*?" + _TOOLS, re.DOTALL)
_ASSIGNED = re.compile(r"\bset\s+(?P<name>\w+)\s*=(?P<value>.*)", re.DOTALL)
_KEY = "tokenizer.chat_template"


def renders_tools(template: str) -> bool:
    """Whether it writes the tools of a request into the prompt: shows them, goes through them, or hands them on."""
    for code in _CODE.finditer(_COMMENT.sub("", template)):
        if code["shown"] is not None:
            if _USED.search(_LITERAL.sub("''", code["shown"])):
                return True
            continue
        done = _LITERAL.sub("''", code["done"])
        if _LOOPED.search(done):
            return True
        assigned = _ASSIGNED.search(done)
        if assigned is not None and assigned["name"] != "tools" and _USED.search(_without_condition(assigned["value"])):
            return True
    return False


def _without_condition(value: str) -> str:
    """What is assigned, and not what decides whether it is."""
    return re.sub(r"\bif\b.*?(?:\belse\b|$)", "", value, flags=re.DOTALL)


def takes_tools(values: Mapping[str, object]) -> bool:
    """Whether one of a model file's templates does: the usual one, or the one it keeps for tools alone."""
    templates = (values.get(key) for key in (_KEY, f"{_KEY}.tool_use"))
    return any(renders_tools(template) for template in templates if isinstance(template, str))
