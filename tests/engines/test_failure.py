"""What refusals of engines become."""

import json
from typing import Any

import pytest

from mycoswarm.core.errors import Busy, ContextTooLong, EngineFailed, InvalidRequest, MycoError, UnknownModel
from mycoswarm.engines.failure import from_reply


def error(status: int, body: Any) -> MycoError:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return from_reply(status, text, "engine", "m")


def test_llama_cpp_tells_both_numbers() -> None:
    body = {"error": {"type": "exceed_context_size_error", "message": "x", "n_prompt_tokens": 13923, "n_ctx": 4096}}
    problem = error(400, body)
    assert isinstance(problem, ContextTooLong)
    assert problem.message == "the prompt has 13923 tokens, m is served with a context of 4096"
    assert problem.data == {"prompt_tokens": 13923, "context": 4096}


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": "context_length_exceeded", "message": "too long"}},
        {"error": "the input length exceeds the context length"},
    ],
)
def test_others_tell_no_numbers(body: Any) -> None:
    assert isinstance(error(400, body), ContextTooLong)


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (400, {"error": "does not support tools"}, InvalidRequest, "does not support tools"),
        (404, {"error": "model 'm' not found"}, UnknownModel, "not found"),
        (404, {"object": "error", "message": "no such model"}, UnknownModel, "no such model"),
        (401, {"error": {"message": "no"}}, EngineFailed, "wants an API key"),
        (429, {"error": {"message": "slow down"}}, Busy, "slow down"),
        (503, {"error": "server busy"}, Busy, "server busy"),
        (500, {"error": {"message": "boom", "code": 500}}, EngineFailed, "boom"),
        (502, b"<html>Bad gateway</html>", EngineFailed, "Bad gateway"),
        (500, b"", EngineFailed, "engine failed"),
        (302, b"", EngineFailed, "status 302"),
    ],
)
def test_statuses(status: int, body: Any, kind: type[MycoError], said: str) -> None:
    problem = error(status, body)
    assert type(problem) is kind
    assert said in problem.message


def test_busy_says_when_to_come_back() -> None:
    assert error(503, {"error": "busy"}).data["retry_after"] > 0


def test_a_long_text_is_cut() -> None:
    assert len(error(500, b"x" * 10_000).message) < 400
