"""OpenAI's list of models: those that can answer now, and the names that stand for whichever suits. Pure."""

from collections.abc import Iterator
from typing import Literal

import msgspec

from mycoswarm.api.node import NodeService
from mycoswarm.core.chat import ChatRequest
from mycoswarm.core.views import ModelPlace, Models

SWARM = "mycoswarm"
"""Who owns a name that stands for several models."""


class ModelEntry(msgspec.Struct, frozen=True):
    """created: when this node began to offer it. owned_by: the nodes that have it."""

    id: str
    created: int
    owned_by: str
    object: Literal["model"] = "model"


class ModelList(msgspec.Struct, frozen=True):
    """`GET /v1/models`."""

    data: list[ModelEntry]
    object: Literal["list"] = "list"


def listed(models: Models, created: int) -> ModelList:
    """Every model that can answer now, after the names that leave the choice to the swarm.

    So a program that lets its user pick from this list, and nothing else, can use the swarm as a whole.
    """
    return ModelList([*_aliases(models, created), *_real(models, created)])


def _aliases(models: Models, created: int) -> Iterator[ModelEntry]:
    able = [place.offer.abilities for view in models.models for place in view.places if _answers(place)]
    if any(abilities.chat for abilities in able):
        yield ModelEntry("auto", created, SWARM)
    if any(abilities.embed for abilities in able):
        yield ModelEntry("embed", created, SWARM)


def _real(models: Models, created: int) -> Iterator[ModelEntry]:
    for view in models.models:
        nodes = sorted({place.node_name for place in view.places if _answers(place)})
        if nodes:
            yield ModelEntry(view.name, created, ", ".join(nodes))


def _answers(place: ModelPlace) -> bool:
    return place.reachable and place.offer.state != "unfit"


def one(node: NodeService, name: str, created: int) -> ModelEntry:
    """One of the list, or any other name that a request may ask for: an alias, one in other letters, a vendor's.

    Raises:
        MycoError: a request for `name` would be refused.
    """
    for entry in listed(node.models(), created).data:
        if entry.id == name:
            return entry
    best = node.place(ChatRequest(name, ())).candidates[0]
    return ModelEntry(name, created, best.node_name)
