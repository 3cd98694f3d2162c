"""The node as the user port sees it: names to ids, one registry behind every view."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mycoswarm.core.chat import ChatRequest, message
from mycoswarm.core.embed import EmbedRequest, unpack
from mycoswarm.core.errors import CannotServe, InvalidRequest, NotFound, Refused
from mycoswarm.core.paths import Paths
from mycoswarm.core.settings import Settings
from mycoswarm.node import Node

NOBODY = "http://127.0.0.1:9"
"""Where no engine answers."""


def _paths(home: Path) -> Paths:
    paths = Paths(home / "config", home / "state", home / "data", home / "cache")
    for folder in (paths.config, paths.state, paths.data, paths.cache):
        folder.mkdir(mode=0o700)
    return paths


def _node(home: Path, renewed: Callable[[], None], *, private: bool = False) -> Node:
    announce = "no" if private else "yes"
    settings = Settings(port=0, peer_port=0, announce=announce, embedded="no", engines=(NOBODY,))
    return Node(_paths(home), settings, "boa", private=private, ended=lambda: None, renewed=renewed)


@pytest.fixture
def renewals() -> list[str]:
    return []


@pytest.fixture
async def node(tmp_path: Path, renewals: list[str]) -> AsyncIterator[Node]:
    made = _node(tmp_path, lambda: renewals.append("renewed"))
    await made.start()
    yield made
    await made.close()


async def test_one_registry_is_behind_every_view(node: Node) -> None:
    (missing,) = [problem for problem in node.health().problems if problem.id == "engine-missing"]
    assert NOBODY in missing.message
    said = f"{missing.message}: {missing.action}"
    assert said in node.detail().warnings
    record = node.nodes().nodes[0].record
    assert record is not None
    assert said in record.warnings, "the others hear of it by the record"
    warnings = sum(problem.severity == "warning" for problem in node.health().problems)
    assert f'mycoswarm_problems{{severity="warning"}} {warnings}\n' in node.metrics()


async def test_notes_are_for_the_doctor_alone(node: Node) -> None:
    node._health.count("mycoswarm_strangers_refused_total", "10.0.0.9")  # pyright: ignore[reportPrivateUsage]
    assert "strangers-refused" in [problem.id for problem in node.health().problems]
    assert not any("10.0.0.9" in warning for warning in node.detail().warnings)


async def test_a_headless_code_that_does_not_work_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = _paths(tmp_path)
    paths.join_file.write_text("garbage\n")
    settings = Settings(port=0, peer_port=0, embedded="no", engines=(NOBODY,))
    made = Node(paths, settings, "boa", private=False, ended=lambda: None, renewed=lambda: None)
    await made.start()
    try:
        async with asyncio.timeout(5.0):
            while "headless-join" not in [problem.id for problem in made.health().problems]:
                await asyncio.sleep(0.01)
        assert not [record for record in caplog.records if record.exc_info], "it is nobody's bug"
        await made.invite(headless=False, name="", open_for=0.0)
        assert "headless-join" not in [problem.id for problem in made.health().problems]
    finally:
        await made.close()


async def test_the_page_has_everything_that_is_read(node: Node) -> None:
    from mycoswarm.telemetry.health import COUNTERS, READINGS

    page = node.metrics()
    for name in (*COUNTERS, *READINGS):
        assert f"# HELP {name} " in page
    assert 'mycoswarm_nodes{state="self"} 1\n' in page
    assert 'mycoswarm_requests{state="running"} 0\n' in page


async def test_a_machine_is_named_by_name_or_id(node: Node) -> None:
    for name in ("boa", "BOA", node.id, node.id[:8]):
        assert (await node.history(name)).node.id == node.id
    with pytest.raises(NotFound, match="no node 'bao'") as caught:
        await node.history("bao")
    assert caught.value.hint == "did you mean `boa`?"
    for ask in (node.expel, node.add_keeper, node.remove_keeper):
        # Also for itself: it is not that machine which is the obstacle.
        for name in ("nobody", "boa"):
            with pytest.raises(Refused, match="in no swarm"):
                await ask(name)
    await node.invite(False, "", 0.0)
    for ask in (node.expel, node.add_keeper, node.remove_keeper):
        with pytest.raises(NotFound):
            await ask("nobody")
    with pytest.raises(NotFound):
        await node.recover("some phrase", ("nobody",))


async def test_a_founder_was_let_in_by_nobody_and_cannot_remove_itself(node: Node) -> None:
    assert (await node.history("boa")).added_by == ""
    await node.invite(False, "", 0.0)
    assert (await node.history("boa")).added_by == node.id
    with pytest.raises(InvalidRequest, match="this machine itself"):
        await node.expel("boa")


async def test_a_new_key_asks_for_a_new_life(node: Node, renewals: list[str]) -> None:
    with pytest.raises(Refused):
        await node.rotate()
    assert renewals == []
    await node.invite(False, "", 0.0)
    rotated = await node.rotate()
    assert rotated.before == node.id != rotated.after
    assert renewals == ["renewed"]


async def test_a_private_node_has_no_peers_to_deal_with(tmp_path: Path) -> None:
    node = _node(tmp_path, lambda: None, private=True)
    await node.start()
    try:
        for attempt in (
            node.invite(False, "", 0.0),
            node.join("7-guitar-lemon", "", "", False),
            node.compare("", "", False),
            node.rotate(),
        ):
            with pytest.raises(Refused, match="has no peers"):
                await attempt
        assert node.peer_port is None
    finally:
        await node.close()


async def test_every_node_gives_vectors_and_says_so(node: Node) -> None:
    (view,) = node.models().models
    assert view.name == "all-minilm"
    embedded = await node.embed(EmbedRequest("embed", ("a cat", "a kitten", "a bridge")))
    cat, kitten, bridge = (unpack(vector) for vector in embedded.embedding.vectors)
    assert math.dist(cat, kitten) < math.dist(cat, bridge)
    assert (embedded.node, embedded.model, embedded.engine) == (node.id, "all-minilm", "minilm")
    async with asyncio.timeout(5):
        while node.models().models[0].places[0].offer.state != "loaded":
            await asyncio.sleep(0.05)
    (place,) = node.running().loaded
    assert place.offer.name == "all-minilm"


async def test_a_node_of_embedders_has_no_model_to_ask(node: Node) -> None:
    with pytest.raises(CannotServe) as caught:
        await anext(node.chat(ChatRequest("auto", (message("user", "hi"),))))
    assert "pull" in caught.value.hint
