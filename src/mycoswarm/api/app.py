"""[io] The user port's ASGI application: the guard, the table of routes, and errors in the caller's own shape."""

import logging
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from mycoswarm import __version__
from mycoswarm.api import auth, membership, native, openai
from mycoswarm.api.asgi import App, ClientGone, Receive, Scope, Send, read_body, send_error, send_response
from mycoswarm.api.node import NodeService
from mycoswarm.api.routes import Call, Found, Route, Table, decode_body, openapi
from mycoswarm.api.streams import StreamRoutes
from mycoswarm.core.chat import MAX_REQUEST, ChatRequest
from mycoswarm.core.errors import MycoError, NotFound

_log = logging.getLogger(__name__)

MAX_ANSWER_BODY = 1024 * 1024
"""Bytes of a body that is no conversation."""


def create_app(node: NodeService, token: str) -> App:
    """The application over `node`; `token` guards all that is not inference or a list."""
    table = Table((*native.routes(node), *membership.routes(node), *_openai_routes(node)))
    document = Route(
        method="GET",
        path="/schema",
        name="schema",
        summary="This document",
        tag="swarm",
        reply={"type": "object"},
        answer=lambda _: _schema(table),
        free=True,
    )
    table = Table((*table.routes, document))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        reply = _tag(send, node)
        path: str = scope["path"]
        try:
            await _serve(scope, receive, reply)
        except ClientGone:
            return
        except MycoError as problem:
            await _refuse(reply, path, problem)
        except Exception:  # the boundary of the process: a bug must reach the client as an error of its dialect
            _log.exception("%s %s failed", scope["method"], path)
            await _refuse(reply, path, MycoError("this node failed to answer", "this is our bug: see `mycoswarm logs`"))

    async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if refusal := auth.check_origin(headers):
            raise refusal
        found = table.find(scope["method"], scope["raw_path"].decode("latin-1"))
        if refusal := auth.check_token(found.route, headers, token):
            raise refusal
        if found.route.app is not None:
            await found.route.app(scope, receive, send)
        else:
            await _answer(found, scope, receive, send)

    return app


async def _answer(found: Found, scope: Scope, receive: Receive, send: Send) -> None:
    route = found.route
    assert route.answer is not None, "a route has an answer or an app"
    body: Any = None
    if route.body is not None:
        limit = MAX_REQUEST if route.body is ChatRequest else MAX_ANSWER_BODY
        body = decode_body(
            await read_body(receive, limit),
            msgspec.json.Decoder(route.body),
        )
    query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
    reply = await route.answer(Call(found.path, query, body))
    said = reply if isinstance(reply, bytes) else msgspec.json.encode(reply)
    await send_response(send, route.status, said, media=route.media.encode())


async def _refuse(send: Send, path: str, problem: MycoError) -> None:
    await send_error(send, problem, body=openai.error_json(problem) if path.startswith("/v1/") else None)


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


async def _schema(table: Table) -> bytes:
    return msgspec.json.encode(openapi(table, __version__))


def _openai_routes(node: NodeService) -> tuple[Route, ...]:
    streams = StreamRoutes(node)
    theirs: dict[str, Any] = {"type": "object", "description": "as in OpenAI's API reference"}

    async def models(_: Call) -> bytes:
        return openai.models_json(node.models())

    async def model(call: Call) -> dict[str, Any]:
        name = call.path["model"]
        for entry in msgspec.json.decode(openai.models_json(node.models()))["data"]:
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
            free=True,
        ),
        Route(
            method="GET",
            path="/v1/models/{model...}",
            name="openai_model",
            summary="One model",
            tag="openai",
            reply=theirs,
            answer=model,
            free=True,
        ),
        Route(
            method="POST",
            path="/v1/chat/completions",
            name="openai_chat",
            summary="Chat in OpenAI's dialect; server-sent events where `stream` is true",
            tag="openai",
            body=theirs,
            reply=theirs,
            app=streams.chat_completions,
            free=True,
        ),
    )
