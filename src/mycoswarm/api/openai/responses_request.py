"""`POST /v1/responses`: their JSON to the canonical request. Pure.

Source: the public API reference of OpenAI, responses. Nothing is stored here, so whatever points at something stored
is refused: a conversation comes whole with every request.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mycoswarm.api.dialect import Arrival, Asked, session_hint
from mycoswarm.api.openai import parts, tools
from mycoswarm.api.openai.fields import Limit, SamplingFields
from mycoswarm.api.openai.reading import convert, read_body, refused, unknown_fields
from mycoswarm.api.openai.responses_reply import Collector, EventWriter, Telling
from mycoswarm.api.openai.responses_tools import Offered, offered
from mycoswarm.core.chat import (
    ChatRequest,
    ImagePart,
    Message,
    Part,
    Role,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)


class Reasoning(msgspec.Struct):
    """`summary`: tell the thinking as a summary, which programs show, instead of as raw text."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class TextOptions(msgspec.Struct):
    """`verbosity` is accepted and not acted on."""

    format: dict[str, Any] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ResponseBody(SamplingFields, kw_only=True):
    """Every field but the input may be null. Further ones go to engines that speak this dialect too."""

    input: str | list[dict[str, Any]]
    model: str | None = None
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Limit | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    include: list[str] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: dict[str, str] | None = None
    prompt_cache_key: str | None = None
    max_tool_calls: int | None = None
    stream_options: dict[str, Any] | None = None
    user: str | None = None
    store: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: str | dict[str, Any] | None = None
    prompt: dict[str, Any] | None = None


class InputMessage(msgspec.Struct):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[dict[str, Any]]


class FunctionCallItem(msgspec.Struct):
    call_id: str
    name: str
    arguments: str = ""
    namespace: str | None = None


class CustomCallItem(msgspec.Struct):
    call_id: str
    name: str
    input: str = ""
    namespace: str | None = None


class CallOutputItem(msgspec.Struct):
    call_id: str
    output: str | list[dict[str, Any]]


class ReasoningItem(msgspec.Struct):
    """`encrypted_content`: what this node gave: the engine's own signature of the thought."""

    summary: list[dict[str, Any]] = []
    content: list[dict[str, Any]] | None = None
    encrypted_content: str | None = None


_decoder = msgspec.json.Decoder(ResponseBody)
_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}


def read(arrival: Arrival) -> Asked:
    """`POST /v1/responses`."""
    asked = read_body(arrival.body, _decoder)
    extra = unknown_fields(arrival.body, ResponseBody)
    _refuse_what_is_stored(asked)
    reasoning = asked.reasoning or Reasoning()
    thinking, effort = tools.effort(reasoning.effort, "reasoning.effort")
    kinds = offered(asked.tools)
    usable, choice = tools.chosen(asked.tool_choice, kinds.tools)
    request = ChatRequest(
        id=arrival.id,
        model=asked.model or "auto",
        messages=_conversation(asked, kinds),
        sampling=asked.sampling(),
        max_tokens=tools.limit(asked.max_output_tokens),
        tools=usable,
        tool_choice=choice,
        response_format=tools.response_format(asked.text.format if asked.text else None, "text.format"),
        parallel_tools=asked.parallel_tool_calls,
        logprobs=_logprobs(asked),
        thinking=thinking,
        effort=effort,
        session=session_hint(asked.prompt_cache_key) or arrival.session,
        dialect="openai",
        extra=extra,
        why=arrival.why,
    )
    telling = Telling(
        arrival.id,
        arrival.created,
        request.model,
        _echo(asked),
        kinds,
        summary=(reasoning.summary or reasoning.generate_summary) is not None,
    )
    if asked.stream:
        return Asked(request, EventWriter(telling))
    return Asked(request, None, Collector(telling))


def _refuse_what_is_stored(asked: ResponseBody) -> None:
    stored: Mapping[str, Any] = {
        "previous_response_id": asked.previous_response_id,
        "conversation": asked.conversation,
        "prompt": asked.prompt,
    }
    for name, given in stored.items():
        if given is not None:
            raise refused(
                name,
                f"`{name}` points at something stored, and nothing is stored here",
                "send the whole conversation as `input`",
                "unsupported_parameter",
            )
    if asked.background:
        raise refused("background", "answers are not written in the background", "stream them", "unsupported_parameter")


def _logprobs(asked: ResponseBody) -> int | None:
    if asked.top_logprobs is not None or "message.output_text.logprobs" in (asked.include or ()):
        return asked.top_logprobs or 0
    return None


