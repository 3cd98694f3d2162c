"""What a model's owner gave it beside its file, put into a request. Pure."""

import msgspec

from mycoswarm.core.chat import ChatRequest, Message, Sampling, message
from mycoswarm.core.preset import Preset

_UNSAID = (None, ())


def apply(preset: Preset | None, request: ChatRequest) -> ChatRequest:
    """`request` as `preset` completes it: nothing that the request itself says is changed.

    A prompt that is continued as it stands gets the sampling only.
    """
    if preset is None:
        return request
    sampling = {
        field: value
        for field in Sampling.__struct_fields__
        if getattr(request.sampling, field) in _UNSAID and (value := getattr(preset.sampling, field)) not in _UNSAID
    }
    return msgspec.structs.replace(
        request,
        messages=() if request.prompt is not None else _messages(preset, request.messages),
        sampling=msgspec.structs.replace(request.sampling, **sampling),
        max_tokens=preset.max_tokens if request.max_tokens is None else request.max_tokens,
    )


def _messages(preset: Preset, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """System, the preset's own messages, the conversation: the order that every chat template expects."""
    if messages and messages[0].role == "system":
        return (messages[0], *preset.messages, *messages[1:])
    system = (message("system", preset.system),) if preset.system else ()
    return (*system, *preset.messages, *messages)
