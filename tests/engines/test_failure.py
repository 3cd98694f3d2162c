"""What refusals of engines become."""

import json
from typing import Any

import pytest

from mycoswarm.core.errors import Busy, ContextTooLong, EngineFailed, InvalidRequest, MycoError, UnknownModel
from mycoswarm.engines.failure import from_reply, refused_by_template, told_in_numbers


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


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4900 in the messages, "
        "100 in the completion). Please reduce the length of the messages or completion.",
        "This model's maximum context length is 4096 tokens. However, your request has 4900 input tokens.",
    ],
)
def test_vllm_tells_both_numbers_in_words(message: str) -> None:
    problem = error(400, {"error": {"message": message, "type": "BadRequestError", "code": 400}})
    assert isinstance(problem, ContextTooLong)
    assert problem.data == {"prompt_tokens": 4900, "context": 4096}


def test_numbers_that_nobody_told_are_estimated() -> None:
    silent = error(400, {"error": "the input length exceeds the context length"})
    assert isinstance(silent, ContextTooLong)
    assert told_in_numbers(silent, 5000, 4096).data == {"prompt_tokens": 5000, "context": 4096}
    assert told_in_numbers(silent, 5000, None) is silent
    told = ContextTooLong("x", prompt_tokens=1, context=2)
    assert told_in_numbers(told, 5000, 4096) is told


def test_a_template_that_refuses_the_order_of_messages_is_recognised() -> None:
    said = (
        "Unable to generate parser for this template. Automatic parser generation failed: \n------------\nWhile "
        "executing CallExpression at line 1, column 231 in source:\n...{{ raise_exception('x') }}\n ^\n"
        "Error: Jinja Exception: Conversation roles must alternate"
    )
    for status in (400, 500):
        problem = error(status, {"error": {"code": status, "message": said, "type": "invalid_request_error"}})
        assert isinstance(problem, InvalidRequest)
        assert problem.message == "the chat template of m refuses these messages: Conversation roles must alternate"
        assert refused_by_template(problem)
    assert not refused_by_template(InvalidRequest("another one"))


def test_a_schema_that_cannot_be_used_is_said_to_be_one() -> None:
    said = "Unable to generate parser for this template. Automatic parser generation failed: JSON schema error at #: "
    problem = error(400, {"error": {"code": 400, "message": said + "unrecognized type nonsense"}})
    assert isinstance(problem, InvalidRequest)
    assert problem.message == "the JSON schema of the answer cannot be used: unrecognized type nonsense (at #)"
    problem = error(400, {"error": {"message": "Failed to initialize samplers: failed to parse grammar"}})
    assert isinstance(problem, InvalidRequest)
    assert "the grammar or schema of the answer cannot be used" in problem.message


def test_an_image_for_a_blind_model_is_the_requests_fault() -> None:
    said = "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
    assert isinstance(error(500, {"error": {"code": 500, "message": said}}), InvalidRequest)
