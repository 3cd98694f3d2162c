"""What all endpoints of OpenAI's dialect share in what they say: errors, events, usage, fingerprints. Pure."""

import hashlib
from typing import Any

import msgspec

from mycoswarm.api.dialect import Dialect
from mycoswarm.core.chat import Start, TokenLogprob, Usage
from mycoswarm.core.errors import (
    Busy,
    ContextTooLong,
    ErrorBody,
    InvalidRequest,
    MycoError,
    NotFound,
    Refused,
    TokenRequired,
    UnknownModel,
    WrongMethod,
    from_body,
)

EVENT_STREAM = b"text/event-stream; charset=utf-8"
KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"

CODES: dict[type[MycoError], str] = {
    ContextTooLong: "context_length_exceeded",
    UnknownModel: "model_not_found",
    TokenRequired: "invalid_api_key",
    Busy: "rate_limit_exceeded",
    WrongMethod: "method_not_supported",
}
"""Their codes, where they have one; else it is ours. A client's retries and messages hang on them."""

_PARAMS: dict[type[MycoError], str] = {ContextTooLong: "messages", UnknownModel: "model"}


class Problem(msgspec.Struct, frozen=True):
    """Their error object. param: the field that is wrong, where it is known."""

    message: str
    type: str
    param: str | None
    code: str


class Failure(msgspec.Struct, frozen=True):
    """The body of every refusal."""

    error: Problem


def problem(error: MycoError | ErrorBody) -> Problem:
    """`error` in their words, with our hint at the end of the sentence.

    `data["param"]` and `data["code"]` of an error name the field and their finer code; see `reading`.
    """
    body = error if isinstance(error, ErrorBody) else error.body()
    known = from_body(body)
    text = f"{body.message} ({body.hint})" if body.hint else body.message
    param = body.data.get("param", _PARAMS.get(type(known)))
    code = body.data.get("code", CODES.get(type(known), body.code))
    return Problem(text, _kind(known), param if isinstance(param, str) else None, str(code))


def _kind(error: MycoError) -> str:
    match error:
        case Busy():
            return "requests"
        case InvalidRequest() | NotFound() | Refused():
            return "invalid_request_error"
        case _:
            return "server_error"


def error_json(error: MycoError | ErrorBody) -> bytes:
    """The body of a refusal, and the last event of a stream that failed."""
    return msgspec.json.encode(Failure(problem(error)))


def fingerprint(start: Start) -> str:
    """Changes when another engine or machine answers: then the same seed may give another text."""
    said = f"{start.node}\n{start.engine}\n{start.model}".encode()
    return "fp_" + hashlib.blake2b(said, digest_size=5).hexdigest()


def usage_json(usage: Usage, thought: float = 0.0) -> dict[str, Any]:
    """Their `usage` object. thought: the share of the answer's text that was thinking."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": reasoning_tokens(usage, thought)},
    }


def reasoning_tokens(usage: Usage, thought: float) -> int:
    """No engine counts them apart: the share of the text stands for the share of the tokens."""
    return round(usage.completion_tokens * thought)


class Thought:
    """Measures how much of an answer was thinking, for `reasoning_tokens`."""

    def __init__(self) -> None:
        self._thinking = 0
        self._all = 0

    def add(self, text: str, *, thinking: bool = False) -> None:
        self._all += len(text)
        self._thinking += len(text) if thinking else 0

    @property
    def share(self) -> float:
        return self._thinking / self._all if self._all else 0.0


def logprob_json(token: TokenLogprob) -> dict[str, Any]:
    """One token as chat completions and responses tell it; `bytes` is null where the engine does not tell."""
    return {**_alternative(token), "top_logprobs": [_alternative(one) for one in token.top]}


def _alternative(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.token, "logprob": token.logprob, "bytes": token.bytes}


DIALECT = Dialect(
    error=error_json,
    status=lambda problem: problem.status,
    headers=lambda request_id: ((b"x-request-id", request_id.encode()),),
    shape=Failure,
)
