"""What all endpoints of OpenAI's dialect share: the shape of an error, comments in a stream. Pure."""

import msgspec

from mycoswarm.api.dialect import Dialect
from mycoswarm.core.errors import ErrorBody, InvalidRequest, MycoError


def error_json(error: MycoError | ErrorBody) -> bytes:
    """Their shape of an error, with our hint at the end of the sentence."""
    body = error.body() if isinstance(error, MycoError) else error
    text = f"{body.message} ({body.hint})" if body.hint else body.message
    kind = "invalid_request_error" if isinstance(error, InvalidRequest) else f"{body.code}_error"
    return msgspec.json.encode({"error": {"message": text, "type": kind, "param": None, "code": body.code}})


def comment(kind: str, text: str) -> bytes:
    """A comment of an event stream: clients pass over it, people who look at the wire read it."""
    return f": {kind}: {' '.join(text.split())}\n\n".encode()


DIALECT = Dialect(
    error=error_json,
    status=lambda problem: problem.status,
    headers=lambda request_id: ((b"x-request-id", request_id.encode()),),
)
