import msgspec
import pytest

from mycoswarm.api import dialects
from mycoswarm.api.anthropic import shape as anthropic
from mycoswarm.api.dialect import Dialect
from mycoswarm.api.ollama import shape as ollama
from mycoswarm.api.openai import shape as openai
from mycoswarm.core.errors import NotFound

VERSION = {"anthropic-version": "2023-06-01"}


@pytest.mark.parametrize(
    ("path", "headers", "dialect"),
    [
        ("/v1/messages", {}, anthropic.DIALECT),
        ("/v1/messages/count_tokens", {}, anthropic.DIALECT),
        ("/v1/messages/batches", {}, anthropic.DIALECT),
        ("/v1/messagesx", {}, openai.DIALECT),
        ("/v1/models", {}, openai.DIALECT),
        ("/v1/models", VERSION, anthropic.DIALECT),
        ("/v1/nothing", VERSION, anthropic.DIALECT),
        ("/v1", VERSION, dialects.NATIVE),
        ("/api/chat", VERSION, ollama.DIALECT),
        ("/api/nothing", {}, ollama.DIALECT),
        ("/apiary", {}, dialects.NATIVE),
        ("/swarm/v1/chat", VERSION, dialects.NATIVE),
        ("/", {}, dialects.NATIVE),
    ],
)
def test_whose_words_an_error_is_told_in(path: str, headers: dict[str, str], dialect: Dialect) -> None:
    assert dialects.of(path, headers) is dialect


def test_our_own_words() -> None:
    problem = NotFound("it is not there", "look elsewhere", near=[])
    body = msgspec.json.decode(dialects.NATIVE.error(problem))
    assert body["error"]["message"] == "it is not there"
    assert dialects.NATIVE.status(problem) == 404
