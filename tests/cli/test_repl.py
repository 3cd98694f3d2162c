"""The conversation on a real (pseudo) terminal."""

import stat

import pytest

from mycoswarm.cli.app import App
from mycoswarm.cli.conversation import Conversation
from mycoswarm.cli.printer import Printer
from mycoswarm.cli.repl import Repl
from mycoswarm.client.daemon import connect
from mycoswarm.core.paths import Paths
from tests.cli.fake_node import FakeNode
from tests.cli.terminal import Terminal

CTRL_C, CTRL_D, ALT_ENTER = "\x03", "\x04", "\x1b\r"


def test_a_conversation(node: FakeNode) -> None:
    node.script.text = "Answer to **{question}**, turn {turns}."
    with Terminal("chat") as terminal:
        assert "model auto · /help" in terminal.until("› ")
        terminal.keys("first\r")
        assert "Answer to first, turn 1." in terminal.until("tokens/s")
        terminal.until("› ")
        terminal.keys("second\r")
        assert "turn 3." in terminal.until("first token")
        terminal.until("› ")
        terminal.keys(CTRL_D)
        assert terminal.end() == 0
    assert [len(request.messages) for request in node.requests] == [1, 3]
    assert node.requests[0].session == node.requests[1].session


def test_several_lines_are_one_question(node: FakeNode) -> None:
    with Terminal("chat") as terminal:
        terminal.until("› ")
        terminal.keys("one" + ALT_ENTER + "two\\\rthree\r")
        terminal.until("tokens/s")
        terminal.until("› ")
        terminal.keys("\x1b[200~pasted\rlines\x1b[201~\r")
        terminal.until("tokens/s")
        terminal.until("› ")
        terminal.keys("/quit\r")
        assert terminal.end() == 0
    assert [request.messages[-1].text for request in node.requests] == ["one\ntwo\nthree", "pasted\nlines"]


def test_ctrl_c_stops_the_answer_and_not_the_program(node: FakeNode) -> None:
    node.script.pace = 0.03
    node.script.text = "word " * 500
    with Terminal("chat") as terminal:
        terminal.until("› ")
        terminal.keys("go on\r")
        terminal.until("word word word")
        terminal.keys(CTRL_C)
        terminal.until("stopped")
        assert node.hung_up.wait(2), "the node was not told"
        terminal.until("› ")
        node.script.pace, node.script.text = 0.0, "short"
        terminal.keys("again\r")
        terminal.until("first token")
        terminal.until("› ")
        terminal.keys(CTRL_C)
        terminal.until("Ctrl-D or /quit leaves")
        terminal.until("› ")
        terminal.keys(CTRL_C)
        assert terminal.end() == 0
    assert node.requests[1].messages[1].text.startswith("word word"), "what was heard belongs to the conversation"


def test_commands(node: FakeNode) -> None:
    with Terminal("chat") as terminal:
        terminal.until("› ")
        for keys, shown in (
            ("/help", "Alt-Enter"),
            ("/why", "there is no answer yet to explain"),
            ("/model", "Now: auto"),
            ("/model gema3", "did you mean gemma3:27b?"),
            ("/model smollm2:135m", "Now talking with smollm2:135m."),
            ("/node", "Now: any node"),
            ("/node nobody", "no node `nobody`"),
            ("/node naru", "naru answers from now on"),
            ("/nonsense", "there is no command /nonsense"),
        ):
            terminal.keys(keys + "\r")
            terminal.until(shown)
            terminal.until("› ")
        terminal.keys("hi\r")
        assert "naru · smollm2:135m" in terminal.until("first token")
        terminal.until("› ")
        terminal.keys("/why\r")
        terminal.until("made of")
        terminal.until("› ")
        terminal.keys("/clear\r")
        terminal.until("A new conversation begins")
        terminal.until("› ")
        terminal.keys("/node any\r")
        terminal.until("Any node may answer")
        terminal.until("› ")
        terminal.keys("hi\r")
        terminal.until("first token")
        terminal.until("› ")
        terminal.keys("/quit\r")
        assert terminal.end() == 0
    assert [(request.model, request.prefer_node) for request in node.requests] == [
        ("smollm2:135m", "naru"), ("smollm2:135m", None),
    ]  # fmt: skip
    assert len(node.requests[1].messages) == 1
    assert node.requests[0].session != node.requests[1].session


