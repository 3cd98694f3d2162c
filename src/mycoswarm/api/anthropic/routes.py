"""[io] Anthropic's endpoints over a node."""

from mycoswarm.api.answering import Answer, answer_app, chat_app
from mycoswarm.api.anthropic import count, request
from mycoswarm.api.anthropic.body import Body, Prompt
from mycoswarm.api.anthropic.count import TokenCount
from mycoswarm.api.anthropic.events import Event, TheirAnswer
from mycoswarm.api.anthropic.shape import DIALECT
from mycoswarm.api.asgi import App
from mycoswarm.api.dialect import Arrival
from mycoswarm.api.node import NodeService
from mycoswarm.api.routes import Route
from mycoswarm.core.chat import Start


def routes(node: NodeService) -> tuple[Route, ...]:
    """What is Anthropic's alone; the list of models is under a path that OpenAI's dialect has too."""
    return (
        Route(
            method="POST",
            path="/v1/messages",
            name="anthropic_messages",
            summary="Chat in Anthropic's dialect; server-sent events where `stream` is true",
            tag="anthropic",
            body=Body,
            reply=TheirAnswer,
            events=Event,
            app=chat_app(node, DIALECT, request.read),
            scope="inference",
        ),
        Route(
            method="POST",
            path="/v1/messages/count_tokens",
            name="anthropic_count_tokens",
            summary="Tokens of a prompt; the header x-mycoswarm-estimate says where they are estimated",
            tag="anthropic",
            body=Prompt,
            reply=TokenCount,
            app=_count_tokens(node),
            scope="inference",
        ),
    )


def _count_tokens(node: NodeService) -> App:
    async def answer(arrival: Arrival) -> Answer:
        counted = await node.count_tokens(request.read_prompt(arrival))
        who = Start(arrival.id, counted.model, node_name=counted.node)
        return Answer(count.body(counted), who, count.headers(counted))

    return answer_app(DIALECT, answer)
