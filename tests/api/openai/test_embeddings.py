import base64
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from mycoswarm.api.dialect import Arrival
from mycoswarm.api.openai.embeddings import EmbeddingList, read, tell
from mycoswarm.core.embed import Embedded, Embedding, EmbedRequest, pack
from mycoswarm.core.errors import InvalidRequest
from tests.api.openai.answers import CREATED, ID

EMBEDDED = Embedded(Embedding((pack((1.0, -0.5)), pack((0.25, 2.0))), 6), "minilm")


def arrival(**fields: Any) -> Arrival:
    return Arrival(ID, CREATED, {}, {}, msgspec.json.encode(fields))


def test_one_text_or_many() -> None:
    assert read(arrival(input="a")) == (EmbedRequest("embed", ("a",), ID), "float")
    asked = read(arrival(input=["a", "b"], model="m", dimensions=64, encoding_format="base64", user="me"))
    assert asked == (EmbedRequest("m", ("a", "b"), ID, 64), "base64")


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ("", "input"),
        (["a", ""], "input[1]"),
        ([], "input"),
        ([1, 2], "input"),
        ([[1], [2]], "input"),
        ([[]], "input[0]"),
        (None, "input"),
        (5, "input"),
    ],
)
def test_what_is_no_text_is_refused_by_name(given: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read(arrival(input=given))
    assert refusal.value.data["param"] == param


def test_token_ids_say_what_to_do_instead() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read(arrival(input=[[15339]]))
    assert "check_embedding_ctx_length=False" in refusal.value.hint


def test_other_fields_that_are_wrong() -> None:
    for fields in ({"dimensions": 0}, {"encoding_format": "int8"}, {"input": ["a"] * 2049}):
        with pytest.raises(InvalidRequest):
            read(arrival(**{"input": "a", **fields}))


def test_numbers_and_the_same_in_base64() -> None:
    told = msgspec.json.decode(tell(EMBEDDED, "float"))
    jsonschema_rs.validate(msgspec.json.schema(EmbeddingList), told)
    assert told == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [1.0, -0.5]},
            {"object": "embedding", "index": 1, "embedding": [0.25, 2.0]},
        ],
        "model": "minilm",
        "usage": {"prompt_tokens": 6, "total_tokens": 6},
    }
    packed = msgspec.json.decode(tell(EMBEDDED, "base64"))["data"][1]["embedding"]
    assert base64.b64decode(packed) == pack((0.25, 2.0))
