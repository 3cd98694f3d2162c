"""What is dialled, and what is not. Exchanges between nodes are in `test_service`."""

import socket
from pathlib import Path

import msgspec
import pytest

from mycoswarm.core.errors import Busy, PeerLost
from mycoswarm.fabric import transport
from mycoswarm.fabric.identity import load_or_create
from mycoswarm.fabric.transport import Directory, JoinChannel, PeerTransport


@pytest.fixture
async def made(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Sockets asked for; none is made, so nothing leaves this machine. Async, so that the loop has its own by then."""
    asked: list[object] = []

    def refuse(*_: object, **named: object) -> socket.socket:
        asked.append(named)
        raise ConnectionRefusedError("the test makes no sockets")

    monkeypatch.setattr(socket, "socket", refuse)
    return asked


@pytest.mark.parametrize(("typed", "sockets"), [(False, 0), (True, 1)])
async def test_joining_calls_beyond_the_network_only_where_the_owner_said_so(
    made: list[object], typed: bool, sockets: int
) -> None:
    with pytest.raises(PeerLost, match="no node answers"):
        await JoinChannel("192.0.2.7:6927", typed).post("/join/start", b"{}")
    assert len(made) == sockets


@pytest.mark.parametrize(("typed", "sockets"), [(False, 0), (True, 1)])
async def test_a_member_is_called_beyond_the_network_only_where_the_owner_said_so(
    made: list[object], tmp_path: Path, typed: bool, sockets: int
) -> None:
    here, member = load_or_create(tmp_path / "here"), load_or_create(tmp_path / "member")
    directory = Directory(lambda _: member.certificate, lambda _: "miu", lambda _: ("192.0.2.7:6927",), lambda _: typed)
    calling = PeerTransport(here, directory)
    with pytest.raises(PeerLost, match="miu cannot be reached"):
        await calling.request(member.id, "GET", "/peer/roster")
    assert len(made) == sockets
    await calling.close()


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\xff\xfe",
        b'{"error":{"code":"\xff","message":"m"}}',
        b"[" * 50_000,
        b'{"error":{"code":"busy","message":"m","data":' + b'{"a":' * 20_000,
        b'{"error":{"code":"busy","message":"' + b"m" * 100_000 + b'"}}',
        b'{"error":{"code":1,"message":"m"}}',
    ],
)
def test_nonsense_in_place_of_an_error_is_still_an_error(reply: bytes) -> None:
    problem = transport._far_error(reply, 500, "miu")
    assert isinstance(problem, PeerLost)
    assert problem.message == "miu answered with status 500 and no reason"


def test_what_another_machine_says_is_one_bounded_line() -> None:
    reply = msgspec.json.encode({"error": {"code": "busy", "message": "full\x1b[2J\n" + "x" * 2000}})
    problem = transport._far_error(reply, 429, "miu")
    assert isinstance(problem, Busy)
    assert problem.message.startswith("full [2J x")
    assert len(problem.message) == transport.MAX_ERROR_TEXT
