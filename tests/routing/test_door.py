"""What is refused before any engine is asked."""

import pytest

from mycoswarm.core.chat import ChatRequest, ImagePart, Message, TextPart, message
from mycoswarm.core.embed import EmbedRequest
from mycoswarm.core.errors import InvalidRequest, TooLarge
from mycoswarm.routing.door import MAX_TEXTS, check


def image(data: str) -> ChatRequest:
    return ChatRequest("m", (Message("user", (TextPart("what is it?"), ImagePart("image/png", data))),))


@pytest.mark.parametrize(
    "request_",
    [
        ChatRequest("m", (message("user", ""),)),
        ChatRequest("m", (), prompt=""),
        image("aGVsbG8="),
        EmbedRequest("m", ("",) * MAX_TEXTS),
    ],
)
def test_what_an_engine_may_be_asked(request_: ChatRequest | EmbedRequest) -> None:
    check(request_)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (ChatRequest("m", ()), "no messages"),
        (image("not base64!"), "not valid base64"),
        (image("aGVs\nbG8="), "not valid base64"),
        (image("aGVsbG8"), "not valid base64"),
        (image("grüße"), "not valid base64"),
        (image(""), "is empty"),
        (EmbedRequest("m", ()), "no text"),
    ],
)
def test_what_nobody_could_do(request_: ChatRequest | EmbedRequest, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        check(request_)


def test_more_texts_than_one_answer_should_hold() -> None:
    with pytest.raises(TooLarge, match="of one request"):
        check(EmbedRequest("m", ("a",) * (MAX_TEXTS + 1)))
