import json

import pytest

from mycoswarm.api.dialect import Arrival
from mycoswarm.api.ollama.embed import embed_json, embeddings_json, read_embed, read_embeddings
from mycoswarm.core.embed import Embedded, Embedding, EmbedRequest, pack
from mycoswarm.core.errors import InvalidRequest
from mycoswarm.core.ids import RequestId

ID = RequestId("req-1")
ANSWER = Embedded(Embedding((pack((0.5, -1.0)), pack((0.25, 2.0))), 7), "minilm")


def arrival(**body: object) -> Arrival:
    return Arrival(ID, 5, {}, {}, json.dumps(body).encode())


def test_texts() -> None:
    assert read_embed(arrival(model="m", input="a")) == EmbedRequest("m", ("a",), ID, truncate=True)
    asked = read_embed(arrival(model="m", input=["a", ""], truncate=False, dimensions=64, keep_alive="5m", options={}))
    assert asked == EmbedRequest("m", ("a", ""), ID, 64, False, 300.0)
    for nothing in (None, "", []):
        assert read_embed(arrival(model="m", input=nothing)).texts == ()
    assert read_embeddings(arrival(model="m", prompt="a")).texts == ("a",)
    assert read_embeddings(arrival(model="m")).texts == ()


@pytest.mark.parametrize("body", [{"input": "a"}, {"model": "m", "input": 5}, {"model": "m", "input": [1]}])
def test_what_is_no_request(body: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        read_embed(arrival(**body))


def test_answers() -> None:
    assert json.loads(embed_json("m", ANSWER, 9)) == {
        "model": "minilm",
        "embeddings": [[0.5, -1.0], [0.25, 2.0]],
        "total_duration": 9,
        "prompt_eval_count": 7,
    }
    assert json.loads(embed_json("m", None, 0)) == {"model": "m", "embeddings": []}
    assert json.loads(embeddings_json("m", ANSWER, 9)) == {"embedding": [0.5, -1.0]}
    assert json.loads(embeddings_json("m", None, 0)) == {"embedding": []}
