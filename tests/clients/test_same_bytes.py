"""A program cannot tell whether the node it speaks to has the model: one request, the same bytes from both."""

import asyncio
import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mycoswarm.core.paths import resolve
from mycoswarm.models.catalog import STARTER
from tests import starter
from tests.clients.sameness import Reply, difference, normal
from tests.clients.two_nodes import ROOT, port, swarm
from tests.swarm.lab import PYTHON, Lab, Machine, require

pytestmark = pytest.mark.swarm

# The one with a size in its name is the most capable: what `auto` and vendors' names stand for.
MODELS = ("writer=write", "caller=call", "counter-7b=echo:12", "my-embedder=embed")
ANTHROPIC = {"anthropic-version": "2023-06-01", "x-api-key": "none"}
HELLO = [{"role": "user", "content": "Hello, how are you?"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
}
FUNCTION = {"name": "weather", "description": "The weather of a city", "parameters": SCHEMA}
FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
TOOLS = [{"type": "function", "function": FUNCTION}]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Row(msgspec.Struct, frozen=True):
    """One request. status: that it must have, on both."""

    name: str
    target: str
    body: Any = None
    headers: Mapping[str, str] = {}
    status: int = 200
    method: str = "POST"

    def sent(self) -> dict[str, Any]:
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode() if self.body else b""
        headers = {"content-type": "application/json", **self.headers}
        said = base64.b64encode(body).decode()
        return {"method": self.method, "target": self.target, "headers": headers, "body": said}


def both(name: str, target: str, body: Mapping[str, Any], **more: Any) -> tuple[Row, Row]:
    """The request in one piece and streamed."""
    return (
        Row(name, target, {**body, "stream": False}, **more),
        Row(f"{name}, streamed", target, {**body, "stream": True}, **more),
    )


def chat(name: str, model: str = "counter-7b", messages: Any = HELLO, **more: Any) -> tuple[Row, Row]:
    return both(f"chat: {name}", "/v1/chat/completions", {"model": model, "messages": messages, **more})


def messages(name: str, model: str = "counter-7b", said: Any = HELLO, **more: Any) -> tuple[Row, Row]:
    body = {"model": model, "max_tokens": 100, "messages": said, **more}
    return both(f"messages: {name}", "/v1/messages", body, headers=ANTHROPIC)


ARGUMENTS = '{"city": "Rome", "days": 1}'


def responses(name: str, model: str = "counter-7b", said: Any = "Hello", **more: Any) -> tuple[Row, Row]:
    return both(f"responses: {name}", "/v1/responses", {"model": model, "input": said, **more})


CALLED = [
    *HELLO,
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ARGUMENTS}}
    ]},
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
]  # fmt: skip
USED = [
    *HELLO,
    {"role": "assistant", "content": [
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome", "days": 1}}
    ]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"}]},
]  # fmt: skip

OPENAI = (
    *chat("plain"),
    *chat("auto", "auto"),
    *chat("a vendor's name", "gpt-4o"),
    *chat("with words beyond ASCII", "writer", [{"role": "user", "content": "Grüße – 你好 🍄"}]),
    *chat("usage", stream_options={"include_usage": True}),
    *chat("cut", max_tokens=3),
    *chat("a tool call", "caller", tools=TOOLS),
    *chat("a named tool", "caller", tools=TOOLS, tool_choice={"type": "function", "function": {"name": "weather"}}),
    *chat("after the tool's result", "caller", CALLED, tools=TOOLS),
    *chat(
        "a schema", "writer", response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    ),
    *chat("probabilities", logprobs=True, top_logprobs=2),
    *chat("a seed and a stop", seed=7, stop=["tok5"], temperature=0.2),
    Row("chat: two answers", "/v1/chat/completions", {"model": "counter-7b", "messages": HELLO, "n": 2}),
    Row("models", "/v1/models", method="GET"),
    Row("one model", "/v1/models/writer", method="GET"),
)
NAMED = {"type": "json_schema", "name": "x", "schema": SCHEMA}
ITEMS = [
    {"role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
    {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": ARGUMENTS},
    {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
]
RESPONSES = (
    *responses("plain"),
    *responses("instructions", instructions="Be brief.", max_output_tokens=3),
    *responses("a tool call", "caller", tools=[{"type": "function", **FUNCTION}]),
    *responses("after the tool's result", "caller", ITEMS, tools=[{"type": "function", **FUNCTION}]),
    *responses("a schema", "writer", text={"format": NAMED}),
)
REST = (
    *both("completions: plain", "/v1/completions", {"model": "counter-7b", "prompt": "Once"}),
    *both("completions: cut", "/v1/completions", {"model": "counter-7b", "prompt": "Once", "max_tokens": 3}),
    Row("embeddings: one", "/v1/embeddings", {"model": "my-embedder", "input": "one two"}),
    Row("embeddings: several", "/v1/embeddings", {"model": "my-embedder", "input": ["one", "two", "three"]}),
    Row(
        "embeddings: base64",
        "/v1/embeddings",
        {"model": "my-embedder", "input": "one", "encoding_format": "base64", "dimensions": 4},
    ),
    Row("embeddings: a vendor's name", "/v1/embeddings", {"model": "text-embedding-3-small", "input": "one"}),
)
ANTHROPICS = (
    *messages("plain"),
    *messages("a vendor's name", "claude-sonnet-4-5"),
    *messages("system blocks", system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]),
    *messages("cut", max_tokens=3),
    *messages("a tool call", "caller", tools=[{"name": "weather", "description": "x", "input_schema": SCHEMA}]),
    *messages("after the tool's result", "caller", USED, tools=[{"name": "weather", "input_schema": SCHEMA}]),
    Row("count_tokens", "/v1/messages/count_tokens", {"model": "counter-7b", "messages": HELLO}, ANTHROPIC),
    Row("models of Anthropic", "/v1/models", headers=ANTHROPIC, method="GET"),
)
IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}]}]
REFUSED = (
    *both("no such model", "/v1/chat/completions", {"model": "nobody", "messages": HELLO}, status=404),
    *both("no such model of Anthropic", "/v1/messages", {"model": "nobody", "max_tokens": 9, "messages": HELLO},
          headers=ANTHROPIC, status=404),
    *both("nothing said", "/v1/chat/completions", {"model": "counter-7b", "messages": []}, status=400),
    Row("an image for the blind", "/v1/chat/completions", {"model": "counter-7b", "messages": IMAGE}, status=400),
    Row("not JSON", "/v1/chat/completions", b'{"model": "counter-7b", "messages": [', status=400),
    Row("not UTF-8", "/v1/chat/completions", b'{"model": "\xff\xfe", "messages": []}', status=400),
    Row("a number for a model", "/v1/chat/completions", {"model": 3, "messages": HELLO}, status=400),
    *both("no such model for responses", "/v1/responses", {"model": "nobody", "input": "x"}, status=404),
    Row("no such embedder", "/v1/embeddings", {"model": "nobody", "input": "x"}, status=404),
    Row("not JSON for Anthropic", "/v1/messages", b"{", ANTHROPIC, status=400),
    Row("no such path", "/v1/chat/completion", {"model": "counter-7b"}, status=404),
    Row("the wrong method", "/v1/chat/completions", method="GET", status=405),
    Row("a missing model", "/v1/models/nobody", method="GET", status=404),
)  # fmt: skip
TABLE: tuple[Row, ...] = (*OPENAI, *RESPONSES, *REST, *ANTHROPICS, *REFUSED)


