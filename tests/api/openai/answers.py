"""Answers as canonical deltas, for the tests of every endpoint's reply."""

from mycoswarm.core.chat import (
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
from mycoswarm.core.errors import ErrorBody
from mycoswarm.core.ids import NodeId, RequestId

ID = RequestId("req-1")
CREATED = 1_760_000_000
START = Start(ID, "qwen3:8b", NodeId("n1"), "miu", "llamacpp")

TEXT: tuple[Delta, ...] = (
    Note("queue", "2 before\nthis"),
    START,
    Text("Hel"),
    Text("lo ☃", 3),
    Finish("stop"),
    Usage(7, 3, 2),
)
TOOLS: tuple[Delta, ...] = (
    START,
    Thinking("I need the "),
    Thinking("weather.", "sig"),
    Text("Let me look."),
    ToolCall(0, "call_1", "weather"),
    ToolArgs(0, '{"city":'),
    ToolCall(1, "call_2", "clock"),
    ToolArgs(1, "{}"),
    ToolArgs(0, '"Bonn"}'),
    Finish("tool_calls"),
    Usage(40, 20),
)
WEIGHED: tuple[Delta, ...] = (
    START,
    Text("Hi"),
    Logprobs((TokenLogprob("Hi", -0.5, (72, 105), (TokenLogprob("Hi", -0.5, (72, 105)), TokenLogprob("Ho", -1.5))),)),
    Finish("length"),
    Usage(3, 1),
)
SEVERAL: tuple[Delta, ...] = (
    START,
    Start(ID, "qwen3:8b", NodeId("n1"), "miu", "llamacpp", choice=1),
    Text("b", choice=1),
    Text("a"),
    Finish("stop", choice=1),
    Finish("length"),
    Usage(7, 2),
)
BROKEN: tuple[Delta, ...] = (START, Text("Hel"), Error(ErrorBody("peer_lost", "miu went away", "ask again", True)))
ANSWERS = {"text": TEXT, "tools": TOOLS, "weighed": WEIGHED, "several": SEVERAL, "broken": BROKEN}
