"""Ollama's /api/chat and /api/generate: their JSON to the canonical request. Pure."""

from typing import Any, Literal

import msgspec

from mycoswarm.api.dialect import Arrival, Asked
from mycoswarm.api.ollama.answer import Kind, Lines, Whole
from mycoswarm.api.ollama.messages import Said, images, read_messages, read_tools
from mycoswarm.api.ollama.options import read_format, read_keep, read_options, read_think
from mycoswarm.api.ollama.shape import line, named, stamp
from mycoswarm.api.routes import decode_body
from mycoswarm.core.chat import ChatRequest, Message, TextPart, message
from mycoswarm.core.errors import InvalidRequest

MOST_LOGPROBS = 20


class Load(msgspec.Struct, frozen=True):
    """A request without a word: bring the model into memory, or out of it. keep: as `ChatRequest.keep`."""

    model: str
    kind: Kind
    created: int
    keep: float | None = None

    @property
    def out(self) -> bool:
        """Whether it shall leave memory."""
        return self.keep == 0.0

    def body(self) -> bytes:
        """What they answer when it is done."""
        said: dict[str, Any] = {"model": self.model, "created_at": stamp(self.created)}
        if self.kind == "chat":
            said["message"] = {"role": "assistant", "content": ""}
        else:
            said["response"] = ""
        reason: Literal["load", "unload"] = "unload" if self.out else "load"
        return line(said | {"done": True, "done_reason": reason})


class _Common(msgspec.Struct):
    """Every field may be null, as clients send them."""

    model: str | None = None
    stream: bool | None = None
    format: Any = None
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None
    think: bool | str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


class _Chat(_Common):
    messages: list[Said] | None = None
    tools: list[dict[str, Any]] | None = None


class _Generate(_Common):
    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    raw: bool | None = None
    images: list[str] | None = None


_chat_decoder = msgspec.json.Decoder(_Chat)
_generate_decoder = msgspec.json.Decoder(_Generate)


def read_chat(arrival: Arrival) -> Asked | Load:
    """`POST /api/chat`. Raises InvalidRequest."""
    body = decode_body(arrival.body, _chat_decoder)
    if not body.messages:
        return _load(arrival, body, "chat")
    request = _request(arrival, body, read_messages(body.messages))
    return _asked(arrival, body, msgspec.structs.replace(request, tools=read_tools(body.tools or ())), "chat")


def read_generate(arrival: Arrival) -> Asked | Load:
    """`POST /api/generate`. Raises InvalidRequest."""
    body = decode_body(arrival.body, _generate_decoder)
    if body.suffix:
        raise InvalidRequest(f"{body.model!r} does not insert: `suffix` is not served", "send the text before it only")
    if body.template:
        raise InvalidRequest(
            "`template` is not served: a model is spoken to by its own",
            "leave it out, or render the prompt yourself and send it with `raw`",
        )
    if not body.prompt and not body.images:
        return _load(arrival, body, "generate")
    if body.raw:
        if body.images:
            raise InvalidRequest("a raw prompt cannot have images", "leave `raw` out")
        request = _request(arrival, body, ())
        return _asked(arrival, body, msgspec.structs.replace(request, prompt=body.prompt), "generate")
    said = Message("user", ((TextPart(body.prompt),) if body.prompt else ()) + tuple(images(body.images)))
    system = (message("system", body.system),) if body.system else ()
    return _asked(arrival, body, _request(arrival, body, (*system, said)), "generate")


def _load(arrival: Arrival, body: _Common, kind: Kind) -> Load:
    read_options(body.options)
    return Load(named(body.model), kind, arrival.created, read_keep(body.keep_alive))


def _request(arrival: Arrival, body: _Common, messages: tuple[Message, ...]) -> ChatRequest:
    options = read_options(body.options)
    thinking, effort = read_think(body.think)
    top = body.top_logprobs or 0
    if not 0 <= top <= MOST_LOGPROBS:
        raise InvalidRequest(f"top_logprobs must be between 0 and {MOST_LOGPROBS}", "ask for fewer")
    return ChatRequest(
        id=arrival.id,
        model=named(body.model),
        messages=messages,
        sampling=options.sampling,
        max_tokens=options.max_tokens,
        response_format=read_format(body.format),
        logprobs=top if body.logprobs else None,
        thinking=thinking,
        effort=effort,
        keep=read_keep(body.keep_alive),
        session=arrival.session,
        dialect="ollama",
        extra={"options": options.rest} if options.rest else {},
        why=arrival.why,
    )


def _asked(arrival: Arrival, body: _Common, request: ChatRequest, kind: Kind) -> Asked:
    if body.stream is False:
        return Asked(request, None, Whole(kind, request.model, arrival.created))
    return Asked(request, Lines(kind, request.model, arrival.created))
