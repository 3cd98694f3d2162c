"""Every verb against the fake node: what a terminal shows, what a pipe gets, the exit code."""

import os
import re

import msgspec
import pytest

from mycoswarm.core.node import SwarmInfo
from mycoswarm.core.paths import Paths
from mycoswarm.core.views import HealthReport, Models, NodeDetail, NodeHistory, Nodes, Running
from tests.cli import samples
from tests.cli.conftest import Run
from tests.cli.fake_node import FakeNode

READERS = [
    ["status"],
    ["nodes"],
    ["nodes", "--why", "uncho"],
    ["models"],
    ["ps"],
    ["config", "show", "--origin"],
]
_PORT = re.compile(r"127\.0\.0\.1:\d+")


@pytest.fixture(autouse=True)
def _fixed_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1.0e9 + 90)


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
@pytest.mark.parametrize("verb", READERS, ids=" ".join)
def test_what_is_shown(run: Run, node: FakeNode, verb: list[str], terminal: bool, snapshot: object) -> None:
    result = run(*verb, terminal=terminal)
    assert result.code == 0
    assert _PORT.sub("127.0.0.1:PORT", result.out) == snapshot


@pytest.mark.parametrize("verb", ["nodes", "models", "ps", "status", "nodes --why uncho"])
def test_sixty_columns_are_enough(run: Run, node: FakeNode, verb: str, snapshot: object) -> None:
    result = run(*verb.split(), terminal=True, width=60)
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in result.out.splitlines()) <= 60
    assert _PORT.sub("127.0.0.1:PORT", result.out) == snapshot


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        ("status", NodeDetail),
        ("nodes", Nodes),
        ("nodes --why uncho", NodeHistory),
        ("models", Models),
        ("ps", Running),
        ("doctor", HealthReport),
        ("keeper ls", SwarmInfo),
    ],
)
def test_json_is_the_view_unchanged(run: Run, node: FakeNode, verb: str, kind: type) -> None:
    expected = {
        "status": samples.detail(port=node.port),
        "nodes": samples.nodes(),
        "nodes --why uncho": samples.history(),
        "doctor": samples.health(),
        "keeper ls": samples.swarm(),
        "models": samples.models(),
        "ps": samples.running(),
    }[verb]
    result = run(*verb.split(), "--json")
    assert msgspec.json.decode(result.out, type=kind) == expected
    assert result.out.count("\n") == 1
    assert result.err == ""


@pytest.mark.parametrize(
    "verb",
    [
        ["status"],
        ["nodes"],
        ["nodes", "--why", "uncho"],
        ["models"],
        ["ps"],
        ["doctor"],
        ["invite"],
        ["invite", "--open", "10m", "--yes"],
        ["join", "x"],
        ["join"],
        ["admit"],
        ["admit", "naru", "--words", "a b c d"],
        ["remove", "x"],
        ["keeper"],
        ["keeper", "add", "x"],
        ["keeper", "remove", "x", "--yes"],
        ["keeper", "recover"],
        ["rotate"],
        ["leave"],
        ["leave", "--purge", "--yes"],
        ["rm", "x"],
    ],
    ids=" ".join,
)
def test_without_a_node_there_is_a_way_out(run: Run, verb: list[str]) -> None:
    result = run(*verb)
    assert (result.code, result.out) == (3, "")
    assert result.err == "error: no node runs on this machine\nhint: start one: mycoswarm up\n"


@pytest.mark.usefixtures("fake_daemon")
def test_detect_needs_no_node(run: Run, snapshot: object) -> None:
    assert run("detect", terminal=True).out == snapshot(name="terminal")  # type: ignore[operator]
    assert run("detect").out == snapshot(name="pipe")  # type: ignore[operator]
    found = msgspec.json.decode(run("detect", "--json").out)
    assert list(found) == ["cpu", "memory", "gpus", "disks", "network", "engines", "roles", "warnings"]


def test_a_node_is_named_by_name_or_id(run: Run, node: FakeNode) -> None:
    assert "no beat for 2.1 s" in run("nodes", "--why", "uncho").out
    wrong = run("nodes", "--why", "unco")
    assert wrong.code == 4
    assert "did you mean `uncho`?" in wrong.err


