"""`POST /v1/completions`: text that a model continues as it stands, without its chat template. Pure.

Source: the public API reference of OpenAI, completions (legacy).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mycoswarm.api.choices import MOST
from mycoswarm.api.dialect import Arrival, Asked
from mycoswarm.api.openai import tools
from mycoswarm.api.openai.fields import VENDOR_ONLY, Limit, SamplingFields, StreamOptions
from mycoswarm.api.openai.reading import no_token_ids, read_body, refused, unknown_fields
from mycoswarm.api.openai.shape import (
    DONE,
    EVENT_STREAM,
    KEEP_ALIVE,
    error_json,
    fingerprint,
    usage_json,
)
from mycoswarm.api.sse import comment
from mycoswarm.core.chat import (
    ChatRequest,
    Delta,
    Error,
    Finish,
    Logprobs,
    Note,
    Start,
    Text,
    Thinking,
    TokenLogprob,
    ToolArgs,
    ToolCall,
    Usage,
)
from mycoswarm.core.ids import RequestId

DEFAULT_TOKENS = 16
"""Theirs. A text that is continued has no natural end."""


class CompletionBody(SamplingFields, kw_only=True):
    """Every field but the prompt may be null. Further ones go to engines that speak this dialect too."""

    prompt: str | Annotated[list[str], Meta(min_length=1, max_length=MOST)]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Limit | None = None
    stop: str | list[str] | None = None
    n: Annotated[int, Meta(ge=1, le=MOST)] | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None
    echo: bool | None = None
    best_of: int | None = None
    suffix: str | None = None


_decoder = msgspec.json.Decoder(CompletionBody)


def read(arrival: Arrival) -> Asked:
    """`POST /v1/completions`."""
    no_token_ids(arrival.body, "prompt", "send text: every model of the swarm has a tokenizer of its own")
    asked = read_body(arrival.body, _decoder)
    extra = unknown_fields(arrival.body, CompletionBody)
    prompts = (asked.prompt,) if isinstance(asked.prompt, str) else tuple(asked.prompt)
    count = tools.answers(asked.n, MOST)
    _refuse(asked, count, len(prompts))
    request = ChatRequest(
        id=arrival.id,
        model=asked.model or "auto",
        messages=(),
        prompt=prompts[0],
        sampling=asked.sampling(tools.stops(asked.stop)),
        max_tokens=DEFAULT_TOKENS if asked.max_tokens is None else tools.limit(asked.max_tokens, "max_tokens"),
        logprobs=asked.logprobs,
        session=arrival.session,
        dialect="openai",
        extra={name: value for name, value in extra.items() if name not in VENDOR_ONLY},
        why=arrival.why,
    )
    several = prompts if len(prompts) > 1 else ()
    ahead = {number: prompts[number // count] for number in range(count * len(prompts))} if asked.echo else {}
    if not asked.stream:
        return Asked(request, None, TextCollector(arrival.id, arrival.created, ahead), count, several)
    include_usage = bool(asked.stream_options and asked.stream_options.include_usage)
    writer = TextWriter(arrival.id, arrival.created, ahead, include_usage=include_usage)
    return Asked(request, writer, None, count, several)


def _refuse(asked: CompletionBody, count: int, prompts: int) -> None:
    if asked.suffix:
        raise refused(
            "suffix", "text cannot be filled in before a suffix", "leave it out", code="unsupported_parameter"
        )
    if asked.best_of is not None and asked.best_of != count:
        raise refused("best_of", "answers are not ranked", "ask for all of them with `n`", code="unsupported_parameter")
    if asked.echo and asked.logprobs is not None:
        raise refused(
            "echo", "no engine tells the probabilities of a prompt", "leave echo or logprobs out", "unsupported_value"
        )
    if count * prompts > MOST:
        raise refused("n", f"{prompts} prompts with `n` {count} are {count * prompts} answers", f"at most {MOST}")


class _Tokens:
    """Legacy logprobs of one choice: four lists side by side. Offsets count characters of the text told."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def take(self, tokens: tuple[TokenLogprob, ...]) -> dict[str, list[Any]]:
        offsets: list[int] = []
        for token in tokens:
            offsets.append(self._offset)
            self._offset += len(token.token)
        return {
            "tokens": [token.token for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [{one.token: one.logprob for one in token.top} for token in tokens],
            "text_offset": offsets,
        }


class TextWriter:
    """Deltas to `text_completion` events. ahead: what is told before each choice's own text."""

    media = EVENT_STREAM

    def __init__(
        self, request_id: RequestId, created: int, ahead: Mapping[int, str], *, include_usage: bool = False
    ) -> None:
        self._head = {"id": f"cmpl-{request_id}", "object": "text_completion", "created": created}
        self._ahead = ahead
        self._include_usage = include_usage
        self._tokens: dict[int, _Tokens] = {}

    def keep_alive(self) -> bytes:
        return KEEP_ALIVE

    def late(self, start: Start) -> bytes:
        return comment("node", start.node_name)

    def write(self, delta: Delta) -> bytes:
        match delta:
            case Start():
                self._head |= {"model": delta.model, "system_fingerprint": fingerprint(delta)}
                ahead = self._ahead.get(delta.choice, "")
                self._tokens[delta.choice] = _Tokens(len(ahead))
                return self._event(delta, ahead) if ahead else b""
            case Text(text) | Thinking(text):
                return self._event(delta, text)
            case Logprobs(tokens):
                return self._event(delta, "", logprobs=self._tokens[delta.choice].take(tokens))
            case Finish():
                return self._event(delta, "", finish=_finish(delta))
            case Usage():
                return self._line({"choices": [], "usage": usage_json(delta)}) if self._include_usage else b""
            case Error(error):
                return b"data: " + error_json(error) + b"\n\n"
            case Note(kind, text):
                return comment(kind, text)
            case ToolCall() | ToolArgs():
                return b""

    def end(self) -> bytes:
        return DONE

    def _event(self, delta: Delta, text: str, finish: str | None = None, logprobs: Any = None) -> bytes:
        choice = {"text": text, "index": delta.choice, "logprobs": logprobs, "finish_reason": finish}
        rest: dict[str, Any] = {"choices": [choice]}
        if self._include_usage:
            rest["usage"] = None
        return self._line(rest)

    def _line(self, rest: dict[str, Any]) -> bytes:
        return b"data: " + msgspec.json.encode(self._head | rest) + b"\n\n"


@dataclass
class _Choice:
    text: list[str]
    tokens: _Tokens
    logprobs: dict[str, list[Any]] = field(default_factory=dict)
    finish: str = "stop"


class TextCollector:
    """Deltas to one `text_completion` object. ahead: as of `TextWriter`."""

    def __init__(self, request_id: RequestId, created: int, ahead: Mapping[int, str]) -> None:
        self._head = {"id": f"cmpl-{request_id}", "object": "text_completion", "created": created}
        self._ahead = ahead
        self._choices: dict[int, _Choice] = {}
        self._usage = Usage()

    def add(self, delta: Delta) -> None:
        match delta:
            case Start():
                self._head |= {"model": delta.model, "system_fingerprint": fingerprint(delta)}
                ahead = self._ahead.get(delta.choice, "")
                self._choices[delta.choice] = _Choice([ahead], _Tokens(len(ahead)))
            case Text(text) | Thinking(text):
                self._choices[delta.choice].text.append(text)
            case Logprobs(tokens):
                choice = self._choices[delta.choice]
                for name, values in choice.tokens.take(tokens).items():
                    choice.logprobs.setdefault(name, []).extend(values)
            case Finish():
                self._choices[delta.choice].finish = _finish(delta)
            case Usage():
                self._usage = delta
            case ToolCall() | ToolArgs() | Note() | Error():
                pass

    def body(self) -> bytes:
        choices = [
            {
                "text": "".join(choice.text),
                "index": index,
                "logprobs": choice.logprobs or None,
                "finish_reason": choice.finish,
            }
            for index, choice in sorted(self._choices.items())
        ]
        return msgspec.json.encode(self._head | {"choices": choices, "usage": usage_json(self._usage)})


def _finish(delta: Finish) -> str:
    """There are no tools here: a text that looks like a call is a text that has ended."""
    match delta.reason:
        case "cancelled" | "tool_calls":
            return "stop"
        case reason:
            return reason
