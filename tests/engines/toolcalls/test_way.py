"""Which way a request takes."""

from typing import Any

import msgspec
import pytest

from mycoswarm.core.chat import ChatRequest, ResponseFormat, Tool, ToolChoice, message
from mycoswarm.core.errors import InvalidRequest
from mycoswarm.core.model import Abilities
from mycoswarm.engines.toolcalls.way import way

ASK = ChatRequest("m", (message("user", "?"),), tools=(Tool("look"),))
BOTH, NATIVE, SCHEMA, NEITHER = (
    Abilities(tools=tools, json_schema=schema)
    for tools, schema in ((True, True), (True, False), (False, True), (False, False))
)
JSON = ResponseFormat("json_object")


@pytest.mark.parametrize(
    ("changes", "abilities", "chosen"),
    [
        ({}, BOTH, "native"),
        ({}, NATIVE, "native"),
        ({}, SCHEMA, "constrained"),
        ({"tools": ()}, NEITHER, "plain"),
        ({"tool_choice": ToolChoice("none")}, NEITHER, "plain"),
        ({"prompt": "raw", "messages": ()}, NEITHER, "plain"),
        ({"response_format": JSON}, BOTH, "constrained"),
        ({"response_format": JSON}, SCHEMA, "constrained"),
        ({"response_format": JSON, "tool_choice": ToolChoice("required")}, BOTH, "native"),
        ({"response_format": JSON, "tool_choice": ToolChoice("named", "look")}, NATIVE, "native"),
    ],
)
def test_ways(changes: dict[str, Any], abilities: Abilities, chosen: str) -> None:
    assert way(msgspec.structs.replace(ASK, **changes), abilities) == chosen


@pytest.mark.parametrize(
    ("changes", "abilities", "why"),
    [
        ({}, NEITHER, "m cannot call tools"),
        ({"response_format": JSON}, NATIVE, "tools and an answer schema"),
        ({"tool_choice": ToolChoice("named", "fly")}, BOTH, "'fly' that must be called is not among the tools"),
    ],
)
def test_refusals(changes: dict[str, Any], abilities: Abilities, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        way(msgspec.structs.replace(ASK, **changes), abilities)
