import pytest

from mycoswarm.api.openai.parts import arguments, image
from mycoswarm.core.chat import ImagePart
from mycoswarm.core.errors import InvalidRequest


def test_an_image_comes_with_its_bytes() -> None:
    assert image("data:image/webp;base64,AAAA", "here") == ImagePart("image/webp", "AAAA")
    assert image("data:image/png;charset=x;base64,AA\nAA ", "here") == ImagePart("image/png", "AAAA")


@pytest.mark.parametrize(
    "url",
    ["", "data:", "data:,", "data:image/png", "data:image/png,AAAA", "image/png;base64,AAAA", "http://x/a.png"],
)
def test_an_address_is_no_image(url: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        image(url, "here")
    assert (raised.value.data["param"], raised.value.data["code"]) == ("here", "invalid_image_url")


@pytest.mark.parametrize("data", ["AAA", "A===", "AAAA=AAA", "-_-_", "é", "AAAA\x00"])
def test_base64_that_is_none(data: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        image(f"data:image/png;base64,{data}", "here")
    assert raised.value.data["code"] == "invalid_base64_image"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (None, "{}"),
        ("  ", "{}"),
        ('{"a": 1}', '{"a": 1}'),
        ("[1]", '{"input":"[1]"}'),
        ("null", '{"input":"null"}'),
        ("[" * 5000, '{"input":"' + "[" * 5000 + '"}'),
    ],
)
def test_arguments_are_the_text_of_an_object(written: str | None, read: str) -> None:
    assert arguments(written) == read
