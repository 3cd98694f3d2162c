"""[io] The user port's ASGI application: the guard in front, hot routes, and Litestar for the rest."""

import logging
from typing import Any
from urllib.parse import unquote

import msgspec
from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig

from mycoswarm import __version__
from mycoswarm.api import auth, native, openai
from mycoswarm.api.asgi import App, ClientGone, Receive, Scope, Send, send_error, send_response
from mycoswarm.api.node import NodeService
from mycoswarm.api.schema import raw_paths
from mycoswarm.api.streams import StreamRoutes
from mycoswarm.core.errors import InvalidRequest, MycoError, NotFound

_log = logging.getLogger(__name__)


class WrongMethod(InvalidRequest):
    """The path exists, the method does not."""

    code = "method_not_allowed"
    status = 405


def create_app(node: NodeService, token: str) -> App:
    """The application over `node`; `token` guards all that is not inference or a list."""
    framework = _framework(node)
    streams = StreamRoutes(node)
    hot: dict[str, dict[str, App]] = {
        "/healthz": {"GET": _health(node)},
        "/schema": {"GET": _schema(framework)},
        "/v1/models": {"GET": _models(node)},
        "/v1/chat/completions": {"POST": streams.chat_completions},
        "/swarm/v1/chat": {"POST": streams.chat},
        "/swarm/v1/route": {"POST": streams.route},
        "/swarm/v1/models/pull": {"POST": streams.pull},
    }

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        method: str = scope["method"]
        tagged = _tag(send, node)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if refusal := auth.check(method, path, headers, token):
            await _refuse(tagged, path, refusal)
            return
        try:
            if path.startswith("/v1/models/") and method == "GET":
                await _one_model(node, unquote(path.removeprefix("/v1/models/")), tagged)
            elif (methods := hot.get(path)) is None:
                await framework(scope, receive, tagged)  # pyright: ignore[reportArgumentType] the same protocol, narrower types
            elif handler := methods.get(method):
                await handler(scope, receive, tagged)
            else:
                allowed = ", ".join(methods)
                await _refuse(tagged, path, WrongMethod(f"{path} does not take {method}", f"it takes {allowed}"))
        except ClientGone:
            return

    return app


async def _refuse(send: Send, path: str, problem: MycoError) -> None:
    if path.startswith("/v1/"):
        await send_response(send, problem.status, openai.error_json(problem))
    else:
        await send_error(send, problem)


def _tag(send: Send, node: NodeService) -> Send:
    """Every reply says that it comes from a node of ours, so that no node mistakes this port for an engine."""

    async def tagged(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            if not any(name == b"x-mycoswarm-node" for name, _ in headers):
                headers.append((b"x-mycoswarm-node", node.id.encode()))
            headers.append((b"x-content-type-options", b"nosniff"))
            message = {**message, "headers": headers}
        await send(message)

    return tagged


def _health(node: NodeService) -> App:
    body = msgspec.json.encode({"status": "ok", "node": node.id, "version": __version__})

    async def health(scope: Scope, receive: Receive, send: Send) -> None:
        await send_response(send, 200, body)

    return health


def _models(node: NodeService) -> App:
    async def models(scope: Scope, receive: Receive, send: Send) -> None:
        await send_response(send, 200, openai.models_json(node.models()))

    return models


async def _one_model(node: NodeService, name: str, send: Send) -> None:
    listed = msgspec.json.decode(openai.models_json(node.models()))["data"]
    for entry in listed:
        if entry["id"] == name:
            await send_response(send, 200, msgspec.json.encode(entry))
            return
    problem = NotFound(f"no node has a model named '{name}'", "GET /v1/models lists them")
    await send_response(send, problem.status, openai.error_json(problem))


def _schema(framework: Litestar) -> App:
    made: list[bytes] = []

    async def schema(scope: Scope, receive: Receive, send: Send) -> None:
        if not made:
            document = framework.openapi_schema.to_schema()
            paths, components = raw_paths()
            document["paths"] = dict(sorted({**document["paths"], **paths}.items()))
            parts = document.setdefault("components", {}).setdefault("schemas", {})
            document["components"]["schemas"] = {**components, **parts}
            made.append(msgspec.json.encode(document))
        await send_response(send, 200, made[0])

    return schema


def _framework(node: NodeService) -> Litestar:
    def ours(_request: Request[Any, Any, Any], problem: MycoError) -> Response[Any]:
        return Response({"error": msgspec.to_builtins(problem.body())}, status_code=problem.status)

    def theirs(request: Request[Any, Any, Any], problem: HTTPException) -> Response[Any]:
        match problem.status_code:
            case 404:
                error: MycoError = NotFound(
                    f"there is nothing at {request.url.path}", "GET /schema lists what there is"
                )
            case 405:
                error = WrongMethod(f"{request.url.path} does not take {request.method}", "see /schema")
            case status if status < 500:
                error = InvalidRequest(f"the request does not fit the API: {problem.detail}", "see /schema")
            case _:
                error = MycoError(problem.detail, "see `mycoswarm logs`")
        return ours(request, error)

    def bug(request: Request[Any, Any, Any], problem: Exception) -> Response[Any]:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=problem)
        return ours(request, MycoError("this node failed to answer", "this is our bug: see `mycoswarm logs`"))

    return Litestar(
        route_handlers=[native.routes(node)],
        exception_handlers={MycoError: ours, HTTPException: theirs, Exception: bug},
        openapi_config=OpenAPIConfig(
            title="mycoSwarm", version=__version__, description="One private AI out of the machines you own.", path="/-"
        ),
        logging_config=None,
        request_max_body_size=1024 * 1024,
    )
