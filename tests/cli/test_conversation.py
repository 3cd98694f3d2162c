import pytest

from mycoswarm.cli.conversation import COMMANDS, Command, Conversation, choose_model, parse, split_arguments
from mycoswarm.core.errors import InvalidRequest, UnknownModel

KNOWN = ["gemma3:27b", "smollm2:135m", "mistral"]


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("hello", "hello"),
        ("  hello\n", "hello"),
        ("/help", Command("help")),
        ("/?", Command("help")),
        ("/EXIT", Command("quit")),
        ("/model  gemma3:27b ", Command("model", "gemma3:27b")),
        ("/etc/hosts: what is it?", "/etc/hosts: what is it?"),
        ("/ 2", "/ 2"),
        ("what does /help do", "what does /help do"),
    ],
)
def test_parse(line: str, meaning: Command | str) -> None:
    assert parse(line) == meaning


def test_every_command_is_parsed() -> None:
    assert [parse("/" + name) for name in COMMANDS] == [Command(name) for name in COMMANDS]


@pytest.mark.parametrize(("line", "hint"), [("/modle x", "/model"), ("/xyzzy", "/help")])
def test_an_unknown_command_names_the_nearest(line: str, hint: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(line)
    assert hint in caught.value.hint


def test_turns_are_sent_whole() -> None:
    talk = Conversation("gemma3:27b", "miu")
    talk.answered("one", "1")
    talk.answered("two", "")
    request = talk.request("three")
    assert [(message.role, message.text) for message in request.messages] == [
        ("user", "one"), ("assistant", "1"), ("user", "three"),
    ]  # fmt: skip
    assert (request.model, request.prefer_node, request.why) == ("gemma3:27b", "miu", True)


def test_clearing_begins_another_session() -> None:
    talk = Conversation()
    talk.answered("one", "1")
    before = talk.request("x").session
    assert before == talk.request("y").session
    talk.clear()
    assert talk.turns == ()
    assert talk.request("x").session != before


@pytest.mark.parametrize("name", ["gemma3:27b", "gemma3:27b@miu", "auto", "fast", "mistral"])
def test_known_models_are_chosen_as_typed(name: str) -> None:
    assert choose_model(name, KNOWN) == name


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(UnknownModel) as caught:
        choose_model("gema3", KNOWN)
    assert caught.value.hint == "did you mean gemma3:27b?"


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ([], (None, "")),
        (["gemma3:27b"], ("gemma3:27b", "")),
        (["mistral"], ("mistral", "")),
        (["mistral@miu"], ("mistral@miu", "")),
        (["auto", "hello"], ("auto", "hello")),
        (["phi4:14b"], ("phi4:14b", "")),
        (["hf/some-model:q4@naru", "hi", "there"], ("hf/some-model:q4@naru", "hi there")),
        (["hello"], (None, "hello")),
        (["why is the sky blue?"], (None, "why is the sky blue?")),
        (["why", "is", "the", "sky", "blue?"], (None, "why is the sky blue?")),
        (["note: this is a question"], (None, "note: this is a question")),
        (["2+2"], (None, "2+2")),
    ],
)
def test_split_arguments(words: list[str], meaning: tuple[str | None, str]) -> None:
    assert split_arguments(words, KNOWN) == meaning


def test_a_lone_word_that_is_nearly_a_model_is_not_asked() -> None:
    with pytest.raises(UnknownModel, match="mistal") as caught:
        split_arguments(["mistal"], KNOWN)
    assert "did you mean mistral?" in caught.value.hint
