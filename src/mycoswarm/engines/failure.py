"""What an engine's refusal means: its status and body as one of our errors. Pure."""

import re

import msgspec

from mycoswarm.core.errors import Busy, ContextTooLong, EngineFailed, InvalidRequest, MycoError, UnknownModel

_CONTEXT_SIGNS = ("exceed_context_size_error", "context_length_exceeded")
_CONTEXT_WORDS = (
    "exceeds the context length",
    "exceeds maximum context length",
    "maximum context length is",
    "greater than the context length",
    "exceeds the available context size",
)
"""Ollama's, vLLM's, LM Studio's, old llama.cpp's."""
_VLLM_CONTEXT = re.compile(r"maximum context length is (\d+) tokens")
_VLLM_PROMPT = re.compile(r"(\d+) (?:tokens )?(?:in the messages|in the prompt|input tokens|prompt tokens)")
_BLIND = "image input is not supported"
_SCHEMA = "JSON schema error at "
_TEMPLATE = "Jinja Exception: "
_SHOWN = 300
_RETRY_AFTER = 5


class _Detail(msgspec.Struct):
    """The fields that OpenAI-style servers use; n_*: llama.cpp's."""

    message: str | None = None
    type: str | None = None
    code: str | int | None = None
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


class _Body(msgspec.Struct):
    """Ollama's error is a plain text, vLLM has said it in `detail` or `message`."""

    error: _Detail | str | None = None
    message: str | None = None
    detail: str | None = None


def from_reply(status: int, body: bytes, engine: str, model: str) -> MycoError:
    """The error for an HTTP reply of `engine` that is not a success."""
    detail = _detail(body)
    whole = detail.message or f"status {status}"
    said = whole[:_SHOWN].strip()
    if detail.type in _CONTEXT_SIGNS or detail.code in _CONTEXT_SIGNS or any(sign in whole for sign in _CONTEXT_WORDS):
        prompt, context = (
            detail.n_prompt_tokens or _number(_VLLM_PROMPT, whole),
            detail.n_ctx or _number(_VLLM_CONTEXT, whole),
        )
        if prompt is None or context is None:
            return ContextTooLong(f"the prompt does not fit the context of {model}: {said}", _SHORTEN)
        return ContextTooLong(
            f"the prompt has {prompt} tokens, {model} is served with a context of {context}",
            _SHORTEN,
            prompt_tokens=prompt,
            context=context,
        )
    if status in (401, 403):
        return EngineFailed(f"{engine} wants an API key", "give it with the engine's address in the settings")
    if status == 404:
        return UnknownModel(f"{engine} has no model {model!r}: {said}", "`mycoswarm models` lists them", near=[])
    if status in (429, 503):
        return Busy(f"{engine} is busy: {said}", "try again in a moment", retry_after=_RETRY_AFTER)
    if _BLIND in whole:
        return InvalidRequest(f"{model} cannot look at images", "ask a model that can")
    if _TEMPLATE in whole:
        why = whole.rpartition(_TEMPLATE)[2][:_SHOWN].strip()
        return InvalidRequest(f"the chat template of {model} refuses these messages: {why}", template=why)
    if _SCHEMA in whole:
        where, _, why = whole.partition(_SCHEMA)[2].partition(": ")
        return InvalidRequest(f"the JSON schema of the answer cannot be used: {why[:_SHOWN].strip()} (at {where})")
    if "grammar" in whole and 400 <= status < 500:
        return InvalidRequest(f"the grammar or schema of the answer cannot be used: {said}")
    if 400 <= status < 500:
        return InvalidRequest(f"{engine} refused the request: {said}")
    return EngineFailed(f"{engine} failed: {said}", status=status)


def refused_by_template(refusal: InvalidRequest) -> bool:
    """Whether it was the order of the messages that the model's own template would not have."""
    return "template" in refusal.data


def told_in_numbers(problem: ContextTooLong, prompt: int, context: int | None) -> ContextTooLong:
    """`problem` with both numbers, estimated where the engine gave none."""
    if problem.data or context is None:
        return problem
    return ContextTooLong(
        f"the prompt has about {prompt} tokens, more than the context of {context} takes",
        _SHORTEN,
        prompt_tokens=prompt,
        context=context,
    )


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return int(found[1]) if found else None


_SHORTEN = "shorten the conversation, or raise `context` in the settings"


def _detail(body: bytes) -> _Detail:
    try:
        decoded = msgspec.json.decode(body, type=_Body)
    except msgspec.DecodeError:
        return _Detail(body.decode(errors="replace"))
    if isinstance(decoded.error, _Detail):
        return decoded.error
    return _Detail(decoded.error or decoded.message or decoded.detail)
