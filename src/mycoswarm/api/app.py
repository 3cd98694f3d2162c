"""[io] The user port's ASGI application: the guard, the table of routes, and errors in the caller's own shape."""

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from mycoswarm import __version__
from mycoswarm.api import access, auth, dialects, membership, model_list, native
from mycoswarm.api.answering import refusing
from mycoswarm.api.anthropic import routes as anthropic
from mycoswarm.api.asgi import App, ClientGone, Receive, Scope, Send, read_body, send_response
from mycoswarm.api.node import NodeService
from mycoswarm.api.ollama import routes as ollama
from mycoswarm.api.openai import routes as openai
from mycoswarm.api.routes import Call, Found, Route, Table, decode_body, openapi
from mycoswarm.core.chat import MAX_REQUEST, ChatRequest
from mycoswarm.core.errors import MycoError
from mycoswarm.core.ids import new_request_id

_log = logging.getLogger(__name__)

MAX_ANSWER_BODY = 1024 * 1024
"""Bytes of a body that is no conversation."""


def create_app(node: NodeService, token: str) -> App:
    """The application over `node` for loopback; `token` guards all that is not inference or a list."""
    return create_guarded(node, auth.Loopback(token))


def create_guarded(node: NodeService, guard: auth.Guard) -> App:
    """The application over `node` behind a guard."""
    parts = (native, membership, access, model_list, openai, anthropic, ollama)
    table = Table(route for part in parts for route in part.routes(node))
    document = Route(
        method="GET",
        path="/schema",
        name="schema",
        summary="This document",
        tag="swarm",
        reply={"type": "object"},
        answer=lambda _: _schema(table),
        scope="read",
    )
    table = Table((*table.routes, document))
    return _application(node, table, guard)


def create_ollama_app(node: NodeService, guard: auth.Guard) -> App:
    """What Ollama's own port serves behind a guard: its API, and the two others that theirs serves as well."""
    parts = (ollama, model_list, openai, anthropic)
    theirs = [route for part in parts for route in part.routes(node)]
    return _application(node, Table((*ollama.root_routes(), *theirs)), guard)


def _application(node: NodeService, table: Table, guard: auth.Guard) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        reply = _tag(send, node)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refuse = refusing(reply, dialects.of(scope["path"], headers), new_request_id())
        try:
            await _serve(scope, headers, receive, reply)
        except ClientGone:
            return
        except MycoError as problem:
            await refuse(problem)
        except Exception:  # the boundary of the process: a bug must reach the client as an error of its dialect
            _log.exception("%s %s failed", scope["method"], scope["path"])
            await refuse(MycoError("this node failed to answer", "this is our bug: see `mycoswarm logs`"))

    async def _serve(scope: Scope, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
        visitor = guard.enter(scope)
        found = table.find(scope["method"], scope["raw_path"].decode("latin-1"))
        with visitor.admitted(found.route):
            if found.route.app is not None:
                await found.route.app(scope, receive, send)
            else:
                await _answer(found, scope, headers, receive, send)

    return app


async def _answer(found: Found, scope: Scope, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
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
    reply = await route.answer(Call(found.path, query, body, headers))
    said = reply if isinstance(reply, bytes) else msgspec.json.encode(reply)
    await send_response(send, route.status, said, media=route.media.encode())


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
    return msgspec.json.encode(openapi(table, __version__, lambda path: dialects.of(path, {}).shape))
