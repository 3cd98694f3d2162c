"""Ollama's /api/embed and the older /api/embeddings: bodies to the canonical request, vectors to theirs. Pure."""

from typing import Any

import msgspec

from mycoswarm.api.dialect import Arrival
from mycoswarm.api.ollama.options import read_keep, read_options
from mycoswarm.api.ollama.shape import named
from mycoswarm.api.routes import decode_body
from mycoswarm.core.embed import Embedded, EmbedRequest, unpack


class _Embed(msgspec.Struct):
    """Every field may be null, as clients send them."""

    model: str | None = None
    input: str | list[str] | None = None
    truncate: bool | None = None
    dimensions: int | None = None
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None


class _Embeddings(msgspec.Struct):
    model: str | None = None
    prompt: str | None = None
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None


_embed_decoder = msgspec.json.Decoder(_Embed)
_embeddings_decoder = msgspec.json.Decoder(_Embeddings)


def read_embed(arrival: Arrival) -> EmbedRequest:
    """`POST /api/embed`. No texts are no error: there are no vectors then. Raises InvalidRequest."""
    body = decode_body(arrival.body, _embed_decoder)
    read_options(body.options)
    match body.input:
        case None | "":
            texts = ()
        case str(text):
            texts = (text,)
        case several:
            texts = tuple(several)
    return EmbedRequest(
        model=named(body.model),
        texts=texts,
        id=arrival.id,
        dimensions=body.dimensions if body.dimensions and body.dimensions > 0 else None,
        truncate=body.truncate is not False,
        keep=read_keep(body.keep_alive),
    )


def read_embeddings(arrival: Arrival) -> EmbedRequest:
    """`POST /api/embeddings`. Raises InvalidRequest."""
    body = decode_body(arrival.body, _embeddings_decoder)
    read_options(body.options)
    texts = (body.prompt,) if body.prompt else ()
    return EmbedRequest(named(body.model), texts, arrival.id, truncate=True, keep=read_keep(body.keep_alive))


def embed_json(model: str, embedded: Embedded | None, duration: int) -> bytes:
    """Their answer. embedded: None where there was nothing to embed. duration: ns."""
    vectors = [unpack(vector) for vector in embedded.embedding.vectors] if embedded else []
    said: dict[str, Any] = {"model": embedded.model if embedded else model, "embeddings": vectors}
    counted = {"total_duration": duration, "prompt_eval_count": embedded.embedding.tokens if embedded else 0}
    return msgspec.json.encode(said | {key: value for key, value in counted.items() if value})


def embeddings_json(model: str, embedded: Embedded | None, duration: int) -> bytes:
    """The older answer: one vector and nothing else."""
    return msgspec.json.encode({"embedding": unpack(embedded.embedding.vectors[0]) if embedded else []})
