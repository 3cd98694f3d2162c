"""Which way a request with tools takes on a model: decided here, once, for every engine. Pure."""

from typing import Literal

from mycoswarm.core.chat import ChatRequest
from mycoswarm.core.errors import InvalidRequest
from mycoswarm.core.model import Abilities

Way = Literal["plain", "native", "constrained"]


def way(request: ChatRequest, abilities: Abilities) -> Way:
    """How `request` is served: without tools, by the engine's own, or by a schema that the answer is held to.

    An answer schema beside tools takes the constrained way on every model that can: engines take one of the two at a
    time, and one schema can say both (a call, or an answer of that schema). With a call required there is no such
    answer, and the schema means nothing.

    Raises:
        InvalidRequest: the model can do neither.
    """
    if not request.tools or request.tool_choice.mode == "none" or request.prompt is not None:
        return "plain"
    if request.tool_choice.mode == "named" and request.tool_choice.name not in {tool.name for tool in request.tools}:
        raise InvalidRequest(
            f"the tool {request.tool_choice.name!r} that must be called is not among the tools",
            "name one of `tools`, or leave the choice to the model",
        )
    answers_by_schema = request.response_format.kind != "text" and request.tool_choice.mode == "auto"
    if abilities.tools and not (answers_by_schema and abilities.json_schema):
        if answers_by_schema:
            raise InvalidRequest(
                f"{request.model} cannot take tools and an answer schema in one request",
                "ask with the tools first, and for the schema in the request that carries their results",
            )
        return "native"
    if abilities.json_schema:
        return "constrained"
    raise InvalidRequest(
        f"{request.model} cannot call tools: it was not taught to, and its engine cannot hold an answer to a schema",
        "ask without `tools`, or take another model",
    )
