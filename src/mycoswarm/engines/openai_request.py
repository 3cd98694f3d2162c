"""The canonical request as the JSON body of /v1/chat/completions. Pure."""

from typing import Any

from mycoswarm.core.chat import (
    ChatRequest,
    ImagePart,
    Message,
    ResponseFormat,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)

_DENIED = frozenset(
    {
        "id_slot",
        "slot_id",
        "lora",
        "lora_request",
        "grammar_file",
        "slot_save_path",
        "cache_prompt",
        "n_keep",
        "n_discard",
        "return_tokens",
        "post_sampling_probs",
        "n_probs",
        "n_cmpl",
        "n_cache_reuse",
        "response_fields",
        "return_progress",
        "return_token_ids",
        "prompt_logprobs",
        "verbose",
        "chat_format",
        "chat_template",
        "reasoning_format",
        "parse_tool_calls",
        "best_of",
        "use_beam_search",
        "echo",
        "priority",
        "request_id",
        "kv_transfer_params",
        "draft_model",
        "ttl",
        "model",
        "messages",
        "stream",
        "stream_options",
        "n",
        "max_tokens",
        "max_completion_tokens",
        "n_predict",
        "user",
        "prompt_cache_key",
        "store",
        "metadata",
    }
)
"""Never forwarded: they reach into the engine's slots, queue and files, they change the shape of its reply, or the
canonical request already says them."""


def chat_body(request: ChatRequest, model: str) -> dict[str, Any]:
    """The body, always streamed: a stream is what an engine can be made to stop."""
    sampling = request.sampling
    body: dict[str, Any] = {
        key: value for key, value in request.extra.items() if request.dialect == "openai" and key not in _DENIED
    }
    body |= {
        "model": model,
        "messages": [encoded for message in request.messages for encoded in _messages(message)],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    optional = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "seed": sampling.seed,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "repeat_penalty": sampling.repeat_penalty,
        "max_tokens": request.max_tokens,
        "stop": list(sampling.stop) or None,
    }
    body |= {key: value for key, value in optional.items() if value is not None}
    if request.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": request.logprobs}
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            }
            for tool in request.tools
        ]
        body["tool_choice"] = _tool_choice(request.tool_choice)
    if request.response_format.kind != "text":
        body["response_format"] = _response_format(request.response_format)
    if request.thinking is not None:
        body["chat_template_kwargs"] = {"enable_thinking": request.thinking}
    return body


def _messages(message: Message) -> list[dict[str, Any]]:
    """One canonical message; results of several tools become a message each, as this dialect wants it."""
    results = [part for part in message.parts if isinstance(part, ToolResultPart)]
    encoded: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": part.id, "content": part.text} for part in results
    ]
    content: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    thinking = ""
    for part in message.parts:
        match part:
            case TextPart(text):
                content.append({"type": "text", "text": text})
            case ImagePart(media_type, data):
                content.append({"type": "image_url", "image_url": {"url": f"data:{media_type};base64,{data}"}})
            case ThinkingPart(text):
                thinking += text
            case ToolCallPart(call_id, name, arguments):
                function = {"name": name, "arguments": arguments}
                calls.append({"id": call_id, "type": "function", "function": function})
            case ToolResultPart():
                pass
    if not content and not calls and results:
        return encoded
    only_text = all(piece["type"] == "text" for piece in content)
    said: dict[str, Any] = {"role": message.role, "content": message.text if only_text else content}
    if thinking:
        said["reasoning_content"] = thinking
    if calls:
        said |= {"tool_calls": calls, "content": said["content"] or None}
    return [*encoded, said]


def _tool_choice(choice: ToolChoice) -> str | dict[str, Any]:
    match choice.mode:
        case "auto" | "none" | "required":
            return choice.mode
        case "named":
            return {"type": "function", "function": {"name": choice.name}}


def _response_format(wanted: ResponseFormat) -> dict[str, Any]:
    match wanted.kind:
        case "text" | "json_object":
            return {"type": wanted.kind}
        case "json_schema":
            strict = {} if wanted.strict is None else {"strict": wanted.strict}
            return {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted.json_schema, **strict}}
