import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.core.errors import InvalidRequest
from mycoswarm.core.ids import NodeId
from mycoswarm.core.node import NodeRecord
from mycoswarm.fabric import wire
from mycoswarm.fabric.wire import Addresses, Ask, Beat, Goodbye, Heard, Hello, Lines, Message, Record, Want

_ids = st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=1, max_size=52).map(NodeId)
_newness = st.tuples(st.integers(0, 2**40), st.integers(0, 2**40))
_messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Hello, _ids, st.text(max_size=20), st.integers(0, 65535), known=st.none() | _newness),
    st.builds(Beat, st.integers(0, 2**40), st.integers(0, 2**40), st.floats(0, 1e6), st.text(), st.text()),
    st.builds(Record, st.builds(NodeRecord, _ids, st.text(), st.integers(0), st.integers(0), st.text())),
    st.builds(Want, st.dictionaries(_ids, _newness, max_size=5)),
    st.builds(Ask, _ids),
    st.builds(Heard, _ids, st.none() | st.floats(0, 1e6)),
    st.builds(Addresses, st.dictionaries(_ids, st.lists(st.text(), max_size=4).map(tuple), max_size=5)),
    st.just(Goodbye()),
)


@given(_messages)
def test_every_message_is_one_line_and_comes_back(message: Message) -> None:
    line = wire.encode(message)
    assert line.count(b"\n") == 1
    assert wire.decode(line.rstrip(b"\n")) == message


@given(st.lists(_messages, max_size=6), st.lists(st.integers(1, 40), min_size=1))
def test_lines_come_back_however_the_bytes_are_cut(messages: list[Message], cuts: list[int]) -> None:
    data = b"\n".join(wire.encode(message) for message in messages) + b"\n\n"
    lines, found, at = Lines(), list[bytes](), 0
    while at < len(data):
        size = cuts[at % len(cuts)]
        found += lines.feed(data[at : at + size])
        at += size
    assert [wire.decode(line) for line in found] == messages


def test_a_beat_is_small() -> None:
    """50 nodes send 50 a second; TLS, TCP and IP add some 75 bytes to each."""
    beat = Beat(86400, 86399, 0.9999, "0" * 16, "1" * 16)
    assert len(wire.encode(beat)) <= 70


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b'["b"]', b'{"t":"later version"}', b"\xff", b'{"t":"hello"}'])
def test_what_is_not_understood_is_refused(line: bytes) -> None:
    with pytest.raises(InvalidRequest):
        wire.decode(line)


def test_a_line_without_end_is_refused() -> None:
    lines = Lines(limit=100)
    assert lines.feed(b"x" * 100) == []
    with pytest.raises(InvalidRequest):
        lines.feed(b"x")
    with pytest.raises(InvalidRequest):
        wire.decode(b"x" * (wire.MAX_LINE + 1))
