"""From an OpenAI-style event stream to canonical deltas. Bytes in, deltas out, no I/O.

Three small machines: `Lines` (bytes to lines, however they were cut), `Deltas` (numbers deltas and counts the bytes of
text), `OpenAIStream` (server-sent events of /v1/chat/completions and /v1/completions to deltas, made of the two).
"""

from collections.abc import Iterator
from typing import TypeVar

import msgspec

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
from mycoswarm.core.errors import EngineFailed, MycoError
from mycoswarm.core.ids import RequestId
from mycoswarm.engines.stops import Stops

_T = TypeVar("_T")
_MAX_LINE = 16 << 20
"""No engine sends a longer one; without a bound a broken one would fill our memory."""


class Lines:
    """Whole lines out of a byte stream. `\\n` and `\\r\\n` end a line; the ends are not part of it."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that `data` completes.

        Raises:
            EngineFailed: a line without end.
        """
        self._rest += data
        start = 0
        while (end := self._rest.find(b"\n", start)) >= 0:
            yield bytes(self._rest[start:end]).removesuffix(b"\r")
            start = end + 1
        del self._rest[:start]
        if len(self._rest) > _MAX_LINE:
            raise EngineFailed(f"the engine sent a line of more than {_MAX_LINE >> 20} MiB")

    def end(self) -> bytes:
        """What came after the last line end."""
        rest = bytes(self._rest).removesuffix(b"\r")
        self._rest.clear()
        return rest


