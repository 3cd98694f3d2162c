"""What a stream of this dialect consists of, as types: the writer's and the document's. Pure."""

from typing import Any, Literal

import msgspec

from mycoswarm.api.anthropic.shape import ErrorReply

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal"]


class Spent(msgspec.Struct, frozen=True):
    """Tokens. input_tokens: without those that came out of a cache; nothing is known of the prompt before the end."""

    input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    output_tokens: int = 0


class TextContent(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    text: str


class ThinkingContent(msgspec.Struct, frozen=True, tag_field="type", tag="thinking"):
    thinking: str
    signature: str


class ToolUseContent(msgspec.Struct, frozen=True, tag_field="type", tag="tool_use"):
    id: str
    name: str
    input: dict[str, Any]


Content = TextContent | ThinkingContent | ToolUseContent


class TheirAnswer(msgspec.Struct, frozen=True, tag_field="type", tag="message"):
    """The whole answer; in `message_start` without content, reason and figures."""

    id: str
    role: Literal["assistant"]
    model: str
    content: tuple[Content, ...]
    stop_reason: StopReason | None
    stop_sequence: str | None
    usage: Spent


class MessageStart(msgspec.Struct, frozen=True, tag_field="type", tag="message_start"):
    message: TheirAnswer


class Ping(msgspec.Struct, frozen=True, tag_field="type", tag="ping"):
    pass


class BlockStart(msgspec.Struct, frozen=True, tag_field="type", tag="content_block_start"):
    index: int
    content_block: Content


class TextDelta(msgspec.Struct, frozen=True, tag_field="type", tag="text_delta"):
    text: str


class ThinkingDelta(msgspec.Struct, frozen=True, tag_field="type", tag="thinking_delta"):
    thinking: str


class SignatureDelta(msgspec.Struct, frozen=True, tag_field="type", tag="signature_delta"):
    signature: str


class InputDelta(msgspec.Struct, frozen=True, tag_field="type", tag="input_json_delta"):
    partial_json: str


class BlockDelta(msgspec.Struct, frozen=True, tag_field="type", tag="content_block_delta"):
    index: int
    delta: TextDelta | ThinkingDelta | SignatureDelta | InputDelta


class BlockStop(msgspec.Struct, frozen=True, tag_field="type", tag="content_block_stop"):
    index: int


class Stopped(msgspec.Struct, frozen=True):
    stop_reason: StopReason
    stop_sequence: str | None


class MessageDelta(msgspec.Struct, frozen=True, tag_field="type", tag="message_delta"):
    delta: Stopped
    usage: Spent


class MessageStop(msgspec.Struct, frozen=True, tag_field="type", tag="message_stop"):
    pass


Event = MessageStart | Ping | BlockStart | BlockDelta | BlockStop | MessageDelta | MessageStop | ErrorReply


def name(event: Event) -> str:
    """Of the event on the wire: what its `type` says."""
    return str(event.__struct_config__.tag)
