"""The catalogue is pinned and complete."""

import re

import pytest

from mycoswarm.core.errors import UnknownModel
from mycoswarm.models.catalog import CATALOG, STARTER, CatalogModel, find

SHA256 = re.compile(r"[0-9a-f]{64}")


@pytest.mark.parametrize("model", CATALOG, ids=lambda model: model.name)
def test_every_byte_is_pinned(model: CatalogModel) -> None:
    assert SHA256.fullmatch(model.source_sha256)
    assert SHA256.fullmatch(model.sha256)
    assert model.packages
    for package in model.packages:
        assert SHA256.fullmatch(package.sha256)
        assert package.size > 0
        assert re.fullmatch(r"\d+(\.\d+)*", package.version)
    assert (model.sha256 == model.source_sha256) == (not model.requantise)
    if not model.requantise:
        assert model.size == model.source_size


def test_names_and_digests_are_unique() -> None:
    assert len({model.name for model in CATALOG}) == len(CATALOG)
    assert len({model.sha256 for model in CATALOG}) == len(CATALOG)


def test_the_starter_can_chat_and_is_free() -> None:
    starter = find(STARTER)
    assert starter.instruct
    assert starter.licence == "Apache-2.0"
    assert starter.entry.download == 92_871_040


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownModel) as caught:
        find("smolm2:135m")
    assert caught.value.data["near"] == [STARTER]
    with pytest.raises(UnknownModel, match="'zzz'") as caught:
        find("zzz")
    assert caught.value.data["near"] == []
    assert STARTER in caught.value.hint
