"""The one path that two dialects share: `/v1/models` is told in the shape of whoever asks.

Anthropic's clients send their version with every request, and nobody else does.
"""

import time
from typing import Any

from mycoswarm.api.anthropic import models as anthropic
from mycoswarm.api.node import NodeService
from mycoswarm.api.openai import models as openai
from mycoswarm.api.routes import Call, Query, Route

_ENTRY: dict[str, Any] = {
    "type": "object",
    "required": ["id"],
    "properties": {"id": {"type": "string"}, "object": {"const": "model"}, "type": {"const": "model"}},
}
_LIST: dict[str, Any] = {
    "type": "object",
    "required": ["data"],
    "properties": {"data": {"type": "array", "items": _ENTRY}, "object": {"const": "list"}},
}
_PAGES = tuple(Query(name, "of Anthropic's dialect") for name in ("limit", "before_id", "after_id"))


def routes(node: NodeService) -> tuple[Route, ...]:
    """The list, and one of it."""
    created = int(time.time())

    async def models(call: Call) -> Any:
        if _anthropic(call):
            return anthropic.page(node.models(), call.query)
        return openai.listed(node.models(), created)

    async def model(call: Call) -> Any:
        name = call.path["model"]
        if _anthropic(call):
            return anthropic.one(node, name)
        return openai.one(node, name, created)

    return (
        Route(
            method="GET",
            path="/v1/models",
            name="models_list",
            summary="Every model of the swarm that can answer now, in OpenAI's shape or Anthropic's",
            tag="models",
            reply=_LIST,
            answer=models,
            query=_PAGES,
            scope="read",
        ),
        Route(
            method="GET",
            path="/v1/models/{model...}",
            name="models_one",
            summary="One model, or a name that stands for one",
            tag="models",
            reply=_ENTRY,
            answer=model,
            scope="read",
        ),
    )


def _anthropic(call: Call) -> bool:
    return "anthropic-version" in call.headers
