"""`POST /v1/responses`: canonical deltas to their events, or to one response. Pure.

One machine, `Telling`, makes the events and keeps the response; the writer says the events, the collector what they
add up to. So a streamed answer and a collected one cannot differ.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from mycoswarm.api.openai.responses_items import Call, Item, Message, Reasoning
from mycoswarm.api.openai.responses_tools import Offered
from mycoswarm.api.openai.shape import EVENT_STREAM, KEEP_ALIVE, Thought, logprob_json, problem, reasoning_tokens
from mycoswarm.api.sse import comment, event
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
    ToolArgs,
    ToolCall,
    Usage,
)
from mycoswarm.core.ids import RequestId

Event = dict[str, Any]
Status = Literal["in_progress", "completed", "incomplete", "failed"]

_INCOMPLETE: dict[FinishReason, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why an answer is not whole, by how it ended."""


class Telling:
    """The response as far as it has come. `take` gives the events of a delta.

    Args:
        echo: fields of the request that a response repeats.
        summary: tell the thinking as a summary.
    """

    def __init__(
        self, request_id: RequestId, created: int, model: str, echo: dict[str, Any], kinds: Offered, *, summary: bool
    ) -> None:
        self._id = str(request_id)
        self._created = created
        self._model = model
        self._echo = echo
        self._kinds = kinds
        self._summary = summary
        self._items: list[Item] = []
        self._open: Reasoning | Message | None = None
        self._calls: dict[int, Call] = {}
        self._thought = Thought()
        self._status: Status = "in_progress"
        self._why: str | None = None
        self._error: dict[str, str] | None = None
        self._usage: Usage | None = None
        self._seq = 0
        self._begun = self._finished = False

    def take(self, delta: Delta) -> Iterator[Event]:
        """The events that `delta` brings about, numbered."""
        for said in self._events(delta):
            said["sequence_number"] = self._seq
            self._seq += 1
            yield said

    def end(self) -> Iterator[Event]:
        """What is missing after the last delta: programs wait for a response that has ended."""
        if self._status == "in_progress":
            if not self._finished:
                yield from self.take(Finish("stop"))
            yield from self.take(Usage())

    def response(self) -> dict[str, Any]:
        """Their response object, as of now."""
        return {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": self._created,
            "status": self._status,
            "background": False,
            "error": self._error,
            "incomplete_details": {"reason": self._why} if self._status == "incomplete" else None,
            "model": self._model,
            "output": [item.told() for item in self._items],
            "previous_response_id": None,
            "store": False,
            "truncation": "disabled",
            "usage": self._spent(),
            **self._echo,
        }

    def _events(self, delta: Delta) -> Iterator[Event]:
        match delta:
            case Start():
                self._model = delta.model
                yield from self._begin()
            case Thinking(text, signature):
                self._thought.add(text, thinking=True)
                yield from self._reasoning(text, signature)
            case Text(text):
                self._thought.add(text)
                yield from self._say(text)
            case Logprobs(tokens):
                if isinstance(self._open, Message):
                    yield from self._open.weigh([logprob_json(token) for token in tokens])
            case ToolCall(index, call_id, name):
                yield from self._close()
                kind = self._kinds.kind(name)
                call = Call(self._name("ctc" if kind.custom else "fc"), len(self._items), call_id, kind)
                self._items.append(call)
                self._calls[index] = call
                yield from call.begin()
            case ToolArgs(index, text):
                self._thought.add(text)
                if index in self._calls:
                    yield from self._calls[index].write(text)
            case Finish(reason):
                self._finished = True
                self._why = _INCOMPLETE.get(reason)
                yield from self._begin()
                yield from self._close_all()
            case Usage():
                self._usage = delta
                self._status = "completed" if self._why is None else "incomplete"
                yield {"type": f"response.{self._status}", "response": self.response()}
            case Error(error):
                yield from self._begin()
                said = problem(error)
                self._status = "failed"
                self._error = {"code": _failure(said.code), "message": said.message}
                yield {"type": "error", "code": said.code, "message": said.message, "param": said.param}
                yield {"type": "response.failed", "response": self.response()}
            case Note():
                pass

    def _begin(self) -> Iterator[Event]:
        """The first events, once: programs that put a response together refuse any other before them."""
        if not self._begun:
            self._begun = True
            yield {"type": "response.created", "response": self.response()}
            yield {"type": "response.in_progress", "response": self.response()}

    def _reasoning(self, text: str, signature: str | None) -> Iterator[Event]:
        if not isinstance(self._open, Reasoning):
            yield from self._close()
            self._open = Reasoning(self._name("rs"), len(self._items), summary=self._summary)
            self._items.append(self._open)
            yield from self._open.begin()
        yield from self._open.think(text, signature)

    def _say(self, text: str) -> Iterator[Event]:
        if not isinstance(self._open, Message):
            yield from self._close()
            self._open = Message(self._name("msg"), len(self._items))
            self._items.append(self._open)
            yield from self._open.begin()
        yield from self._open.say(text)

    def _close(self) -> Iterator[Event]:
        if self._open is not None:
            yield from self._open.end("completed")
            self._open = None

    def _close_all(self) -> Iterator[Event]:
        """Calls stay open until here: their arguments may come in turns."""
        status = "completed" if self._why is None else "incomplete"
        if self._open is not None:
            yield from self._open.end(status)
            self._open = None
        for call in self._calls.values():
            yield from call.end(status)

    def _name(self, kind: str) -> str:
        return f"{kind}_{self._id}-{len(self._items)}"

    def _spent(self) -> dict[str, Any] | None:
        if self._usage is None:
            return None
        usage = self._usage
        return {
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": reasoning_tokens(usage, self._thought.share)},
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        }


def _failure(code: str) -> str:
    """The code inside a failed response: programs know two of ours by these names, any other is the server's."""
    return code if code in ("rate_limit_exceeded", "context_length_exceeded") else "server_error"


class EventWriter:
    """The events of a response as they come."""

    media = EVENT_STREAM

    def __init__(self, telling: Telling) -> None:
        self._telling = telling

    def keep_alive(self) -> bytes:
        return KEEP_ALIVE

    def late(self, start: Start) -> bytes:
        return comment("node", start.node_name)

    def write(self, delta: Delta) -> bytes:
        if isinstance(delta, Note):
            return comment(delta.kind, delta.text)
        return _encode(self._telling.take(delta))

    def end(self) -> bytes:
        return _encode(self._telling.end())


def _encode(events: Iterable[Event]) -> bytes:
    return b"".join(event(said["type"], msgspec.json.encode(said)) for said in events)


class Collector:
    """The whole response."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling

    def add(self, delta: Delta) -> None:
        for _ in self._telling.take(delta):
            pass

    def body(self) -> bytes:
        for _ in self._telling.end():
            pass
        return msgspec.json.encode(self._telling.response())
