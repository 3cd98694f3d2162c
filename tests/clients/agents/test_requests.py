"""What the agents sent when they were recorded (`./dev clients --record`) is understood in every run."""

from pathlib import Path

import msgspec
import pytest

from mycoswarm.api.app import create_app
from tests.api.driver import ask
from tests.api.fake_node import FakeNode
from tests.clients.agents.programs import PROGRAMS, Program
from tests.clients.agents.shapes import Shape, Shapes, expand

REQUESTS = Path(__file__).parent / "requests"
RECORDED = {
    found.client: found
    for file in sorted(REQUESTS.glob("*.json"))
    for found in [msgspec.json.decode(file.read_bytes(), type=Shapes)]
}
ALL = [
    pytest.param(one, id=f"{shapes.client} {number}")
    for shapes in RECORDED.values()
    for number, one in enumerate(shapes.requests, 1)
]


def test_every_agent_was_recorded() -> None:
    assert set(RECORDED) == {program.name for program in PROGRAMS}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_each_speaks_to_the_endpoint_of_the_table(program: Program) -> None:
    targets = {one.target.partition("?")[0] for one in RECORDED[program.name].requests if one.method == "POST"}
    assert program.endpoint in targets
    assert program.tools == any(one.body.get("tools") for one in RECORDED[program.name].requests if one.body)


@pytest.mark.parametrize("sent", ALL)
async def test_the_request_is_accepted(sent: Shape) -> None:
    node = FakeNode()
    body = msgspec.json.encode(expand(sent.body)) if sent.method == "POST" else b""
    # What is a byte short of the original was a letter beyond ASCII.
    assert len(body) > sent.size * 0.8
    headers = {name: expand(value) for name, value in sent.headers.items()}
    reply = await ask(create_app(node, "token"), sent.method, sent.target, body, headers)
    assert reply.status == 200, reply.body
    if sent.method != "POST":
        return
    (asked,) = node.asked
    assert asked.model == sent.body["model"]
    assert {tool.name for tool in asked.tools} == functions(sent.body)
    assert len(asked.messages) >= len(sent.body.get("messages") or sent.body["input"])
    if sent.body.get("stream"):
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert b"Hel" in reply.body


def functions(body: dict[str, object]) -> set[str]:
    """The names of the tools that a model can call; other kinds only their makers' servers can run."""
    names: set[str] = set()
    tools = body.get("tools") or []
    assert isinstance(tools, list)
    for tool in tools:
        match tool:
            case {"type": "function", "function": {"name": str(name)}}:
                names.add(name)
            case {"type": "namespace", "name": str(name), "tools": list(inner)}:
                names |= {f"{name}__{one}" for one in functions({"tools": inner})}
            case {"type": "function" | "custom", "name": str(name)} | {"name": str(name), "input_schema": _}:
                names.add(name)
    return names
