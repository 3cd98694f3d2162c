"""`/proc/meminfo`."""

import re

from mycoswarm.core.hardware import Memory


def parse(text: str) -> Memory:
    """Raises ValueError without a MemTotal.

    Kernels before 3.14 and some containers have no MemAvailable: free memory and the page cache stand in for it.
    """
    fields = {match[1]: int(match[2]) * 1024 for match in re.finditer(r"(?m)^(\w+):\s*(\d+) kB", text)}
    if "MemTotal" not in fields:
        raise ValueError("not a /proc/meminfo")
    rough = fields.get("MemFree", 0) + fields.get("Buffers", 0) + fields.get("Cached", 0)
    return Memory(fields["MemTotal"], fields.get("MemAvailable", rough), fields.get("SwapTotal", 0))
