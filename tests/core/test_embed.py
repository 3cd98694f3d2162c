import math

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.core.embed import Embedding, EmbedRequest, pack, unpack


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=20))
def test_a_vector_comes_back_whole(vector: list[float]) -> None:
    assert unpack(pack(vector)) == vector


def test_a_packed_vector_is_little_endian_whatever_the_machine() -> None:
    assert pack((1.0, -2.0)) == b"\x00\x00\x80\x3f\x00\x00\x00\xc0"


def test_what_lies_between_nodes_is_whole() -> None:
    request = EmbedRequest("embed", ("a", "b"), dimensions=3, truncate=True)
    assert msgspec.json.decode(msgspec.json.encode(request), type=EmbedRequest) == request
    answer = Embedding((pack((0.5,)), pack((math.inf,))), 2)
    assert msgspec.json.decode(msgspec.json.encode(answer), type=Embedding) == answer
