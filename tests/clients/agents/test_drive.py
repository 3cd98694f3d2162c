"""What went over a connection is read back as requests; what is wrong with a run is told in a sentence."""

from pathlib import Path

import pytest

from tests.clients.agents.drive import Sent, parse, problem_of
from tests.clients.agents.programs import PROGRAMS, Task

CODEX = next(program for program in PROGRAMS if program.name == "Codex")
ONE = b"POST /v1/x?a=1 HTTP/1.1\r\nHost: h\r\nX-Id: 7\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"POST /y HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
ASKED = (Sent("POST", CODEX.endpoint),)


def test_requests_of_one_connection_are_told_apart() -> None:
    sent = parse(ONE + b"GET /z HTTP/1.1\r\n\r\n" + CHUNKED)
    assert [(one.method, one.target, one.body) for one in sent] == [
        ("POST", "/v1/x?a=1", b"hello"),
        ("GET", "/z", b""),
        ("POST", "/y", b"abcde"),
    ]
    assert sent[0].headers == {"host": "h", "x-id": "7", "content-length": "5"}


def test_a_request_that_broke_off_is_left_out() -> None:
    assert [one.target for one in parse(ONE + ONE[:-2])] == ["/v1/x?a=1"]


@pytest.mark.parametrize(
    ("code", "text", "output", "asked", "said"),
    [
        (0, "hello from the swarm\n", "The file is written.", ASKED, ""),
        (0, "hello from the swarm", "The file is written.", (), "it asked no model; it ended with 0"),
        (0, "hello from the swarm", "", (Sent("POST", "/v1/chat"),), "it asked /v1/chat and not /v1/responses"),
        (1, "hello from the swarm", "The file is written.", ASKED, "it ended with 1"),
        (124, "hello from the swarm", "The file is written.", ASKED, "it did not end within 120 s"),
        (0, None, "The file is written.", ASKED, "there is no hello.txt"),
        (0, "something else", "The file is written.", ASKED, "hello.txt holds 'something else'"),
        (0, "hello from the swarm", "Done.", ASKED, "it did not print the model's last word"),
    ],
)
def test_the_first_thing_that_is_wrong_is_told(
    tmp_path: Path, code: int, text: str | None, output: str, asked: tuple[Sent, ...], said: str
) -> None:
    task = Task("http://127.0.0.1:1", tmp_path, tmp_path)
    if text is not None:
        task.target.write_text(text)
    told = problem_of(CODEX, task, code, output, asked)
    assert told.startswith(said)
    assert bool(told) == bool(said)
