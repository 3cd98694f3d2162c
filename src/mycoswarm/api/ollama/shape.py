"""What all endpoints of Ollama's dialect share: the shape of an error, stamps, durations, lines. Pure."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from mycoswarm.api.dialect import Dialect
from mycoswarm.core.errors import Busy, ErrorBody, InvalidRequest, MycoError, UnknownModel

VERSION = "0.13.5"
"""The version of Ollama whose API this is; clients ask for a least one and switch features by it."""

MEDIA = b"application/x-ndjson"


class Refusal(msgspec.Struct, frozen=True):
    """The body of an error: one text."""

    error: str


def error_text(error: MycoError | ErrorBody) -> str:
    """The sentence with our hint. Programs look for `model` and `not found` in it before they offer to pull."""
    body = error.body() if isinstance(error, MycoError) else error
    said = f"{body.message} ({body.hint})" if body.hint else body.message
    return f"model not found: {said}" if body.code == UnknownModel.code else said


def error_json(error: MycoError | ErrorBody) -> bytes:
    """Their shape of an error, as a reply and as a line of a stream."""
    return msgspec.json.encode(Refusal(error_text(error)))


def status(problem: MycoError) -> int:
    """Theirs: a full queue is 503."""
    return 503 if isinstance(problem, Busy) else problem.status


def line(said: dict[str, Any]) -> bytes:
    """One line of a stream."""
    return msgspec.json.encode(said) + b"\n"


def stamp(seconds: float) -> str:
    """A moment in their form. seconds: since 1970."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def nanoseconds(milliseconds: float | None) -> int:
    """0 where the engine does not tell; such fields are left out."""
    return round((milliseconds or 0.0) * 1e6)


def named(model: str | None) -> str:
    """The model that a body names. Raises InvalidRequest where it names none."""
    if not model:
        raise InvalidRequest("model is required", "name one, or `auto`")
    return model


DIALECT = Dialect(error=error_json, status=status, shape=Refusal)
