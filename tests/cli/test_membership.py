"""Membership and health on the command line, against the fake node."""

import re

import msgspec
import pytest

from mycoswarm.core.paths import Paths
from mycoswarm.core.views import Admitted, Invitation, Joined, WaitingMachines
from tests.cli import samples
from tests.cli.conftest import Run
from tests.cli.fake_node import FakeNode

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def _posted(node: FakeNode, path: str) -> list[dict[str, object]]:
    return [msgspec.json.decode(body) for method, where, body in node.calls if method == "POST" and where == path]


# What is shown


@pytest.mark.parametrize("width", [80, 60])
@pytest.mark.parametrize(
    ("verb", "typed"),
    [
        (["invite"], None),
        (["invite", "--open", "10m"], "y\n"),
        (["join"], "y\n"),
        (["admit"], "y\n"),
        (["keeper"], None),
        (["doctor"], None),
        (["remove", "uncho"], "y\n"),
        (["rotate"], "y\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_terminal_shows(
    run: Run, node: FakeNode, verb: list[str], typed: str | None, width: int, snapshot: object
) -> None:
    node.script.solo = verb[0] in ("invite", "join")
    node.script.keeper = verb[0] == "keeper"
    node.script.waiting = ("naru",)
    result = run(*verb, terminal=True, width=width, typed=typed)
    assert result.out + "--- stderr\n" + result.err == snapshot
    # Somebody's "y" and Enter stand behind a question on a real terminal.
    for line in _STYLE.sub("", result.out + result.err).replace("] ", "]\n").splitlines():
        assert len(line.rpartition("\r")[2]) <= width, line


@pytest.mark.parametrize("verb", [["keeper"], ["doctor"], ["admit"]], ids=" ".join)
def test_a_pipe_gets_columns(run: Run, node: FakeNode, verb: list[str], snapshot: object) -> None:
    node.script.waiting = ("naru", "uncho")
    assert run(*verb).out == snapshot


def test_status_and_up_tell_who_waits_and_what_is_wrong(run: Run, node: FakeNode) -> None:
    node.script.keeper = True
    node.script.waiting = ("naru", "uncho")
    shown = run("status").out
    assert "naru and uncho ask to be let in: mycoswarm admit" in shown
    assert "miu (keeper)" in shown
    assert "147 MB of disk are free" in shown
    assert "(and 2 more problems): mycoswarm doctor" in shown
    node.script.healthy = True
    assert "problem" not in run("status").out


def test_only_a_keeper_asks_who_waits(run: Run, node: FakeNode) -> None:
    node.script.waiting = ("naru",)
    assert "naru asks" not in run("status").out


def test_a_stranger_s_status_of_a_node_still_works(run: Run, node: FakeNode) -> None:
    node.script.keeper = True
    node.script.waiting = ("naru",)
    node.paths.token_file.unlink()
    result = run("status")
    assert result.code == 0
    assert "naru" in result.out
    assert "naru asks" not in result.out


# Inviting


def test_an_invitation_in_a_pipe_is_the_code_alone(run: Run, node: FakeNode) -> None:
    result = run("invite")
    assert (result.out, result.err) == ("7-guitar-lemon\n", "")


def test_the_phrase_goes_to_a_terminal_or_into_json_and_nowhere_else(run: Run, node: FakeNode) -> None:
    node.script.solo = True
    piped = run("invite")
    assert piped.out == "7-guitar-lemon\n"
    assert "acid" not in piped.err
    assert "was not shown" in piped.err
    assert "until another machine has joined" in " ".join(piped.err.split()).lower()
    assert msgspec.json.decode(run("invite", "--json").out, type=Invitation).phrase == samples.PHRASE
    shown = _STYLE.sub("", run("invite", "--quiet", terminal=True).out)
    assert "    acid apple arrow badge beach candle" in shown
    assert "coral dance eagle forest garden harbor" in shown


@pytest.mark.parametrize(
    ("typed", "seconds"), [("10m", 600.0), ("600", 600.0), ("1h", 3600.0), ("1.5m", 90.0), ("1s", 1.0), ("5M", 300.0)]
)
def test_how_long_a_swarm_is_open(run: Run, node: FakeNode, typed: str, seconds: float) -> None:
    assert run("invite", "--open", typed, "--yes").code == 0
    assert _posted(node, "/swarm/v1/invite") == [{"open": seconds}]


@pytest.mark.parametrize("typed", ["0", "61m", "2h", "ten", "-5", "", "10 minutes", "nan"])
def test_no_swarm_is_open_for_ever(run: Run, node: FakeNode, typed: str) -> None:
    result = run("invite", "--open", typed, "--yes")
    assert result.code == 2
    assert "hint:" in result.err
    assert node.calls == []


def test_opening_a_swarm_needs_a_yes(run: Run, node: FakeNode) -> None:
    unasked = run("invite", "--open", "10m")
    assert unasked.code == 5
    assert "mycoswarm invite --open 10m --yes" in unasked.err
    declined = run("invite", "--open", "10m", terminal=True, typed="\n")
    assert "strangers'\nincluded" in declined.err
    assert node.calls == []
    assert run("invite", "--open", "10m", "--headless", "--yes").code == 2


# Joining


def test_join_by_a_code(run: Run, node: FakeNode) -> None:
    node.script.solo = True
    assert "miu's swarm" in run("join", "7-guitar-lemon").out
    wrong = run("join", "1-a-b", "--peer", "192.168.1.10")
    assert wrong.code == 5
    assert "2 tries are left" in wrong.err
    assert _posted(node, "/swarm/v1/join")[-1] == {"code": "1-a-b", "address": "192.168.1.10"}


def test_an_open_swarm_is_joined_after_a_yes(run: Run, node: FakeNode) -> None:
    node.script.solo = node.script.open_near = True
    unasked = run("join")
    assert unasked.code == 5
    assert "mycoswarm join --swarm k3vq7x2m --yes" in unasked.err
    declined = run("join", terminal=True, typed="\n")
    assert "the open swarm k3vq7x2m (3 machines near)" in " ".join(declined.err.split())
    assert node.calls == []
    assert run("join", terminal=True, typed="y\n").code == 0
    assert run("join", "--yes").code == 0
    # The node is told which one was agreed to: what is near may have changed meanwhile.
    assert _posted(node, "/swarm/v1/join") == [{"swarm": "k3vq7x2mplda"}] * 2


def test_a_swarm_of_its_own_is_left_when_its_owner_says_so(run: Run, node: FakeNode) -> None:
    node.script.alone = True
    refused = run("join", "7-guitar-lemon")
    assert refused.code == 5
    assert "mycoswarm join 7-guitar-lemon --move" in refused.err
    declined = run("join", "7-guitar-lemon", terminal=True, typed="n\n")
    assert "is alone in it" in declined.err
    assert node.calls == []
    moved = run("join", "7-guitar-lemon", terminal=True, typed="y\n")
    assert "It has left “boa's swarm”." in moved.out
    assert _posted(node, "/swarm/v1/join") == [{"code": "7-guitar-lemon", "move": True}]


def test_others_are_not_left_behind_by_a_slip(run: Run, node: FakeNode) -> None:
    result = run("join", "7-guitar-lemon", terminal=True, typed="y\n")
    assert result.code == 5
    assert "with 3 other machines" in result.err
    assert node.calls == []
    assert run("join", "7-guitar-lemon", "--move").code == 0


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mycoswarm.cli.join._POLL", 0.01)


@pytest.mark.usefixtures("_quick")
def test_words_that_are_the_same_let_in(run: Run, node: FakeNode) -> None:
    node.script.solo = True
    result = run("join", terminal=True, typed="y\n")
    assert result.code == 0
    assert "guitar   lemon   window   otter" in result.err
    assert "mycoswarm admit" in result.err
    assert "waiting for the yes at miu" in result.err
    assert "This machine is now in “miu's swarm” (4 members)." in result.out
    assert _posted(node, "/swarm/v1/join/compare") == [{"swarm": "k3vq7x2mplda"}]
    assert _posted(node, "/swarm/v1/join/compare/run-0") == [{"same": True}]


@pytest.mark.usefixtures("_quick")
def test_words_that_differ_let_nobody_in(run: Run, node: FakeNode) -> None:
    node.script.solo = True
    result = run("join", "--peer", "10.0.0.1", terminal=True, typed="n\n")
    assert result.code == 5
    assert "the words differ" in result.err
    assert _posted(node, "/swarm/v1/join/compare") == [{"address": "10.0.0.1"}]
    assert _posted(node, "/swarm/v1/join/compare/run-0") == [{"same": False}]


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize(
    ("verdict", "said"),
    [("refused", "miu did not let this machine in: the words"), ("ended", "nobody said yes at miu")],
)
def test_a_keeper_may_say_no_or_nothing(run: Run, node: FakeNode, verdict: str, said: str) -> None:
    node.script.solo = True
    node.script.verdict = verdict
    result = run("join", terminal=True, typed="y\n")
    assert (result.code, result.out) == (5, "")
    assert said in result.err


def test_an_interrupted_comparison_is_taken_back(run: Run, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: float) -> None:
        raise KeyboardInterrupt

    node.script.solo = True
    monkeypatch.setattr("time.sleep", stop)
    assert run("join", terminal=True, typed="y\n").code == 130
    assert _posted(node, "/swarm/v1/join/compare/run-0") == [{"same": True}, {"same": False}]


def test_comparing_needs_a_person(run: Run, node: FakeNode) -> None:
    node.script.solo = True
    result = run("join")
    assert result.code == 5
    assert "mycoswarm invite --headless" in result.err
    assert node.calls == []


def test_a_swarm_that_is_not_near(run: Run, node: FakeNode) -> None:
    node.script.solo = True
    result = run("join", "--swarm", "zzz", terminal=True, typed="y\n")
    assert result.code == 4
    assert "--peer HOST" in result.err


@pytest.mark.usefixtures("_quick")
def test_join_as_json(run: Run, node: FakeNode) -> None:
    node.script.solo = True
    result = run("join", "--json", terminal=True, typed="y\n")
    assert msgspec.json.decode(result.out, type=Joined).swarm == samples.swarm()


# Admitting


def test_nobody_waits(run: Run, node: FakeNode) -> None:
    node.script.keeper = True
    result = run("admit", terminal=True, typed="y\n")
    assert (result.code, result.out) == (0, "")
    assert "Nobody asks to be let in" in result.err
    assert msgspec.json.decode(run("admit", "--json").out, type=WaitingMachines) == WaitingMachines(())


def test_where_nobody_could_ask_it_is_said(run: Run, node: FakeNode) -> None:
    elsewhere = run("admit")
    assert elsewhere.code == 5
    assert "hint: run it on miu\n" in elsewhere.err
    assert run("admit", "naru").err == elsewhere.err
    node.script.solo = True
    alone = run("admit")
    assert alone.code == 5
    assert "mycoswarm invite" in alone.err


def test_one_that_waits_alone_is_dealt_with_at_once(run: Run, node: FakeNode) -> None:
    node.script.waiting = ("naru",)
    yes = run("admit", terminal=True, typed="y\n")
    assert "guitar   lemon   window   otter" in yes.err
    assert "naru is let in" in yes.out
    no = run("admit", terminal=True, typed="n\n")
    assert "naru was turned away." in no.out
    assert _posted(node, "/swarm/v1/admit") == [{"run": "run-0", "same": True}, {"run": "run-0", "same": False}]


def test_several_are_listed_and_one_is_named(run: Run, node: FakeNode) -> None:
    node.script.waiting = ("naru", "uncho")
    listed = run("admit", terminal=True, typed="y\n")
    assert "192.168.1.21" in listed.out
    assert node.calls == []
    assert run("admit", "Uncho", terminal=True, typed="y\n").code == 0
    assert run("admit", "run-0", terminal=True, typed="y\n").code == 0
    assert [call["run"] for call in _posted(node, "/swarm/v1/admit")] == ["run-1", "run-0"]
    assert msgspec.json.decode(run("admit", "--json").out, type=WaitingMachines) == samples.waiting("naru", "uncho")
    unknown = run("admit", "unco")
    assert unknown.code == 4
    assert "did you mean `uncho`?" in unknown.err


def test_two_of_one_name_are_told_apart(run: Run, node: FakeNode) -> None:
    node.script.waiting = ("naru", "naru")
    result = run("admit", "naru", terminal=True, typed="y\n")
    assert result.code == 2
    assert "run-0, run-1" in result.err


def test_a_script_must_know_the_words(run: Run, node: FakeNode) -> None:
    node.script.waiting = ("naru",)
    blind = run("admit", "naru")
    assert blind.code == 5
    assert "--words" in blind.err
    wrong = run("admit", "naru", "--words", "guitar lemon window oven")
    assert wrong.code == 5
    assert node.calls == []
    right = run("admit", "naru", "--words", "Guitar lemon  window otter", "--json")
    assert msgspec.json.decode(right.out, type=Admitted) == Admitted("naru", True)


# Keepers, keys, and the way out


def test_what_cannot_be_removed_is_not_asked_about(run: Run, node: FakeNode) -> None:
    for name, said in (("boa", "this machine itself"), ("gone", "any more: it left the swarm")):
        refused = run("remove", name, terminal=True, typed="y\n")
        assert refused.code != 0
        assert said in " ".join(refused.err.split())
        assert "for ever?" not in refused.err
    node.script.solo = True
    for verb in (["remove", "uncho"], ["keeper", "remove", "uncho"]):
        refused = run(*verb, terminal=True, typed="y\n")
        assert refused.code == 5
        assert "in no swarm" in refused.err
    assert node.calls == []


def test_keepers_are_made_and_unmade(run: Run, node: FakeNode) -> None:
    assert run("keeper", "add", "boa").out == "boa is a keeper now (“miu's swarm”, 2 keepers).\n"
    assert run("keeper", "remove", "boa").code == 5
    declined = run("keeper", "remove", "boa", terminal=True, typed="n\n")
    assert "It stays a member" in declined.err
    assert [call[:2] for call in node.calls] == [("POST", "/swarm/v1/keepers")]
    assert run("keeper", "remove", "boa", "--yes").code == 0
    assert node.calls[-1][:2] == ("DELETE", "/swarm/v1/keepers/boa")


def test_keepers_are_listed_without_a_verb_too(run: Run, node: FakeNode) -> None:
    assert run("keeper", "--json").out == run("keeper", "ls", "--json").out != ""
    assert run("keeper", "--quiet").err == ""
    misplaced = run("keeper", "--json", "add", "boa")
    assert misplaced.code == 2
    assert "behind `add`" in misplaced.err
    assert node.calls == []


def test_a_swarm_with_one_keeper_is_told_to_make_another(run: Run, node: FakeNode) -> None:
    assert "mycoswarm keeper add NODE" in run("keeper").err
    node.script.keeper = True
    assert run("keeper", "ls").err == ""
    node.script.solo = True
    assert run("keeper", "ls").code == 5


def test_the_phrase_is_read_from_the_terminal_or_a_pipe(run: Run, node: FakeNode) -> None:
    typed = "  " + samples.PHRASE.upper().replace(" ", "  ") + "\n"
    shown = run("keeper", "recover", "--without", "miu", "--without", "naru", terminal=True, typed=typed)
    assert shown.out.startswith("This machine is a keeper now; removed for ever: miu, naru")
    assert run("keeper", "recover", stdin=samples.PHRASE + "\n").code == 0
    assert _posted(node, "/swarm/v1/recover") == [
        {"phrase": samples.PHRASE, "without": ["miu", "naru"]},
        {"phrase": samples.PHRASE},
    ]
    assert run("keeper", "recover", stdin="").code == 2
    assert run("keeper", "recover", *samples.PHRASE.split()).code == 2, "never as an argument"


def test_removing_asks_first(run: Run, node: FakeNode) -> None:
    assert run("remove", "uncho").code == 5
    assert "for ever" in run("remove", "uncho", terminal=True, typed="n\n").err
    assert run("remove", "unco", terminal=True, typed="y\n").code == 4
    assert node.calls == []
    gone = run("remove", "uncho", "--yes")
    assert gone.out == "uncho is out of the swarm for ever.\n"
    assert "1 of 2 other machines know it already" in gone.err


@pytest.mark.parametrize("verb", [["nodes", "--why"], ["remove"], ["keeper", "remove", "--yes"]], ids=" ".join)
def test_an_empty_name_is_nobody_s(run: Run, node: FakeNode, verb: list[str]) -> None:
    result = run(*verb, "")
    assert result.code == 2
    assert "is empty" in result.err
    assert node.calls == []


def test_rotating_asks_first_and_waits_for_the_new_node(run: Run, node: FakeNode) -> None:
    assert run("rotate").code == 5
    run("rotate", terminal=True, typed="n\n")
    assert node.calls == []
    assert run("rotate", "--yes").out == "This machine was boaa2b3c and is narua2b3 now.\n"


def test_leaving_asks_first(run: Run, node: FakeNode) -> None:
    assert run("leave").code == 5
    assert "mycoswarm leave --purge --keep-models --yes" in run("leave", "--purge", "--keep-models").err
    assert run("leave", terminal=True, typed="n\n").out == ""
    assert not [call for call in node.calls if call[1] == "/swarm/v1/leave"]
    assert "has left" in run("leave", terminal=True, typed="y\n").out
    assert "has left" in run("leave", "--yes").out
    assert run("leave", "--keep-models").code == 2


@pytest.mark.usefixtures("fake_daemon")
def test_a_purge_leaves_the_swarm_and_the_machine(run: Run, paths: Paths) -> None:
    assert run("up", "--background").code == 0
    paths.models.mkdir(parents=True)
    (paths.models / "m.gguf").write_text("x")
    declined = run("leave", "--purge", terminal=True, typed="n\n")
    assert "log and fetched models" in " ".join(declined.err.split())
    assert "It cannot be undone" in declined.err
    assert paths.node_file.exists()
    result = run("leave", "--purge", "--keep-models", "--yes")
    assert result.code == 0
    assert "has left “miu's swarm”" in result.out
    assert [path for path in paths.state.parent.rglob("*") if path.is_file()] == [paths.models / "m.gguf"]


@pytest.mark.usefixtures("fake_daemon")
def test_a_solo_node_is_purged_too(run: Run, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_NODE", '{"solo": true}')
    assert run("up", "--background").code == 0
    assert (
        run("leave", "--purge", "--yes").out == "Everything of mycoSwarm on this machine is deleted but the program.\n"
    )
    assert not paths.state.parent.exists()


# Health


def test_the_doctor_s_exit_code(run: Run, node: FakeNode) -> None:
    sick = run("doctor")
    assert sick.code == 1
    assert "Looked at: this machine (hardware, disk, engines)" in sick.err
    assert "3 other machines (2 up, with what they report)" in sick.err
    assert run("doctor", "--json").code == 1
    node.script.healthy = True
    well = run("doctor", terminal=True)
    assert well.code == 0
    assert "No problem is known." in well.out
    assert "Looked at:" in well.err
