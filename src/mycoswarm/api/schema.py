"""The OpenAPI description of the raw routes, which the framework does not see. Pure."""

from typing import Any

import msgspec

from mycoswarm.core.chat import ChatRequest, Delta
from mycoswarm.core.errors import ErrorBody
from mycoswarm.core.model import Progress
from mycoswarm.core.views import PullBody, Routed


class ErrorReply(msgspec.Struct):
    """Every error of this API."""

    error: ErrorBody


class Healthy(msgspec.Struct):
    """The node answers."""

    status: str
    node: str
    version: str


_TEMPLATE = "#/components/schemas/{name}"


def raw_paths() -> tuple[dict[str, Any], dict[str, Any]]:
    """(paths, component schemas) of every route that is not Litestar's."""
    kinds: list[Any] = [ChatRequest, Delta, Progress, PullBody, Routed, ErrorReply, Healthy]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_TEMPLATE)
    request, delta, progress, pull, routed, error, healthy = schemas
    loose: dict[str, Any] = {"type": "object", "description": "as in OpenAI's API reference"}
    failed = _content(error, "One sentence, a hint, and whether another try may help.")
    paths = {
        "/healthz": {"get": _operation("health", "The node answers", "swarm", _content(healthy, "It does."))},
        "/schema": {"get": _operation("schema", "This document", "swarm", _content({"type": "object"}, "OpenAPI 3.1"))},
        "/v1/models": {"get": _operation("openai_models", "Every model", "openai", _content(loose, "A list."))},
        "/v1/models/{model}": {
            "get": _operation("openai_model", "One model", "openai", _content(loose, "It is there."), failed)
            | {"parameters": [{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}]}
        },
        "/v1/chat/completions": {
            "post": _operation(
                "openai_chat",
                "Chat in OpenAI's dialect; a stream of server-sent events where `stream` is true",
                "openai",
                _content(loose, "The answer."),
                failed,
                loose,
            )
        },
        "/swarm/v1/chat": {
            "post": _operation(
                "chat",
                "Chat in our own dialect: one JSON line a delta",
                "swarm",
                _content(delta, "Lines of deltas.", "application/x-ndjson"),
                failed,
                request,
            )
        },
        "/swarm/v1/route": {
            "post": _operation(
                "route",
                "Where a request would go now, with every term and every rejection's reason; nothing is run",
                "swarm",
                _content(routed, "The decision."),
                failed,
                request,
            )
        },
        "/swarm/v1/models/pull": {
            "post": _operation(
                "pull",
                "Fetch a model onto the best or a named node",
                "models",
                _content(progress, "Lines of progress.", "application/x-ndjson"),
                failed,
                pull,
            )
        },
    }
    return paths, components


def _content(schema: Any, description: str, media_type: str = "application/json") -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _operation(
    operation: str, summary: str, tag: str, good: dict[str, Any], failed: dict[str, Any] | None = None, body: Any = None
) -> dict[str, Any]:
    made: dict[str, Any] = {"operationId": operation, "summary": summary, "tags": [tag], "responses": {"200": good}}
    if failed is not None:
        made["responses"]["default"] = failed
    if body is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return made
