"""Estimates of a prompt's tokens."""

from mycoswarm.core.chat import ChatRequest, ImagePart, Message, TextPart, Tool, ToolCallPart, message
from mycoswarm.engines.prompt_size import IMAGE_TOKENS, TOKENS_PER_MESSAGE, estimate_tokens


def test_bytes_count_and_not_characters() -> None:
    assert estimate_tokens(ChatRequest("m", (message("user", "x" * 400),))) == 100 + TOKENS_PER_MESSAGE
    assert estimate_tokens(ChatRequest("m", (message("user", "日" * 400),))) == 300 + TOKENS_PER_MESSAGE


def test_a_raw_prompt_has_no_messages_around_it() -> None:
    assert estimate_tokens(ChatRequest("m", (), prompt="x" * 400)) == 100
    assert estimate_tokens(ChatRequest("m", (), prompt="")) == 0


def test_images_calls_and_tools_count_too() -> None:
    parts = (TextPart("x" * 40), ImagePart("image/png", "A" * 4000), ToolCallPart("1", "look", "{}"))
    request = ChatRequest("m", (Message("user", parts),), tools=(Tool("look", "x" * 94, {}),))
    assert estimate_tokens(request) == (40 + 6 + 4 + 94 + 2 + 3) // 4 + TOKENS_PER_MESSAGE + IMAGE_TOKENS
