"""[io] OpenAI's endpoints over a node."""

from typing import Any

import msgspec

from mycoswarm.api.answering import chat_app
from mycoswarm.api.node import NodeService
from mycoswarm.api.openai import chat
from mycoswarm.api.openai.models import models_json
from mycoswarm.api.openai.shape import DIALECT
from mycoswarm.api.routes import Call, Route
from mycoswarm.core.errors import NotFound


def routes(node: NodeService) -> tuple[Route, ...]:
    """Everything under /v1 that is OpenAI's."""
    theirs: dict[str, Any] = {"type": "object", "description": "as in OpenAI's API reference"}

    async def models(_: Call) -> bytes:
        return models_json(node.models())

    async def model(call: Call) -> dict[str, Any]:
        name = call.path["model"]
        for entry in msgspec.json.decode(models_json(node.models()))["data"]:
            if entry["id"] == name:
                return entry
        raise NotFound(f"no node has a model named '{name}'", "GET /v1/models lists them")

    return (
        Route(
            method="GET",
            path="/v1/models",
            name="openai_models",
            summary="Every model of the swarm that can answer now",
            tag="openai",
            reply=theirs,
            answer=models,
            scope="read",
        ),
        Route(
            method="GET",
            path="/v1/models/{model...}",
            name="openai_model",
            summary="One model",
            tag="openai",
            reply=theirs,
            answer=model,
            scope="read",
        ),
        Route(
            method="POST",
            path="/v1/chat/completions",
            name="openai_chat",
            summary="Chat in OpenAI's dialect; server-sent events where `stream` is true",
            tag="openai",
            body=theirs,
            reply=theirs,
            app=chat_app(node, DIALECT, chat.read),
            scope="inference",
        ),
    )
