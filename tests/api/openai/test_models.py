import msgspec
import pytest

from mycoswarm.api.openai.models import listed, one
from mycoswarm.core.errors import UnknownModel
from mycoswarm.core.ids import EngineId, ModelName, NodeId
from mycoswarm.core.model import Abilities, ModelOffer, ModelState
from mycoswarm.core.placement import Placement
from mycoswarm.core.views import ModelPlace, Models, ModelView
from tests.api.fake_node import PLACED, FakeNode

VECTORS = Abilities(chat=False, embed=True)


def place(
    node: str, *, up: bool = True, state: ModelState = "loaded", abilities: Abilities | None = None
) -> ModelPlace:
    offer = ModelOffer(ModelName("m"), EngineId("e"), state, abilities=abilities or Abilities())
    return ModelPlace(NodeId(node), node, up, offer)


def names(*views: ModelView) -> list[tuple[str, str]]:
    return [(entry.id, entry.owned_by) for entry in listed(Models(views), 7).data]


def test_only_models_that_can_answer_now_are_listed_after_the_name_that_means_any() -> None:
    assert names(
        ModelView("here", (place("miu"), place("boa"))),
        ModelView("away", (place("miu", up=False),)),
        ModelView("big", (place("miu", state="unfit"),)),
    ) == [("auto", "mycoswarm"), ("here", "boa, miu")]


def test_a_name_that_nothing_stands_behind_is_not_listed() -> None:
    assert names() == []
    assert names(ModelView("v", (place("miu", abilities=VECTORS),))) == [("embed", "mycoswarm"), ("v", "miu")]
    both = (ModelView("v", (place("miu", abilities=VECTORS),)), ModelView("m", (place("boa"),)))
    assert [name for name, _ in names(*both)] == ["auto", "embed", "v", "m"]


def test_the_shape_is_theirs() -> None:
    told = msgspec.to_builtins(listed(Models((ModelView("m", (place("miu"),)),)), 7))
    assert told["object"] == "list"
    assert told["data"][1] == {"id": "m", "object": "model", "created": 7, "owned_by": "miu"}


def test_one_model_is_found_by_any_name_that_a_request_may_use() -> None:
    node = FakeNode()
    assert one(node, "org/m:7b", 7).owned_by == "miu"
    assert node.asked == [], "it stands in the list"
    assert one(node, "gpt-4o", 7).id == "gpt-4o"
    assert [asked.model for asked in node.asked] == ["gpt-4o"]


def test_a_name_that_no_request_may_use_is_unknown() -> None:
    class Empty(FakeNode):
        def place(self, request: object) -> Placement:
            assert PLACED.candidates
            raise UnknownModel("no node has a model named 'x'")

    with pytest.raises(UnknownModel):
        one(Empty(), "x", 7)
