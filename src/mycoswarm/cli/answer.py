"""One answer out of its deltas: text, figures, what is said about it. Pure: the clock's readings are handed in."""

from typing import Any

import msgspec

from mycoswarm.cli import words
from mycoswarm.core.chat import (
    Delta,
    Error,
    Finish,
    Logprobs,
    Note,
    Start,
    Text,
    Thinking,
    ToolArgs,
    ToolCall,
    Usage,
)
from mycoswarm.core.errors import MycoError, PeerLost, from_body
from mycoswarm.core.ids import short
from mycoswarm.core.placement import Placement


class Answer:
    """Grows delta by delta.

    Times are seconds of any monotonic clock; `first_token` and `took` count from `asked`, the moment of sending, so
    they hold everything that the person waits for.
    """

    def __init__(self, asked: float) -> None:
        self.text = ""
        self.thinking = ""
        self.start: Start | None = None
        self.finish: Finish | None = None
        self.usage: Usage | None = None
        self.error: MycoError | None = None
        self.placement: Placement | None = None
        self.notes: list[Note] = []
        self.stopped = False
        self._asked = asked
        self._first: float | None = None
        self._last: float = asked

    def feed(self, delta: Delta, now: float) -> None:
        """`delta` came at `now`."""
        match delta:
            case Start():
                self.start = delta
            case Text():
                self.text += delta.text
                self._token(now)
            case Thinking():
                self.thinking += delta.text
                self._token(now)
            case ToolCall() | ToolArgs():
                self._token(now)
            case Logprobs():
                pass
            case Finish():
                self.finish = delta
            case Usage():
                self.usage = delta
            case Error():
                self.error = from_body(delta.error)
            case Note(kind="placement"):
                self.placement = msgspec.convert(delta.data, Placement)
            case Note():
                self.notes.append(delta)

    def end(self) -> None:
        """No more deltas will come. A stream that has neither Finish nor Error was cut off."""
        if self.finish is None and self.error is None and not self.stopped:
            self.error = PeerLost(
                "the answer broke off: the node ended it without a word", "ask again; `mycoswarm logs` may tell why"
            )

    def stop(self) -> None:
        """The person did not want to hear more."""
        self.stopped = True

    def _token(self, now: float) -> None:
        if self._first is None:
            self._first = now
        self._last = now

    @property
    def first_token(self) -> float | None:
        """Seconds until the first token, thought or said."""
        return None if self._first is None else self._first - self._asked

    @property
    def tokens_per_second(self) -> float | None:
        """Decode speed: by the engine's own clock where it tells, else as the tokens came in here."""
        if self.usage is None or self.usage.completion_tokens < 2:
            return None
        if self.usage.decode_ms:
            return self.usage.completion_tokens / self.usage.decode_ms * 1000
        if self._first is None or self._last <= self._first:
            return None
        return (self.usage.completion_tokens - 1) / (self._last - self._first)

    @property
    def node(self) -> str:
        if self.start is None:
            return ""
        return self.start.node_name or short(self.start.node)

    def footer(self) -> str:
        """Node, model, tokens/s, time to first token; then what was unusual."""
        parts = [self.node, self.start.model if self.start else ""]
        if (speed := self.tokens_per_second) is not None:
            parts.append(words.rate(speed))
        if self.first_token is not None:
            parts.append(f"first token {words.duration(self.first_token)}")
        if self.stopped:
            parts.append("stopped")
        elif self.finish is not None and self.finish.reason != "stop":
            parts.append({"length": "cut at the token limit"}.get(self.finish.reason, self.finish.reason))
        parts += [note.text or note.kind for note in self.notes if note.kind == "resumed"]
        return " · ".join(part for part in parts if part)

    def as_json(self) -> dict[str, Any]:
        """The object that `ask --json` prints."""
        done: dict[str, Any] = {
            "text": self.text,
            "node": self.start.node if self.start else "",
            "node_name": self.node,
            "model": self.start.model if self.start else "",
            "engine": self.start.engine if self.start else "",
            "finish": self.finish.reason if self.finish else None,
            "usage": self.usage,
            "first_token_seconds": self.first_token,
            "tokens_per_second": self.tokens_per_second,
        }
        if self.thinking:
            done["thinking"] = self.thinking
        if self.notes:
            done["notes"] = [{"kind": note.kind, "text": note.text, "data": note.data} for note in self.notes]
        if self.placement is not None:
            done["placement"] = self.placement
        if self.error is not None:
            done["error"] = self.error.body()
        return done