def test_tab_completes_commands_and_names(node: FakeNode) -> None:
    with Terminal("chat") as terminal:
        terminal.until("› ")
        terminal.keys("/mo\tgem\t\r")
        terminal.until("Now talking with gemma3:27b.")
        terminal.until("› ")
        terminal.keys("/quit\r")
        assert terminal.end() == 0


def test_what_was_typed_is_remembered_for_its_owner_only(node: FakeNode) -> None:
    for _ in range(2):
        with Terminal("chat") as terminal:
            terminal.until("› ")
            terminal.keys("remember me\r")
            terminal.until("first token")
            terminal.until("› ")
            terminal.keys("/quit\r")
            assert terminal.end() == 0
    history = node.paths.state / "history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert "remember me" in history.read_text()


def test_an_error_does_not_end_the_conversation(node: FakeNode) -> None:
    node.script.refuse = "no node can serve this"
    with Terminal("chat") as terminal:
        terminal.until("› ")
        terminal.keys("hi\r")
        terminal.until("error: no node can serve this")
        node.script.refuse = ""
        terminal.until("› ")
        terminal.keys("hi\r")
        terminal.until("first token")
        terminal.until("› ")
        terminal.keys(CTRL_D)
        assert terminal.end() == 0
    assert len(node.requests[-1].messages) == 1, "a question without an answer leaves no trace"


def test_keys_typed_ahead_are_kept_for_the_prompt_and_not_echoed(node: FakeNode) -> None:
    node.script.pace = 0.03
    node.script.text = "word " * 20
    with Terminal("chat") as terminal:
        terminal.until("› ")
        terminal.keys("go on\r")
        terminal.until("word word")
        terminal.keys("typed ahead\r" + CTRL_D)
        assert "typed" not in terminal.until("tokens/s")
        terminal.until("tokens/s")
        assert terminal.end() == 0
    assert node.requests[1].messages[-1].text == "typed ahead"


def test_a_dumb_terminal_gets_plain_text(node: FakeNode) -> None:
    node.script.text = "plain **markdown**"
    with Terminal("chat", TERM="dumb") as terminal:
        terminal.until("› ")
        terminal.keys("hi\n")
        assert "plain **markdown**" in terminal.until("first token")
        terminal.until("› ")
        terminal.keys(CTRL_D)
        assert terminal.end() == 0
    assert "\x1b" not in terminal.raw


def test_without_a_node_a_private_one_is_started_and_the_starter_offered(paths: Paths) -> None:
    with Terminal("chat", FAKE_NODE='{"models": false}') as terminal:
        terminal.until("Fetch it now? [Y/n] ")
        terminal.keys("y\n")
        terminal.until("smollm2:135m is ready.")
        terminal.until("› ")
        terminal.keys("hi\r")
        terminal.until("first token")
        terminal.until("› ")
        terminal.keys(CTRL_D)
        assert terminal.end() == 0
    assert not paths.node_file.exists()


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("/m", ["/model "]),
        ("/", ["/model ", "/node ", "/why", "/clear", "/help", "/quit"]),
        ("/model gem", ["gemma3:27b"]),
        ("/node un", ["uncho"]),
        ("/node a", ["any"]),
        ("/help x", []),
        ("a question", []),
    ],
)
def test_completions(node: FakeNode, line: str, names: list[str]) -> None:
    repl = Repl(App(Printer()), connect(node.paths), Conversation())
    assert [name for name, _ in repl.completions(line)] == names
