"""The canonical request for vectors, and its answer: what lies between all dialects and all embedding models."""

import array
import sys
from collections.abc import Iterable

import msgspec

from mycoswarm.core.ids import NodeId, RequestId


class EmbedRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Texts to turn into vectors.

    model: as the client typed it; the router replaces it by the name on the chosen engine.
    dimensions: of each vector, where the model can give shorter ones; None is as many as it has.
    truncate: cut a text that is longer than the model's context; False refuses it.
    keep: seconds that the model stays in memory afterwards; negative is for ever, None the engine's own habit.
    prefer_node: a node's id or name that must answer (`model@node`).
    """

    model: str
    texts: tuple[str, ...]
    id: RequestId = RequestId("")
    dimensions: int | None = None
    truncate: bool = False
    keep: float | None = None
    prefer_node: str | None = None


class Embedding(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an engine gives: one vector a text, in order, as little-endian 32-bit floats. tokens: of all texts."""

    vectors: tuple[bytes, ...]
    tokens: int = 0


class Embedded(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer, and who gave it."""

    embedding: Embedding
    model: str
    node: NodeId = NodeId("")
    node_name: str = ""
    engine: str = ""


def pack(vector: Iterable[float]) -> bytes:
    """Little-endian 32-bit floats."""
    numbers = array.array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def unpack(vector: bytes) -> list[float]:
    """The numbers of a packed vector."""
    numbers = array.array("f")
    numbers.frombytes(vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
