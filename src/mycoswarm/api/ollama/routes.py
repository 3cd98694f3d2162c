"""[io] Ollama's endpoints over a node."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, Protocol

from mycoswarm.api.answering import (
    Answer,
    answer_app,
    arrive,
    refusing,
    reply_headers,
    tell,
    tell_steps,
    tell_whole,
)
from mycoswarm.api.asgi import (
    App,
    ClientGone,
    Receive,
    Scope,
    Send,
    StreamReply,
    send_response,
    until_gone,
)
from mycoswarm.api.dialect import Arrival, Asked
from mycoswarm.api.node import NodeService
from mycoswarm.api.ollama import ask, embed, manage, models
from mycoswarm.api.ollama.ask import Load
from mycoswarm.api.ollama.shape import DIALECT, MEDIA, VERSION, line
from mycoswarm.api.routes import JSON, NDJSON, Call, Route
from mycoswarm.api.routes import Scope as Permission
from mycoswarm.core.chat import Start
from mycoswarm.core.embed import Embedded, EmbedRequest
from mycoswarm.core.errors import MycoError, NotFound, Refused, UnknownModel
from mycoswarm.core.ids import RequestId, new_request_id
from mycoswarm.core.model import Progress

_THEIRS: dict[str, Any] = {"type": "object", "description": "as in Ollama's API reference"}
_BLOB = "/api/blobs/{digest}"
_NO_MANIFEST = "pull model manifest: file does not exist"
"""What they say of a model that their library does not have; programs look for these words."""


class _Told(Protocol):
    """The words for the steps of a long action."""

    def begin(self) -> Iterable[manage.Line]: ...

    def step(self, step: Progress) -> Iterable[manage.Line]: ...


def root_routes() -> tuple[Route, ...]:
    """What their port answers at its root."""
    return (_root("GET", "ollama_root"),)


def _root(method: str, name: str) -> Route:
    async def root(_: Call) -> bytes:
        return b"Ollama is running"

    return Route(
        method=method,
        path="/",
        name=name,
        summary="That somebody is there",
        tag="ollama",
        reply={"type": "string"},
        answer=root,
        scope="read",
        media="text/plain; charset=utf-8",
    )


def routes(node: NodeService) -> tuple[Route, ...]:
    """Everything under /api."""

    async def version(_: Call) -> dict[str, str]:
        return {"version": VERSION}

    async def tags(_: Call) -> bytes:
        return models.tags_json(node.models())

    async def ps(_: Call) -> bytes:
        return models.ps_json(node.running(), node.nodes())

    async def show(arrival: Arrival) -> Answer:
        return Answer(models.show_json(await node.show_model(manage.read_wanted(arrival).model)))

    async def embedded(arrival: Arrival) -> Answer:
        return await _vectors(node, embed.read_embed(arrival), embed.embed_json)

    async def embedding(arrival: Arrival) -> Answer:
        return await _vectors(node, embed.read_embeddings(arrival), embed.embeddings_json)

    async def delete(arrival: Arrival) -> Answer:
        await node.remove_model(manage.to_remove(node.models(), manage.read_wanted(arrival).model), "")
        return Answer(b"")

    async def copy(arrival: Arrival) -> Answer:
        async with aclosing(node.create_model(manage.read_copy(arrival))) as steps:
            async for _ in steps:
                pass
        return Answer(b"")

    def pull(arrival: Arrival) -> tuple[AsyncGenerator[Progress, None], _Told, bool]:
        wanted = manage.read_wanted(arrival)
        return _pulled(node, wanted.model), manage.PullLines(wanted.model), wanted.stream

    def create(arrival: Arrival) -> tuple[AsyncGenerator[Progress, None], _Told, bool]:
        recipe, streamed = manage.read_create(arrival)
        return node.create_model(recipe), manage.CreateLines(), streamed

    async def push(_: Arrival) -> Answer:
        raise Refused("nothing leaves this swarm: models are not pushed", "copy the file yourself if you want to")

    def get(path: str, name: str, summary: str, answer: Callable[[Call], Awaitable[Any]]) -> Route:
        return Route(
            method="GET",
            path=path,
            name=name,
            summary=summary,
            tag="ollama",
            reply=_THEIRS,
            answer=answer,
            scope="read",
        )

    def post(path: str, name: str, summary: str, app: App, scope: Permission, media: str = JSON) -> Route:
        return Route(
            method="POST",
            path=path,
            name=name,
            summary=summary,
            tag="ollama",
            body=_THEIRS,
            reply=_THEIRS,
            app=app,
            scope=scope,
            media=media,
        )

    streams = "; one JSON line a piece unless `stream` is false"
    return (
        # The first thing their command asks. The root itself is the dashboard's on the main port.
        _root("HEAD", "ollama_head"),
        get("/api/version", "ollama_version", "Whose API this is, by its version", version),
        get("/api/tags", "ollama_tags", "Every model of the swarm that can answer now", tags),
        get("/api/ps", "ollama_ps", "Every model in memory", ps),
        post("/api/show", "ollama_show", "One model", answer_app(DIALECT, show), "read"),
        post("/api/chat", "ollama_chat", f"Chat{streams}", talk_app(node, ask.read_chat), "inference", NDJSON),
        post(
            "/api/generate",
            "ollama_generate",
            f"Answer or continue a prompt{streams}; without one, load the model",
            talk_app(node, ask.read_generate),
            "inference",
            NDJSON,
        ),
        post("/api/embed", "ollama_embed", "Texts to vectors", answer_app(DIALECT, embedded), "inference"),
        post(
            "/api/embeddings", "ollama_embeddings", "One text to a vector", answer_app(DIALECT, embedding), "inference"
        ),
        post("/api/pull", "ollama_pull", f"Fetch a model{streams}", progress_app(pull), "admin", NDJSON),
        post("/api/create", "ollama_create", f"Make a model{streams}", progress_app(create), "admin", NDJSON),
        post(
            "/api/copy",
            "ollama_copy",
            "A model under another name, sharing its file",
            answer_app(DIALECT, copy),
            "admin",
        ),
        post("/api/push", "ollama_push", "Refused: nothing leaves", answer_app(DIALECT, push), "admin"),
        Route(
            method="DELETE",
            path="/api/delete",
            name="ollama_delete",
            summary="Delete a model",
            tag="ollama",
            body=_THEIRS,
            reply=_THEIRS,
            app=answer_app(DIALECT, delete),
        ),
        Route(
            method="HEAD",
            path=_BLOB,
            name="ollama_has_blob",
            summary="Whether a file with this digest is here",
            tag="ollama",
            reply=None,
            app=_has_blob(node),
        ),
        Route(
            method="POST",
            path=_BLOB,
            name="ollama_put_blob",
            summary="Upload a file to make a model of: its bytes are the body",
            tag="ollama",
            reply=None,
            status=201,
            app=_put_blob(node),
        ),
    )


def talk_app(node: NodeService, read: Callable[[Arrival], Asked | Load]) -> App:
    """An endpoint that answers, or loads a model where nothing is asked."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_request_id()

        refuse = refusing(send, DIALECT, request_id)
        try:
            wanted = read(await arrive(scope, receive, request_id))
        except MycoError as problem:
            await refuse(problem)
            return
        if isinstance(wanted, Asked):
            await tell(node.chat, wanted, receive, send, refuse)
        else:
            await tell_whole(_load(node, wanted, request_id), DIALECT, request_id, receive, send)

    return app


