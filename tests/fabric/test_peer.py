import pytest

from mycoswarm.core.ids import NodeId
from mycoswarm.fabric.peer import MAX_ADDRESSES, MAX_HISTORY, Link, LinkId, Peer, duration, with_address


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0 s"), (2.0, "2 s"), (2.14, "2.1 s"), (12.4, "12 s"), (119.0, "119 s"), (300.0, "5 min"), (9000.0, "2 h")],
)
def test_spans_of_time_in_words(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_the_address_that_worked_comes_first_and_a_hint_second() -> None:
    assert with_address(("a", "b"), "c", front=True) == ("c", "a", "b")
    assert with_address(("a", "b"), "c", front=False) == ("a", "c", "b")
    assert with_address(("a", "b"), "b", front=True) == ("b", "a")
    assert with_address(("a", "b", "c", "d"), "fe80::1%eth0", front=False) == ("a", "b", "c", "fe80::1%eth0")
    assert len(with_address(("a", "b", "c", "d"), "e", front=False)) == MAX_ADDRESSES


def test_a_reason_may_be_known_better_later() -> None:
    peer = Peer(NodeId("b"), "boa")
    peer.changed("up", "met", 1.0)
    peer.changed("suspect", "silent for 2 s", 10.0)
    peer.because("silent for 3 s, but naru hears it")
    assert [(change.ago, change.why) for change in peer.history(11.0)] == [
        (1.0, "silent for 3 s, but naru hears it"),
        (10.0, "met"),
    ]
    assert peer.why == "silent for 3 s, but naru hears it"


def test_the_time_away_counts_from_the_end_of_up() -> None:
    peer = Peer(NodeId("b"), "boa")
    assert peer.away(5.0) is None
    peer.changed("up", "met", 1.0)
    peer.changed("suspect", "silent", 10.0)
    peer.changed("down", "silent", 11.0)
    assert peer.away(22.0) == 12.0
    for number in range(100):
        peer.changed("up" if number % 2 else "down", str(number), float(number))
    assert len(peer.history(100.0)) == MAX_HISTORY


def test_the_host_of_a_stream_is_that_of_its_other_end() -> None:
    assert Link(LinkId(1), NodeId("b"), dialled=True, address="[fd00::1]:6927", since=0.0).host == "[fd00::1]"
    assert Link(LinkId(1), NodeId("b"), dialled=False, address="10.0.0.1", since=0.0).host == "10.0.0.1"
