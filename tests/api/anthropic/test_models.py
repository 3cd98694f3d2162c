from typing import Literal

import msgspec
import pytest
from anthropic.types import ModelInfo as TheirModel

from mycoswarm.api.anthropic.models import info, page
from mycoswarm.core.errors import InvalidRequest, NotFound
from mycoswarm.core.ids import EngineId, ModelName, NodeId
from mycoswarm.core.model import Abilities, ModelOffer
from mycoswarm.core.views import ModelPlace, Models, ModelView


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
    return "".join(one.id for one in found.data), found.has_more


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
    assert [one.id for one in listed.data] == ["here", "twice"]
    assert not listed.has_more


def test_a_model_as_their_client_reads_it() -> None:
    models = Models((view("org/m:7b", place(4096), place(8192), place(32768, up=False)),))
    theirs = TheirModel.model_validate_json(msgspec.json.encode(info(models, "org/m:7b")))
    assert (theirs.id, theirs.display_name, theirs.type, theirs.lifecycle) == (
        "org/m:7b",
        "org/m:7b",
        "model",
        "active",
    )
    assert (theirs.max_input_tokens, theirs.max_tokens) == (8192, 8192)
    assert info(Models((view("m"),)), "m").max_input_tokens is None


@pytest.mark.parametrize("name", ["other", "", "vectors"])
def test_a_model_that_is_not_there(name: str) -> None:
    with pytest.raises(NotFound, match=f"'{name}'"):
        info(Models((view("m"), view("vectors", place(chat=False)))), name)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ("abcde", False)),
        ({"limit": "2"}, ("ab", True)),
        ({"limit": "5"}, ("abcde", False)),
        ({"limit": "2", "after_id": "b"}, ("cd", True)),
        ({"limit": "2", "after_id": "d"}, ("e", False)),
        ({"after_id": "e"}, ("", False)),
        ({"limit": "2", "before_id": "d"}, ("bc", True)),
        ({"limit": "3", "before_id": "d"}, ("abc", False)),
        ({"before_id": "a"}, ("", False)),
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
