import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.core.errors import InvalidRequest
from mycoswarm.core.ids import NodeId
from mycoswarm.core.node import NodeRecord
from mycoswarm.fabric import wire
from mycoswarm.fabric.wire import Addresses, Ask, Beat, Goodbye, Heard, Hello, Lines, Message, Record, Twin, Want

_ids = st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=1, max_size=52).map(NodeId)
_counts = st.integers(0, 2**53)
_short = st.text(max_size=100)
_newness = st.tuples(st.integers(0, 2**40), st.integers(0, 2**40))
_messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Hello, _ids, st.text(max_size=20), st.integers(0, 65535), known=st.none() | _newness),
    st.builds(Beat, st.integers(0, 2**40), st.integers(0, 2**40), st.floats(0, 1e6), _short, _short),
    st.builds(Record, st.builds(NodeRecord, _ids, st.text(max_size=200), _counts, _counts, st.text(max_size=100))),
    st.builds(Want, st.dictionaries(_ids, _newness, max_size=5)),
    st.builds(Ask, _ids),
    st.builds(Heard, _ids, st.none() | st.floats(0, 1e6)),
    st.builds(Addresses, st.dictionaries(_ids, st.lists(st.text(), max_size=4).map(tuple), max_size=5)),
    st.builds(Twin, _short, st.booleans()),
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


_DEEP = b"[" * 200_000


@pytest.mark.parametrize(
    "line",
    [
        b'{"t":"ask","node":"\xff"}',
        b'{"t":"ask","later":' + _DEEP,
        b'["b",1,1,0.1,"","",' + _DEEP,
        _DEEP,
        b'["b",' + b"9" * 5000 + b',1,1,"",""]',
        b'["b",1,1,1e999,"",""]',
        b'{"t":"heard","node":"a","age":-5}',
        b'{"t":"heard","node":"a","age":1e300}',
        b'{"t":"hello","node":"a","run":"r","port":99999}',
        b'{"t":"hello","node":"a","run":"r","port":1,"known":[1,99999999999999999999]}',
        b'{"t":"ask","node":"' + b"a" * 200 + b'"}',
        b'{"t":"twin","address":"' + b"a" * 400 + b'","refused":true}',
    ],
)
def test_hostile_lines_are_refused_like_any_other(line: bytes) -> None:
    with pytest.raises(InvalidRequest):
        wire.decode(line)


def test_what_one_message_may_list_is_bounded() -> None:
    many = {NodeId(f"n{number}"): ("10.0.0.1:1",) for number in range(wire.MAX_NODES + 1)}
    for message in (
        Addresses(many),
        Addresses({NodeId("a"): ("10.0.0.1:1",) * 17}),
        Want(dict.fromkeys(many, (1, 1))),
        Record(NodeRecord(NodeId("a"), "a", 1, 1, "0", warnings=("w",) * 33)),
        Record(NodeRecord(NodeId("a"), "a" * 201, 1, 1, "0")),
    ):
        with pytest.raises(InvalidRequest):
            wire.decode(wire.encode(message))


def test_a_record_that_says_too_much_is_cut_to_what_others_take() -> None:
    record = NodeRecord(NodeId("a"), "a" * 300, 1, 1, "0", warnings=("w" * 2000,) * 40)
    assert wire.decode(wire.encode(Record(record.bounded()))) == Record(record.bounded())
