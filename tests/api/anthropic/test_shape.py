import msgspec
import pytest
from anthropic.types.shared import ErrorResponse

from mycoswarm.api.anthropic.shape import DIALECT
from mycoswarm.core.errors import (
    Busy,
    CannotServe,
    ContextTooLong,
    EngineFailed,
    InvalidRequest,
    MycoError,
    NotFound,
    PeerLost,
    Refused,
    TokenRequired,
    TooLarge,
    UnknownModel,
    WrongMethod,
)
from mycoswarm.core.ids import RequestId


@pytest.mark.parametrize(
    ("problem", "status", "kind"),
    [
        (InvalidRequest("x"), 400, "invalid_request_error"),
        (ContextTooLong("x"), 400, "invalid_request_error"),
        (WrongMethod("x"), 405, "invalid_request_error"),
        (TooLarge("x"), 413, "request_too_large"),
        (TokenRequired("x"), 401, "authentication_error"),
        (Refused("x"), 403, "permission_error"),
        (NotFound("x"), 404, "not_found_error"),
        (UnknownModel("x"), 404, "not_found_error"),
        (Busy("x"), 429, "rate_limit_error"),
        (CannotServe("x"), 529, "overloaded_error"),
        (EngineFailed("x"), 502, "api_error"),
        (PeerLost("x"), 502, "api_error"),
        (MycoError("x"), 500, "api_error"),
    ],
)
def test_every_error_is_one_of_theirs(problem: MycoError, status: int, kind: str) -> None:
    assert DIALECT.status(problem) == status
    body = msgspec.json.decode(DIALECT.error(problem))
    assert (body["type"], body["error"]["type"]) == ("error", kind)
    if kind != "request_too_large":
        # Their client has no type for this one; it goes by the status.
        assert ErrorResponse.model_validate(body).error.type == kind


def test_the_hint_is_part_of_the_sentence_and_the_request_has_its_name() -> None:
    problem = NotFound("no node has it", "GET /v1/models lists them")
    problem.data["request"] = "req-1"
    assert msgspec.json.decode(DIALECT.error(problem)) == {
        "type": "error",
        "error": {"type": "not_found_error", "message": "no node has it (GET /v1/models lists them)"},
        "request_id": "req-1",
    }
    assert list(DIALECT.headers(RequestId("req-1"))) == [(b"request-id", b"req-1")]


def test_a_prompt_that_does_not_fit_is_told_in_the_words_that_programs_look_for() -> None:
    problem = ContextTooLong("the prompt does not fit", "shorten it", prompt_tokens=9000, context=4096)
    said = msgspec.json.decode(DIALECT.error(problem))["error"]["message"]
    assert said == "prompt is too long: 9000 tokens > 4096 maximum (shorten it)"
    said = msgspec.json.decode(DIALECT.error(ContextTooLong("it does not fit m", "shorten it")))["error"]["message"]
    assert said == "prompt is too long: it does not fit m (shorten it)"
