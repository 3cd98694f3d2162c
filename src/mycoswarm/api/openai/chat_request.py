"""`POST /v1/chat/completions`: their JSON to the canonical request. Pure.

Source: the public API reference of OpenAI, chat completions.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mycoswarm.api.choices import MOST
from mycoswarm.api.dialect import Arrival, Asked, session_hint
from mycoswarm.api.openai import parts, tools
from mycoswarm.api.openai.chat_reply import ChunkWriter, Collector
from mycoswarm.api.openai.fields import Limit, SamplingFields, StreamOptions
from mycoswarm.api.openai.reading import read_body, refused, unknown_fields
from mycoswarm.core.chat import (
    ChatRequest,
    Message,
    Part,
    Role,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)


class TextContent(msgspec.Struct, tag_field="type", tag="text"):
    text: str


class InputTextContent(msgspec.Struct, tag_field="type", tag="input_text"):
    """As the responses endpoint calls it; programs that speak both send it here too."""

    text: str


class RefusalContent(msgspec.Struct, tag_field="type", tag="refusal"):
    refusal: str


class ImageUrl(msgspec.Struct):
    """`detail` is accepted; how closely a model looks is its own."""

    url: str
    detail: str | None = None


class ImageContent(msgspec.Struct, tag_field="type", tag="image_url"):
    """A data: address with base64, bare or in an object."""

    image_url: ImageUrl | str


Content = TextContent | InputTextContent | RefusalContent | ImageContent


class FunctionCalled(msgspec.Struct):
    name: str
    arguments: str | None = None


class CustomCalled(msgspec.Struct):
    name: str
    input: str | None = None


class CallMade(msgspec.Struct):
    id: str = ""
    function: FunctionCalled | None = None
    custom: CustomCalled | None = None


class ChatMessage(msgspec.Struct):
    """`function_call` and the role `function` are the old form of tools."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Content] | None = None
    name: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[CallMade] | None = None
    tool_call_id: str | None = None
    function_call: FunctionCalled | None = None


class ChatCompletionBody(SamplingFields, kw_only=True):
    """Every field may be null, as clients send them. Further ones go to engines that speak this dialect too."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Limit | None = None
    max_completion_tokens: Limit | None = None
    stop: str | list[str] | None = None
    n: Annotated[int, Meta(ge=1, le=MOST)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    functions: list[dict[str, Any]] | None = None
    function_call: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    prompt_cache_key: str | None = None


_decoder = msgspec.json.Decoder(ChatCompletionBody)
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
    asked = read_body(arrival.body, _decoder)
    extra = unknown_fields(arrival.body, ChatCompletionBody)
    limit = asked.max_completion_tokens if asked.max_completion_tokens is not None else asked.max_tokens
    thinking, effort = tools.effort(asked.reasoning_effort, "reasoning_effort")
    offered, choice = _tools(asked)
    legacy = not asked.tools and bool(asked.functions)
    request = ChatRequest(
        id=arrival.id,
        model=asked.model or "auto",
        messages=conversation(asked.messages),
        sampling=asked.sampling(tools.stops(asked.stop)),
        max_tokens=tools.limit(limit),
        tools=offered,
        tool_choice=choice,
        response_format=tools.response_format(asked.response_format, "response_format"),
        parallel_tools=False if legacy else asked.parallel_tool_calls,
        logprobs=_logprobs(asked),
        thinking=_thinking(extra) if thinking is None else thinking,
        effort=effort,
        session=session_hint(asked.prompt_cache_key) or arrival.session,
        dialect="openai",
        extra=extra,
        why=arrival.why,
    )
    count = asked.n or 1
    if not asked.stream:
        return Asked(request, None, Collector(arrival.id, arrival.created, legacy=legacy), count)
    include_usage = bool(asked.stream_options and asked.stream_options.include_usage)
    writer = ChunkWriter(arrival.id, arrival.created, include_usage=include_usage, legacy=legacy)
    return Asked(request, writer, choices=count)


def _logprobs(asked: ChatCompletionBody) -> int | None:
    if asked.logprobs:
        return asked.top_logprobs or 0
    if asked.top_logprobs:
        raise refused("top_logprobs", "`top_logprobs` is given without `logprobs`", "set logprobs to true")
    return None


def _thinking(extra: dict[str, Any]) -> bool | None:
    """Servers of open models take the switch as an argument of the chat template."""
    match extra.get("chat_template_kwargs"):
        case {"enable_thinking": bool(wanted)}:
            return wanted
        case _:
            return None


def _tools(asked: ChatCompletionBody) -> tuple[tuple[Tool, ...], ToolChoice]:
    if asked.tools or not asked.functions:
        return tools.chosen(asked.tool_choice, tools.functions(asked.tools))
    offered = tuple(tools.function(one, f"functions[{number}]") for number, one in enumerate(asked.functions))
    match asked.function_call:
        case None | "auto" | "none":
            return tools.chosen(asked.function_call, offered)
        case {"name": str(name)}:
            return tools.chosen({"type": "function", "name": name}, offered)
        case _:
            raise refused("function_call", "`function_call` is not understood", "auto, none or {name: …}")


def conversation(messages: Iterable[ChatMessage]) -> tuple[Message, ...]:
    """Their messages as canonical ones. Old function calls have no ids; they get some."""
    said: list[Message] = []
    ids: dict[str, str] = {}
    for number, one in enumerate(messages):
        at = f"messages[{number}]"
        if one.function_call is not None:
            ids[one.function_call.name] = f"function-{number}"
        said.append(_message(one, ids, at))
    return tuple(said)


def _message(one: ChatMessage, ids: dict[str, str], at: str) -> Message:
    content = list(_content(one.content, at))
    if _ROLES[one.role] == "tool":
        call = one.tool_call_id or (ids.get(one.name or "", "") if one.role == "function" else "")
        return Message("tool", (_result(call, content, at),))
    if one.refusal:
        content.append(TextPart(one.refusal))
    if one.reasoning_content:
        content.insert(0, ThinkingPart(one.reasoning_content))
    for number, call in enumerate(one.tool_calls or ()):
        content.append(_call(call, f"{at}.tool_calls[{number}]"))
    if (old := one.function_call) is not None:
        content.append(ToolCallPart(ids[old.name], old.name, parts.arguments(old.arguments)))
    return Message(_ROLES[one.role], tuple(content))


def _content(content: str | list[Content] | None, at: str) -> Iterable[Part]:
    match content:
        case None | "":
            return
        case str(text):
            yield TextPart(text)
        case pieces:
            for number, piece in enumerate(pieces):
                match piece:
                    case TextContent(text) | InputTextContent(text) | RefusalContent(text):
                        yield TextPart(text)
                    case ImageContent(ImageUrl(url)) | ImageContent(str(url)):
                        yield parts.image(url, f"{at}.content[{number}].image_url")


def _result(call: str, content: Iterable[Part], at: str) -> ToolResultPart:
    text: list[str] = []
    for part in content:
        match part:
            case TextPart(piece):
                text.append(piece)
            case _:
                raise refused(f"{at}.content", "the result of a tool is text", "send the image as the user's")
    return ToolResultPart(call, "".join(text))


def _call(call: CallMade, at: str) -> ToolCallPart:
    if (function := call.function) is not None:
        return ToolCallPart(call.id, function.name, parts.arguments(function.arguments))
    if (custom := call.custom) is not None:
        return ToolCallPart(call.id, custom.name, msgspec.json.encode({"input": custom.input or ""}).decode())
    raise refused(f"{at}.function", "a call names no function", "send {id, function: {name, arguments}}")
