"""Figures as people read them: sizes, durations, speeds, machines. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mycoswarm.core.ids import short

if TYPE_CHECKING:
    from mycoswarm.core.hardware import HardwareSummary
    from mycoswarm.core.model import ModelOffer, Speed
    from mycoswarm.core.node import NodeView

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # a whole sequence, where it came in one piece
    r"|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)"  # a window's title and the like
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def clean(text: str) -> str:
    """`text` without characters that steer a terminal or turn the direction of writing; newline and tab stay."""
    return _CONTROL.sub("", text)


def size(count: int | None) -> str:
    """Bytes, decimal units as disks and downloads are sold: `145 MB`."""
    if count is None:
        return "?"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return _short(value) + " " + unit
        value /= 1000
    return _short(value) + " TB"


def memory(count: int | None) -> str:
    """Bytes of memory, binary units as machines are sold: `8 GiB`."""
    if count is None:
        return "?"
    value = float(count) / (1 << 20)
    return f"{value:.0f} MiB" if value < 1000 else _short(value / 1024) + " GiB"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 99.5 or abs(value - round(value)) < 0.05 else f"{value:.1f}"


def duration(seconds: float) -> str:
    """A span for people, at most two units: `85 ms`, `0.32 s`, `4 min`, `2 h 5 min`."""
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} days"


def ago(seconds: float | None) -> str:
    """When something was last seen."""
    if seconds is None:
        return "never"
    if seconds < 2:
        return "now"
    return f"{duration(seconds) if seconds >= 10 else f'{seconds:.0f} s'} ago"


def milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.1f} ms"


def rate(tokens_per_second: float) -> str:
    digits = 0 if tokens_per_second >= 100 else 1
    return f"{tokens_per_second:.{digits}f} tokens/s"


def speed(measured: Speed | None) -> str:
    """Decode speed in tokens/s; `~` marks an estimate from the hardware."""
    if measured is None:
        return ""
    return ("" if measured.measured else "~") + rate(measured.decode).removesuffix(" tokens/s")


def count(number: int, one: str, many: str = "") -> str:
    """`1 node`, `3 nodes`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def listing(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    items = list(words)
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def machine(summary: HardwareSummary) -> str:
    """A machine in one line: `RTX 3090 24 GiB · i5-6500T, 4 threads · 8 GiB RAM`."""
    parts = [f"{card.model} {memory(card.memory_total)}".replace(" ?", "") for card in summary.gpus]
    parts.append(f"{processor(summary.cpu)}, {count(summary.threads, 'thread')}")
    parts.append(f"{memory(summary.memory_total)} RAM")
    return " · ".join(parts)


def processor(model: str) -> str:
    """A processor's name without the words that every one carries."""
    name = re.sub(r"\((R|TM)\)|\bCPU\b|\bProcessor\b|\d+-Core|@.*$", " ", model)
    return " ".join(name.split()) or "unknown CPU"


def node_name(view: NodeView) -> str:
    """A node's name, or the start of its id where it never said one."""
    return view.name or short(view.id)


STATES = {"self": "this node", "on_disk": "on disk", "unfit": "does not fit"}
"""Words for states whose identifier is not one already."""


def offer_state(offer: ModelOffer) -> str:
    """loaded, loading, on disk (so it fits), or does not fit."""
    return STATES.get(offer.state, offer.state)