class Deltas:
    """Makes the deltas of one answer: seq without gaps, offsets in UTF-8 bytes, Finish once and then Usage."""

    def __init__(self, request: RequestId, model: str, engine: str) -> None:
        self._request = request
        self._model = model
        self._engine = engine
        self._seq = 0
        self._offset = 0
        self.said = False
        """Whether anything of the answer itself has been made."""
        self.finished = False

    def _next(self) -> int:
        seq, self._seq = self._seq, self._seq + 1
        return seq

    def start(self) -> Start:
        return Start(request=self._request, model=self._model, engine=self._engine, seq=self._next())

    def text(self, text: str) -> Text:
        offset, self._offset = self._offset, self._offset + len(text.encode())
        self.said = True
        return Text(text, offset, seq=self._next())

    def thinking(self, text: str, signature: str | None = None) -> Thinking:
        self.said = True
        return Thinking(text, signature, seq=self._next())

    def tool_call(self, index: int, call_id: str, name: str) -> ToolCall:
        self.said = True
        return ToolCall(index, call_id or f"call-{self._request}-{index}", name, seq=self._next())

    def tool_args(self, index: int, text: str) -> ToolArgs:
        return ToolArgs(index, text, seq=self._next())

    def logprobs(self, tokens: tuple[TokenLogprob, ...]) -> Logprobs:
        return Logprobs(tokens, seq=self._next())

    def finish(self, reason: FinishReason, stop: str | None = None) -> Finish:
        self.finished = True
        return Finish(reason, stop, seq=self._next())

    def usage(self, usage: Usage) -> Usage:
        return msgspec.structs.replace(usage, seq=self._next())

    def note(self, kind: str, text: str) -> Note:
        return Note(kind, text, seq=self._next())

    def error(self, error: MycoError) -> Error:
        return Error(error.body(), seq=self._next())


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Alternative(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None


class _TokenLogprob(_Alternative):
    top_logprobs: list[_Alternative] | None = None


class _Logprobs(msgspec.Struct):
    """`content`: as chats have it, and llama.cpp everywhere; the others: of /v1/completions, in parallel lists."""

    content: list[_TokenLogprob] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


class _Delta(msgspec.Struct):
    """`reasoning`: as vLLM and LM Studio name it; `reasoning_content`: llama.cpp and others."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    """`text`: of /v1/completions, instead of a delta. `stop_reason`: vLLM's, the stop string that was met."""

    index: int = 0
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    logprobs: _Logprobs | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None


class _Timings(msgspec.Struct):
    """llama.cpp's own, in milliseconds; cache_n: prompt tokens taken from its cache."""

    cache_n: int | None = None
    prompt_n: int | None = None
    prompt_ms: float | None = None
    predicted_n: int | None = None
    predicted_ms: float | None = None


class _ErrorBody(msgspec.Struct):
    message: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    timings: _Timings | None = None
    error: _ErrorBody | str | None = None


_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_decoder = msgspec.json.Decoder(_Chunk)


def _logprobs(told: _Logprobs) -> tuple[TokenLogprob, ...]:
    if told.content is not None:
        return tuple(_token(piece) for piece in told.content)
    tokens = told.tokens or []
    alternatives = told.top_logprobs or [None] * len(tokens)
    return tuple(
        TokenLogprob(token, logprob or 0.0, None, tuple(TokenLogprob(*pair) for pair in _by_likelihood(others or {})))
        for token, logprob, others in zip(tokens, told.token_logprobs or [], alternatives, strict=False)
    )


def _by_likelihood(alternatives: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(alternatives.items(), key=lambda pair: -pair[1])


def _token(piece: _TokenLogprob) -> TokenLogprob:
    top = tuple(
        TokenLogprob(other.token, other.logprob, tuple(other.bytes) if other.bytes else None)
        for other in piece.top_logprobs or ()
    )
    return TokenLogprob(piece.token, piece.logprob, tuple(piece.bytes) if piece.bytes else None, top)


class OpenAIStream:
    """The server-sent events of one streamed completion, n = 1.

    Args:
        stops: stop strings to look for here; `stopped` tells that one was met, and that nothing more is to be read.

    `feed` and `end` raise EngineFailed where the engine reports an error or sends nonsense; what they yielded before
    stays valid. After `end` the answer is complete: Finish and Usage have been yielded.
    """

    def __init__(self, deltas: Deltas, stops: tuple[str, ...] = ()) -> None:
        self._deltas = deltas
        self._stops = Stops(stops)
        self._lines = Lines()
        self._data: list[bytes] = []
        self._usage: Usage | None = None
        self._calls = 0
        self._open: dict[str, int] = {}
        self._ended = False

    @property
    def stopped(self) -> bool:
        """Whether a stop string was met: what the engine writes after it is not wanted."""
        return self._stops.met is not None

    def feed(self, data: bytes) -> Iterator[Delta]:
        """The deltas that `data` completes."""
        for line in self._lines.feed(data):
            yield from self._line(line)
            if self.stopped:
                return

    def end(self) -> Iterator[Delta]:
        """The connection has ended in good order, or nothing more is wanted of it: the last deltas."""
        if not self.stopped:
            if rest := self._lines.end():
                yield from self._line(rest)
            yield from self._line(b"")
        if not self._deltas.finished:
            if not self._ended:
                raise EngineFailed("the engine ended its answer in the middle")
            yield from self._say(self._stops.end())
            yield self._deltas.finish("tool_calls" if self._calls else "stop")
        yield self._deltas.usage(self._usage or Usage())

    def _line(self, line: bytes) -> Iterator[Delta]:
        if line:
            field, _, value = line.partition(b":")
            if field in (b"data", b"error"):
                # llama.cpp writes a failure in the middle as a field of its own name.
                self._data.append(value.removeprefix(b" "))
            return
        if not self._data:
            return
        event = b"\n".join(self._data)
        self._data.clear()
        if event == b"[DONE]":
            self._ended = True
            return
        try:
            chunk = _decoder.decode(event)
        except msgspec.DecodeError as problem:
            raise EngineFailed(f"the engine sent an event that cannot be read: {problem}") from problem
        yield from self._chunk(chunk)

    def _chunk(self, chunk: _Chunk) -> Iterator[Delta]:
        if chunk.error is not None:
            said = chunk.error if isinstance(chunk.error, str) else chunk.error.message
            raise EngineFailed(f"the engine failed in the middle of its answer: {said or 'no reason given'}")
        if chunk.usage is not None or chunk.timings is not None:
            self._usage = _merge(self._usage or Usage(), chunk.usage or _Usage(), chunk.timings or _Timings())
        for choice in chunk.choices or ():
            if choice.index == 0:
                yield from self._choice(choice)

    def _choice(self, choice: _Choice) -> Iterator[Delta]:
        delta = choice.delta or _Delta()
        if thought := delta.reasoning_content or delta.reasoning:
            yield self._deltas.thinking(thought)
        if content := delta.content or choice.text:
            yield from self._say(self._stops.feed(content))
        for call in delta.tool_calls or ():
            yield from self._tool(call)
        if choice.logprobs is not None and (tokens := _logprobs(choice.logprobs)):
            yield self._deltas.logprobs(tokens)
        if self._deltas.finished:
            return
        if self.stopped:
            yield self._deltas.finish("stop", self._stops.met)
        elif choice.finish_reason:
            yield from self._say(self._stops.end())
            met = choice.stop_reason if isinstance(choice.stop_reason, str) else None
            yield self._deltas.finish(_REASONS.get(choice.finish_reason, "stop"), met)

    def _say(self, text: str) -> Iterator[Delta]:
        if text:
            yield self._deltas.text(text)

    def _tool(self, call: _Call) -> Iterator[Delta]:
        function = call.function or _Function()
        # Servers that give no index send each call whole, or repeat its id.
        key = f"#{call.index}" if call.index is not None else call.id or f"#{max(self._calls - 1, 0)}"
        if key not in self._open:
            self._open[key] = self._calls
            self._calls += 1
            yield self._deltas.tool_call(self._open[key], call.id or "", function.name or "")
        if function.arguments:
            yield self._deltas.tool_args(self._open[key], function.arguments)


def _merge(known: Usage, usage: _Usage, timings: _Timings) -> Usage:
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    if prompt is None and timings.prompt_n is not None:
        prompt = timings.prompt_n + (timings.cache_n or 0)
    if completion is None:
        completion = timings.predicted_n
    return Usage(
        prompt_tokens=known.prompt_tokens if prompt is None else prompt,
        completion_tokens=known.completion_tokens if completion is None else completion,
        cached_tokens=_first(timings.cache_n, cached, known.cached_tokens) or 0,
        prefill_ms=_first(timings.prompt_ms, known.prefill_ms),
        decode_ms=_first(timings.predicted_ms, known.decode_ms),
    )


def _first(*values: _T | None) -> _T | None:
    return next((value for value in values if value is not None), None)
