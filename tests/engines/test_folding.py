"""Messages for templates that take one order only."""

from mycoswarm.core.chat import Message, TextPart, ToolCallPart, ToolResultPart, message
from mycoswarm.engines.folding import fold, join_tail

CALL = Message("assistant", (ToolCallPart("1", "look", "{}"),))
RESULT = Message("tool", (ToolResultPart("1", "seen"),))


def plain(messages: tuple[Message, ...]) -> list[tuple[str, str]]:
    return [(one.role, one.text) for one in messages]


def test_what_is_in_order_stays() -> None:
    ordered = (message("system", "s"), message("user", "a"), message("assistant", "b"), message("user", "c"))
    assert fold(ordered) == ordered
    assert fold(()) == ()


def test_later_system_messages_become_the_users() -> None:
    mixed = (
        message("system", "one"),
        message("system", "two"),
        message("user", "a"),
        message("assistant", "b"),
        message("system", "be short"),
        message("user", "c"),
    )
    assert plain(fold(mixed)) == [
        ("system", "one\n\ntwo"),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "be short\n\nc"),
    ]


def test_neighbours_of_one_role_become_one() -> None:
    assert plain(fold((message("user", "a"), message("user", "b"), message("user", "")))) == [("user", "a\n\nb")]


def test_calls_and_results_stay_apart() -> None:
    history = (message("user", "a"), CALL, RESULT, RESULT, message("assistant", "b"))
    assert fold(history) == history
    assert fold((CALL, message("assistant", "b"))) == (CALL, message("assistant", "b"))


def test_only_the_tail_is_joined_for_engines_that_continue_it() -> None:
    twice = (message("user", "a"), message("user", "b"))
    assert join_tail(twice) == twice
    tail = (*twice, message("assistant", "c"), Message("assistant", (TextPart("d"),)))
    assert plain(join_tail(tail)) == [("user", "a"), ("user", "b"), ("assistant", "c\n\nd")]
    assert join_tail(()) == ()
