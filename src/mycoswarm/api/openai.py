"""OpenAI's dialect of chat: their JSON to the canonical request, canonical deltas to their chunks. Pure.

Source: the public API reference of OpenAI, chat completions. Unknown fields are ignored, as their servers do.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

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
from mycoswarm.core.errors import ErrorBody, InvalidRequest, MycoError
from mycoswarm.core.ids import RequestId
from mycoswarm.core.views import Models


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


class Asked(msgspec.Struct, frozen=True):
    """The canonical request, and how the client wants its answer told."""

    request: ChatRequest
    stream: bool
    include_usage: bool


_decoder = msgspec.json.Decoder(_Body)
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


def parse(body: bytes, request_id: RequestId, *, why: bool = False) -> Asked:
    """Their request. Raises InvalidRequest, naming the field."""
    asked = decode_body(body, _decoder)
    if not asked.messages:
        raise InvalidRequest("`messages` is empty", "send at least one message")
    if asked.n is not None and asked.n != 1:
        raise InvalidRequest(f"`n` is {asked.n}; one answer at a time is served", "send the request several times")
    limit = asked.max_completion_tokens if asked.max_completion_tokens is not None else asked.max_tokens
    if limit is not None and limit < 1:
        raise InvalidRequest("`max_tokens` must be at least 1", "leave it out for as many as fit")
    stop = (asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ())
    request = ChatRequest(
        id=request_id,
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
        session=asked.prompt_cache_key,
        dialect="openai",
        why=why,
    )
    include_usage = bool(asked.stream_options and asked.stream_options.include_usage)
    return Asked(request, bool(asked.stream), include_usage)


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


def error_json(error: MycoError | ErrorBody) -> bytes:
    """Their shape of an error, with our hint at the end of the sentence."""
    body = error.body() if isinstance(error, MycoError) else error
    text = f"{body.message} ({body.hint})" if body.hint else body.message
    kind = "invalid_request_error" if isinstance(error, InvalidRequest) else f"{body.code}_error"
    return msgspec.json.encode({"error": {"message": text, "type": kind, "param": None, "code": body.code}})


class ChunkWriter:
    """Deltas to `chat.completion.chunk` events, one event a delta."""

    def __init__(self, request_id: RequestId, created: int, *, include_usage: bool) -> None:
        self._id = f"chatcmpl-{request_id}"
        self._created = created
        self._include_usage = include_usage
        self._model = ""

    def write(self, delta: Delta) -> bytes:
        """The bytes to send for `delta`; empty where the dialect has nothing to say."""
        match delta:
            case Start():
                self._model = delta.model
                return self._event({"role": "assistant", "content": ""})
            case Text():
                return self._event({"content": delta.text})
            case Thinking():
                return self._event({"reasoning_content": delta.text})
            case ToolCall():
                function = {"name": delta.name, "arguments": ""}
                call = {"index": delta.index, "id": delta.id, "type": "function", "function": function}
                return self._event({"tool_calls": [call]})
            case ToolArgs():
                call = {"index": delta.index, "function": {"arguments": delta.text}}
                return self._event({"tool_calls": [call]})
            case Logprobs():
                return self._event({}, logprobs={"content": [_logprob(token) for token in delta.tokens]})
            case Finish():
                return self._event({}, finish=_finish(delta))
            case Usage():
                if not self._include_usage:
                    return b""
                return self._line(self._chunk([]) | {"usage": _usage(delta)})
            case Error():
                return b"data: " + error_json(delta.error) + b"\n\n"
            case Note():
                return f": {delta.kind}: {' '.join(delta.text.split())}\n\n".encode()

    def end(self) -> bytes:
        return b"data: [DONE]\n\n"

    def _event(self, delta: dict[str, Any], finish: str | None = None, logprobs: Any = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
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
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._calls: dict[int, tuple[ToolCall, list[str]]] = {}
        self._logprobs: list[dict[str, Any]] = []
        self._finish = "stop"
        self._usage: dict[str, Any] = _usage(Usage())

    def add(self, delta: Delta) -> None:
        """Take `delta` in. An Error delta is the caller's to raise."""
        match delta:
            case Start():
                self._model = delta.model
            case Text():
                self._text.append(delta.text)
            case Thinking():
                self._thinking.append(delta.text)
            case ToolCall():
                self._calls[delta.index] = (delta, [])
            case ToolArgs():
                if delta.index in self._calls:
                    self._calls[delta.index][1].append(delta.text)
            case Logprobs():
                self._logprobs += [_logprob(token) for token in delta.tokens]
            case Finish():
                self._finish = _finish(delta)
            case Usage():
                self._usage = _usage(delta)
            case Note() | Error():
                pass

    def json(self) -> bytes:
        """The reply's body."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._text) or None, "refusal": None}
        if self._thinking:
            message["reasoning_content"] = "".join(self._thinking)
        if self._calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": "".join(pieces)}}
                for call, pieces in self._calls.values()
            ]
        elif message["content"] is None:
            message["content"] = ""
        logprobs = {"content": self._logprobs} if self._logprobs else None
        choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": self._finish}
        return msgspec.json.encode(
            {
                "id": self._id,
                "object": "chat.completion",
                "created": self._created,
                "model": self._model,
                "choices": [choice],
                "usage": self._usage,
            }
        )


def _finish(delta: Finish) -> Literal["stop", "length", "tool_calls", "content_filter"]:
    return "stop" if delta.reason == "cancelled" else delta.reason


def _usage(delta: Usage) -> dict[str, Any]:
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


def models_json(models: Models) -> bytes:
    """`GET /v1/models`: every model of the swarm that can answer now."""
    return msgspec.json.encode(
        {
            "object": "list",
            "data": [
                {
                    "id": view.name,
                    "object": "model",
                    "created": 0,
                    "owned_by": ", ".join(sorted({place.node_name for place in view.places if place.reachable})),
                }
                for view in models.models
                if any(place.reachable and place.offer.state != "unfit" for place in view.places)
            ],
        }
    )
