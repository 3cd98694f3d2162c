"""What a model's name gives away where its engine tells nothing else. Pure; a guess, never more."""

import re

_SIZE = re.compile(r"(?<![a-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)
_QUANTIZATION = re.compile(
    r"(?<![a-z0-9])(i?q\d(?:_[a-z0-9]+)*|bf16|f16|f32|mxfp4|fp8|awq|gptq)(?![a-z0-9])", re.IGNORECASE
)
_EMBEDDERS = ("embed", "minilm", "bge-", "gte-", "e5-", "bert")
_UNITS = {"b": 1e9, "m": 1e6}


def parameters_in(name: str) -> int | None:
    """27_000_000_000 for `gemma3:27b`, `gemma-3-27B-it`; experts count each (`8x7b`). None where there is no size."""
    found = _SIZE.search(name)
    if found is None:
        return None
    experts, number, unit = found.groups()
    return int(float(number) * _UNITS[unit.lower()] * int(experts or 1))


def quantization_in(name: str) -> str | None:
    """`Q4_K_M` for `qwen3-8b-q4_k_m.gguf`."""
    found = _QUANTIZATION.search(name)
    return found.group(1).upper() if found else None


def looks_like_embedder(name: str) -> bool:
    """Whether such a name usually belongs to an embedding model."""
    lowered = name.lower()
    return any(sign in lowered for sign in _EMBEDDERS)


def parse_size(text: str) -> int | None:
    """27_400_000_000 for Ollama's `27.4B`; None for what is no size."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMBT])\s*", text, re.IGNORECASE)
    if found is None:
        return None
    return round(float(found.group(1)) * {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[found.group(2).upper()])
