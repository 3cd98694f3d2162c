"""`POST /v1/chat/completions`: canonical deltas to their chunks, or to one completion. Pure."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from mycoswarm.api.openai.shape import (
    DONE,
    EVENT_STREAM,
    KEEP_ALIVE,
    Thought,
    error_json,
    fingerprint,
    logprob_json,
    usage_json,
)
from mycoswarm.api.sse import comment
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
from mycoswarm.core.ids import RequestId


class ChunkWriter:
    """Deltas to `chat.completion.chunk` events, one event a delta.

    Args:
        legacy: the client sent `functions`, so it wants the one call as `function_call`.
    """

    media = EVENT_STREAM

    def __init__(self, request_id: RequestId, created: int, *, include_usage: bool, legacy: bool = False) -> None:
        self._id = f"chatcmpl-{request_id}"
        self._created = created
        self._include_usage = include_usage
        self._legacy = legacy
        self._model = ""
        self._fingerprint = ""
        self._thought = Thought()

    def keep_alive(self) -> bytes:
        return KEEP_ALIVE

    def late(self, start: Start) -> bytes:
        return comment("node", start.node_name)

    def write(self, delta: Delta) -> bytes:
        match delta:
            case Start():
                self._model = delta.model
                self._fingerprint = fingerprint(delta)
                return self._event(delta, {"role": "assistant", "content": "", "refusal": None})
            case Text(text):
                self._thought.add(text)
                return self._event(delta, {"content": text})
            case Thinking(text):
                self._thought.add(text, thinking=True)
                return self._event(delta, {"reasoning_content": text}) if text else b""
            case ToolCall():
                return self._call(delta)
            case ToolArgs(index, text):
                self._thought.add(text)
                if self._legacy:
                    return self._event(delta, {"function_call": {"arguments": text}}) if index == 0 else b""
                return self._event(delta, {"tool_calls": [{"index": index, "function": {"arguments": text}}]})
            case Logprobs(tokens):
                said = {"content": [logprob_json(token) for token in tokens], "refusal": None}
                return self._event(delta, {}, logprobs=said)
            case Finish():
                return self._event(delta, {}, finish=_finish(delta, legacy=self._legacy))
            case Usage():
                if not self._include_usage:
                    return b""
                return self._line(self._chunk([]) | {"usage": usage_json(delta, self._thought.share)})
            case Error(error):
                return b"data: " + error_json(error) + b"\n\n"
            case Note(kind, text):
                return comment(kind, text)

    def end(self) -> bytes:
        return DONE

    def _call(self, delta: ToolCall) -> bytes:
        function = {"name": delta.name, "arguments": ""}
        if self._legacy:
            return self._event(delta, {"function_call": function}) if delta.index == 0 else b""
        call = {"index": delta.index, "id": delta.id, "type": "function", "function": function}
        return self._event(delta, {"tool_calls": [call]})

    def _event(self, delta: Delta, said: dict[str, Any], finish: str | None = None, logprobs: Any = None) -> bytes:
        choice = {"index": delta.choice, "delta": said, "logprobs": logprobs, "finish_reason": finish}
        chunk = self._chunk([choice])
        if self._include_usage:
            # Every chunk has the field then; the last one has it filled.
            chunk["usage"] = None
        return self._line(chunk)

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "system_fingerprint": self._fingerprint,
            "choices": choices,
        }

    def _line(self, chunk: dict[str, Any]) -> bytes:
        return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


class Collector:
    """Deltas to one `chat.completion` object. legacy: as of `ChunkWriter`."""

    def __init__(self, request_id: RequestId, created: int, *, legacy: bool = False) -> None:
        self._id = f"chatcmpl-{request_id}"
        self._created = created
        self._legacy = legacy
        self._model = ""
        self._fingerprint = ""
        self._choices: dict[int, _Choice] = {}
        self._thought = Thought()
        self._usage = Usage()

    def add(self, delta: Delta) -> None:
        match delta:
            case Start():
                self._model = delta.model
                self._fingerprint = fingerprint(delta)
                self._choice(delta)
            case Text(text):
                self._thought.add(text)
                self._choice(delta).text.append(text)
            case Thinking(text):
                self._thought.add(text, thinking=True)
                self._choice(delta).thinking.append(text)
            case ToolCall():
                self._choice(delta).calls[delta.index] = (delta, [])
            case ToolArgs(index, text):
                self._thought.add(text)
                if index in self._choice(delta).calls:
                    self._choice(delta).calls[index][1].append(text)
            case Logprobs(tokens):
                self._choice(delta).logprobs += [logprob_json(token) for token in tokens]
            case Finish():
                self._choice(delta).finish = _finish(delta, legacy=self._legacy)
            case Usage():
                self._usage = delta
            case Note() | Error():
                pass

    def _choice(self, delta: Delta) -> "_Choice":
        return self._choices.setdefault(delta.choice, _Choice(self._legacy))

    def body(self) -> bytes:
        return msgspec.json.encode(
            {
                "id": self._id,
                "object": "chat.completion",
                "created": self._created,
                "model": self._model,
                "system_fingerprint": self._fingerprint,
                "choices": [{"index": index} | choice.said() for index, choice in sorted(self._choices.items())],
                "usage": usage_json(self._usage, self._thought.share),
            }
        )


@dataclass
class _Choice:
    """One answer, as far as it has come."""

    legacy: bool
    text: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    calls: dict[int, tuple[ToolCall, list[str]]] = field(default_factory=dict)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    finish: str = "stop"

    def said(self) -> dict[str, Any]:
        text = "".join(self.text)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if self.calls and not text else text,
            "refusal": None,
        }
        if thinking := "".join(self.thinking):
            message["reasoning_content"] = thinking
        functions = [(call, {"name": call.name, "arguments": "".join(said)}) for call, said in self.calls.values()]
        if functions and self.legacy:
            message["function_call"] = functions[0][1]
        elif functions:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": function} for call, function in functions
            ]
        logprobs = {"content": self.logprobs, "refusal": None} if self.logprobs else None
        return {"message": message, "logprobs": logprobs, "finish_reason": self.finish}


def _finish(delta: Finish, *, legacy: bool) -> str:
    match delta.reason:
        case "cancelled":
            return "stop"
        case "tool_calls" if legacy:
            return "function_call"
        case reason:
            return reason
