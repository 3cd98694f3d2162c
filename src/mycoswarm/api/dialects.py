"""Which language an error is told in where no endpoint has taken the request: nothing is there, or nobody may. Pure."""

from collections.abc import Mapping

import msgspec

from mycoswarm.api.anthropic import shape as anthropic
from mycoswarm.api.dialect import Dialect
from mycoswarm.api.ollama import shape as ollama
from mycoswarm.api.openai import shape as openai
from mycoswarm.core.errors import ErrorBody


class Refusal(msgspec.Struct, frozen=True):
    """Our own shape: one sentence, a hint, whether to try again."""

    error: ErrorBody


NATIVE = Dialect(
    error=lambda problem: msgspec.json.encode(Refusal(problem.body())),
    status=lambda problem: problem.status,
    shape=Refusal,
)


def of(path: str, headers: Mapping[str, str]) -> Dialect:
    """The dialect of a request, by where it went and, where two share a path, by what only one of them sends.

    Args:
        headers: lower-case names.
    """
    if path == "/v1/messages" or path.startswith("/v1/messages/"):
        return anthropic.DIALECT
    if path.startswith("/v1/"):
        return anthropic.DIALECT if "anthropic-version" in headers else openai.DIALECT
    if path.startswith("/api/"):
        return ollama.DIALECT
    return NATIVE
