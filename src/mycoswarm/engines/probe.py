"""How fast a model runs here: measured from the engine's own timings, or estimated from the hardware. Pure."""

from mycoswarm.core.chat import ChatRequest, Sampling, Usage, message
from mycoswarm.core.model import Speed

_WEIGHT = 0.3
"""Of a new sample against all before it: three answers outweigh a stale figure, one busy moment does not."""
_MIN_PREFILL_TOKENS = 16
_MIN_DECODE_TOKENS = 8
"""Below these a timing is mostly fixed cost."""
_BELIEVED_GAIN = 2.0
_EFFICIENCY = 0.4
"""Of memory bandwidth that decoding reaches; bandwidth alone over-predicts two to four times."""
_PREFILL_PER_DECODE = 4.0
"""Prompt tokens are computed in batches; on CPUs that gives about this factor, on GPUs far more."""

TEXT = (
    "The old lighthouse stood at the edge of the cliff, and every evening the keeper climbed its hundred and ten steps "
    "to light the lamp. Ships far out at sea knew its rhythm: two short flashes, then one long, then darkness for as "
    "long as a slow breath. In winter, when the storms came from the north and the spray froze on the railing, he "
    "stayed beside the lamp all night, reading the same three books and listening to the wind in the iron. "
)
"""About 90 tokens of plain English."""

PROBE = ChatRequest(
    model="",
    # Its own system message, so that it leaves no prefix behind that real conversations share.
    messages=(message("system", "Read."), message("user", TEXT + "What did the keeper do in winter?")),
    sampling=Sampling(temperature=0.0, seed=1),
    max_tokens=24,
)
"""About 100 prompt and 24 answer tokens: 1 to 3 s on a machine that is worth asking."""


def estimate(size: int, bandwidth: float) -> Speed:
    """Of a model never loaded, from bytes of its file and bytes/s of memory bandwidth; marked by samples = 0."""
    decode = bandwidth * _EFFICIENCY / max(size, 1)
    return Speed(prefill=decode * _PREFILL_PER_DECODE, decode=decode, samples=0)


def learn(known: Speed | None, usage: Usage, load: float | None = None, *, hidden_cache: bool = False) -> Speed | None:
    """`known` with one more answer's timings in it; None while nothing could be measured yet.

    Args:
        load: bytes/s of loading, where it has just been measured.
        hidden_cache: the engine does not tell which prompt tokens it had cached, so a prefill that is far faster than
            any before was none.
    """
    prefilled = usage.prompt_tokens - usage.cached_tokens
    prefill = _rate(prefilled, usage.prefill_ms, _MIN_PREFILL_TOKENS)
    decode = _rate(usage.completion_tokens, usage.decode_ms, _MIN_DECODE_TOKENS)
    measured = known if known is not None and known.measured else None
    rate = load if load is not None else (known.load if known else None)
    if measured is None:
        if prefill is None or decode is None:
            return known
        return Speed(prefill, decode, rate, 1)
    if hidden_cache and prefill is not None and prefill > _BELIEVED_GAIN * measured.prefill:
        prefill = None
    return Speed(
        prefill=_blend(measured.prefill, prefill),
        decode=_blend(measured.decode, decode),
        load=rate,
        samples=measured.samples + (prefill is not None or decode is not None),
    )


def learn_vectors(known: Speed | None, tokens: int, seconds: float, load: float | None = None) -> Speed | None:
    """As `learn`, of texts that were turned into vectors; a model that only does that decodes nothing, so both rates
    are the one."""
    rate = _rate(tokens, seconds * 1000, _MIN_PREFILL_TOKENS)
    if rate is None:
        return known
    load = load if load is not None else (known.load if known else None)
    if known is None or not known.measured:
        return Speed(rate, rate, load, 1)
    blended = _blend(known.prefill, rate)
    return Speed(blended, blended, load, known.samples + 1)


def _rate(tokens: int, milliseconds: float | None, least: int) -> float | None:
    if milliseconds is None or milliseconds <= 0 or tokens < least:
        return None
    return tokens / milliseconds * 1000


def _blend(known: float, sample: float | None) -> float:
    return known if sample is None else known + _WEIGHT * (sample - known)
