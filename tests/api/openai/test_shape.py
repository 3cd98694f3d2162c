import msgspec
import pytest

from mycoswarm.api.openai.shape import DIALECT, Failure, error_json
from mycoswarm.core.errors import (
    Busy,
    CannotServe,
    ContextTooLong,
    EngineFailed,
    ErrorBody,
    InvalidRequest,
    MycoError,
    NotFound,
    Refused,
    TokenRequired,
    TooLarge,
    UnknownModel,
    WrongMethod,
)


@pytest.mark.parametrize(
    ("error", "status", "kind", "param", "code"),
    [
        (InvalidRequest("x"), 400, "invalid_request_error", None, "invalid_request"),
        (InvalidRequest("x", param="n", code="invalid_value"), 400, "invalid_request_error", "n", "invalid_value"),
        (ContextTooLong("x"), 400, "invalid_request_error", "messages", "context_length_exceeded"),
        (TooLarge("x"), 413, "invalid_request_error", None, "too_large"),
        (TokenRequired("x"), 401, "invalid_request_error", None, "invalid_api_key"),
        (Refused("x"), 403, "invalid_request_error", None, "refused"),
        (NotFound("x"), 404, "invalid_request_error", None, "not_found"),
        (UnknownModel("x"), 404, "invalid_request_error", "model", "model_not_found"),
        (WrongMethod("x", allow=["GET"]), 405, "invalid_request_error", None, "method_not_supported"),
        (Busy("x"), 429, "requests", None, "rate_limit_exceeded"),
        (CannotServe("x"), 503, "server_error", None, "cannot_serve"),
        (EngineFailed("x"), 502, "server_error", None, "engine_failed"),
        (MycoError("x"), 500, "server_error", None, "internal"),
    ],
)
def test_errors_have_their_codes(error: MycoError, status: int, kind: str, param: str | None, code: str) -> None:
    assert DIALECT.status(error) == status
    told = msgspec.json.decode(DIALECT.error(error), type=Failure).error
    assert (told.message, told.type, told.param, told.code) == ("x", kind, param, code)


def test_our_hint_is_kept() -> None:
    told = msgspec.json.decode(error_json(InvalidRequest("it is wrong", "mend it")))
    assert told["error"]["message"] == "it is wrong (mend it)"


def test_an_error_of_a_newer_node_keeps_its_code_and_a_strange_field_is_no_param() -> None:
    told = msgspec.json.decode(error_json(ErrorBody("too_hot", "x", data={"param": [1]})))["error"]
    assert (told["code"], told["type"], told["param"]) == ("too_hot", "server_error", None)
