"""OpenAI's dialect of chat: their JSON to the canonical request, canonical deltas to their chunks. Pure.

Source: the public API reference of OpenAI, chat completions. Unknown fields are ignored, as their servers do.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from mycoswarm.api.choices import MOST
from mycoswarm.api.dialect import Arrival, Asked
from mycoswarm.api.openai.shape import comment, error_json
from mycoswarm.api.routes import decode_body
from mycoswarm.core.chat import (
    ChatRequest,
    Delta,
    Error,
    Finish,
    ImagePart,
    Logprobs,
    Message,
    Note,
    Part,
    ResponseFormat,
    Role,
    Sampling,
    Start,
    Text,
    TextPart,
    Thinking,
    TokenLogprob,
    Tool,
    ToolArgs,
    ToolCall,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    Usage,
)
from mycoswarm.core.errors import InvalidRequest
from mycoswarm.core.ids import RequestId


class _Function(msgspec.Struct):
    name: str
    arguments: str = ""


class _Call(msgspec.Struct):
    function: _Function
    id: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Body(msgspec.Struct):
    """Every field may be null, as clients send them."""

    messages: list[_Message]
    model: str | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    prompt_cache_key: str | None = None


_decoder = msgspec.json.Decoder(_Body)
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


def read(arrival: Arrival) -> Asked:
    """`POST /v1/chat/completions`."""
    asked = decode_body(arrival.body, _decoder)
    if not asked.messages:
        raise InvalidRequest("`messages` is empty", "send at least one message")
    choices = 1 if asked.n is None else asked.n
    if not 1 <= choices <= MOST:
        raise InvalidRequest(f"`n` is {choices}; 1 to {MOST} answers are given to one request", "ask for fewer")
    limit = asked.max_completion_tokens if asked.max_completion_tokens is not None else asked.max_tokens
    if limit is not None and limit < 1:
        raise InvalidRequest("`max_tokens` must be at least 1", "leave it out for as many as fit")
    stop = (asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ())
    request = ChatRequest(
        id=arrival.id,
        model=asked.model or "auto",
        messages=tuple(_message(one) for one in asked.messages),
        sampling=Sampling(
            temperature=asked.temperature,
            top_p=asked.top_p,
            top_k=asked.top_k,
            min_p=asked.min_p,
            seed=asked.seed,
            presence_penalty=asked.presence_penalty,
            frequency_penalty=asked.frequency_penalty,
            stop=stop,
        ),
        max_tokens=limit,
        tools=tuple(_tools(asked.tools or ())),
        tool_choice=_tool_choice(asked.tool_choice),
        response_format=_response_format(asked.response_format),
        logprobs=(asked.top_logprobs or 0) if asked.logprobs else None,
        session=asked.prompt_cache_key or arrival.session,
        dialect="openai",
        why=arrival.why,
    )
    if not asked.stream:
        return Asked(request, None, Collector(arrival.id, arrival.created), choices)
    include_usage = bool(asked.stream_options and asked.stream_options.include_usage)
    return Asked(request, ChunkWriter(arrival.id, arrival.created, include_usage=include_usage), choices=choices)


def _message(one: _Message) -> Message:
    role = _ROLES.get(one.role)
    if role is None:
        raise InvalidRequest(f"a message has the role '{one.role}'", f"known are {', '.join(_ROLES)}")
    parts: list[Part] = []
    match one.content:
        case None:
            pass
        case str(text):
            parts.append(TextPart(text))
        case pieces:
            parts += [_part(piece) for piece in pieces]
    if role == "tool":
        text = "".join(part.text for part in parts if isinstance(part, TextPart))
        parts = [ToolResultPart(one.tool_call_id or "", text)]
    for call in one.tool_calls or ():
        parts.append(ToolCallPart(call.id, call.function.name, call.function.arguments or "{}"))
    return Message(role, tuple(parts))


def _part(piece: dict[str, Any]) -> Part:
    match piece:
        case {"type": "text" | "input_text", "text": str(text)}:
            return TextPart(text)
        case {"type": "refusal", "refusal": str(text)}:
            return TextPart(text)
        case {"type": "image_url", "image_url": {"url": str(url)}} | {"type": "image_url", "image_url": str(url)}:
            return _image(url)
        case _:
            raise InvalidRequest(
                f"a content part of type '{piece.get('type')}' is not understood", "text and image_url parts are"
            )


def _image(url: str) -> ImagePart:
    head, comma, data = url.partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64") and comma):
        raise InvalidRequest(
            "an image must come inside the request", "send it as a data: address with base64; nothing is fetched"
        )
    return ImagePart(head.removeprefix("data:").removesuffix(";base64"), data)


def _tools(tools: Iterable[dict[str, Any]]) -> Iterator[Tool]:
    for tool in tools:
        match tool:
            case {"type": "function", "function": {"name": str(name), **rest}}:
                match rest.get("description"), rest.get("parameters"):
                    case (None | str() as description, None | dict() as parameters):
                        yield Tool(name, description or "", parameters or {})
                    case _:
                        raise InvalidRequest(
                            f"the tool '{name}' is not understood", "its description is text, its parameters an object"
                        )
            case {"type": "function"}:
                raise InvalidRequest("a tool has no function name", "send {type: function, function: {name, …}}")
            case _:
                # Kinds that only OpenAI's own servers can run; their clients send them to everybody.
                continue


def _tool_choice(choice: str | dict[str, Any] | None) -> ToolChoice:
    match choice:
        case None:
            return ToolChoice()
        case "auto" | "none" | "required":
            return ToolChoice(choice)
        case {"function": {"name": str(name)}}:
            return ToolChoice("named", name)
        case _:
            raise InvalidRequest("`tool_choice` is not understood", "auto, none, required or a named function")


def _response_format(wanted: dict[str, Any] | None) -> ResponseFormat:
    match wanted:
        case None | {"type": "text"}:
            return ResponseFormat()
        case {"type": "json_object"}:
            return ResponseFormat("json_object")
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return ResponseFormat("json_schema", schema)
        case _:
            raise InvalidRequest("`response_format` is not understood", "text, json_object or json_schema")


class ChunkWriter:
    """Deltas to `chat.completion.chunk` events, one event a delta."""

    media = b"text/event-stream; charset=utf-8"

    def __init__(self, request_id: RequestId, created: int, *, include_usage: bool) -> None:
        self._id = f"chatcmpl-{request_id}"
        self._created = created
        self._include_usage = include_usage
        self._model = ""

    def keep_alive(self) -> bytes:
        return b": keep-alive\n\n"

    def late(self, start: Start) -> bytes:
        return comment("node", start.node_name)

    def write(self, delta: Delta) -> bytes:
        match delta:
            case Start():
                self._model = delta.model
                return self._event(delta, {"role": "assistant", "content": ""})
            case Text():
                return self._event(delta, {"content": delta.text})
            case Thinking():
                return self._event(delta, {"reasoning_content": delta.text})
            case ToolCall():
                function = {"name": delta.name, "arguments": ""}
                call = {"index": delta.index, "id": delta.id, "type": "function", "function": function}
                return self._event(delta, {"tool_calls": [call]})
            case ToolArgs():
                call = {"index": delta.index, "function": {"arguments": delta.text}}
                return self._event(delta, {"tool_calls": [call]})
            case Logprobs():
                return self._event(delta, {}, logprobs={"content": [_logprob(token) for token in delta.tokens]})
            case Finish():
                return self._event(delta, {}, finish=_finish(delta))
            case Usage():
                if not self._include_usage:
                    return b""
                return self._line(self._chunk([]) | {"usage": usage_json(delta)})
            case Error():
                return b"data: " + error_json(delta.error) + b"\n\n"
            case Note():
                return comment(delta.kind, delta.text)

    def end(self) -> bytes:
        return b"data: [DONE]\n\n"

    def _event(self, delta: Delta, said: dict[str, Any], finish: str | None = None, logprobs: Any = None) -> bytes:
        choice = {"index": delta.choice, "delta": said, "logprobs": logprobs, "finish_reason": finish}
        return self._line(self._chunk([choice]))

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }

    def _line(self, chunk: dict[str, Any]) -> bytes:
        return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


class Collector:
    """Deltas to one `chat.completion` object."""

    def __init__(self, request_id: RequestId, created: int) -> None:
        self._id = f"chatcmpl-{request_id}"
        self._created = created
        self._model = ""
        self._choices: dict[int, _Choice] = {}
        self._usage: dict[str, Any] = usage_json(Usage())

    def add(self, delta: Delta) -> None:
        match delta:
            case Start():
                self._model = delta.model
                self._choice(delta)
            case Text():
                self._choice(delta).text.append(delta.text)
            case Thinking():
                self._choice(delta).thinking.append(delta.text)
            case ToolCall():
                self._choice(delta).calls[delta.index] = (delta, [])
            case ToolArgs():
                if delta.index in self._choice(delta).calls:
                    self._choice(delta).calls[delta.index][1].append(delta.text)
            case Logprobs():
                self._choice(delta).logprobs += [_logprob(token) for token in delta.tokens]
            case Finish():
                self._choice(delta).finish = _finish(delta)
            case Usage():
                self._usage = usage_json(delta)
            case Note() | Error():
                pass

    def _choice(self, delta: Delta) -> "_Choice":
        return self._choices.setdefault(delta.choice, _Choice())

    def body(self) -> bytes:
        return msgspec.json.encode(
            {
                "id": self._id,
                "object": "chat.completion",
                "created": self._created,
                "model": self._model,
                "choices": [{"index": index} | choice.said() for index, choice in sorted(self._choices.items())],
                "usage": self._usage,
            }
        )


@dataclass
class _Choice:
    """One answer, as far as it has come."""

    text: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    calls: dict[int, tuple[ToolCall, list[str]]] = field(default_factory=dict)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    finish: str = "stop"

    def said(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self.text) or None, "refusal": None}
        if self.thinking:
            message["reasoning_content"] = "".join(self.thinking)
        if self.calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": "".join(pieces)}}
                for call, pieces in self.calls.values()
            ]
        elif message["content"] is None:
            message["content"] = ""
        logprobs = {"content": self.logprobs} if self.logprobs else None
        return {"message": message, "logprobs": logprobs, "finish_reason": self.finish}


def _finish(delta: Finish) -> Literal["stop", "length", "tool_calls", "content_filter"]:
    return "stop" if delta.reason == "cancelled" else delta.reason


def usage_json(delta: Usage) -> dict[str, Any]:
    """Their `usage` object."""
    return {
        "prompt_tokens": delta.prompt_tokens,
        "completion_tokens": delta.completion_tokens,
        "total_tokens": delta.prompt_tokens + delta.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": delta.cached_tokens},
    }


def _logprob(token: TokenLogprob) -> dict[str, Any]:
    return {
        "token": token.token,
        "logprob": token.logprob,
        "bytes": list(token.bytes) if token.bytes is not None else None,
        "top_logprobs": [
            {"token": one.token, "logprob": one.logprob, "bytes": list(one.bytes) if one.bytes is not None else None}
            for one in token.top
        ],
    }
