"""The JSON that nodes send each other beside streams: read, or refused in a sentence. Pure."""

from typing import TypeVar

import msgspec

from mycoswarm.core.errors import InvalidRequest, PeerLost

_T = TypeVar("_T")


def asked(data: bytes, kind: type[_T]) -> _T:
    """A peer's request. Raises InvalidRequest."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as problem:
        raise InvalidRequest(
            f"the peer's request is not understood: {problem}", "is its version another one?"
        ) from None


def answered(data: bytes, kind: type[_T], who: str) -> _T:
    """A peer's reply. Raises PeerLost."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as problem:
        raise PeerLost(
            f"{who} said something that is not understood: {problem}", "is its version another one?"
        ) from None
