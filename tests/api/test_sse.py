from mycoswarm.api import sse


def test_a_comment_is_one_line() -> None:
    assert sse.comment("queue", "2 before\nthis\r\n\r\ndata: x") == b": queue: 2 before this data: x\n\n"
    assert sse.comment("x\n\ndata: {}", "") == b": x data: {}:\n\n"


def test_an_event_has_a_name_and_data() -> None:
    assert sse.event("ping", b'{"a":1}') == b'event: ping\ndata: {"a":1}\n\n'
