from typing import Literal

import msgspec
import pytest
from anthropic.types import ModelInfo as TheirModel

from mycoswarm.api.anthropic.models import one, page
from mycoswarm.core.chat import ChatRequest
from mycoswarm.core.errors import InvalidRequest, NotFound, UnknownModel
from mycoswarm.core.ids import EngineId, ModelName, NodeId
from mycoswarm.core.model import Abilities, ModelOffer
from mycoswarm.core.placement import Placement
from mycoswarm.core.views import ModelPlace, Models, ModelView
from tests.api.fake_node import FakeNode


def place(
    context: int | None = None, *, up: bool = True, chat: bool = True, state: Literal["loaded", "unfit"] = "loaded"
) -> ModelPlace:
    offer = ModelOffer(ModelName("m"), EngineId("e"), state, context=context, abilities=Abilities(chat=chat))
    return ModelPlace(NodeId("n"), "miu", up, offer)


def view(name: str, *places: ModelPlace) -> ModelView:
    return ModelView(name, places or (place(),))


FIVE = Models(tuple(view(name) for name in "abcde"))


def names(query: dict[str, str]) -> tuple[str, bool]:
    found = page(FIVE, query)
    assert (found.first_id, found.last_id) == ((found.data[0].id, found.data[-1].id) if found.data else (None, None))
    return "".join(info.id for info in found.data).replace("auto", "*"), found.has_more


def test_only_models_that_can_chat_now_are_listed() -> None:
    listed = page(
        Models(
            (
                view("here"),
                view("away", place(up=False)),
                view("big", place(state="unfit")),
                view("vectors", place(chat=False)),
                view("twice", place(up=False), place()),
            )
        ),
        {},
    )
    assert [info.id for info in listed.data] == ["auto", "here", "twice"]
    assert not listed.has_more
    assert page(Models((view("away", place(up=False)),)), {}).data == ()


class Listing(FakeNode):
    def __init__(self, *views: ModelView) -> None:
        super().__init__()
        self.views = views

    def models(self) -> Models:
        return Models(self.views)


def test_a_model_as_their_client_reads_it() -> None:
    node = Listing(view("org/m:7b", place(4096), place(8192), place(32768, up=False)))
    theirs = TheirModel.model_validate_json(msgspec.json.encode(one(node, "org/m:7b")))
    assert (theirs.id, theirs.display_name, theirs.type, theirs.lifecycle) == (
        "org/m:7b",
        "org/m:7b",
        "model",
        "active",
    )
    assert (theirs.max_input_tokens, theirs.max_tokens) == (8192, 8192)
    assert one(Listing(view("m")), "m").max_input_tokens is None
    assert one(node, "auto").max_input_tokens == 8192
    assert node.asked == []


@pytest.mark.parametrize("name", ["claude-sonnet-9", "M", "m@miu"])
def test_a_name_that_a_request_may_ask_for_is_a_model(name: str) -> None:
    node = Listing(view("m", place(4096)))
    found = one(node, name)
    assert (found.id, found.display_name, found.max_input_tokens) == (name, "m", 4096)
    assert [request.model for request in node.asked] == [name]


class Empty(Listing):
    def place(self, request: ChatRequest) -> Placement:
        raise UnknownModel(f"no node has a model named '{request.model}'", near=[])


def test_a_model_that_is_not_there() -> None:
    with pytest.raises(NotFound, match="'other'"):
        one(Empty(view("m")), "other")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ("*abcde", False)),
        ({"limit": "2"}, ("*a", True)),
        ({"limit": "6"}, ("*abcde", False)),
        ({"limit": "2", "after_id": "b"}, ("cd", True)),
        ({"limit": "2", "after_id": "d"}, ("e", False)),
        ({"after_id": "e"}, ("", False)),
        ({"limit": "2", "before_id": "d"}, ("bc", True)),
        ({"limit": "4", "before_id": "d"}, ("*abc", False)),
        ({"before_id": "auto"}, ("", False)),
    ],
)
def test_pages(query: dict[str, str], found: tuple[str, bool]) -> None:
    assert names(query) == found


@pytest.mark.parametrize(
    "query",
    [{"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"limit": "-1"}, {"limit": "9" * 99}, {"after_id": "z"}],
)
def test_pages_that_there_are_not(query: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        page(FIVE, query)
