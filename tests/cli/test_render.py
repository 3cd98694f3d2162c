import msgspec

from mycoswarm.cli import render
from mycoswarm.core.ids import EngineId, ModelName, NodeId
from mycoswarm.core.model import Abilities, ModelOffer
from mycoswarm.core.node import NearbySwarm
from mycoswarm.core.views import HealthReport, ModelPlace, Models, ModelView, Nodes
from tests.cli import samples


def _texts(pairs: list[tuple[str, render.Cell]]) -> dict[str, str]:
    return {name: cell.text for name, cell in pairs}


def test_the_next_step_is_the_first_that_is_missing() -> None:
    solo = samples.detail(solo=True)
    alone = msgspec.structs.replace(solo, nearby=())
    member = samples.detail()
    available, empty = samples.models(), samples.models(empty=True)
    members = samples.nodes().nodes
    assert "mycoswarm join CODE" in render.next_step(solo, empty, ()), "the swarm may have models"
    assert "mycoswarm join CODE" in render.next_step(solo, available, ())
    assert "mycoswarm pull smollm2:135m" in render.next_step(alone, empty, ())
    assert "mycoswarm invite" in render.next_step(alone, available, ())
    assert "mycoswarm nodes --why uncho" in render.next_step(member, available, members)
    assert render.next_step(member, available, members[:3]) == ""
    assert render.next_step(samples.detail(private=True), available, ()) == ""


def test_solo_neighbours_are_no_swarm_to_join() -> None:
    alone = msgspec.structs.replace(samples.detail(solo=True), nearby=(NearbySwarm("", 2),))
    assert "mycoswarm invite" in render.next_step(alone, samples.models(), ())
    facts, _ = render.neighbours(alone, samples.nodes(solo=True), samples.models(), HealthReport(()), ())
    assert _texts(facts)["nearby"] == "2 machines without a swarm"


def test_an_unreachable_model_is_not_within_reach() -> None:
    only_uncho = Models(tuple(model for model in samples.models().models if model.name == "nomic-embed-text"))
    assert "No model is within reach" in render.next_step(samples.detail(), only_uncho, ())


def test_the_starter_answers_questions() -> None:
    catalog = samples.models().catalog
    assert render.starter(Models((), tuple(reversed(catalog)))).name == "smollm2:135m"
    assert render.starter(Models(())).name == render.STARTER


def test_a_guessed_term_is_marked_and_an_empty_one_left_out() -> None:
    candidates = samples.placement().candidates
    assert candidates[0].terms is not None
    assert candidates[1].terms is not None
    assert render.estimate(candidates[0].terms) == "link 0.3 ms + prefill 31 ms + decode 9.60 s"
    assert render.estimate(candidates[1].terms) == "load ~1.45 s + prefill 0.11 s + decode ~7.20 s"


def test_every_row_has_every_column() -> None:
    tables = [
        render.nodes(samples.nodes(), samples.swarm()),
        render.nodes(Nodes(()), None),
        render.models(samples.models()),
        render.catalog(samples.models(empty=True)),
        render.running_models(samples.running()),
        render.tasks(samples.running().tasks, {}, 1.0e9),
        render.placement(samples.placement()),
        *(block for block in render.report(samples.report()) if isinstance(block, render.Table)),
    ]
    for table in tables:
        assert table is not None
        assert all(len(row) == len(table.columns) for row in table.rows), table.columns
        assert all(0 <= index < len(table.columns) - 1 for index in table.spare), "the last column is never spared"


def test_nothing_left_to_fetch_is_no_table() -> None:
    fetched = samples.models()
    assert render.catalog(msgspec.structs.replace(fetched, catalog=fetched.catalog[:1])) is None


def test_a_model_for_vectors_is_not_called_one_that_continues_text() -> None:
    def remark(**abilities: bool) -> str:
        offer = ModelOffer(
            ModelName("m"), EngineId("e"), "loaded", abilities=Abilities(**abilities), instruct=abilities["chat"]
        )
        place = ModelPlace(NodeId("n"), "boa", True, offer)
        return str(render.models(Models((ModelView("m", (place,)),))).rows[0][-1].text)

    assert "for vectors" in remark(chat=False, embed=True)
    assert remark(chat=True) == ""
