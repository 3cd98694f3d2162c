"""From the NDJSON lines of Ollama's /api/chat and /api/generate to canonical deltas. Bytes in, deltas out, no I/O."""

from collections.abc import Iterator
from typing import Any

import msgspec

from mycoswarm.core.chat import Delta, FinishReason, TokenLogprob, Usage
from mycoswarm.core.errors import EngineFailed
from mycoswarm.engines.stream import Deltas, Lines


class _Function(msgspec.Struct):
    name: str = ""
    arguments: dict[str, Any] | None = None


class _Call(msgspec.Struct):
    function: _Function
    id: str = ""


class _Message(msgspec.Struct):
    content: str = ""
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Alternative(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: "list[_Alternative] | None" = None


class _Line(msgspec.Struct):
    """Durations in ns; fields that are zero are left out by Ollama. response, thinking: of /api/generate."""

    message: _Message | None = None
    response: str = ""
    thinking: str | None = None
    done: bool = False
    done_reason: str = ""
    error: str | None = None
    logprobs: list[_Alternative] | None = None
    load_duration: int = 0
    prompt_eval_count: int = 0
    prompt_eval_duration: int | None = None
    eval_count: int = 0
    eval_duration: int | None = None


_decoder = msgspec.json.Decoder(_Line)
_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


class OllamaStream:
    """The lines of one streamed chat. Raises and yields as `stream.OpenAIStream` does."""

    def __init__(self, deltas: Deltas) -> None:
        self._deltas = deltas
        self._lines = Lines()
        self._calls = 0

    def feed(self, data: bytes) -> Iterator[Delta]:
        """The deltas that `data` completes."""
        for line in self._lines.feed(data):
            yield from self._line(line)

    def end(self) -> Iterator[Delta]:
        """The connection has ended in good order: the last deltas."""
        yield from self._line(self._lines.end())
        if not self._deltas.finished:
            raise EngineFailed("Ollama ended its answer in the middle")

    def _line(self, text: bytes) -> Iterator[Delta]:
        if not text.strip():
            return
        try:
            line = _decoder.decode(text)
        except msgspec.DecodeError as problem:
            raise EngineFailed(f"Ollama sent a line that cannot be read: {problem}") from problem
        if line.error is not None:
            raise EngineFailed(f"Ollama failed in the middle of its answer: {line.error}")
        message = line.message or _Message(line.response, line.thinking)
        if message.thinking:
            yield self._deltas.thinking(message.thinking)
        if message.content:
            yield self._deltas.text(message.content)
        for call in message.tool_calls or ():
            yield self._deltas.tool_call(self._calls, call.id, call.function.name)
            arguments = msgspec.json.encode(call.function.arguments or {}).decode()
            yield self._deltas.tool_args(self._calls, arguments)
            self._calls += 1
        if line.logprobs:
            yield self._deltas.logprobs(tuple(_token(one) for one in line.logprobs))
        if line.done and not self._deltas.finished:
            reason = "tool_calls" if self._calls else _REASONS.get(line.done_reason, "stop")
            yield self._deltas.finish(reason)
            yield self._deltas.usage(
                Usage(
                    prompt_tokens=line.prompt_eval_count,
                    completion_tokens=line.eval_count,
                    prefill_ms=_milliseconds(line.prompt_eval_duration),
                    decode_ms=_milliseconds(line.eval_duration),
                    load_ms=_milliseconds(line.load_duration),
                )
            )


def _milliseconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e6


def _token(one: _Alternative) -> TokenLogprob:
    top = tuple(_token(other) for other in one.top_logprobs or ())
    return TokenLogprob(one.token, one.logprob, tuple(one.bytes) if one.bytes else None, top)
