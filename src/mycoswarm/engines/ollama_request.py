"""The canonical request as the JSON body of Ollama's /api/chat or, for a raw prompt, /api/generate. Pure."""

from typing import Any

import msgspec

from mycoswarm.core.chat import (
    ChatRequest,
    ImagePart,
    Message,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)
from mycoswarm.core.errors import InvalidRequest

_FORWARDED = ("mirostat", "mirostat_eta", "mirostat_tau", "repeat_last_n", "tfs_z", "typical_p", "num_keep")
"""Options of the same dialect that only shape the text; the others reach into the machine (num_gpu, use_mmap …)."""


def chat_body(request: ChatRequest, context: int, *, thinks: bool = True) -> dict[str, Any]:
    """The body, streamed; `raw` where it is for /api/generate.

    Args:
        context: tokens; set explicitly, for Ollama's own default cuts prompts without a word.
        thinks: whether the model can; Ollama refuses the wish where it cannot.
    """
    sampling = request.sampling
    given = request.extra.get("options") if request.dialect == "ollama" else None
    options: dict[str, Any] = {key: given[key] for key in _FORWARDED if isinstance(given, dict) and key in given}
    wanted = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "seed": sampling.seed,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "repeat_penalty": sampling.repeat_penalty,
        "num_predict": None if request.max_tokens is None else min(request.max_tokens, context),
        "stop": list(sampling.stop) or None,
    }
    options |= {key: value for key, value in wanted.items() if value is not None}
    options["num_ctx"] = context
    names = {
        part.id: part.name for message in request.messages for part in message.parts if isinstance(part, ToolCallPart)
    }
    body: dict[str, Any] = {
        "model": request.model,
        "stream": True,
        "options": options,
        # A prompt that does not fit is refused, not cut at its front; older servers do not know these two.
        "truncate": False,
        "shift": False,
    }
    if request.prompt is not None:
        body |= {"prompt": request.prompt, "raw": True}
    else:
        body["messages"] = [encoded for message in request.messages for encoded in _messages(message, names)]
    if request.keep is not None:
        body["keep_alive"] = -1 if request.keep < 0 else request.keep
    if request.tools and request.tool_choice.mode != "none":
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            }
            for tool in request.tools
        ]
    match request.response_format.kind:
        case "text":
            pass
        case "json_object":
            body["format"] = "json"
        case "json_schema":
            body["format"] = request.response_format.json_schema
    if thinks and request.thinking is not False and request.effort is not None:
        body["think"] = request.effort
    elif thinks and request.thinking is not None:
        body["think"] = request.thinking
    if request.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": request.logprobs}
    return body


def _messages(message: Message, names: dict[str, str]) -> list[dict[str, Any]]:
    encoded: list[dict[str, Any]] = []
    said: dict[str, Any] = {"role": message.role, "content": message.text}
    images: list[str] = []
    calls: list[dict[str, Any]] = []
    for part in message.parts:
        match part:
            case TextPart():
                pass
            case ImagePart(_, data):
                images.append(data)
            case ThinkingPart(text):
                said["thinking"] = said.get("thinking", "") + text
            case ToolCallPart(_, name, arguments):
                calls.append({"function": {"name": name, "arguments": _object(name, arguments)}})
            case ToolResultPart(call_id):
                result = {"role": "tool", "content": part.told}
                encoded.append(result | ({"tool_name": names[call_id]} if call_id in names else {}))
    if images:
        said["images"] = images
    if calls:
        said["tool_calls"] = calls
    if message.role != "tool" or message.text:
        encoded.append(said)
    return encoded


def _object(name: str, arguments: str) -> dict[str, Any]:
    """Ollama wants an object where the others have text."""
    try:
        return msgspec.json.decode(arguments or "{}", type=dict[str, Any])
    except msgspec.DecodeError as problem:
        raise InvalidRequest(f"the arguments of the tool call {name} are no JSON object: {problem}") from None