def _echo(asked: ResponseBody) -> dict[str, Any]:
    """What a response repeats of its request."""
    reasoning = asked.reasoning or Reasoning()
    text = asked.text or TextOptions()
    return {
        "instructions": asked.instructions,
        "max_output_tokens": asked.max_output_tokens,
        "max_tool_calls": asked.max_tool_calls,
        "metadata": asked.metadata or {},
        "parallel_tool_calls": asked.parallel_tool_calls is not False,
        "prompt_cache_key": asked.prompt_cache_key,
        "reasoning": {"effort": reasoning.effort, "summary": reasoning.summary or reasoning.generate_summary},
        "temperature": asked.temperature,
        "text": {"format": text.format or {"type": "text"}, "verbosity": text.verbosity or "medium"},
        "tool_choice": asked.tool_choice or "auto",
        "tools": asked.tools or [],
        "top_logprobs": asked.top_logprobs or 0,
        "top_p": asked.top_p,
        "user": asked.user,
    }


def _conversation(asked: ResponseBody, kinds: Offered) -> tuple[Message, ...]:
    """Items as messages: what an assistant thought, said and called in a row is one message of it."""
    messages: list[Message] = []
    if asked.instructions:
        messages.append(Message("system", (TextPart(asked.instructions),)))
    if isinstance(asked.input, str):
        return (*messages, Message("user", (TextPart(asked.input),)))
    shown: list[Part] = []
    for number, item in enumerate(asked.input):
        for message in _item(item, kinds, f"input[{number}]"):
            if message.role != "tool" and shown:
                messages.append(Message("user", tuple(shown)))
                shown.clear()
            # A result is text; what a tool has shown besides follows its results as the user's.
            shown += [part for part in message.parts if message.role == "tool" and isinstance(part, ImagePart)]
            if message.role == "tool":
                message = Message("tool", tuple(part for part in message.parts if isinstance(part, ToolResultPart)))
            if message.role == "assistant" and messages and messages[-1].role == "assistant":
                message = Message("assistant", (*messages.pop().parts, *message.parts))
            messages.append(message)
    if shown:
        messages.append(Message("user", tuple(shown)))
    if not messages:
        raise refused("input", "`input` is empty", "send a text or at least one item", "empty_array")
    return tuple(messages)


def _item(item: Mapping[str, Any], kinds: Offered, at: str) -> Iterator[Message]:
    match item.get("type", "message"):
        case "message":
            said = convert(item, InputMessage, at)
            yield Message(_ROLES[said.role], tuple(_content(said.content, f"{at}.content")))
        case "function_call":
            call = convert(item, FunctionCallItem, at)
            name = kinds.flat(call.name, call.namespace)
            yield Message("assistant", (ToolCallPart(call.call_id, name, parts.arguments(call.arguments)),))
        case "custom_tool_call":
            call = convert(item, CustomCallItem, at)
            written = msgspec.json.encode({"input": call.input}).decode()
            yield Message("assistant", (ToolCallPart(call.call_id, kinds.flat(call.name, call.namespace), written),))
        case "function_call_output" | "custom_tool_call_output":
            result = convert(item, CallOutputItem, at)
            content = tuple(_content(result.output, f"{at}.output"))
            text = "".join(part.text for part in content if isinstance(part, TextPart))
            images = (part for part in content if isinstance(part, ImagePart))
            yield Message("tool", (ToolResultPart(result.call_id, text), *images))
        case "reasoning":
            yield from _thought(convert(item, ReasoningItem, at), at)
        case "item_reference" | "compaction":
            raise refused(
                f"{at}.type",
                f"an item of type '{item['type']}' points at what only its maker can read",
                "send the items themselves",
                "unsupported_value",
            )
        case str():
            # Calls that ran on their vendor's servers, and kinds of items that are newer than this program.
            return
        case _:
            raise refused(f"{at}.type", "an item's type is not text", "message is the usual one", "invalid_type")


def _thought(item: ReasoningItem, at: str) -> Iterator[Message]:
    told = item.content or item.summary
    text = "".join(piece["text"] for piece in told if isinstance(piece.get("text"), str))
    if text or item.encrypted_content:
        yield Message("assistant", (ThinkingPart(text, item.encrypted_content),))


def _content(content: str | Iterable[Mapping[str, Any]], at: str) -> Iterator[Part]:
    if isinstance(content, str):
        if content:
            yield TextPart(content)
        return
    for number, piece in enumerate(content):
        here = f"{at}[{number}]"
        match piece:
            case {"type": "input_text" | "output_text" | "text", "text": str(text)}:
                yield TextPart(text)
            case {"type": "refusal", "refusal": str(text)}:
                yield TextPart(text)
            case {"type": "input_image", "image_url": str(url)}:
                yield parts.image(url, f"{here}.image_url")
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                yield parts.image(url, f"{here}.image_url")
            case {"type": "input_image", "file_id": str()}:
                raise refused(f"{here}.file_id", "no files are stored here", "send the image as a data: address")
            case _:
                kind = piece.get("type")
                raise refused(
                    f"{here}.type",
                    f"a content part of type '{kind}' is not understood",
                    "input_text and input_image parts are",
                )
