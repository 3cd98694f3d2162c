"""How many malformed tool calls are rescued, and what looking for calls costs a token that is none."""

import time

from mycoswarm.core.chat import ChatRequest, Finish, Start, Text, message
from mycoswarm.core.ids import RequestId
from mycoswarm.core.model import Abilities
from mycoswarm.engines.toolcalls.serve import Answer
from tests.bench.figures import Figure, at_most, p50, told
from tests.engines.toolcalls.corpus import tools
from tests.engines.toolcalls.share import damaged, kept, shares

ROUNDS = 15
TOKENS = 2000


def run() -> list[Figure]:
    figures: list[Figure] = []
    for row in [*shares(), *damaged()]:
        how = f"of {row.cases} cases"
        figures.append(told(f"rescued: {row.kind}", 100 * row.ours / row.cases, "%", how))
        figures.append(told(f"rescued by a strict reader: {row.kind}", 100 * row.strict / row.cases, "%", how))
    right, of = kept()
    figures.append(told("answers without a call, byte for byte", 100 * right / of, "%", f"{of} cases"))
    cost = p50([_per_token() for _ in range(ROUNDS)])
    how = f"{TOKENS} tokens of prose, p50 of {ROUNDS} rounds, one process"
    return [*figures, at_most("cost of a token of text", cost * 1e6, "us", 30, how)]


def _per_token() -> float:
    """Seconds."""
    answer = Answer(ChatRequest("m", (message("user", "?"),), RequestId("r"), tools=tools()), Abilities(), "native")
    prose = ("the ", "weather ", "of ", "(Paris) ", "is, ", "as ", "said: ", "mild\n")
    words = [Text(word) for word in prose * (TOKENS // len(prose))]
    list(answer.feed(Start(RequestId("r"), "m")))
    began = time.perf_counter()
    for word in words:
        for _ in answer.feed(word):
            pass
    took = time.perf_counter() - began
    list(answer.feed(Finish("stop")))
    return took / len(words)
