"""What an engine's refusal means: its status and body as one of our errors. Pure."""

import msgspec

from mycoswarm.core.errors import Busy, ContextTooLong, EngineFailed, InvalidRequest, MycoError, UnknownModel

_CONTEXT_SIGNS = ("exceed_context_size_error", "context_length_exceeded")
_CONTEXT_WORDS = "exceeds the context length"
"""Ollama's."""
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
    said = (detail.message or f"status {status}")[:_SHOWN].strip()
    if detail.type in _CONTEXT_SIGNS or detail.code in _CONTEXT_SIGNS or _CONTEXT_WORDS in said:
        prompt, context = detail.n_prompt_tokens, detail.n_ctx
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
    if 400 <= status < 500:
        return InvalidRequest(f"{engine} refused the request: {said}")
    return EngineFailed(f"{engine} failed: {said}", status=status)


_SHORTEN = "shorten the conversation, or raise `context` in the settings"


def _detail(body: bytes) -> _Detail:
    try:
        decoded = msgspec.json.decode(body, type=_Body)
    except msgspec.DecodeError:
        return _Detail(body.decode(errors="replace"))
    if isinstance(decoded.error, _Detail):
        return decoded.error
    return _Detail(decoded.error or decoded.message or decoded.detail)
