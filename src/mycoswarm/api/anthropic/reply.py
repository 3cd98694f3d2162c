"""Canonical deltas to their events, and events to one message. Pure.

A message is a row of blocks, one open at a time: text, thoughts, or a call with its input. `Reply` is the machine that
opens and closes them; `EventWriter` and `Collector` are two readers of what it says.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from mycoswarm.api import sse
from mycoswarm.api.anthropic.events import (
    BlockDelta,
    BlockStart,
    BlockStop,
    Content,
    Event,
    InputDelta,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    SignatureDelta,
    Spent,
    Stopped,
    StopReason,
    TextContent,
    TextDelta,
    TheirAnswer,
    ThinkingContent,
    ThinkingDelta,
    ToolUseContent,
    name,
)
from mycoswarm.api.anthropic.shape import ErrorReply, error_reply
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
from mycoswarm.core.errors import EngineFailed, from_body
from mycoswarm.core.ids import RequestId

_PING = sse.event("ping", msgspec.json.encode(Ping()))


class Reply:
    """One answer as events, delta by delta.

    Args:
        thoughts: whether they are told. silent: nothing is told but the figures.
    """

    def __init__(self, request_id: RequestId, *, thoughts: bool, silent: bool) -> None:
        self._id = request_id
        self._thoughts = thoughts
        self._silent = silent
        self._started = self._over = self._called = False
        self._index = -1
        self._open: type[Content] | None = None
        self._call: ToolCall | None = None
        self._input: list[str] = []
        self._waiting: dict[int, tuple[ToolCall, list[str]]] = {}
        self._finish: Finish | None = None

    def take(self, delta: Delta) -> list[Event]:
        """The events that `delta` makes."""
        match delta:
            case Start():
                return self._start(delta)
            case Error():
                self._over = True
                return [error_reply(from_body(delta.error), self._id)]
            case Finish():
                self._finish = delta
                return []
            case Usage():
                return self._end(delta)
            case Note() | Logprobs():
                return []
            case Text() | Thinking() | ToolCall() | ToolArgs() if self._silent:
                return []
            case Text(text):
                return [*self._enter(TextContent("")), self._delta(TextDelta(text))] if text else []
            case Thinking():
                return self._thinking(delta) if self._thoughts else []
            case ToolCall():
                return self._tool_call(delta)
            case ToolArgs():
                return self._tool_args(delta)

    def end(self) -> list[Event]:
        """What is missing after the last delta."""
        return [] if self._over else self._end(Usage())

    def _start(self, delta: Start) -> list[Event]:
        if self._started:
            return []
        self._started = True
        return [MessageStart(TheirAnswer(f"msg_{self._id}", "assistant", delta.model, (), None, None, Spent())), Ping()]

    def _enter(self, block: Content) -> list[Event]:
        """Open `block` where none of its kind is open."""
        if self._open is type(block):
            return []
        events = self._leave()
        self._index += 1
        self._open = type(block)
        return [*events, BlockStart(self._index, block)]

    def _leave(self) -> list[Event]:
        """Close the open block, and tell the calls that wait behind it."""
        events: list[Event] = []
        while self._open is not None:
            events.append(BlockStop(self._index))
            self._open = self._call = None
            if self._waiting:
                call, pieces = self._waiting.pop(next(iter(self._waiting)))
                events += self._begin(call, pieces)
        return events

    def _delta(self, delta: TextDelta | ThinkingDelta | SignatureDelta | InputDelta) -> BlockDelta:
        return BlockDelta(self._index, delta)

    def _thinking(self, delta: Thinking) -> list[Event]:
        if not delta.text and delta.signature is None:
            return []
        events = self._enter(ThinkingContent("", ""))
        if delta.text:
            events.append(self._delta(ThinkingDelta(delta.text)))
        if delta.signature is not None:
            # It signs what came before it; whatever is thought next is another block.
            events += [self._delta(SignatureDelta(delta.signature)), *self._leave()]
        return events

    def _tool_call(self, delta: ToolCall) -> list[Event]:
        self._called = True
        if self._call is not None and _object("".join(self._input)) is None:
            # Some engines write several calls at once. Blocks follow one another, so this one waits for its turn.
            self._waiting[delta.index] = (delta, [])
            return []
        return [*self._leave(), *self._begin(delta, [])]

    def _begin(self, call: ToolCall, pieces: list[str]) -> list[Event]:
        self._index += 1
        self._open, self._call, self._input = ToolUseContent, call, pieces
        events: list[Event] = [BlockStart(self._index, ToolUseContent(call.id, call.name, {}))]
        return [*events, self._delta(InputDelta("".join(pieces)))] if pieces else events

    def _tool_args(self, delta: ToolArgs) -> list[Event]:
        if delta.index in self._waiting:
            self._waiting[delta.index][1].append(delta.text)
            return []
        if self._call is None or self._call.index != delta.index or not delta.text:
            return []
        self._input.append(delta.text)
        events: list[Event] = [self._delta(InputDelta(delta.text))]
        while self._waiting and _object("".join(self._input)) is not None:
            call, pieces = self._waiting.pop(next(iter(self._waiting)))
            events += [BlockStop(self._index), *self._begin(call, pieces)]
        return events

    def _end(self, usage: Usage) -> list[Event]:
        if self._over:
            return []
        self._over = True
        spent = Spent(
            input_tokens=max(0, usage.prompt_tokens - usage.cached_tokens),
            cache_read_input_tokens=usage.cached_tokens,
            output_tokens=0 if self._silent else usage.completion_tokens,
        )
        return [*self._leave(), MessageDelta(self._stopped(), spent), MessageStop()]

    def _stopped(self) -> Stopped:
        finish = self._finish or Finish("stop")
        if self._silent:
            return Stopped("max_tokens", None)
        match finish.reason:
            case "length":
                reason: StopReason = "max_tokens"
            case "content_filter":
                reason = "refusal"
            case "stop" | "tool_calls" | "cancelled" if self._called:
                # Engines differ in what they call the end of an answer with calls; programs run calls by this word.
                reason = "tool_use"
            case "stop" if finish.stop is not None:
                return Stopped("stop_sequence", finish.stop)
            case "stop" | "tool_calls" | "cancelled":
                reason = "end_turn"
        return Stopped(reason, None)


class EventWriter:
    """The events as they go over the wire."""

    media = b"text/event-stream; charset=utf-8"

    def __init__(self, request_id: RequestId, *, thoughts: bool = True, silent: bool = False) -> None:
        self._reply = Reply(request_id, thoughts=thoughts, silent=silent)

    def keep_alive(self) -> bytes:
        return _PING

    def late(self, start: Start) -> bytes:
        return sse.comment("node", start.node_name)

    def write(self, delta: Delta) -> bytes:
        if isinstance(delta, Note):
            return sse.comment(delta.kind, delta.text)
        return b"".join(map(_encode, self._reply.take(delta)))

    def end(self) -> bytes:
        return b"".join(map(_encode, self._reply.end()))


def _encode(event: Event) -> bytes:
    return sse.event(name(event), msgspec.json.encode(event))


class Collector:
    """The events of an answer, put together to one message."""

    def __init__(self, request_id: RequestId, *, thoughts: bool = True, silent: bool = False) -> None:
        self._reply = Reply(request_id, thoughts=thoughts, silent=silent)
        self._answer = TheirAnswer(f"msg_{request_id}", "assistant", "", (), None, None, Spent())
        self._blocks: list[_Block] = []

    def add(self, delta: Delta) -> None:
        for event in self._reply.take(delta):
            self._apply(event)

    def body(self) -> bytes:
        """Raises EngineFailed where the model called a tool with an input that is no JSON object."""
        for event in self._reply.end():
            self._apply(event)
        cut = self._answer.stop_reason == "max_tokens"
        content = tuple(block.whole(cut=cut) for block in self._blocks)
        return msgspec.json.encode(msgspec.structs.replace(self._answer, content=content))

    def _apply(self, event: Event) -> None:
        match event:
            case MessageStart(message):
                self._answer = message
            case BlockStart(_, opened):
                self._blocks.append(_Block(opened))
            case BlockDelta(_, SignatureDelta(signature)):
                self._blocks[-1].signature = signature
            case BlockDelta(_, TextDelta(piece) | ThinkingDelta(piece) | InputDelta(piece)):
                self._blocks[-1].pieces.append(piece)
            case MessageDelta(stopped, spent):
                self._answer = msgspec.structs.replace(
                    self._answer,
                    stop_reason=stopped.stop_reason,
                    stop_sequence=stopped.stop_sequence,
                    usage=spent,
                )
            case BlockStop() | Ping() | MessageStop() | ErrorReply():
                pass


@dataclass
class _Block:
    """One block, as far as it has come."""

    opened: Content
    pieces: list[str] = field(default_factory=list)
    signature: str = ""

    def whole(self, *, cut: bool) -> Content:
        """cut: the answer ended because it was long enough, so its last input may be unfinished; it is left empty."""
        said = "".join(self.pieces)
        match self.opened:
            case TextContent():
                return TextContent(said)
            case ThinkingContent():
                return ThinkingContent(said, self.signature)
            case ToolUseContent(call_id, called):
                given = _object(said or "{}")
                if given is None and not cut:
                    raise EngineFailed(f"the model called '{called}' with an input that is no JSON object", "ask again")
                return ToolUseContent(call_id, called, given or {})


def _object(text: str) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return None
