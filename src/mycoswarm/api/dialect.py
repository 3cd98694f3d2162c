"""What a dialect is: one adapter in, one out, and its own shape of an error. Pure.

    body ─▶ read ─▶ Asked: ChatRequest ─▶ node ─▶ deltas ─▶ Writer (streamed) or Collector (in one piece) ─▶ bytes

A dialect's package gives a `Dialect` and a `read` per endpoint; `answering` is the one shell round all of them.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from mycoswarm.core.chat import ChatRequest, Delta, Start
from mycoswarm.core.errors import MycoError
from mycoswarm.core.ids import RequestId

Headers = Sequence[tuple[bytes, bytes]]


class Arrival(msgspec.Struct, frozen=True):
    """A request as it came. headers: lower-case names. created: seconds since 1970."""

    id: RequestId
    created: int
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes

    @property
    def why(self) -> bool:
        """Whether the client wants to know why this node answers."""
        return self.headers.get("x-mycoswarm-why") == "1"

    @property
    def session(self) -> str | None:
        """A hint that this request belongs to one conversation, by whichever header a client says it."""
        said = next((self.headers[name] for name in _SESSION_HEADERS if self.headers.get(name)), None)
        return session_hint(said)


_SESSION_HEADERS = (
    "x-mycoswarm-session",
    "x-session-affinity",
    "x-claude-code-session-id",
    "session-id",
    "session_id",
    "conversation_id",
    "x-session-id",
)
"""Ours, opencode's, Claude Code's, and three spellings of Codex's and others'. The first that is said counts."""

_LONGEST_SESSION = 256
"""Letters. It travels with the request and is kept per conversation; bodies have room for millions."""


def session_hint(said: str | None) -> str | None:
    """What a client calls its conversation; a long name by its digest, because names differ at their ends as a rule."""
    if not said:
        return None
    return said if len(said) <= _LONGEST_SESSION else hashlib.blake2b(said.encode(), digest_size=16).hexdigest()


class Writer(Protocol):
    """Tells one answer piece by piece."""

    @property
    def media(self) -> bytes: ...

    def keep_alive(self) -> bytes:
        """Bytes that say nothing, for a silence; a client that follows the dialect passes over them."""
        ...

    def late(self, start: Start) -> bytes:
        """Who answers, where the headers that say it have gone out before anybody had accepted."""
        ...

    def write(self, delta: Delta) -> bytes:
        """The bytes to send for `delta`; empty where the dialect has nothing to say. An Error is told in its words."""
        ...

    def end(self) -> bytes:
        """After the last delta, also after an Error."""
        ...


class Collector(Protocol):
    """Tells one answer in one piece."""

    def add(self, delta: Delta) -> None:
        """Take `delta` in. An Error delta is the caller's to raise."""
        ...

    def body(self) -> bytes: ...


class Asked(msgspec.Struct, frozen=True):
    """The canonical request, and how its answer is told: by `writer` where it is streamed, else by `collector`.

    choices: how many answers are wanted; more than one are as many requests.
    prompts: several raw prompts, each answered `choices` times in place of `request.prompt`; numbered prompt by prompt.
    """

    request: ChatRequest
    writer: Writer | None
    collector: Collector | None = None
    choices: int = 1
    prompts: tuple[str, ...] = ()


class Dialect(msgspec.Struct, frozen=True):
    """error: the body of a refusal; `data["request"]` says of which request, where one was read. status: of a refusal.

    headers: beside ours, on every reply. shape: a refusal's body as a msgspec type or a JSON schema.
    """

    error: Callable[[MycoError], bytes]
    status: Callable[[MycoError], int]
    headers: Callable[[RequestId], Headers] = lambda request_id: ()
    shape: Any = {}


Read = Callable[[Arrival], Asked]
"""Raises InvalidRequest, naming the field."""
