"""Any answer that keeps to the rules of a canonical stream, and any JSON."""

from hypothesis import strategies as st

from mycoswarm.core.chat import (
    Delta,
    Finish,
    FinishReason,
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
from tests.api.openai.answers import ID

_words = st.text(max_size=8)
_reasons: st.SearchStrategy[FinishReason] = st.sampled_from(
    ("stop", "length", "tool_calls", "content_filter", "cancelled")
)


@st.composite
def answers(draw: st.DrawFn) -> tuple[Delta, ...]:
    """One choice, from Start to Usage."""
    deltas: list[Delta] = [Start(ID, draw(_words), engine="e")]
    calls = 0
    for kind in draw(st.lists(st.sampled_from(("text", "thinking", "call", "args", "logprobs", "note")), max_size=12)):
        match kind:
            case "text":
                deltas.append(Text(draw(_words)))
            case "thinking":
                deltas.append(Thinking(draw(_words), draw(st.none() | _words)))
            case "call":
                deltas.append(ToolCall(calls, f"call_{calls}", draw(_words)))
                calls += 1
            case "args" if calls:
                deltas.append(ToolArgs(draw(st.integers(0, calls - 1)), draw(_words)))
            case "logprobs":
                deltas.append(Logprobs((TokenLogprob(draw(_words), -1.0),)))
            case _:
                deltas.append(Note("queue", draw(_words)))
    deltas.append(Finish(draw(_reasons)))
    deltas.append(Usage(draw(st.integers(0, 99)), draw(st.integers(0, 99))))
    return tuple(deltas)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False) | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=3),
    max_leaves=8,
)
