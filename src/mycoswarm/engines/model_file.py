"""A model file on this machine, as an engine that runs it itself needs to know it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from mycoswarm.core.model import Abilities
from mycoswarm.core.preset import Preset


class Geometry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the size of a KV cache follows from. Per layer: key/value heads; lengths of one head's key and value.

    window: tokens of the sliding window; windowed: layers that have one.
    """

    kv_heads: tuple[int, ...]
    key_length: int
    value_length: int
    window: int | None = None
    windowed: int = 0


class ModelFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A GGUF file and what its header says.

    digest: `sha256:…`, None for a file that the owner put there and nobody has hashed yet.
    stamp: modification time in ns at which `digest` was true; a file with another one is hashed again before use.
    context: tokens it was trained for. family: its architecture. dimensions: of its hidden states.
    template: it can render a chat.
    pooled: an embedding model says itself how its tokens' vectors become one; False takes their mean.
    preset: what its owner gave it beside the file.
    damaged: one sentence why it cannot be used; such a file is listed, so that its owner hears of it. mend: what to do.
    """

    name: str
    path: Path
    size: int
    digest: str | None = None
    stamp: int | None = None
    parameters: int | None = None
    quantization: str | None = None
    context: int | None = None
    family: str | None = None
    dimensions: int | None = None
    geometry: Geometry | None = None
    template: bool = True
    instruct: bool = True
    abilities: Abilities = Abilities()
    pooled: bool = True
    preset: Preset | None = None
    damaged: str = ""
    mend: str = ""


class ModelFiles(Protocol):
    """Where an engine looks its models up."""

    def files(self) -> Sequence[ModelFile]:
        """Every model file there is now. May read files: call it in a thread."""
        ...
