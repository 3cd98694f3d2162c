"""One answer of an engine, with its tool calls made right: what every engine puts round its chat."""

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import TypeVar

import msgspec

from mycoswarm.core.chat import (
    ChatRequest,
    Delta,
    Error,
    Finish,
    Logprobs,
    Note,
    ResponseFormat,
    Start,
    Text,
    Thinking,
    ToolArgs,
    ToolCall,
    Usage,
)
from mycoswarm.core.model import Abilities
from mycoswarm.engines.stops import Stops
from mycoswarm.engines.toolcalls.constrain import answers_raw, constrained
from mycoswarm.engines.toolcalls.native import Native
from mycoswarm.engines.toolcalls.recognise import Piece, Recogniser, Said, Thought
from mycoswarm.engines.toolcalls.repair import Call, Hopeless
from mycoswarm.engines.toolcalls.toolbox import Toolbox
from mycoswarm.engines.toolcalls.unwrap import Unwrapper
from mycoswarm.engines.toolcalls.way import Way, way

_D = TypeVar("_D", bound=msgspec.Struct)


def prepared(request: ChatRequest, abilities: Abilities) -> ChatRequest:
    """The request as the engine gets it. Raises InvalidRequest where the model cannot call tools at all."""
    return _prepared(request, way(request, abilities))


def _prepared(request: ChatRequest, chosen: Way) -> ChatRequest:
    match chosen:
        case "plain":
            return request
        case "native":
            # With a call required there is no answer that a schema could shape, and engines take one of the two.
            return msgspec.structs.replace(request, response_format=ResponseFormat())
        case "constrained":
            return constrained(request)


async def serve(
    request: ChatRequest, abilities: Abilities, chat: Callable[[ChatRequest], AsyncGenerator[Delta, None]]
) -> AsyncGenerator[Delta, None]:
    """The answer of `chat` to `request`, which is first rewritten where the model has no tools of its own.

    Closing it closes the engine's answer. Raises InvalidRequest where the model cannot call tools at all, and whatever
    `chat` raises.
    """
    chosen = way(request, abilities)
    answer: Answer | None = None if chosen == "plain" else Answer(request, abilities, chosen)
    async with aclosing(chat(_prepared(request, chosen))) as deltas:
        async for delta in deltas:
            if answer is None:
                yield delta
            else:
                for made in answer.feed(delta):
                    yield made


class Answer:
    """The deltas of one answer as they come, to the deltas as they go out. Pure."""

    def __init__(self, request: ChatRequest, abilities: Abilities, chosen: Way) -> None:
        toolbox = Toolbox(request.tools)
        self._id = request.id
        self._only_one = request.parallel_tools is False
        self._text = (
            Unwrapper(toolbox, raw=answers_raw(request), thinks=abilities.thinking)
            if chosen == "constrained"
            else Recogniser(toolbox, thinks=abilities.thinking)
        )
        self._native = Native(toolbox)
        self._stops = Stops(request.sampling.stop if chosen == "constrained" else ())
        self._seq = self._offset = self._calls = 0
        self._finished = False

    def feed(self, delta: Delta) -> Iterator[Delta]:
        """What goes out when `delta` has come."""
        match delta:
            case Text(text):
                yield from self._natives(last=True)
                yield from self._pieces(self._text.feed(text))
            case ToolCall(index, call_id, name):
                self._native.begin(index, call_id, name)
                yield from self._natives(last=False)
            case ToolArgs(index, text):
                self._native.args(index, text)
            case Finish():
                yield from self._finish(delta)
            case Error():
                # What was held back is part of the answer all the same; half a call is not.
                yield from self._natives(last=True, cut=True)
                yield from self._pieces(self._text.end(cut=True))
                yield from self._say(self._stops.end())
                yield self._next(delta)
            case Start() | Thinking() | Logprobs() | Usage() | Note():
                yield self._next(delta)

    def _finish(self, finish: Finish) -> Iterator[Delta]:
        cut = finish.reason in ("length", "cancelled")
        yield from self._natives(last=True, cut=cut)
        yield from self._pieces(self._text.end(cut=cut))
        yield from self._say(self._stops.end())
        if self._stops.met is not None:
            yield self._next(msgspec.structs.replace(finish, reason="stop", stop=self._stops.met))
            return
        reason = finish.reason
        if self._calls and reason == "stop":
            reason = "tool_calls"
        elif not self._calls and reason == "tool_calls":
            reason = "stop"
        yield self._next(msgspec.structs.replace(finish, reason=reason))

    def _natives(self, *, last: bool, cut: bool = False) -> Iterator[Delta]:
        for call_id, result in self._native.complete(last=last, cut=cut):
            yield from self._result(result, call_id)

    def _pieces(self, pieces: Iterable[Piece]) -> Iterator[Delta]:
        for piece in pieces:
            match piece:
                case Said(text):
                    # Behind a stop string nothing more is said; the engine writes its JSON to the end all the same.
                    yield from self._say(self._stops.feed(text))
                case Thought(text):
                    yield self._next(Thinking(text))
                case Call() | Hopeless():
                    yield from self._result(piece)

    def _say(self, text: str) -> Iterator[Delta]:
        if text:
            offset, self._offset = self._offset, self._offset + len(text.encode())
            yield self._next(Text(text, offset))

    def _result(self, result: Call | Hopeless, call_id: str = "") -> Iterator[Delta]:
        match result:
            case Hopeless(_, why):
                yield self._next(Note("tool_call", why))
            case Call(name, _) if self._only_one and self._calls:
                yield self._next(Note("tool_call", f"one call was asked for: another one of {name} is left out"))
            case Call(name, arguments):
                index, self._calls = self._calls, self._calls + 1
                yield self._next(ToolCall(index, call_id or f"call-{self._id}-{index}", name))
                yield self._next(ToolArgs(index, arguments))

    def _next(self, delta: _D) -> _D:
        seq, self._seq = self._seq, self._seq + 1
        return msgspec.structs.replace(delta, seq=seq)
