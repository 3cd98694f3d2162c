"""The canonical request and the canonical stream of deltas: what lies between all dialects and all engines.

Every dialect of the user port is translated into `ChatRequest` once, at the entry node; every engine's answer is
translated into deltas once, at the executing node. Rules of a delta stream:

- it opens with exactly one Start and ends with exactly one Finish per choice, then Usage, or with one Error;
- `seq` counts from 0 without gaps within one attempt; `choice` is 0 unless a client asked for several;
- Text.offset is the UTF-8 byte offset of that text within its choice, so a resumed answer can be cut and verified;
- a delta never ends inside a multi-byte character;
- Note carries nothing that belongs to the answer; it may come anywhere, also before Start (queue, loading, placement).
"""

from typing import Any, Literal, get_args

import msgspec

from mycoswarm.core.errors import ErrorBody
from mycoswarm.core.ids import NodeId, RequestId

MAX_REQUEST = 64 * 1024 * 1024
"""Bytes of one request, the same at every port: room for a long history with images; more is a mistake or an attack."""

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "cancelled"]
Priority = Literal["interactive", "batch"]
Effort = Literal["low", "medium", "high"]


class TextPart(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    text: str


class ImagePart(msgspec.Struct, frozen=True, tag_field="type", tag="image"):
    """`data`: base64 without line breaks; never an address, so that no engine fetches anything."""

    media_type: str
    data: str


class ThinkingPart(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="thinking"):
    """`signature`: opaque, handed back exactly as the engine gave it."""

    text: str
    signature: str | None = None


class ToolCallPart(msgspec.Struct, frozen=True, tag_field="type", tag="tool_call"):
    """`arguments`: JSON text of an object."""

    id: str
    name: str
    arguments: str


class ToolResultPart(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="tool_result"):
    id: str
    text: str
    is_error: bool = False

    @property
    def told(self) -> str:
        """The result for engines whose language has no word for a failure: the text itself says it."""
        return f"Error: {self.text}" if self.is_error else self.text


Part = TextPart | ImagePart | ThinkingPart | ToolCallPart | ToolResultPart


class Message(msgspec.Struct, frozen=True):
    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))


def message(role: Role, text: str) -> Message:
    """A message of plain text."""
    return Message(role, (TextPart(text),))


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    """`parameters`: a JSON schema of an object."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}


class ToolChoice(msgspec.Struct, frozen=True, omit_defaults=True):
    """`name` goes with mode "named" only."""

    mode: Literal["auto", "none", "required", "named"] = "auto"
    name: str | None = None


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """None leaves the choice to the engine."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repeat_penalty: float | None = None
    stop: tuple[str, ...] = ()


class ResponseFormat(msgspec.Struct, frozen=True, omit_defaults=True):
    """`json_schema` and `strict` go with kind "json_schema" only. strict: as the client said it; None: it did not."""

    kind: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: dict[str, Any] = {}
    strict: bool | None = None


class ChatRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request, whatever language it came in.

    model: as the client typed it; the router replaces it by the name on the chosen engine.
    prompt: text that the model continues as it stands, without its chat template; `messages` is then empty.
    max_tokens: of the answer; None is as many as the context still holds.
    logprobs: how many alternatives per token; None is none.
    parallel_tools: may one answer hold several calls; None leaves it to the model.
    thinking: whether it shall think before it answers; None leaves it to the model. effort: how long, where it can.
    keep: seconds that the model stays in memory afterwards; negative is for ever, None the engine's own habit.
    session: hint that requests belong to one conversation; opaque.
    prefer_node: a node's id or name that must answer (`model@node`, `--node`).
    dialect, extra: fields the canonical request does not know, for an engine of the same dialect only.
    why: asks for a Note of kind "placement" before the first text.
    """

    model: str
    messages: tuple[Message, ...]
    id: RequestId = RequestId("")
    prompt: str | None = None
    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    response_format: ResponseFormat = ResponseFormat()
    parallel_tools: bool | None = None
    logprobs: int | None = None
    thinking: bool | None = None
    effort: Effort | None = None
    keep: float | None = None
    priority: Priority = "interactive"
    session: str | None = None
    prefer_node: str | None = None
    dialect: str = ""
    extra: dict[str, Any] = {}
    why: bool = False


class Start(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="start"):
    """An executor has accepted. `attempt` grows when another node takes the answer over."""

    request: RequestId
    model: str
    node: NodeId = NodeId("")
    node_name: str = ""
    engine: str = ""
    attempt: int = 0
    seq: int = 0
    choice: int = 0


class Text(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="text"):
    text: str
    offset: int = 0
    token_ids: tuple[int, ...] | None = None
    seq: int = 0
    choice: int = 0


class Thinking(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="thinking"):
    text: str
    signature: str | None = None
    seq: int = 0
    choice: int = 0


class ToolCall(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="tool_call"):
    """A call begins; its arguments follow as ToolArgs with the same `index`."""

    index: int
    id: str
    name: str
    seq: int = 0
    choice: int = 0


class ToolArgs(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="tool_args"):
    """A piece of the JSON text of a call's arguments."""

    index: int
    text: str
    seq: int = 0
    choice: int = 0


class TokenLogprob(msgspec.Struct, frozen=True, omit_defaults=True):
    """`top`: alternatives, most likely first."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top: "tuple[TokenLogprob, ...]" = ()


class Logprobs(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="logprobs"):
    tokens: tuple[TokenLogprob, ...]
    seq: int = 0
    choice: int = 0


class Finish(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="finish"):
    """`stop`: the stop string that was met, where the engine tells."""

    reason: FinishReason
    stop: str | None = None
    seq: int = 0
    choice: int = 0


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="usage"):
    """Tokens, and the engine's own measured milliseconds (None: the engine does not tell).

    cached_tokens: part of prompt_tokens that needed no prefill.
    first_token_ms: from the executor's acceptance to the first text, by the executor's clock.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    prefill_ms: float | None = None
    decode_ms: float | None = None
    load_ms: float | None = None
    first_token_ms: float | None = None
    seq: int = 0
    choice: int = 0


class Error(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="error"):
    """The stream ends here; `error` is an ErrorBody, what was delivered before stays valid."""

    error: ErrorBody
    seq: int = 0
    choice: int = 0


class Note(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="note"):
    """About the answer, not of it: kind "queue" | "loading" | "placement" | "resumed" | "retry" | "tool_call"; `text`
    for people."""

    kind: str
    text: str = ""
    data: dict[str, Any] = {}
    seq: int = 0
    choice: int = 0


Delta = Start | Text | Thinking | ToolCall | ToolArgs | Logprobs | Finish | Usage | Error | Note

DELTA_TYPES: tuple[type[msgspec.Struct], ...] = get_args(Delta)
"""Every kind of delta, in the order of the vocabulary."""

_delta_decoder: msgspec.json.Decoder[Delta] = msgspec.json.Decoder(Delta)
_encoder = msgspec.json.Encoder()


def encode_delta(delta: Delta) -> bytes:
    """One NDJSON line, newline included."""
    return _encoder.encode(delta) + b"\n"


def decode_delta(line: bytes) -> Delta:
    """The delta of one NDJSON line. Raises msgspec.DecodeError on anything else."""
    try:
        return _delta_decoder.decode(line)
    except (UnicodeDecodeError, RecursionError) as problem:
        raise msgspec.DecodeError(f"not a delta: {problem}") from problem
