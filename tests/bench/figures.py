"""What a benchmark reports."""

import statistics
from collections.abc import Sequence

import msgspec


class Figure(msgspec.Struct, frozen=True):
    """One measured number. target, met: None where nothing was promised. how: what was measured, and how often."""

    name: str
    value: float
    unit: str
    target: float | None
    met: bool | None
    how: str


def at_most(name: str, value: float, unit: str, target: float, how: str) -> Figure:
    """A figure that must not exceed `target`."""
    return Figure(name, round(value, 4), unit, target, value <= target, how)


def told(name: str, value: float, unit: str, how: str) -> Figure:
    """A figure without a target."""
    return Figure(name, round(value, 4), unit, None, None, how)


def p50(values: Sequence[float]) -> float:
    return statistics.median(values)
