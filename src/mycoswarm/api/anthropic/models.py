"""The list of models as a client of this dialect wants it. Pure: lists in, lists out."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from mycoswarm.api.node import NodeService
from mycoswarm.core.chat import ChatRequest
from mycoswarm.core.errors import InvalidRequest
from mycoswarm.core.views import Models, ModelView

_EPOCH = datetime.fromtimestamp(0, UTC)
"""What they say where nobody knows when a model was made."""

_PAGE, _MOST = 20, 1000
"""Models to a page where the client says nothing, and at most."""


class ModelInfo(msgspec.Struct, frozen=True, tag_field="type", tag="model"):
    """max_input_tokens: the largest context that any node serves it with; null where none tells."""

    id: str
    display_name: str
    created_at: datetime
    max_input_tokens: int | None
    max_tokens: int | None
    lifecycle: Literal["active"] = "active"


class ModelPage(msgspec.Struct, frozen=True):
    data: tuple[ModelInfo, ...]
    has_more: bool
    first_id: str | None
    last_id: str | None


def page(models: Models, query: Mapping[str, str]) -> ModelPage:
    """`GET /v1/models?limit=&after_id=&before_id=`: the models that can answer now, without those for vectors alone.

    Raises InvalidRequest where the limit is no number from 1 to 1000, or a page hangs on an unknown model.
    """
    listed = _listed(models)
    said = query.get("limit", str(_PAGE))
    limit = int(said) if said.isascii() and said.isdecimal() and len(said) <= 4 else 0
    if not 1 <= limit <= _MOST:
        raise InvalidRequest(f"`limit` is '{said}'", f"1 to {_MOST} models fit a page")
    if (before := query.get("before_id")) is not None:
        end = _position(listed, before)
        start = max(0, end - limit)
        return _page(listed[start:end], more=start > 0)
    start = _position(listed, query["after_id"]) + 1 if "after_id" in query else 0
    return _page(listed[start : start + limit], more=start + limit < len(listed))


def one(node: NodeService, name: str) -> ModelInfo:
    """`GET /v1/models/{name}`: one of the list, or any other name that a request may ask for: one in other letters, a
    vendor's, one with a node behind it.

    Raises:
        MycoError: a request for `name` would be refused.
    """
    listed = {info.id: info for info in _listed(node.models())}
    if name in listed:
        return listed[name]
    answering = node.place(ChatRequest(name, ())).candidates[0].model
    context = listed[answering].max_input_tokens if answering in listed else None
    return ModelInfo(name, answering, _EPOCH, context, context)


def _listed(models: Models) -> list[ModelInfo]:
    """After the name that leaves the choice to the swarm."""
    found = [info for view in models.models if (info := _info(view)) is not None]
    context = max((info.max_input_tokens or 0 for info in found), default=0) or None
    return [ModelInfo("auto", "whichever suits", _EPOCH, context, context), *found] if found else []


def _position(listed: Sequence[ModelInfo], name: str) -> int:
    for number, one in enumerate(listed):
        if one.id == name:
            return number
    raise InvalidRequest(f"there is no model '{name}' to go on from", "begin without it")


def _page(listed: Sequence[ModelInfo], *, more: bool) -> ModelPage:
    ends = (listed[0].id, listed[-1].id) if listed else (None, None)
    return ModelPage(tuple(listed), more, *ends)


def _info(view: ModelView) -> ModelInfo | None:
    offers = [place.offer for place in view.places if place.reachable and place.offer.state != "unfit"]
    offers = [offer for offer in offers if offer.abilities.chat]
    if not offers:
        return None
    context = max((offer.context for offer in offers if offer.context is not None), default=None)
    return ModelInfo(view.name, view.name, _EPOCH, context, context)