def replies(machine: Machine, rows: Sequence[Row]) -> list[Reply]:
    """What this machine's node answers, its own id taken out as well as what `normal` takes."""
    listed = machine.get(port(machine), "/swarm/v1/node")
    assert isinstance(listed, dict)
    sent = json.dumps([row.sent() for row in rows])
    done = machine.run(
        PYTHON, "-m", "tests.clients.fetch", str(port(machine)), stdin=sent, timeout=120, env={"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    return [
        normal(
            Reply(one["status"], tuple(map(tuple, one["headers"])), base64.b64decode(one["body"])),
            str(listed["view"]["id"]),
        )
        for one in json.loads(done.stdout)
    ]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    require()
    with swarm(tmp_path_factory.mktemp("swarm"), MODELS) as made:
        yield made


def test_every_row_of_the_table_has_the_same_bytes_from_both(lab: Lab) -> None:
    assert len({row.name for row in TABLE}) == len(TABLE)
    at_miu, at_boa = replies(lab["miu"], TABLE), replies(lab["boa"], TABLE)
    told = [
        f"{row.name}: {what}"
        for row, here, there in zip(TABLE, at_miu, at_boa, strict=True)
        if (what := difference(here, there) or _status(row, here))
    ]
    assert not told, "\n".join(told)
    # That it is no comparison of nothing with nothing.
    for row, here in zip(TABLE, at_miu, strict=True):
        assert here.body, row.name
        if row.status == 200 and row.method == "POST" and "count" not in row.target:
            assert here.header("x-mycoswarm-node") == "miu", row.name
    streamed = next(reply for row, reply in zip(TABLE, at_boa, strict=True) if row.name == "chat: plain, streamed")
    assert streamed.body.count(b'"content":"tok') == 12


def _status(row: Row, reply: Reply) -> str:
    return "" if reply.status == row.status else f"status {reply.status}, not {row.status}: {reply.body[:300]!r}"


@pytest.mark.model
def test_a_real_model_says_the_same_through_both(tmp_path: Path) -> None:
    require()
    home = tmp_path / "miu"
    asyncio.run(starter.install(resolve({"MYCOSWARM_HOME": str(home)}).models))
    said = [{"role": "user", "content": "Tell me about mushrooms."}]
    body = {"model": STARTER, "messages": said, "max_tokens": 24, "temperature": 0, "seed": 1}
    rows = both("a real model", "/v1/chat/completions", body)
    with swarm(tmp_path, ("writer=write",), more={"MYCOSWARM_EMBEDDED": "auto"}) as lab:
        # The first loads it and fills its prefix cache: from then on all find the same state.
        replies(lab["miu"], (rows[0], rows[0]))
        at_miu, at_boa = replies(lab["miu"], rows), replies(lab["boa"], rows)
    for row, here, there in zip(rows, at_miu, at_boa, strict=True):
        assert here.status == 200, here.body
        assert difference(here, there) == "", row.name
