"""[io] OpenAI's endpoints over a node. The list of models is under a path that two dialects share: `api.model_list`."""

from typing import Any, NoReturn

from mycoswarm.api.answering import Answer, answer_app, chat_app
from mycoswarm.api.asgi import App
from mycoswarm.api.dialect import Arrival, Read
from mycoswarm.api.node import NodeService
from mycoswarm.api.openai import chat_request, completions, documents, embeddings, responses_request
from mycoswarm.api.openai.chat_request import ChatCompletionBody
from mycoswarm.api.openai.completions import CompletionBody
from mycoswarm.api.openai.embeddings import EmbeddingBody, EmbeddingList
from mycoswarm.api.openai.responses_request import ResponseBody
from mycoswarm.api.openai.shape import DIALECT
from mycoswarm.api.routes import Call, Route
from mycoswarm.core.chat import Start
from mycoswarm.core.errors import NotFound


def routes(node: NodeService) -> tuple[Route, ...]:
    """Everything under /v1 that is OpenAI's alone."""

    def asks(path: str, name: str, summary: str, body: Any, reply: Any, events: Any, read: Read) -> Route:
        return Route(
            method="POST",
            path=path,
            name=name,
            summary=f"{summary}; server-sent events where `stream` is true",
            tag="openai",
            body=body,
            reply=reply,
            events=events,
            app=chat_app(node, DIALECT, read),
            scope="inference",
        )

    def nothing_stored(method: str, name: str, summary: str) -> Route:
        return Route(
            method=method,
            path="/v1/responses/{id...}",
            name=name,
            summary=f"{summary}: always a 404, because nothing is stored",
            tag="openai",
            reply={"type": "object"},
            answer=_not_stored,
            scope="inference",
        )

    return (
        asks(
            "/v1/chat/completions",
            "openai_chat",
            "Chat in OpenAI's dialect",
            ChatCompletionBody,
            documents.COMPLETION,
            documents.unnamed_event_of(documents.CHUNK),
            chat_request.read,
        ),
        asks(
            "/v1/completions",
            "openai_completions",
            "Text continued as it stands",
            CompletionBody,
            documents.TEXT_COMPLETION,
            documents.unnamed_event_of(documents.TEXT_COMPLETION),
            completions.read,
        ),
        asks(
            "/v1/responses",
            "openai_responses",
            "An answer made of items, nothing of it stored",
            ResponseBody,
            documents.RESPONSE,
            documents.event_of(documents.RESPONSE_EVENT),
            responses_request.read,
        ),
        nothing_stored("GET", "openai_response", "A stored response"),
        nothing_stored("DELETE", "openai_response_delete", "Delete a stored response"),
        Route(
            method="POST",
            path="/v1/embeddings",
            name="openai_embeddings",
            summary="Vectors of texts",
            tag="openai",
            body=EmbeddingBody,
            reply=EmbeddingList,
            app=_embeddings(node),
            scope="inference",
        ),
    )


async def _not_stored(call: Call) -> NoReturn:
    raise NotFound(
        f"there is no response '{call.path['id']}': nothing that is said through this API is stored",
        "keep the reply that you were given",
    )


def _embeddings(node: NodeService) -> App:
    async def answer(arrival: Arrival) -> Answer:
        request, encoding = embeddings.read(arrival)
        embedded = await node.embed(request)
        who = Start(arrival.id, embedded.model, embedded.node, embedded.node_name)
        return Answer(embeddings.tell(embedded, encoding), who)

    return answer_app(DIALECT, answer)
