"""From what a model wrote for JSON to the value it meant. Pure.

Six readers, the strictest first, so that nothing which is right is ever guessed at: JSON; JSON with raw line ends in
its strings; JSON with one mark lost or doubled; a Python literal; JSON with other quotes, or quotes in its strings; and
json_repair, which closes, quotes and separates what was left open.
"""

import ast
import json
import re
import warnings
from typing import Any

import msgspec

_MAX_REPAIRED = 1 << 18
"""Characters. A longer text that is not JSON costs more to guess at than asking the model again."""
_MAX_DEPTH = 100
"""Brackets open at once, as a count that ignores strings: the repairing reader is quadratic in them."""
_BRACKETS = re.compile(r"[{}\[\]()]")
_ATTEMPT = re.compile(r"\s*[{\[]")
_QUOTE = re.compile(r"[\"']")
_QUOTE_OR_ESCAPE = re.compile(r"\\.|[\"']", re.DOTALL)
_BARE_QUOTE = re.compile(r"(\\.)|\"", re.DOTALL)
_BEFORE_STRING = "{[,:"
_NEARBY = 256
"""Characters that are looked at before a quote, blanks most of them."""
_AFTER_STRING = re.compile(r"\s*(?:[,:\]}]|$)")


class Unreadable(ValueError):
    """Nobody can say what value was meant."""


def strict(text: str) -> Any:
    """The value of a JSON text. Raises Unreadable."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as problem:
        raise Unreadable(str(problem)) from None


def read(text: str) -> Any:
    """The value that `text` most likely means. Raises Unreadable where it is no attempt at an object or a list."""
    for reader in (strict, _with_raw_line_ends, _without_slip, _python, _requoted):
        try:
            return reader(text)
        except Unreadable:
            continue
    if not _ATTEMPT.match(text) or len(text) > _MAX_REPAIRED or _depth(text) > _MAX_DEPTH:
        raise Unreadable("it is no JSON and cannot be repaired")
    # 20 ms and 5 MiB: only a node whose models write broken JSON pays for it.
    import json_repair

    try:
        value = json_repair.loads(text, skip_json_loads=True)
    except (ValueError, RecursionError) as problem:
        raise Unreadable(str(problem)) from None
    if not isinstance(value, dict | list) or not value:
        raise Unreadable("it is no JSON and cannot be repaired")
    return value


def encode(value: Any) -> str:
    """JSON text, keys in the order they came. Raises Unreadable for what JSON cannot say."""
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError) as problem:
        raise Unreadable(str(problem)) from None


def _with_raw_line_ends(text: str) -> Any:
    try:
        return json.loads(text, strict=False, parse_constant=_no_constant)
    except (ValueError, RecursionError) as problem:
        raise Unreadable(str(problem)) from None


def _no_constant(name: str) -> Any:
    raise Unreadable(f"{name} is no JSON")


def python(source: str) -> ast.Module:
    """The statements of a piece of Python. Raises Unreadable."""
    if len(source) > _MAX_REPAIRED or _depth(source) > _MAX_DEPTH:
        raise Unreadable("too long, or nested too deeply")
    try:
        with warnings.catch_warnings():
            # An escape that Python does not know is the model's affair, not a line in our log.
            warnings.simplefilter("ignore", SyntaxWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            return ast.parse(source.strip())
    except (SyntaxError, ValueError, MemoryError, RecursionError) as problem:
        raise Unreadable(str(problem)) from None


def _python(text: str) -> Any:
    match python(text).body:
        case [ast.Expr(expression)]:
            pass
        case _:
            raise Unreadable("no single value")
    try:
        value = ast.literal_eval(expression)
    except (ValueError, TypeError, MemoryError, RecursionError) as problem:
        raise Unreadable(str(problem)) from None
    # Tuples become lists; sets, bytes and complex numbers are nothing that JSON knows.
    odd = any(isinstance(node, ast.Set) for node in ast.walk(expression))
    if odd or not isinstance(value, dict | list | tuple | str | int | float | None):
        raise Unreadable("a Python value that JSON does not know")
    return strict(encode(value))


def _requoted(text: str) -> Any:
    """With every string in quotes of its own; a quote ends one only where JSON goes on behind it."""
    out: list[str] = []
    at = 0
    for opening in _QUOTE.finditer(text):
        before = text[max(at, opening.start() - _NEARBY) : opening.start()].rstrip()
        if opening.start() < at or before[-1:] not in _BEFORE_STRING:
            continue
        closing = opening.end()
        while (found := _QUOTE_OR_ESCAPE.search(text, closing)) is not None:
            closing = found.end()
            if found.group() == opening.group() and _AFTER_STRING.match(text, closing):
                break
        if found is None:
            raise Unreadable("a string without end")
        inside = text[opening.end() : closing - 1]
        inside = _BARE_QUOTE.sub(lambda each: each[1] or r"\"", inside.replace(r"\'", "'"))
        out += [text[at : opening.start()], '"', inside, '"']
        at = closing
    return _with_raw_line_ends("".join([*out, text[at:]]))


def _without_slip(text: str) -> Any:
    """With one kind of slip undone; one only, and only if that makes JSON: strings may hold what looks like another."""
    if len(text) > _MAX_REPAIRED:
        raise Unreadable("too long")
    for slip, meant in _SLIPS:
        undone, times = slip.subn(meant, text)
        for attempt in (undone, undone.rstrip()[:-1]) if times else ():
            try:
                return strict(attempt)
            except Unreadable:
                continue
    raise Unreadable("no slip of a known kind")


_SLIPS = (
    (re.compile(r'([{\[,:]\s*)""(?=[^\s",:\]}])'), r'\1"'),
    (re.compile(r'(?<=[^\s"\\{\[,:])""(?=\s*[,:\]}])'), '"'),
    (re.compile(r"([,:])\s*\1+"), r"\1"),
    (re.compile(r"\{\s*\{(?=\s*[\"}])"), "{"),
    (re.compile(r'([{,]\s*"[^"\n]*")\s*(?=["{\[])'), r"\1: "),
    (re.compile(r'(:\s*)([A-Za-z_][\w. -]*)"(?=\s*[,}\]])'), r'\1"\2"'),
    (re.compile(r'(:\s*"[^"\n:]*)(?=,\s*"[^"\n]*"\s*:)'), r'\1"'),
    (re.compile(r'([{,]\s*)([A-Za-z_]\w*)"(?=\s*:)'), r'\1"\2"'),
    (re.compile(r'([{,]\s*"[A-Za-z_]\w*)(?=\s*:)'), r'\1"'),
    (re.compile(r'("(?:arguments|parameters|args|input)"\s*:\s*)(?="\w+"\s*:)'), r"\1{"),
)
"""Each with what was meant."""


def _depth(text: str) -> int:
    deepest = depth = 0
    for bracket in _BRACKETS.finditer(text):
        depth = depth + 1 if bracket.group() in "{[(" else max(depth - 1, 0)
        deepest = max(deepest, depth)
    return deepest
