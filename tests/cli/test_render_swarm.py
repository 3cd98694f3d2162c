import msgspec
import pytest

from mycoswarm.cli import render_swarm
from mycoswarm.core.ids import SwarmId
from mycoswarm.core.node import NearbySwarm, SwarmInfo
from mycoswarm.core.views import HealthReport, Joined, Waiting
from tests.cli import samples


def _text(lines: render_swarm.Lines) -> str:
    return "\n".join(text for text, _ in lines)


@pytest.mark.parametrize("founded", [True, False])
def test_the_invitation_shows_code_place_and_expiry(founded: bool) -> None:
    text = _text(render_swarm.invitation(samples.invitation(founded=founded)))
    assert "mycoswarm join 7-guitar-lemon" in text
    assert "10 min" in text
    assert ("founds the swarm" in text) == founded
    assert samples.PHRASE.split()[0] not in text, "the phrase is shown on its own"


def test_an_open_invitation_says_what_it_means() -> None:
    text = _text(render_swarm.invitation(samples.invitation(open_for=600.0)))
    assert "For 10 min" in text
    assert "every machine on this network" in text
    assert text.endswith("mycoswarm join")


def test_the_phrase_is_whole_and_what_it_is_for_is_said() -> None:
    text = _text(render_swarm.recovery_phrase(samples.invitation(founded=True)))
    assert " ".join(" ".join(text.splitlines()[4:6]).split()) == samples.PHRASE
    assert "until another machine has joined; then it is kept nowhere" in text
    assert "mycoswarm keeper recover" in text


def test_both_sides_of_a_comparison_show_the_same_words() -> None:
    here = _text(render_swarm.comparison(samples.comparing()))
    there = _text(render_swarm.asking(samples.waiting("boa").waiting[0]))
    box = next(line for line in here.splitlines() if "guitar" in line)
    assert box in there.splitlines()
    assert all(word in box for word in samples.WORDS)


def test_where_a_machine_has_arrived_and_what_it_left() -> None:
    assert render_swarm.joined(Joined(samples.swarm())) == "This machine is now in “miu's swarm” (4 members)."
    assert render_swarm.joined(Joined(samples.swarm(), "old")).endswith("It has left “old”.")


def test_swarms_nearby_are_told_with_the_way_in() -> None:
    one, two = NearbySwarm("abcdefghijk", 1), NearbySwarm("lmnopqrstuv", 2)
    assert "mycoswarm join CODE" in render_swarm.joining((one,))
    assert "mycoswarm admit" in render_swarm.joining((one,))
    assert "--swarm ID (abcdefgh or lmnopqrs)" in render_swarm.joining((one, two))
    assert render_swarm.joining((NearbySwarm("", 3), one)) == render_swarm.joining((one,))
    opened = msgspec.structs.replace(one, open=True)
    assert render_swarm.joining((opened,)).endswith("mycoswarm join")


def test_a_machine_alone_in_its_swarm_is_told_how_to_move() -> None:
    near = (NearbySwarm("abcdefghijk", 1),)
    own = SwarmInfo(SwarmId("own"), "boa's swarm", 1, (samples.BOA,), True)
    alone = msgspec.structs.replace(samples.detail(), swarm=own, nearby=near)
    assert "mycoswarm join CODE --move" in render_swarm.moving(alone)
    assert render_swarm.moving(msgspec.structs.replace(alone, nearby=())) == ""
    assert render_swarm.moving(msgspec.structs.replace(alone, nearby=(NearbySwarm("", 1),))) == ""
    assert render_swarm.moving(msgspec.structs.replace(samples.detail(), nearby=near)) == ""
    assert render_swarm.moving(samples.detail(solo=True)) == ""


def test_keepers_are_marked_whether_up_or_not() -> None:
    facts = {
        name: cell.text for name, cell in render_swarm.members(samples.nodes().nodes, (samples.MIU, samples.UNCHO))
    }
    assert facts == {"up": "boa, miu (keeper), naru", "not up": "uncho (keeper, down, seen 13 min ago)"}


def test_who_let_a_machine_in() -> None:
    view = samples.history()

    def told(by: str) -> list[str]:
        changed = msgspec.structs.replace(view, added_by=by)
        return [cell.text for _, cell in render_swarm.origin(changed, samples.nodes())]

    assert told(samples.MIU) == ["miu"]
    assert told(view.node.id) == ["nobody: it founded the swarm"]
    assert told("recoverykeyid234567") == ["recovery"]
    assert told("") == []


def test_who_waits_is_told_in_one_line() -> None:
    assert render_swarm.asking_to_come_in(()) == []
    one = samples.waiting("naru").waiting
    assert render_swarm.asking_to_come_in(one)[0][1].text == "naru asks to be let in: mycoswarm admit"
    assert "asked just now" in _text(render_swarm.asking(Waiting("r", "naru", "10.0.0.1", samples.WORDS, 0.4))).replace(
        "asks to be let in, just now", "asked just now"
    )


def test_the_worst_problem_is_told_and_the_rest_counted() -> None:
    full = samples.health().problems
    assert render_swarm.problem_summary(HealthReport(())) == []
    assert render_swarm.problem_summary(HealthReport(full[3:])) == [], "notes are for the doctor"
    assert render_swarm.problem_summary(HealthReport(full[1:2]))[0][1].text == (
        "only miu can let machines in or out: mycoswarm doctor"
    )
    assert "(and 1 more problem)" in render_swarm.problem_summary(HealthReport(full[:2]))[0][1].text


def test_what_was_looked_at_names_no_swarm_where_there_is_none() -> None:
    solo = render_swarm.looked_at(samples.detail(solo=True), samples.nodes(solo=True))
    assert "roster" not in solo
    private = render_swarm.looked_at(samples.detail(private=True), samples.nodes(solo=True))
    assert private == "Looked at: this machine (hardware, disk, engines)."


def test_every_row_has_every_column() -> None:
    for table in (
        render_swarm.waiting(samples.waiting("a", "b")),
        render_swarm.keepers(samples.swarm(), samples.nodes(solo=True)),
        render_swarm.history(samples.history().changes),
        render_swarm.problem_table(samples.health()),
    ):
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows), table.columns
        assert all(0 <= index < len(table.columns) - 1 for index in table.spare), "the last column is never spared"
