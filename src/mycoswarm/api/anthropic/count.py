"""The answer to "how many tokens has this prompt". Pure."""

import msgspec

from mycoswarm.api.dialect import Headers
from mycoswarm.core.views import Counted


class TokenCount(msgspec.Struct, frozen=True):
    """Body of the answer to `POST /v1/messages/count_tokens`."""

    input_tokens: int


def body(counted: Counted) -> bytes:
    return msgspec.json.encode(TokenCount(counted.tokens))


def headers(counted: Counted) -> Headers:
    """Their body has no room for the doubt, so a header says it."""
    return () if counted.exact else ((b"x-mycoswarm-estimate", b"1"),)