async def _load(node: NodeService, wanted: Load, request_id: RequestId) -> Answer:
    if wanted.out:
        await node.unload_model(wanted.model)
        return Answer(wanted.body())
    place = await node.load_model(wanted.model, wanted.keep)
    return Answer(wanted.body(), Start(request_id, place.offer.name, place.node, place.node_name))


def progress_app(begin: Callable[[Arrival], tuple[AsyncGenerator[Progress, None], _Told, bool]]) -> App:
    """An endpoint that tells how a long action goes on, line by line or only its end."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_request_id()
        refuse = refusing(send, DIALECT, request_id)
        try:
            steps, told, streamed = begin(await arrive(scope, receive, request_id))
        except MycoError as problem:
            await refuse(problem)
            return
        if streamed:
            reply = StreamReply(send, MEDIA, lambda: line({"status": ""}))
            reply.headers += reply_headers(None, request_id)
            for said in told.begin():
                reply.hold(line(said))
            await until_gone(receive, tell_steps(reply, _lines(steps, told), refuse, DIALECT), reply.beat())
        else:
            await tell_whole(_end(steps), DIALECT, request_id, receive, send)

    return app


async def _lines(steps: AsyncGenerator[Progress, None], told: _Told) -> AsyncGenerator[bytes, None]:
    async with aclosing(steps):
        async for step in steps:
            yield b"".join(line(said) for said in told.step(step))


async def _end(steps: AsyncGenerator[Progress, None]) -> Answer:
    async with aclosing(steps):
        async for _ in steps:
            pass
    return Answer(line({"status": "success"}))


async def _pulled(node: NodeService, name: str) -> AsyncGenerator[Progress, None]:
    """Fetch it where nobody has it; a model that the swarm holds in any engine is there already."""
    wanted = manage.to_pull(node.models(), name)
    if wanted is None:
        yield Progress("done", name)
        return
    try:
        async with aclosing(node.pull(wanted, "")) as steps:
            async for step in steps:
                yield step
    except UnknownModel as problem:
        raise NotFound(f"{_NO_MANIFEST}: {problem.message}", problem.hint) from None


async def _vectors(
    node: NodeService, request: EmbedRequest, said: Callable[[str, Embedded | None, int], bytes]
) -> Answer:
    if not request.texts:
        return Answer(said(request.model, None, 0))
    began = time.perf_counter_ns()
    embedded = await node.embed(request)
    who = Start(request.id, embedded.model, embedded.node, embedded.node_name)
    return Answer(said(request.model, embedded, time.perf_counter_ns() - began), who)


def _digest(scope: Scope) -> str:
    path: str = scope["path"]
    return path.rpartition("/")[2]


def _has_blob(node: NodeService) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        digest = _digest(scope)
        if not await node.has_blob(digest):
            raise NotFound(f"the file {digest} is not here", "POST it to the same address")
        await send_response(send, 200, b"")

    return app


def _put_blob(node: NodeService) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        digest = _digest(scope)
        if await node.has_blob(digest):
            await send_response(send, 200, b"")
            return
        length = next((value for name, value in scope["headers"] if name.lower() == b"content-length"), b"")
        size = int(length) if length.isdigit() else None
        # No watch beside it: a client that leaves ends the body, and with it the upload.
        await node.put_blob(digest, _pieces(receive), size)
        await send_response(send, 201, b"")

    return app


async def _pieces(receive: Receive) -> AsyncIterator[bytes]:
    """The body as it comes, of any length. Raises ClientGone when it never ends."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return
