import pytest

from mycoswarm.api.dialect import Arrival, session_hint
from mycoswarm.core.ids import RequestId


def arrival(**headers: str) -> Arrival:
    return Arrival(RequestId("req-1"), 5, headers, {}, b"")


@pytest.mark.parametrize(
    ("headers", "session"),
    [
        ({}, None),
        ({"x-session-affinity": "a"}, "a"),
        ({"x-claude-code-session-id": "b"}, "b"),
        ({"session-id": "c"}, "c"),
        ({"session_id": "d"}, "d"),
        ({"x-session-id": "e"}, "e"),
        ({"conversation_id": "f"}, "f"),
        ({"x-mycoswarm-session": "g"}, "g"),
        ({"x-session-affinity": "", "session-id": "c"}, "c"),
        ({"x-claude-code-session-id": "b", "x-session-affinity": "a"}, "a"),
        ({"x-mycoswarm-session": "g", "x-session-affinity": "a"}, "g"),
    ],
)
def test_which_conversation_a_client_says_it_is(headers: dict[str, str], session: str | None) -> None:
    assert arrival(**headers).session == session


def test_a_long_name_of_a_conversation_is_kept_short_and_still_tells_it_apart() -> None:
    one, other = session_hint("s" * 5_000_000 + "1"), session_hint("s" * 5_000_000 + "2")
    assert one != other
    assert one is not None
    assert len(one) == 32
    assert arrival(**{"x-session-id": "s" * 5_000_000 + "1"}).session == one
    assert session_hint("s" * 256) == "s" * 256
    assert session_hint("") is None


def test_why_is_asked_with_a_one() -> None:
    assert arrival(**{"x-mycoswarm-why": "1"}).why
    for headers in ({}, {"x-mycoswarm-why": "0"}, {"x-mycoswarm-why": ""}):
        assert not arrival(**headers).why
