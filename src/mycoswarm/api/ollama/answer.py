"""Canonical deltas as the answer of Ollama's /api/chat or /api/generate: NDJSON lines, or one object. Pure."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from mycoswarm.api.ollama.shape import MEDIA, error_json, line, nanoseconds, stamp
from mycoswarm.core.chat import (
    Delta,
    Error,
    Finish,
    FinishReason,
    Logprobs,
    Note,
    Start,
    Text,
    Thinking,
    TokenLogprob,
    ToolArgs,
    ToolCall,
    Usage,
)

Kind = Literal["chat", "generate"]

_REASONS: dict[FinishReason, str] = {"length": "length"}
"""A call ends an answer in good order, and so does everything else but a limit."""


class _Calls:
    """Calls as they come; this dialect tells a call when it is whole."""

    def __init__(self) -> None:
        self._open: ToolCall | None = None
        self._pieces: list[str] = []

    def begin(self, call: ToolCall) -> None:
        self._open, self._pieces = call, []

    def add(self, piece: ToolArgs) -> None:
        if self._open is not None and piece.index == self._open.index:
            self._pieces.append(piece.text)

    def take(self) -> dict[str, Any] | None:
        """The message's part for the call that is whole now; None where none is open."""
        call, text = self._open, "".join(self._pieces)
        if call is None:
            return None
        self._open = None
        try:
            arguments = msgspec.json.decode(text or "{}", type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            # Broken off, as a rule by the limit of tokens: what there is of it must not be lost, nor pass for a call.
            return {"content": f"{call.name}({text}"}
        function = {"index": call.index, "name": call.name, "arguments": arguments}
        return {"content": "", "tool_calls": [{"id": call.id, "function": function}]}


class _End:
    """How it ended, and what it cost."""

    def __init__(self) -> None:
        self._reason: FinishReason = "stop"
        self._usage = Usage()

    def add(self, delta: Finish | Usage) -> None:
        if isinstance(delta, Finish):
            self._reason = delta.reason
        else:
            self._usage = delta

    def said(self) -> dict[str, Any]:
        """The last fields of an answer; what is zero is left out."""
        usage = self._usage
        total = (usage.load_ms or 0.0) + (usage.prefill_ms or 0.0) + (usage.decode_ms or 0.0)
        if usage.first_token_ms is not None:
            total = max(total, usage.first_token_ms + (usage.decode_ms or 0.0))
        counted = {
            "total_duration": nanoseconds(total),
            "load_duration": nanoseconds(usage.load_ms),
            "prompt_eval_count": usage.prompt_tokens,
            "prompt_eval_duration": nanoseconds(usage.prefill_ms),
            "eval_count": usage.completion_tokens,
            "eval_duration": nanoseconds(usage.decode_ms),
        }
        done = {"done": True, "done_reason": _REASONS.get(self._reason, "stop")}
        return done | {key: value for key, value in counted.items() if value}


class Lines:
    """The writer: one line a delta, the last with `done`.

    A client of this dialect parses every line, so what is said beside the answer is said in a line without text, in a
    field that it does not know.
    """

    media = MEDIA

    def __init__(self, kind: Kind, model: str, created: int) -> None:
        self._kind: Kind = kind
        self._model = model
        self._created = stamp(created)
        self._calls = _Calls()
        self._end = _End()
        self._failed = False

    def keep_alive(self) -> bytes:
        return self._line()

    def late(self, start: Start) -> bytes:
        self._model = start.model
        return self._line(beside={"mycoswarm": {"node": start.node_name, "model": start.model}})

    def write(self, delta: Delta) -> bytes:
        match delta:
            case Start():
                self._model = delta.model
                return b""
            case Text():
                return self._whole_call() + self._line(delta.text)
            case Thinking():
                return self._whole_call() + self._line(more={"thinking": delta.text})
            case ToolCall():
                before = self._whole_call()
                self._calls.begin(delta)
                return before
            case ToolArgs():
                self._calls.add(delta)
                return b""
            case Logprobs():
                return self._line(beside={"logprobs": logprobs(delta.tokens)})
            case Finish() | Usage():
                self._end.add(delta)
                return self._whole_call()
            case Error():
                self._failed = True
                return error_json(delta.error) + b"\n"
            case Note():
                return self._line(beside={"mycoswarm": {delta.kind: delta.text}})

    def end(self) -> bytes:
        return b"" if self._failed else line(self._head() | self._text("", {}) | self._end.said())

    def _whole_call(self) -> bytes:
        said = self._calls.take()
        return b"" if said is None else self._line(said.pop("content"), said)

    def _line(self, text: str = "", more: dict[str, Any] | None = None, beside: dict[str, Any] | None = None) -> bytes:
        return line(self._head() | self._text(text, more or {}) | {"done": False} | (beside or {}))

    def _head(self) -> dict[str, Any]:
        return {"model": self._model, "created_at": self._created}

    def _text(self, text: str, more: dict[str, Any]) -> dict[str, Any]:
        return message(self._kind, text, more)


class Whole:
    """The collector: all of it in one object."""

    def __init__(self, kind: Kind, model: str, created: int) -> None:
        self._kind: Kind = kind
        self._model = model
        self._created = stamp(created)
        self._calls = _Calls()
        self._end = _End()
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._made: list[dict[str, Any]] = []
        self._logprobs: list[dict[str, Any]] = []

    def add(self, delta: Delta) -> None:
        match delta:
            case Start():
                self._model = delta.model
            case Text():
                self._whole_call()
                self._text.append(delta.text)
            case Thinking():
                self._whole_call()
                self._thinking.append(delta.text)
            case ToolCall():
                self._whole_call()
                self._calls.begin(delta)
            case ToolArgs():
                self._calls.add(delta)
            case Logprobs():
                self._logprobs += logprobs(delta.tokens)
            case Finish() | Usage():
                self._whole_call()
                self._end.add(delta)
            case Note() | Error():
                pass

    def body(self) -> bytes:
        more: dict[str, Any] = {}
        if self._thinking:
            more["thinking"] = "".join(self._thinking)
        if self._made:
            more["tool_calls"] = self._made
        said: dict[str, Any] = {"model": self._model, "created_at": self._created}
        said |= message(self._kind, "".join(self._text), more) | self._end.said()
        if self._logprobs:
            said["logprobs"] = self._logprobs
        return msgspec.json.encode(said)

    def _whole_call(self) -> None:
        said = self._calls.take()
        if said is not None:
            self._text.append(said["content"])
            self._made += said.get("tool_calls", ())


def message(kind: Kind, text: str, more: dict[str, Any]) -> dict[str, Any]:
    """Where the two endpoints differ: what is said lies in a message, or in the object itself."""
    if kind == "chat":
        return {"message": {"role": "assistant", "content": text} | more}
    return {"response": text} | more


def logprobs(tokens: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    """Their form of them."""
    return [_token(one) | {"top_logprobs": [_token(other) for other in one.top]} for one in tokens]


def _token(one: TokenLogprob) -> dict[str, Any]:
    said: dict[str, Any] = {"token": one.token, "logprob": one.logprob}
    if one.bytes is not None:
        said["bytes"] = list(one.bytes)
    return said
