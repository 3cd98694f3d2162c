"""Whether a model fits into memory, and with how many slots. Pure; sizes in bytes."""

from dataclasses import dataclass

from mycoswarm.engines.model_file import Geometry, ModelFile

OVERHEAD = 150 << 20
"""Measured beside weights and KV cache: compute buffers, the vocabulary, the child itself."""
CACHE_BYTES = 2
"""A KV cache holds 16-bit floats."""
_UNKNOWN_KV = 160 << 10
"""A token's share where the header does not tell the geometry: that of an 8-billion model."""


@dataclass(frozen=True)
class Fit:
    """slots: answers at the same time that there is memory for; 0 with a `reason` where not even one fits."""

    slots: int
    needs: int
    reason: str = ""


def cache_size(geometry: Geometry | None, context: int) -> int:
    """Bytes of the KV cache of one slot. Layers with a sliding window hold no more than their window."""
    if geometry is None:
        return _UNKNOWN_KV * context
    layers = len(geometry.kv_heads)
    windowed = geometry.windowed if geometry.window is not None and geometry.window < context else 0
    tokens = (layers - windowed) * context + windowed * (geometry.window or 0)
    heads = sum(geometry.kv_heads) / layers if layers else 0
    return int(tokens * heads * (geometry.key_length + geometry.value_length) * CACHE_BYTES)


def memory_needed(file: ModelFile, context: int, slots: int, prompt_cache: int) -> int:
    """Bytes that a loaded model takes: weights, KV cache of every slot, overhead, cap of the prompt cache."""
    return file.size + slots * cache_size(file.geometry, context) + OVERHEAD + prompt_cache


def fit(file: ModelFile, context: int, slots: int, prompt_cache: int, available: int) -> Fit:
    """The most slots up to `slots` that `available` bytes are enough for."""
    for count in range(slots, 0, -1):
        needs = memory_needed(file, context, count, prompt_cache)
        if needs <= available:
            return Fit(count, needs)
    needs = memory_needed(file, context, 1, prompt_cache)
    return Fit(0, needs, f"needs {needs / 1e9:.1f} GB of memory, {available / 1e9:.1f} GB are available")
