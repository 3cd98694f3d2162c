"""[io] Anthropic's endpoints over a node."""

from mycoswarm.api.answering import arrive, chat_app, refusing, reply_headers
from mycoswarm.api.anthropic import count, request
from mycoswarm.api.anthropic.body import Body, Prompt
from mycoswarm.api.anthropic.count import TokenCount
from mycoswarm.api.anthropic.events import Event, TheirAnswer
from mycoswarm.api.anthropic.shape import DIALECT
from mycoswarm.api.asgi import App, Receive, Scope, Send, send_response, until_gone
from mycoswarm.api.node import NodeService
from mycoswarm.api.routes import Route
from mycoswarm.core.chat import Start
from mycoswarm.core.errors import MycoError
from mycoswarm.core.ids import new_request_id


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
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_request_id()
        refuse = refusing(send, DIALECT, request_id)
        try:
            prompt = request.read_prompt(await arrive(scope, receive, request_id))
        except MycoError as problem:
            await refuse(problem)
            return

        async def answer() -> None:
            try:
                counted = await node.count_tokens(prompt)
            except MycoError as problem:
                await refuse(problem)
                return
            who = reply_headers(Start(request_id, counted.model, node_name=counted.node), request_id)
            headers = [*who, *DIALECT.headers(request_id), *count.headers(counted)]
            await send_response(send, 200, count.body(counted), headers)

        await until_gone(receive, answer(), None)

    return app
