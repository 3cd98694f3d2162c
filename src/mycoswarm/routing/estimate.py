"""How many seconds a request would take at one place: the one number that places all work."""

import math
from typing import Literal

import msgspec

from mycoswarm.core.chat import ChatRequest, ImagePart
from mycoswarm.core.embed import EmbedRequest
from mycoswarm.core.model import ModelOffer, Speed
from mycoswarm.core.node import QueueLoad
from mycoswarm.core.placement import Terms
from mycoswarm.engines.prompt_size import BYTES_PER_TOKEN, estimate_tokens

EXPECTED_TOKENS = 300
"""Length of an answer of which nothing is known yet."""

UNKNOWN_SPEED = Speed(prefill=100.0, decode=8.0)
"""For an engine that tells nothing: a mini PC's figures, so that a measured node wins over an unknown one."""

UNKNOWN_LOAD_RATE = 300e6
"""Bytes/s from a plain SSD into memory; too high and cold models look free, too low and they are never tried."""

UNKNOWN_SIZE = 4e9
UNKNOWN_LINK = 0.002


Ability = Literal["chat", "prompt", "embed"]


class Demand(msgspec.Struct, frozen=True):
    """What a request asks of its place. Tokens. ability: "prompt" is a text that is continued as it stands."""

    prompt: int
    expected: int
    ability: Ability = "chat"
    tools: bool = False
    vision: bool = False
    json_schema: bool = False


def demand(request: ChatRequest | EmbedRequest) -> Demand:
    """The size of `request`, without any tokenizer: by bytes, so within a factor of two."""
    if isinstance(request, EmbedRequest):
        return Demand(sum(math.ceil(len(text) / BYTES_PER_TOKEN) for text in request.texts), 0, "embed")
    images = any(isinstance(part, ImagePart) for message in request.messages for part in message.parts)
    expected = EXPECTED_TOKENS if request.max_tokens is None else min(request.max_tokens, EXPECTED_TOKENS)
    return Demand(
        estimate_tokens(request),
        expected,
        "chat" if request.prompt is None else "prompt",
        tools=bool(request.tools) and request.tool_choice.mode != "none",
        vision=images,
        json_schema=request.response_format.kind != "text",
    )


def estimate(
    needed: Demand, offer: ModelOffer, queue: QueueLoad | None, rtt: float | None, *, here: bool, booked: int
) -> Terms:
    """Seconds of each term for `needed` on `offer`.

    Args:
        queue: the executor's own figures for this model; None where it is idle or does not tell.
        rtt: measured round trip in seconds; None before the first measurement.
        here: the executor is this node.
        booked: requests this node has sent there and that have not ended; they count before the peer's record tells.
    """
    speed = offer.speed or UNKNOWN_SPEED
    guessed: list[str] = []
    if not speed.measured:
        guessed += ["prefill", "decode"]
    link = 0.0 if here else rtt if rtt is not None else UNKNOWN_LINK
    if not here and rtt is None:
        guessed.append("link")
    load = 0.0
    if offer.state != "loaded":
        rate = speed.load
        if rate is None or offer.size is None:
            guessed.append("load")
        load = (offer.size or UNKNOWN_SIZE) / (rate or UNKNOWN_LOAD_RATE)
    slots = max(1, queue.slots) if queue else 1
    ahead = max(booked, queue.running + queue.waiting if queue else 0)
    prefill = needed.prompt / speed.prefill
    decode = needed.expected / speed.decode
    wait = 0.0
    if ahead >= slots:
        mine = (ahead - slots + 1) * (prefill + decode) / slots
        wait = max(mine, queue.wait if queue else 0.0)
    return Terms(link=link, load=load, wait=wait, prefill=prefill, decode=decode, guessed=tuple(guessed))
