"""`ask` and one-shot `chat`: the answer, what is said beside it, the node that is started for it."""

import msgspec
import pytest

from mycoswarm.client import daemon
from mycoswarm.core.paths import Paths
from tests.cli import samples
from tests.cli.conftest import Run
from tests.cli.fake_node import FakeNode

ANSWER = "The sky is blue because *short* waves scatter more."


@pytest.mark.parametrize("verb", ["ask", "chat"])
def test_the_answer_is_data_and_the_footer_is_not(run: Run, node: FakeNode, verb: str) -> None:
    result = run(verb, "why is the sky blue?")
    assert (result.code, result.out) == (0, ANSWER + "\n")
    assert result.err.startswith("miu · gemma3:27b · 50.0 tokens/s · first token ")
    assert run(verb, "why?", "-q").err == ""
    assert run("--quiet", verb, "why?").err == ""


def test_everything_asked_for_reaches_the_node(run: Run, node: FakeNode) -> None:
    options = [
        "-m",
        "gemma3:27b",
        "--node",
        "miu",
        "--temperature",
        "0",
        "--seed",
        "7",
        "--max-tokens",
        "9",
        "--system",
        "Be brief.",
    ]
    assert run("ask", *options, "two", "words", stdin="and a file\n").code == 0
    request = node.requests[0]
    assert [(message.role, message.text) for message in request.messages] == [
        ("system", "Be brief."), ("user", "two words\n\nand a file"),
    ]  # fmt: skip
    assert (request.model, request.prefer_node, request.max_tokens, request.why) == ("gemma3:27b", "miu", 9, False)
    assert (request.sampling.temperature, request.sampling.seed) == (0, 7)


def test_why_is_beside_the_answer(run: Run, node: FakeNode, snapshot: object) -> None:
    result = run("ask", "hi", "--why")
    assert result.out == ANSWER + "\n"
    assert node.requests[0].why
    assert result.err.rpartition("miu ·")[0] == snapshot


def test_json_is_one_object_at_the_end(run: Run, node: FakeNode) -> None:
    result = run("ask", "hi", "--json", "--why")
    done = msgspec.json.decode(result.out)
    assert done["text"] == ANSWER
    assert (done["node"], done["node_name"], done["model"], done["finish"]) == (
        samples.MIU,
        "miu",
        "gemma3:27b",
        "stop",
    )
    assert done["usage"]["prompt_tokens"] == 31
    assert done["placement"]["chosen"] == 0
    assert 0 <= done["first_token_seconds"] < 5


def test_an_error_after_text_keeps_the_text(run: Run, node: FakeNode) -> None:
    node.script.fail_after = 4
    result = run("ask", "hi")
    assert (result.code, result.out) == (1, "The sky\n")
    assert result.err.endswith("error: miu went away in the middle of the answer\nhint: ask again\n")
    failed = run("ask", "hi", "--json")
    assert failed.code == 1
    assert msgspec.json.decode(failed.out)["error"]["code"] == "peer_lost"


def test_a_stream_that_just_ends_is_an_error(run: Run, node: FakeNode) -> None:
    node.script.cut_after = 4
    result = run("ask", "hi")
    assert (result.code, result.out) == (1, "The sky\n")
    assert "broke off" in result.err


def test_nobody_can_serve(run: Run, node: FakeNode) -> None:
    node.script.refuse = "no node can serve gemma3:27b: miu is down"
    result = run("ask", "-m", "gemma3:27b", "hi")
    assert (result.code, result.out) == (6, "")
    assert result.err == "error: no node can serve gemma3:27b: miu is down\nhint: is miu running? mycoswarm nodes\n"


def test_an_unknown_model_is_the_nodes_word(run: Run, node: FakeNode) -> None:
    result = run("ask", "-m", "gema3:27b", "hi")
    assert result.code == 4
    assert result.err == "error: no model `gema3:27b`\nhint: did you mean `gemma3:27b`?\n"


def test_control_characters_reach_pipes_but_no_terminal(run: Run, node: FakeNode) -> None:
    node.script.text = "red \x1b[31malert \x1b[0m"
    assert run("ask", "hi").out == "red \x1b[31malert \x1b[0m\n"
    assert run("ask", "hi", terminal=True, typed="").out == "red alert \n"


@pytest.mark.parametrize(
    ("arguments", "model", "question"),
    [
        (["gemma3:27b", "hi there"], "gemma3:27b", "hi there"),
        (["smollm2:135m@boa", "hi"], "smollm2:135m@boa", "hi"),
        (["what is up"], "auto", "what is up"),
        (["-m", "gemma3:27b", "auto"], "gemma3:27b", "auto"),
    ],
)
def test_the_arguments_of_chat(run: Run, node: FakeNode, arguments: list[str], model: str, question: str) -> None:
    assert run("chat", *arguments).code == 0
    assert (node.requests[0].model, node.requests[0].messages[-1].text) == (model, question)


def test_piped_text_is_one_question(run: Run, node: FakeNode) -> None:
    assert run("chat", stdin="first line\nsecond line\n").out == ANSWER + "\n"
    assert node.requests[0].messages[0].text == "first line\nsecond line"


@pytest.mark.usefixtures("fake_daemon")
@pytest.mark.parametrize("verb", ["ask", "chat"])
def test_without_a_node_one_is_started_and_ended(run: Run, paths: Paths, verb: str) -> None:
    result = run(verb, "hi")
    assert (result.code, result.out) == (0, ANSWER + "\n")
    assert result.err.startswith("No node runs on this machine; starting one for this command.")
    assert daemon.find(paths) is None
    assert not paths.node_file.exists()


@pytest.mark.usefixtures("fake_daemon")
def test_keep_keeps_it_and_says_how_to_stop_it(run: Run, paths: Paths) -> None:
    result = run("ask", "hi", "--keep")
    assert "To stop it: mycoswarm down" in result.err
    assert daemon.find(paths) is not None
    assert "starting" not in run("ask", "again").err
    assert run("down").code == 0


@pytest.mark.usefixtures("fake_daemon")
def test_a_node_that_cannot_be_started(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_NODE", '{"start_error": "the state directory is not writable"}')
    result = run("ask", "hi")
    assert result.code == 1
    assert "error: the state directory is not writable\n" in result.err


def test_a_swarm_without_models_offers_one(run: Run, node: FakeNode) -> None:
    node.script.models = False
    alone = run("ask", "hi")
    assert alone.code == 6
    assert alone.err == (
        "error: the swarm has no model yet\nhint: fetch one: mycoswarm pull smollm2:135m, or give --pull\n"
    )
    assert run("ask", "hi", "--no-input", terminal=True, typed="y\n").code == 6
    no = run("ask", "hi", terminal=True, typed="n\n")
    assert no.code == 6
    assert "88.1 MB to fetch, 145 MB on disk; licence Apache-2.0" in no.err.replace("\n", " ")
    assert not node.requests
    yes = run("ask", "hi", terminal=True, typed="\n")
    assert (yes.code, yes.out) == (0, ANSWER + "\n")


def test_pull_is_a_yes(run: Run, node: FakeNode) -> None:
    node.script.models = False
    result = run("chat", "--pull", "hi")
    assert (result.code, result.out) == (0, ANSWER + "\n")
    assert "smollm2:135m is ready." in result.err


def test_thinking_is_not_part_of_the_answer(run: Run, node: FakeNode) -> None:
    node.script.thinking = "let me see"
    result = run("ask", "hi", "--json")
    assert msgspec.json.decode(result.out)["thinking"] == "let me see"
    assert run("ask", "hi").out == ANSWER + "\n"
