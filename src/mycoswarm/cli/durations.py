"""Spans of time as people type them: `10m`, `90s`, `1h`, `30d`, `600`. Pure but for being a click type."""

import re
from typing import Any

import click

_TYPED = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)?", re.IGNORECASE)
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Duration(click.ParamType):
    """Seconds. low, high: what is allowed, both included; figures without a unit are seconds."""

    name = "duration"

    def __init__(self, low: float, high: float) -> None:
        self.low = low
        self.high = high

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        typed = _TYPED.fullmatch(str(value).strip())
        if typed is None:
            self.fail(f"`{value}` is no duration: write 90s, 10m, 1h or 30d", param, ctx)
        seconds = float(typed[1]) * _UNITS[(typed[2] or "s").lower()]
        if not self.low <= seconds <= self.high:
            self.fail(f"`{value}` is not between {spelled(self.low)} and {spelled(self.high)}", param, ctx)
        return seconds


def spelled(seconds: float) -> str:
    """The shortest way to type it: `1h`, `90s`."""
    for unit in ("d", "h", "m"):
        if seconds >= _UNITS[unit] and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:g}{unit}"
    return f"{seconds:g}s"
