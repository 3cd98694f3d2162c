"""What the comparison lets pass is told here one by one; everything else it must see."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.clients.sameness import Reply, difference, normal

HERE, THERE = "aaaa1111", "bbbb2222"
BODY = (
    b'data: {"id":"chatcmpl-REQ","created":1763850000,"model":"m","choices":[{"delta":{"content":"Hel"}}]}\n\n'
    b'data: {"id":"chatcmpl-REQ","created":1763850000,"usage":{"prompt_tokens":3}}\n\ndata: [DONE]\n\n'
)


def reply(body: bytes = BODY, request: str = "req-01", node: str = "miu", status: int = 200) -> Reply:
    said = body.replace(b"REQ", request.encode())
    headers = (
        ("content-type", "text/event-stream"),
        ("x-mycoswarm-request", request),
        ("x-mycoswarm-node", node),
        ("content-length", str(len(said))),
    )
    return Reply(status, headers, said)


def compared(one: Reply, other: Reply) -> str:
    return difference(normal(one, HERE), normal(other, THERE))


def test_ids_times_durations_and_the_entry_node_may_differ() -> None:
    ollama = b'{"created_at":"2026-11-22T10:00:00.123Z","total_duration":%d,"eval_count":4,"done":true}'
    assert compared(reply(), reply(request="req-2345")) == ""
    assert compared(reply(), reply(BODY.replace(b"1763850000", b"1763850009"))) == ""
    assert compared(reply(ollama % 123), reply(ollama.replace(b"10:00:00.123Z", b"11:11:11Z") % 98765)) == ""
    assert compared(reply(node=HERE), reply(node=THERE)) == ""


@pytest.mark.parametrize(
    "other",
    [
        reply(status=201),
        reply(node="boa"),
        reply(BODY.replace(b"Hel", b"hel")),
        reply(BODY.replace(b'"prompt_tokens":3', b'"prompt_tokens":4')),
        reply(BODY.replace(b"data: [DONE]\n\n", b"")),
        reply(BODY.replace(b"\n\n", b"\r\n\r\n")),
        reply(BODY.replace(b"chatcmpl-REQ", b"chatcmpl-XXX", 1)),
        reply(BODY.replace(b'"created":1763850000', b'"created":null', 1)),
        reply(BODY.replace(b'"created":1763850000', b'"created":0', 1)),
        reply(BODY.replace(b'"created":1763850000', b'"created":"1763850000"', 1)),
        reply(BODY.replace(b'"created":1763850000,', b"", 1)),
        reply(BODY.replace(b'"model":"m"', b'"Model":"m"')),
        reply(node=THERE[:4]),
    ],
)
def test_nothing_else_may(other: Reply) -> None:
    assert compared(reply(), other)


def test_headers_are_compared_with_their_order_and_a_wrong_length_is_seen() -> None:
    one = reply()
    swapped = Reply(200, (one.headers[1], one.headers[0], *one.headers[2:]), one.body)
    assert compared(one, swapped) == "headers in another order"
    missing = Reply(200, one.headers[1:], one.body)
    assert "content-type" in compared(one, missing)
    assert compared(one, Reply(200, (*one.headers[:3], ("content-length", "1")), one.body))


def test_a_duration_of_nothing_is_seen() -> None:
    ollama = b'{"total_duration":%d}'
    assert compared(reply(ollama % 5), reply(ollama % 0))


@given(st.integers(0, len(BODY) - 1), st.binary(min_size=1, max_size=1))
def test_no_other_byte_can_change_unseen(at: int, byte: bytes) -> None:
    changed = BODY[:at] + byte + BODY[at + 1 :]
    allowed = [(index, index + 10) for index in range(len(BODY)) if BODY[index : index + 10] == b"1763850000"]
    inside = any(start <= at < end for start, end in allowed)
    if changed == BODY or (inside and byte.isdigit()):
        assert compared(reply(), reply(changed)) == ""
    else:
        assert compared(reply(), reply(changed))
