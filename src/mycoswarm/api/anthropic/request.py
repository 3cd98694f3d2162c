"""Their request to the canonical one. Pure.

What stands in one message of theirs becomes several canonical ones where tools have answered: a result is a message of
its own there, as in every other dialect, so that a conversation looks the same whichever language it came in.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from mycoswarm.api.anthropic.body import (
    Address,
    Base64,
    Block,
    Blocks,
    Body,
    DocumentBlock,
    ImageBlock,
    PlainText,
    Prompt,
    RedactedThinkingBlock,
    ResultBlock,
    StoredFile,
    TextBlock,
    TheirMessage,
    TheirTool,
    TheirToolChoice,
    ThinkingBlock,
    ThinkingWish,
    ToolReference,
    ToolResultBlock,
    ToolUseBlock,
)
from mycoswarm.api.anthropic.reply import Collector, EventWriter
from mycoswarm.api.dialect import Arrival, Asked, session_hint
from mycoswarm.api.routes import decode_body
from mycoswarm.core.chat import (
    ChatRequest,
    Effort,
    ImagePart,
    Message,
    Part,
    ResponseFormat,
    Sampling,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)
from mycoswarm.core.errors import InvalidRequest

_body = msgspec.json.Decoder(Body)
_prompt = msgspec.json.Decoder(Prompt)

_BILLING = re.compile(r"x-anthropic-billing-header:[^\n]*\n*")
"""Claude Code's first line to its vendor. It differs from request to request: an engine that reads it first finds
nothing of the conversation in its cache."""

_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")

_LOW, _MEDIUM = 4_096, 16_384
"""Tokens of thinking up to which the effort counts as low, and as medium."""


def read(arrival: Arrival) -> Asked:
    """`POST /v1/messages`."""
    asked = decode_body(arrival.body, _body)
    wish = asked.thinking
    request = msgspec.structs.replace(
        _request(asked, arrival),
        # An engine that is asked for nothing may take that as no limit at all.
        max_tokens=max(1, asked.max_tokens),
        sampling=Sampling(
            temperature=asked.temperature,
            top_p=asked.top_p,
            top_k=asked.top_k,
            stop=tuple(asked.stop_sequences or ()),
        ),
        session=arrival.session or session_hint(asked.metadata.user_id if asked.metadata else None),
    )
    # Programs that did not ask for thoughts take the first block for the text.
    thoughts = wish is not None and wish.type != "disabled" and wish.display != "omitted"
    silent = asked.max_tokens == 0
    if asked.stream:
        return Asked(request, EventWriter(arrival.id, thoughts=thoughts, silent=silent))
    return Asked(request, None, Collector(arrival.id, thoughts=thoughts, silent=silent))


def read_prompt(arrival: Arrival) -> ChatRequest:
    """`POST /v1/messages/count_tokens`."""
    return _request(decode_body(arrival.body, _prompt), arrival)


def _request(asked: Prompt, arrival: Arrival) -> ChatRequest:
    if asked.mcp_servers:
        raise InvalidRequest(
            "`mcp_servers` asks this node to speak to other servers, which it never does", "let your program call them"
        )
    tools = tuple(_tools(asked.tools or ()))
    wanted = asked.output_config.format if asked.output_config else None
    wanted = wanted or asked.output_format
    return ChatRequest(
        id=arrival.id,
        model=asked.model or "auto",
        messages=(*_system(asked.system), *(said for one in asked.messages for said in _messages(one))),
        tools=tools,
        tool_choice=_tool_choice(asked.tool_choice, tools),
        parallel_tools=False if asked.tool_choice and asked.tool_choice.disable_parallel_tool_use else None,
        response_format=ResponseFormat("json_schema", wanted.schema) if wanted else ResponseFormat(),
        thinking=_thinking(asked.thinking),
        effort=_effort(asked),
        session=arrival.session,
        dialect="anthropic",
        why=arrival.why,
    )


def _system(system: str | list[TextBlock] | None) -> Iterator[Message]:
    blocks = [TextBlock(system)] if isinstance(system, str) else system or []
    parts = _paragraphs(TextPart(_BILLING.sub("", block.text, count=1) if _BILLING.match(block.text) else block.text)
                        for block in blocks)  # fmt: skip
    if parts:
        yield Message("system", parts)


def _paragraphs(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Neighbouring texts are paragraphs: engines join them, and without a line end they would run together."""
    made: list[Part] = []
    for part in parts:
        if isinstance(part, TextPart):
            if not part.text:
                continue
            before = made[-1] if made else None
            if isinstance(before, TextPart) and not before.text.endswith("\n") and not part.text.startswith("\n"):
                made[-1] = TextPart(before.text + "\n")
        made.append(part)
    return tuple(made)


