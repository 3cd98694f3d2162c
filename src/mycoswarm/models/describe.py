"""From a GGUF header to what routing and engines want to know of a model."""

from collections import Counter
from collections.abc import Iterable

import msgspec

from mycoswarm.core.model import Abilities
from mycoswarm.engines.model_file import Geometry
from mycoswarm.models.chat_template import takes_tools
from mycoswarm.models.gguf_header import BLOCKS, Header

_EMBEDDERS = frozenset({"bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3"})
_EMBEDDERS |= {"neo-bert", "eurobert", "gemma-embedding", "t5encoder"}
_SLIDING_PERIOD = {"gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "cohere2": 4}
"""Every n-th layer of these looks at everything, the others through their window; their files do not say it."""
_FILE_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    25: "IQ4_NL",
    30: "IQ4_XS",
    32: "BF16",
    38: "MXFP4_MOE",
}
"""`general.file_type`: the mixture's name as its users know it (llama.h)."""
_THINKING_SIGNS = ("<think>", "enable_thinking", "reasoning_content", "<|channel|>analysis")


class Description(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a header says. context: tokens the model was trained for; licence: as its author states it.

    family: its architecture. dimensions: of its hidden states, which are those of its vectors where it embeds.
    """

    parameters: int
    quantization: str | None = None
    context: int | None = None
    family: str | None = None
    dimensions: int | None = None
    geometry: Geometry | None = None
    template: bool = False
    abilities: Abilities = Abilities()
    pooled: bool = True
    licence: str | None = None


def describe(header: Header) -> Description:
    """Parameters, quantisation, context, KV geometry and the abilities that follow from the chat template."""
    architecture = header.values.get("general.architecture")
    template = header.values.get("tokenizer.chat_template")
    context = _number(header, f"{architecture}.context_length")
    pooled = f"{architecture}.pooling_type" in header.values
    embeds = architecture in _EMBEDDERS or pooled
    text = template if isinstance(template, str) else ""
    abilities = Abilities(
        chat=not embeds,
        embed=embeds,
        tools=not embeds and takes_tools(header.values),
        thinking=not embeds and any(sign in text for sign in _THINKING_SIGNS),
        json_schema=not embeds,
    )
    licence = header.values.get("general.license")
    return Description(
        parameters=sum(tensor.elements for tensor in header.tensors),
        quantization=_quantization(header),
        context=context,
        family=architecture if isinstance(architecture, str) else None,
        dimensions=_number(header, f"{architecture}.embedding_length"),
        geometry=_geometry(header, str(architecture)),
        template="tokenizer.chat_template" in header.positions,
        abilities=abilities,
        pooled=pooled or not embeds,
        licence=licence if isinstance(licence, str) else None,
    )


def _number(header: Header, key: str) -> int | None:
    value = header.values.get(key)
    return value if isinstance(value, int) else None


def _quantization(header: Header) -> str | None:
    """The mixture's name; where the file has none, the type of most of its weights."""
    if (name := _FILE_TYPES.get(_number(header, "general.file_type") or -1)) is not None:
        return name
    bulk: Counter[int] = Counter()
    for tensor in header.tensors:
        if len(tensor.dimensions) > 1:
            bulk[tensor.type] += tensor.elements
    if not bulk:
        return None
    kind = bulk.most_common(1)[0][0]
    return BLOCKS[kind][0] if kind in BLOCKS else None


def _geometry(header: Header, architecture: str) -> Geometry | None:
    layers = _number(header, f"{architecture}.block_count")
    heads = _number(header, f"{architecture}.attention.head_count")
    embedding = _number(header, f"{architecture}.embedding_length")
    shared = header.values.get(f"{architecture}.attention.head_count_kv", heads)
    if layers is None:
        return None
    if isinstance(shared, tuple):
        kv_heads = tuple(int(count) for count in shared)
    elif isinstance(shared, int):
        kv_heads = (shared,) * layers
    else:
        return None
    usual = embedding // heads if embedding and heads else None
    key = _number(header, f"{architecture}.attention.key_length") or usual
    value = _number(header, f"{architecture}.attention.value_length") or usual
    if key is None or value is None:
        return None
    window = _number(header, f"{architecture}.attention.sliding_window") or None
    return Geometry(kv_heads, key, value, window, _windowed(header, architecture, layers) if window else 0)


def _windowed(header: Header, architecture: str, layers: int) -> int:
    """Layers with a sliding window. Where nobody says, none is counted on: memory is then over-estimated."""
    pattern = header.values.get(f"{architecture}.attention.sliding_window_pattern", _SLIDING_PERIOD.get(architecture))
    if isinstance(pattern, int) and pattern > 1:
        return layers - layers // pattern
    if isinstance(pattern, Iterable) and not isinstance(pattern, str):
        return sum(1 for windowed in pattern if windowed)
    return 0
