"""The three kinds of items that an answer consists of, and the events by which each comes about. Pure.

An item begins, grows and ends; its index in the output and its id stay. Each method gives the events to send.
"""

from collections.abc import Iterator
from typing import Any, Literal

from mycoswarm.api.openai.responses_tools import Kind, custom_input

Event = dict[str, Any]
ItemStatus = Literal["in_progress", "completed", "incomplete"]


class Reasoning:
    """What the model thought. summary: told as a summary, which is what programs show."""

    def __init__(self, item_id: str, index: int, *, summary: bool) -> None:
        self._id = item_id
        self._index = index
        self._summary = summary
        self._text: list[str] = []
        self._signature: str | None = None
        self._status: ItemStatus = "in_progress"
        self._begun = False

    def told(self) -> dict[str, Any]:
        text = "".join(self._text)
        thought: dict[str, Any] = {"summary": [], "content": []}
        if self._begun:
            place, part = ("summary", _summary(text)) if self._summary else ("content", _thinking(text))
            thought[place] = [part]
        return {
            "id": self._id,
            "type": "reasoning",
            **thought,
            "encrypted_content": self._signature,
            "status": self._status,
        }

    def begin(self) -> Iterator[Event]:
        yield {"type": "response.output_item.added", "output_index": self._index, "item": self.told()}

    def think(self, text: str, signature: str | None) -> Iterator[Event]:
        self._signature = signature if signature is not None else self._signature
        if not text:
            return
        if not self._begun:
            self._begun = True
            kind = "response.reasoning_summary_part.added" if self._summary else "response.content_part.added"
            yield self._part(kind, "")
        self._text.append(text)
        kind = "response.reasoning_summary_text.delta" if self._summary else "response.reasoning_text.delta"
        yield {"type": kind, **self._place(), "delta": text}

    def end(self, status: ItemStatus) -> Iterator[Event]:
        self._status = status
        if self._begun:
            text = "".join(self._text)
            kind = "response.reasoning_summary_text.done" if self._summary else "response.reasoning_text.done"
            yield {"type": kind, **self._place(), "text": text}
            kind = "response.reasoning_summary_part.done" if self._summary else "response.content_part.done"
            yield self._part(kind, text)
        yield {"type": "response.output_item.done", "output_index": self._index, "item": self.told()}

    def _place(self) -> Event:
        part = {"summary_index": 0} if self._summary else {"content_index": 0}
        return {"item_id": self._id, "output_index": self._index, **part}

    def _part(self, kind: str, text: str) -> Event:
        return {"type": kind, **self._place(), "part": _summary(text) if self._summary else _thinking(text)}


def _summary(text: str) -> dict[str, str]:
    return {"type": "summary_text", "text": text}


def _thinking(text: str) -> dict[str, str]:
    return {"type": "reasoning_text", "text": text}


class Message:
    """What the model said: one part of text."""

    def __init__(self, item_id: str, index: int) -> None:
        self._id = item_id
        self._index = index
        self._text: list[str] = []
        self._logprobs: list[dict[str, Any]] = []
        self._status: ItemStatus = "in_progress"
        self._begun = False

    def told(self) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "status": self._status,
            "role": "assistant",
            "content": [self._part()] if self._begun else [],
        }

    def begin(self) -> Iterator[Event]:
        yield {"type": "response.output_item.added", "output_index": self._index, "item": self.told()}
        yield {"type": "response.content_part.added", **self._place(), "part": self._part()}
        self._begun = True

    def say(self, text: str) -> Iterator[Event]:
        self._text.append(text)
        yield {"type": "response.output_text.delta", **self._place(), "delta": text, "logprobs": []}

    def weigh(self, tokens: list[dict[str, Any]]) -> Iterator[Event]:
        """The probabilities of what was just said; engines tell them afterwards, so they come with no text."""
        self._logprobs += tokens
        yield {"type": "response.output_text.delta", **self._place(), "delta": "", "logprobs": tokens}

    def end(self, status: ItemStatus) -> Iterator[Event]:
        self._status = status
        text = "".join(self._text)
        yield {"type": "response.output_text.done", **self._place(), "text": text, "logprobs": self._logprobs}
        yield {"type": "response.content_part.done", **self._place(), "part": self._part()}
        yield {"type": "response.output_item.done", "output_index": self._index, "item": self.told()}

    def _place(self) -> Event:
        return {"item_id": self._id, "output_index": self._index, "content_index": 0}

    def _part(self) -> dict[str, Any]:
        return {
            "type": "output_text",
            "text": "".join(self._text),
            "annotations": [],
            "logprobs": list(self._logprobs),
        }


class Call:
    """A call of one of the client's tools. The text of a custom one is known only once it is whole."""

    def __init__(self, item_id: str, index: int, call_id: str, kind: Kind) -> None:
        self._id = item_id
        self._index = index
        self._call_id = call_id
        self._kind = kind
        self._arguments: list[str] = []
        self._status: ItemStatus = "in_progress"

    def told(self) -> dict[str, Any]:
        written = "".join(self._arguments)
        shape: dict[str, Any] = (
            {"type": "custom_tool_call", "input": custom_input(written) if self._status != "in_progress" else ""}
            if self._kind.custom
            else {"type": "function_call", "arguments": written}
        )
        if self._kind.namespace is not None:
            shape["namespace"] = self._kind.namespace
        return {"id": self._id, "status": self._status, "call_id": self._call_id, "name": self._kind.name, **shape}

    def begin(self) -> Iterator[Event]:
        yield {"type": "response.output_item.added", "output_index": self._index, "item": self.told()}

    def write(self, text: str) -> Iterator[Event]:
        self._arguments.append(text)
        if not self._kind.custom:
            yield {"type": "response.function_call_arguments.delta", **self._place(), "delta": text}

    def end(self, status: ItemStatus) -> Iterator[Event]:
        self._status = status
        item = self.told()
        if self._kind.custom:
            yield {"type": "response.custom_tool_call_input.delta", **self._place(), "delta": item["input"]}
            yield {"type": "response.custom_tool_call_input.done", **self._place(), "input": item["input"]}
        else:
            done = {"arguments": item["arguments"], "name": item["name"]}
            yield {"type": "response.function_call_arguments.done", **self._place(), **done}
        yield {"type": "response.output_item.done", "output_index": self._index, "item": item}

    def _place(self) -> Event:
        return {"item_id": self._id, "output_index": self._index}


Item = Reasoning | Message | Call
