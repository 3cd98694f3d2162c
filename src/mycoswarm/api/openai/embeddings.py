"""`POST /v1/embeddings`: their JSON to the canonical request, vectors to their list. Pure.

Source: the public API reference of OpenAI, embeddings.
"""

import base64
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mycoswarm.api.dialect import Arrival
from mycoswarm.api.openai.fields import Limit
from mycoswarm.api.openai.reading import no_token_ids, read_body, refused
from mycoswarm.core.embed import Embedded, EmbedRequest, unpack

MOST_TEXTS = 2048
"""Of one request; theirs."""

Encoding = Literal["float", "base64"]


class EmbeddingBody(msgspec.Struct):
    """Every field but the input may be null. `user` is accepted and told to nobody."""

    input: str | Annotated[list[str], Meta(min_length=1, max_length=MOST_TEXTS)]
    model: str | None = None
    encoding_format: Encoding | None = None
    dimensions: Limit | None = None
    user: str | None = None


class EmbeddingData(msgspec.Struct, frozen=True):
    """One vector. embedding: numbers, or base64 of little-endian 32-bit floats."""

    index: int
    embedding: list[float] | str
    object: Literal["embedding"] = "embedding"


class EmbeddingUsage(msgspec.Struct, frozen=True):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(msgspec.Struct, frozen=True):
    """The reply: one vector a text, in order."""

    data: list[EmbeddingData]
    model: str
    usage: EmbeddingUsage
    object: Literal["list"] = "list"


_decoder = msgspec.json.Decoder(EmbeddingBody)


def read(arrival: Arrival) -> tuple[EmbedRequest, Encoding]:
    """The canonical request, and how the client wants its numbers."""
    no_token_ids(arrival.body, "input", "send text; with LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False)")
    asked = read_body(arrival.body, _decoder)
    texts = (asked.input,) if isinstance(asked.input, str) else tuple(asked.input)
    for number, text in enumerate(texts):
        if not text:
            at = "input" if isinstance(asked.input, str) else f"input[{number}]"
            raise refused(at, f"`{at}` is empty", "leave empty texts out")
    model = asked.model or "embed"
    return EmbedRequest(model, texts, arrival.id, asked.dimensions), asked.encoding_format or "float"


def tell(embedded: Embedded, encoding: Encoding) -> bytes:
    """The reply."""
    vectors = embedded.embedding.vectors
    tokens = embedded.embedding.tokens
    data = [
        EmbeddingData(index, base64.b64encode(vector).decode() if encoding == "base64" else unpack(vector))
        for index, vector in enumerate(vectors)
    ]
    return msgspec.json.encode(EmbeddingList(data, embedded.model, EmbeddingUsage(tokens, tokens)))
