"""What a client of this dialect sends, as types: the decoder's and the document's. Pure.

Optional fields may be null, as clients send them. Fields that are not named here are ignored.
"""

from typing import Annotated, Any, Literal

import msgspec

Whole = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""A count that every engine can hold."""

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Heat = Annotated[float, msgspec.Meta(ge=0, le=2)]
"""They take up to 1; local models are used to more."""

Name = Annotated[str, msgspec.Meta(min_length=1)]


class TextBlock(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    text: str


class Base64(msgspec.Struct, frozen=True, tag_field="type", tag="base64"):
    data: str
    media_type: str


class Address(msgspec.Struct, frozen=True, tag_field="type", tag="url"):
    url: str


class StoredFile(msgspec.Struct, frozen=True, tag_field="type", tag="file"):
    file_id: str


class PlainText(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    data: str


class ImageBlock(msgspec.Struct, frozen=True, tag_field="type", tag="image"):
    source: Base64 | Address | StoredFile


class Blocks(msgspec.Struct, frozen=True, tag_field="type", tag="content"):
    content: str | list[TextBlock | ImageBlock]


class DocumentBlock(msgspec.Struct, frozen=True, tag_field="type", tag="document"):
    source: PlainText | Blocks | Base64 | Address | StoredFile
    title: str | None = None
    context: str | None = None


class ToolReference(msgspec.Struct, frozen=True, tag_field="type", tag="tool_reference"):
    tool_name: str


class ThinkingBlock(msgspec.Struct, frozen=True, tag_field="type", tag="thinking"):
    thinking: str
    signature: str | None = None


class RedactedThinkingBlock(msgspec.Struct, frozen=True, tag_field="type", tag="redacted_thinking"):
    data: str


class ToolUseBlock(msgspec.Struct, frozen=True, tag_field="type", tag="tool_use"):
    id: str
    name: str
    input: dict[str, Any]


ResultBlock = TextBlock | ImageBlock | DocumentBlock | ToolReference


class ToolResultBlock(msgspec.Struct, frozen=True, tag_field="type", tag="tool_result"):
    tool_use_id: str
    content: str | list[ResultBlock] | None = None
    is_error: bool | None = None


Block = TextBlock | ImageBlock | DocumentBlock | ThinkingBlock | RedactedThinkingBlock | ToolUseBlock | ToolResultBlock


class TheirMessage(msgspec.Struct, frozen=True):
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class TheirTool(msgspec.Struct, frozen=True):
    """type: absent or "custom" for a tool that the client runs; every other kind is one that their servers know."""

    name: str | None = None
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None


class TheirToolChoice(msgspec.Struct, frozen=True):
    """`name` goes with type "tool" only."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class ThinkingWish(msgspec.Struct, frozen=True):
    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: Whole | None = None
    display: Literal["summarized", "omitted"] | None = None


class OutputFormat(msgspec.Struct, frozen=True):
    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(msgspec.Struct, frozen=True):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class Metadata(msgspec.Struct, frozen=True):
    user_id: str | None = None


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """Body of `POST /v1/messages/count_tokens`: what both endpoints take."""

    messages: Annotated[list[TheirMessage], msgspec.Meta(min_length=1)]
    model: str | None = None
    system: str | list[TextBlock] | None = None
    tools: list[TheirTool] | None = None
    tool_choice: TheirToolChoice | None = None
    thinking: ThinkingWish | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    mcp_servers: list[dict[str, Any]] | None = None


class Body(Prompt, frozen=True, kw_only=True):
    """Body of `POST /v1/messages`. max_tokens: 0 reads the prompt and writes nothing, which warms its cache."""

    max_tokens: Whole
    stream: bool | None = None
    stop_sequences: list[Name] | None = None
    temperature: Heat | None = None
    top_p: Share | None = None
    top_k: Whole | None = None
    metadata: Metadata | None = None