def _messages(one: TheirMessage) -> Iterator[Message]:
    if isinstance(one.content, str):
        yield Message(one.role, (TextPart(one.content),))
        return
    parts: list[Part] = []
    for block in one.content:
        if isinstance(block, ToolResultBlock):
            text, images = _result(block)
            yield Message("tool", (ToolResultPart(block.tool_use_id, text, bool(block.is_error)),))
            # A result is text alone in every engine's language, so its images are shown by the user.
            parts += images
        else:
            parts += _parts(block)
    if parts or not one.content:
        # An answer that is handed back to be continued must stay as it was.
        yield Message(one.role, tuple(parts) if one.role == "assistant" else _paragraphs(parts))


def _parts(block: Block | ToolReference) -> list[Part]:
    match block:
        case TextBlock(text):
            return [TextPart(text)]
        case ImageBlock(source):
            return [_image(source)]
        case DocumentBlock():
            return _document(block)
        case ToolReference(name):
            return [TextPart(name)]
        case ThinkingBlock(thinking, signature):
            return [ThinkingPart(thinking, signature)]
        case RedactedThinkingBlock(data):
            return [ThinkingPart("", data)]
        case ToolUseBlock(call_id, name, given):
            return [ToolCallPart(call_id, name, msgspec.json.encode(given).decode())]
        case ToolResultBlock():
            raise AssertionError("a result is a message of its own")


def _result(block: ToolResultBlock) -> tuple[str, list[ImagePart]]:
    content: Sequence[ResultBlock] = (
        [TextBlock(block.content)] if isinstance(block.content, str) else block.content or ()
    )
    texts: list[str] = []
    images: list[ImagePart] = []
    for piece in content:
        for part in _parts(piece):
            if isinstance(part, TextPart):
                texts.append(part.text)
            elif isinstance(part, ImagePart):
                images.append(part)
                texts.append("[image]")
    return "\n".join(texts), images


def _image(source: Base64 | Address | StoredFile) -> ImagePart:
    if not isinstance(source, Base64):
        raise InvalidRequest("an image must come inside the request", "send it as base64; nothing is fetched")
    if source.media_type not in _IMAGES:
        raise InvalidRequest(
            f"an image of type '{source.media_type}' is not understood", f"known are {', '.join(_IMAGES)}"
        )
    data = "".join(source.data.split())
    if not _BASE64.fullmatch(data):
        raise InvalidRequest("the data of an image is not base64", "send the file's bytes as base64")
    return ImagePart(source.media_type, data)


def _document(block: DocumentBlock) -> list[Part]:
    head: list[Part] = [TextPart(text) for text in (block.title, block.context) if text]
    match block.source:
        case PlainText(data):
            return [*head, TextPart(data)]
        case Blocks(str(text)):
            return [*head, TextPart(text)]
        case Blocks(pieces):
            return [*head, *(part for piece in pieces for part in _parts(piece))]  # pyright: ignore[reportArgumentType] not a str any more
        case Base64(_, media_type):
            raise InvalidRequest(
                f"a document of type '{media_type}' is not read here", "send its text as a text source"
            )
        case Address() | StoredFile():
            raise InvalidRequest("a document must come inside the request", "send its text; nothing is fetched")


def _tools(tools: Iterable[TheirTool]) -> Iterator[Tool]:
    for tool in tools:
        if tool.type not in (None, "custom"):
            # Kinds that only their own servers and models know; their clients send them to everybody.
            continue
        if not tool.name or tool.input_schema is None:
            raise InvalidRequest(
                f"the tool '{tool.name or ''}' is not understood", "a tool has a `name` and an `input_schema`"
            )
        yield Tool(tool.name, tool.description or "", tool.input_schema)


def _tool_choice(choice: TheirToolChoice | None, tools: Sequence[Tool]) -> ToolChoice:
    if choice is None or choice.type == "auto":
        return ToolChoice()
    if choice.type == "none":
        return ToolChoice("none")
    if not tools:
        raise InvalidRequest(f"`tool_choice` is '{choice.type}' and there is no tool to call", "send `tools` with it")
    if choice.type == "any":
        return ToolChoice("required")
    if choice.name not in [tool.name for tool in tools]:
        raise InvalidRequest(
            f"`tool_choice` names the tool '{choice.name or ''}'", f"there are {', '.join(tool.name for tool in tools)}"
        )
    return ToolChoice("named", choice.name)


def _thinking(wish: ThinkingWish | None) -> bool | None:
    match wish.type if wish else None:
        case "enabled":
            return True
        case "disabled":
            return False
        case "adaptive" | "between_tools" | None:
            return None


def _effort(asked: Prompt) -> Effort | None:
    """As it was named, else by the tokens that thinking may take."""
    match asked.output_config.effort if asked.output_config else None:
        case "low":
            return "low"
        case "medium":
            return "medium"
        case "high" | "xhigh" | "max":
            return "high"
        case None:
            pass
    budget = asked.thinking.budget_tokens if asked.thinking and asked.thinking.type == "enabled" else None
    if budget is None:
        return None
    return "low" if budget <= _LOW else "medium" if budget <= _MEDIUM else "high"
