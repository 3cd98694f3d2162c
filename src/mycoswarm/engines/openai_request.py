"""The canonical request as the JSON body of /v1/chat/completions or /v1/completions. Pure."""

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
from mycoswarm.engines.folding import join_tail

_SLOTS = {
    "id_slot",
    "slot_id",
    "cache_prompt",
    "n_keep",
    "n_discard",
    "n_cache_reuse",
    "cache_salt",
    "kv_transfer_params",
}
_FILES = {"lora", "lora_request", "grammar_file", "slot_save_path", "mm_processor_kwargs", "media_io_kwargs"}
_CODE = {"logits_processors", "vllm_xargs", "chat_template", "chat_parser", "documents"}
_PROMPT = {"add_generation_prompt", "continue_final_message", "truncate_prompt_tokens", "prompt", "suffix", "echo"}
_REPLY = {
    "chat_format",
    "include_reasoning",
    "include_stop_str_in_output",
    "n_probs",
    "parse_tool_calls",
    "post_sampling_probs",
    "prompt_logprobs",
    "reasoning_format",
    "reasoning_in_content",
    "response_fields",
    "return_progress",
    "return_token_ids",
    "return_tokens",
    "return_tokens_as_token_ids",
    "sse_ping_interval",
    "thinking_forced_open",
    "timings_per_token",
    "verbose",
}
_COST = {
    "best_of",
    "data_parallel_rank",
    "draft_model",
    "ignore_eos",
    "n_cmpl",
    "priority",
    "request_id",
    "ttl",
    "use_beam_search",
}
_SAID = {
    "functions",
    "function_call",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "n",
    "n_predict",
    "parallel_tool_calls",
    "prompt_cache_key",
    "reasoning_effort",
    "store",
    "stream",
    "stream_options",
    "user",
}
DENIED = frozenset(_SLOTS | _FILES | _CODE | _PROMPT | _REPLY | _COST | _SAID)
"""Never forwarded: they reach into the engine's slots and caches, name files or code on its machine, change what prompt
the model sees or the shape of the reply that we read, let a request write on without end or go before others, or say
what the canonical request says already."""


def forwarded(request: ChatRequest) -> dict[str, Any]:
    """The fields that only the engine may know, from a client of the same dialect."""
    if request.dialect != "openai":
        return {}
    return {
        key: value for key, value in request.extra.items() if key not in DENIED and not key.startswith("speculative.")
    }


def chat_body(request: ChatRequest, model: str) -> dict[str, Any]:
    """The body of a chat or, where it has a raw prompt, of a completion; always streamed: a stream is what an engine
    can be made to stop."""
    body = forwarded(request) | _common(request, model)
    return body | (_chat(request, body) if request.prompt is None else _completion(request))


def _common(request: ChatRequest, model: str) -> dict[str, Any]:
    sampling = request.sampling
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
    if request.response_format.kind != "text":
        optional["response_format"] = _response_format(request.response_format)
    stream = {"stream": True, "stream_options": {"include_usage": True}}
    return {"model": model, **stream, **{key: value for key, value in optional.items() if value is not None}}


def _completion(request: ChatRequest) -> dict[str, Any]:
    body: dict[str, Any] = {"prompt": request.prompt}
    if request.logprobs is not None:
        body["logprobs"] = request.logprobs
    if request.response_format.kind != "text":
        # llama.cpp's name for it here; others read `response_format`.
        body["json_schema"] = request.response_format.json_schema or {"type": "object"}
    return body


def _chat(request: ChatRequest, body: dict[str, Any]) -> dict[str, Any]:
    chat: dict[str, Any] = {
        "messages": [encoded for message in join_tail(request.messages) for encoded in _messages(message)]
    }
    if request.logprobs is not None:
        chat |= {"logprobs": True, "top_logprobs": request.logprobs}
    if request.tools:
        chat["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            }
            for tool in request.tools
        ]
        chat["tool_choice"] = _tool_choice(request.tool_choice)
        if request.parallel_tools is not None:
            chat["parallel_tool_calls"] = request.parallel_tools
    given = body.get("chat_template_kwargs")
    wanted: dict[str, Any] = dict(given) if isinstance(given, dict) else {}
    if request.thinking is not None:
        wanted["enable_thinking"] = request.thinking
    if request.effort is not None:
        chat["reasoning_effort"] = wanted["reasoning_effort"] = request.effort
    if wanted or given is not None:
        chat["chat_template_kwargs"] = wanted
    return chat


def _messages(message: Message) -> list[dict[str, Any]]:
    """One canonical message; results of several tools become a message each, as this dialect wants it."""
    results = [part for part in message.parts if isinstance(part, ToolResultPart)]
    encoded: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": part.id, "content": part.told} for part in results
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
