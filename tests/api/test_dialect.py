import pytest

from mycoswarm.api.dialect import Arrival
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
        ({"x-session-id": "s" * 5_000}, "s" * 256),
    ],
)
def test_which_conversation_a_client_says_it_is(headers: dict[str, str], session: str | None) -> None:
    assert arrival(**headers).session == session


def test_why_is_asked_with_a_one() -> None:
    assert arrival(**{"x-mycoswarm-why": "1"}).why
    for headers in ({}, {"x-mycoswarm-why": "0"}, {"x-mycoswarm-why": ""}):
        assert not arrival(**headers).why
