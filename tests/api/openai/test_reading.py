import msgspec
import pytest

from mycoswarm.api.openai.reading import convert, no_token_ids, read_body, refused, unknown_fields
from mycoswarm.core.errors import InvalidRequest


class Inner(msgspec.Struct):
    size: int


class Body(msgspec.Struct):
    inner: list[Inner]
    name: str | None = None


DECODER = msgspec.json.Decoder(Body)


def refusal(body: bytes) -> tuple[object, object]:
    with pytest.raises(InvalidRequest) as raised:
        read_body(body, DECODER)
    return raised.value.data.get("param"), raised.value.data.get("code")


def test_the_wrong_field_is_named_with_its_place() -> None:
    assert refusal(b"{}") == ("inner", "missing_required_parameter")
    assert refusal(b'{"inner":[{"size":1},{}]}') == ("inner[1].size", "missing_required_parameter")
    assert refusal(b'{"inner":[{"size":"x"}]}') == ("inner[0].size", "invalid_type")
    assert refusal(b"[]") == (None, "invalid_type")
    assert refusal(b"{") == (None, "invalid_json")
    assert refusal(b'{"name":"\xff"}') == (None, "invalid_json")


def test_a_part_is_named_from_where_the_whole_begins() -> None:
    assert convert({"size": 3}, Inner, "input[2]") == Inner(3)
    with pytest.raises(InvalidRequest) as raised:
        convert({"size": None}, Inner, "input[2]")
    assert raised.value.data["param"] == "input[2].size"


def test_fields_that_are_unknown_are_kept_and_a_vendor_s_are_not() -> None:
    body = b'{"inner":[],"name":"x","mirostat":2,"deep":{"a":[1]},"nothing":null,"store":true}'
    assert unknown_fields(body, Body) == {"mirostat": 2, "deep": {"a": [1]}}
    with pytest.raises(InvalidRequest):
        unknown_fields(b'{"x":1e999}', Body)


@pytest.mark.parametrize("given", [b"[1]", b"[ 1, 2]", b"[[1]]", b" [\n[-1]]"])
def test_token_ids_are_seen(given: bytes) -> None:
    with pytest.raises(InvalidRequest) as raised:
        no_token_ids(b'{"input":' + given + b"}", "input", "send text")
    assert raised.value.data["param"] == "input"


@pytest.mark.parametrize("body", [b'{"input":["1"]}', b'{"input":"[1]"}', b'{"input":[]}', b"{}", b"[1]", b"nonsense"])
def test_what_holds_no_token_ids_is_for_others_to_judge(body: bytes) -> None:
    no_token_ids(body, "input", "send text")


def test_a_refusal_without_a_field_names_none() -> None:
    assert refused("", "x", "y").data["param"] is None
