"""What all endpoints of Anthropic's dialect share: the shape of an error, and which of their kinds it is. Pure."""

from typing import Literal

import msgspec

from mycoswarm.api.dialect import Dialect
from mycoswarm.core.errors import (
    Busy,
    CannotServe,
    ContextTooLong,
    DaemonUnreachable,
    InvalidRequest,
    MycoError,
    NotFound,
    Refused,
    TokenRequired,
    TooLarge,
)

Kind = Literal[
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "overloaded_error",
    "api_error",
]

OVERLOADED = 529
"""Their status of a service that is full; their clients wait and try again."""


class ErrorDetail(msgspec.Struct, frozen=True):
    type: Kind
    message: str


class ErrorReply(msgspec.Struct, frozen=True, tag_field="type", tag="error"):
    """The body of a refusal, and the `error` event of a stream."""

    error: ErrorDetail
    request_id: str | None = None


def error_reply(problem: MycoError, request_id: str | None = None) -> ErrorReply:
    """Their shape of an error, with our hint at the end of the sentence."""
    said = _too_long(problem) if isinstance(problem, ContextTooLong) else problem.message
    text = f"{said} ({problem.hint})" if problem.hint else said
    return ErrorReply(ErrorDetail(kind(problem), text), request_id)


def _too_long(problem: ContextTooLong) -> str:
    """Claude Code shortens its conversation when it reads the words before the colon, and by how much from the
    numbers."""
    match problem.data:
        case {"prompt_tokens": int(tokens), "context": int(most)}:
            return f"prompt is too long: {tokens} tokens > {most} maximum"
        case _:
            return f"prompt is too long: {problem.message}"


def kind(problem: MycoError) -> Kind:
    """Which of their kinds an error of ours is."""
    match problem:
        case TooLarge():
            return "request_too_large"
        case InvalidRequest():
            return "invalid_request_error"
        case TokenRequired():
            return "authentication_error"
        case Refused():
            return "permission_error"
        case NotFound():
            return "not_found_error"
        case Busy():
            return "rate_limit_error"
        case CannotServe() | DaemonUnreachable():
            return "overloaded_error"
        case _:
            return "api_error"


def status(problem: MycoError) -> int:
    """Ours, but for the one that only they have."""
    return OVERLOADED if kind(problem) == "overloaded_error" else problem.status


DIALECT = Dialect(
    error=lambda problem: msgspec.json.encode(error_reply(problem, problem.data.get("request"))),
    status=status,
    headers=lambda request_id: ((b"request-id", request_id.encode()),),
    shape=ErrorReply,
)
