"""Ollama's `options`, `format`, `think` and `keep_alive` in canonical words. Pure."""

import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from mycoswarm.core.chat import Effort, ResponseFormat, Sampling
from mycoswarm.core.errors import InvalidRequest

_FLOATS = ("temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "repeat_penalty")
_INTS = ("top_k", "seed")
_CANONICAL = frozenset((*_FLOATS, *_INTS, "stop", "num_predict", "num_ctx"))
_LARGEST = 1 << 63
"""Whole numbers of engines have 64 bits at most."""
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")


class Options(msgspec.Struct, frozen=True):
    """max_tokens: None is as many as fit. rest: what only engines of this dialect understand."""

    sampling: Sampling
    max_tokens: int | None
    rest: dict[str, Any]


def read_options(given: Mapping[str, Any] | None) -> Options:
    """`options`, or `parameters` of a model that is made.

    `num_ctx` is understood and changes nothing: the context is the owner's setting, and a prompt that does not fit it
    is refused with both numbers, where Ollama would cut it.

    Raises:
        InvalidRequest: one has a value that cannot be.
    """
    options = {key: value for key, value in (given or {}).items() if value is not None}
    _int(options, "num_ctx")
    predict = _int(options, "num_predict")
    floats = {key: _float(options, key) for key in _FLOATS}
    ints = {key: _int(options, key) for key in _INTS}
    sampling = Sampling(
        temperature=floats["temperature"],
        top_p=floats["top_p"],
        min_p=floats["min_p"],
        presence_penalty=floats["presence_penalty"],
        frequency_penalty=floats["frequency_penalty"],
        repeat_penalty=floats["repeat_penalty"],
        top_k=ints["top_k"],
        seed=ints["seed"],
        stop=_stop(options),
    )
    rest = {key: value for key, value in options.items() if key not in _CANONICAL}
    # -1 is without end and -2 as many as fit: the context ends every answer.
    return Options(sampling, predict if predict is not None and predict > 0 else None, rest)


def _float(options: Mapping[str, Any], key: str) -> float | None:
    value = _number(options, key)
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        raise InvalidRequest(f'option "{key}" is out of range', "see the documentation of Ollama's options")
    return None if value is None else float(value)


def _number(options: Mapping[str, Any], key: str) -> float | None:
    value = options.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise InvalidRequest(f'option "{key}" must be a number', "see the documentation of Ollama's options")
    return value


def _int(options: Mapping[str, Any], key: str) -> int | None:
    value = _number(options, key)
    if value is None:
        return None
    if value != value // 1 or not -_LARGEST <= value < _LARGEST:
        raise InvalidRequest(f'option "{key}" must be a whole number', "see the documentation of Ollama's options")
    return int(value)


def _stop(options: Mapping[str, Any]) -> tuple[str, ...]:
    match options.get("stop"):
        case None | "":
            return ()
        case str(text):
            return (text,)
        case [*texts] if all(isinstance(text, str) for text in texts):
            return tuple(text for text in texts if text)
        case _:
            raise InvalidRequest('option "stop" must be a list of texts', "send at least one text, or leave it out")


def read_format(wanted: Any) -> ResponseFormat:
    """`format`: nothing, "json", or a JSON schema. Raises InvalidRequest."""
    match wanted:
        case None | "":
            return ResponseFormat()
        case "json":
            return ResponseFormat("json_object")
        case dict():
            return ResponseFormat("json_schema", wanted)  # pyright: ignore[reportUnknownArgumentType] JSON it is
        case _:
            raise InvalidRequest("`format` is not understood", 'send "json" or a JSON schema')


def read_think(wanted: bool | str | None) -> tuple[bool | None, Effort | None]:
    """`think`: whether, and how hard. Raises InvalidRequest."""
    match wanted:
        case None | bool():
            return wanted, None
        case "low" | "medium" | "high":
            return True, wanted
        case "max":
            return True, "high"
        case _:
            raise InvalidRequest(f"invalid think value: {wanted[:40]!r}", 'true, false, "low", "medium" or "high"')


def read_keep(given: float | str | None) -> float | None:
    """`keep_alive` in seconds: a number, or text like "5m" or "1h30m". Negative is for ever. Raises InvalidRequest."""
    if given is None or given == "":
        return None
    seconds = _seconds(given) if isinstance(given, str) else float(given)
    if seconds is None or not math.isfinite(seconds):
        raise InvalidRequest(f"invalid keep_alive: {str(given)[:40]!r}", 'send seconds, or text like "5m" or "1h30m"')
    return -1.0 if seconds < 0 else seconds


def _seconds(text: str) -> float | None:
    sign = -1.0 if text.startswith("-") else 1.0
    bare = text.removeprefix("-") if sign < 0 else text.removeprefix("+")
    if bare.isascii() and bare.isdigit():
        # Theirs wants a unit here; many programs send what they read from a form.
        return sign * float(bare) if len(bare) < 16 else None
    pieces = _DURATION.findall(bare)
    if not pieces or "".join(number + unit for number, unit in pieces) != bare:
        return None
    return sign * sum(float(number) * _UNITS[unit] for number, unit in pieces)