def test_a_swarm_without_models_says_what_to_fetch(run: Run, node: FakeNode) -> None:
    node.script.models = False
    result = run("models")
    assert "mycoswarm pull smollm2:135m" in result.err
    assert result.out.split()[0] == "NAME"


def test_deleting_asks_first(run: Run, node: FakeNode) -> None:
    assert run("rm", "gemma3:27b").code == 5
    assert "Nothing was deleted" in run("rm", "gemma3:27b", terminal=True, typed="\n").err
    assert not node.calls
    assert run("rm", "gemma3:27b", "--yes", "--node", "miu").out == "gemma3:27b is deleted; 145 MB are free again.\n"
    assert node.calls[-1][1].endswith("?node=miu")


def test_no_input_means_no_questions(run: Run, node: FakeNode) -> None:
    assert run("rm", "x", "--no-input", terminal=True, typed="y\n").code == 5
    assert run("--no-input", "rm", "x", terminal=True, typed="y\n").code == 5


def test_pull(run: Run, node: FakeNode) -> None:
    result = run("pull", "smollm2:135m")
    assert (result.code, result.out) == (0, "")
    assert result.err.splitlines()[0] == "fetching smollm2:135m 0 %"
    assert result.err.splitlines()[-1] == "smollm2:135m is ready."
    assert run("pull", "smollm2:135m", "-q").err == ""
    full = run("pull", "broken")
    assert full.code == 1
    assert "145 MB needed" in full.err


def test_config(run: Run, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("config", "path").out.strip() == str(paths.settings_file)
    assert run("config", "get", "port").out == "6926\n"
    paths.config.mkdir(parents=True)
    paths.settings_file.write_text('port = 7000\npeers = ["a", "b"]\n')
    monkeypatch.setenv("MYCOSWARM_THREADS", "3")
    assert run("config", "get", "peers").out == "a,b\n"
    shown = msgspec.json.decode(run("config", "show", "--origin", "--json").out)
    assert shown["port"] == {"value": 7000, "origin": "file"}
    assert shown["threads"] == {"value": 3, "origin": "environment"}
    assert shown["slots"]["origin"] == "default"
    assert msgspec.json.decode(run("config", "show", "--json").out)["port"] == 7000
    wrong = run("config", "get", "prot")
    assert wrong.code == 4
    assert "did you mean `port`?" in wrong.err
    paths.settings_file.write_text("prot = 1\n")
    unknown = run("config", "show")
    assert unknown.code == 2
    assert "did you mean `port`?" in unknown.err
    paths.settings_file.write_bytes(b"\xff\xfe")
    assert run("config", "show").code == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(run: Run, shell: str) -> None:
    assert "_MYCOSWARM_COMPLETE" in run("completion", shell).out


def test_a_shell_completes_verbs_and_models(
    run: Run, node: FakeNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def complete(line: str, word: int) -> list[str]:
        monkeypatch.setenv("_MYCOSWARM_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(word))
        with pytest.raises(SystemExit):
            run()
        return [entry.partition(",")[2] for entry in capsys.readouterr().out.split()]

    assert complete("mycoswarm mod", 1) == ["models"]
    assert complete("mycoswarm ask -m gem", 3) == ["gemma3:27b"]
    assert complete("mycoswarm chat --node un", 3) == ["uncho"]


def test_up_beside_a_running_node_is_refused(run: Run, node: FakeNode) -> None:
    result = run("up")
    assert result.code == 1
    assert f"a node runs on this machine already (process {os.getpid()}, port {node.port})" in result.err
    assert "mycoswarm down" in result.err


@pytest.mark.usefixtures("fake_daemon")
def test_up_in_the_background_and_down(run: Run, paths: Paths) -> None:
    result = run("up", "--background", "--port", "0")
    assert result.code == 0
    assert "mycoswarm down" in result.err
    assert "miu's swarm, 4 members" in result.out
    assert paths.node_file.exists()
    assert run("down").code == 0
    assert not paths.node_file.exists()
    assert run("down").code == 3


@pytest.mark.usefixtures("fake_daemon")
def test_up_that_fails_says_why(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_NODE", '{"start_error": "port 6926 is taken"}')
    result = run("up", "--background")
    assert result.code == 1
    assert result.err == "error: port 6926 is taken\nhint: choose another one with --port\n"
