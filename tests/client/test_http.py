import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mycoswarm.client import http
from mycoswarm.client.daemon import connect
from mycoswarm.client.http import Client
from mycoswarm.core.chat import ChatRequest, Finish, Start, Text, Usage, message
from mycoswarm.core.errors import CannotServe, DaemonUnreachable, DiskFull, PeerLost, Refused, TokenRequired, WrongCode
from mycoswarm.core.paths import Paths
from mycoswarm.core.views import (
    Admitted,
    CompareBody,
    Expelled,
    InviteBody,
    JoinBody,
    Joined,
    PullBody,
    RecoverBody,
    Rotated,
)
from tests.cli import samples
from tests.cli.fake_node import FakeNode

HELLO = ChatRequest("auto", (message("user", "hello"),))


def test_views_come_back_as_the_structs_they_are(node: FakeNode) -> None:
    client = connect(node.paths)
    assert client.nodes() == samples.nodes()
    assert client.models() == samples.models()
    assert client.ps() == samples.running()
    assert client.node() == samples.detail(port=node.port)
    assert client.history("uncho") == samples.history()
    assert client.health() == samples.health()
    assert client.route(HELLO).placement == samples.placement()


def test_a_chat_is_its_deltas_in_order(node: FakeNode) -> None:
    with connect(node.paths).chat(HELLO) as stream:
        deltas = list(stream)
    assert [delta.seq for delta in deltas] == list(range(len(deltas)))
    assert any(isinstance(delta, Start) for delta in deltas)
    assert "".join(delta.text for delta in deltas if isinstance(delta, Text)) == node.script.text
    assert isinstance(deltas[-2], Finish)
    assert isinstance(deltas[-1], Usage)


def test_deltas_come_one_by_one(node: FakeNode) -> None:
    node.script.pace = 0.05
    with connect(node.paths).chat(HELLO) as stream:
        times = [time.monotonic() for delta in stream if isinstance(delta, Text)]
    assert len(times) > 5
    assert times[-1] - times[0] > 0.2


def test_closing_a_chat_reaches_the_node(node: FakeNode) -> None:
    node.script.pace = 0.02
    node.script.text = "word " * 1000
    stream = connect(node.paths).chat(HELLO)
    next(stream)
    stream.close()
    stream.close()
    assert node.hung_up.wait(2)


def test_an_interrupt_closes_the_socket(node: FakeNode) -> None:
    node.script.pace = 0.02
    node.script.text = "word " * 1000

    def listen() -> None:
        with connect(node.paths).chat(HELLO) as stream:
            next(stream)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        listen()
    assert node.hung_up.wait(2)


def test_an_error_before_the_first_byte_is_raised_as_what_it_was(node: FakeNode) -> None:
    node.script.refuse = "no node can serve gemma3:27b"
    with pytest.raises(CannotServe, match="no node can serve") as caught:
        connect(node.paths).chat(HELLO)
    assert caught.value.hint == "is miu running? mycoswarm nodes"


def test_membership_carries_the_token(node: FakeNode) -> None:
    client = connect(node.paths)
    assert client.invite(InviteBody()).code == "7-guitar-lemon"
    assert client.join(JoinBody("7-guitar-lemon")).swarm == samples.swarm()
    with pytest.raises(WrongCode):
        client.join(JoinBody("1-wrong-code"))
    with pytest.raises(TokenRequired):
        Client(node.port).invite(InviteBody())
    node.paths.token_file.write_text("another")
    with pytest.raises(TokenRequired):
        client.leave()


def test_membership_is_spelt_as_the_node_reads_it(node: FakeNode) -> None:
    node.script.waiting = ("naru",)
    client = connect(node.paths)
    assert client.metrics() == "mycoswarm_info 1\n"
    assert client.compare(CompareBody("10.0.0.1", "abc", True)) == samples.comparing()
    assert client.comparing("run-0").state == "waiting"
    assert client.compared("run-0", same=True).joined == Joined(samples.swarm())
    assert client.compared("run-0", same=False).state == "ended"
    assert client.waiting() == samples.waiting("naru")
    assert client.admit("run-0", same=True) == Admitted("naru", True)
    assert client.expel("the one/two") == Expelled(samples.UNCHO, "the one/two", 1, 2)
    assert len(client.add_keeper("boa").keepers) == 2
    assert client.remove_keeper("boa") == samples.swarm()
    assert len(client.recover(RecoverBody("a b", ("miu",))).keepers) == 2
    assert client.rotate() == Rotated(samples.BOA, samples.NARU)
    assert [call[:2] for call in node.calls] == [
        ("POST", "/swarm/v1/join/compare"),
        ("POST", "/swarm/v1/join/compare/run-0"),
        ("POST", "/swarm/v1/join/compare/run-0"),
        ("POST", "/swarm/v1/admit"),
        ("DELETE", "/swarm/v1/nodes/the%20one%2Ftwo"),
        ("POST", "/swarm/v1/keepers"),
        ("DELETE", "/swarm/v1/keepers/boa"),
        ("POST", "/swarm/v1/recover"),
        ("POST", "/swarm/v1/rotate"),
    ]
    assert [call[2] for call in node.calls][:3] == [
        b'{"address":"10.0.0.1","swarm":"abc","move":true}',
        b'{"same":true}',
        b'{"same":false}',
    ]


def test_pull_is_progress_then_the_end_or_the_error(node: FakeNode) -> None:
    client = connect(node.paths)
    with client.pull(PullBody("smollm2:135m")) as steps:
        stages = [step.stage for step in steps]
    assert stages[0] == "download"
    assert stages[-1] == "done"
    with client.pull(PullBody("broken")) as steps, pytest.raises(DiskFull, match="145 MB needed"):
        list(steps)


def test_a_name_with_slashes_and_blanks_survives_the_path(node: FakeNode) -> None:
    assert connect(node.paths).remove("hf/some model:q4", "miu").name == "hf/some model:q4"
    assert node.calls[-1][1] == "/swarm/v1/models/hf/some%20model:q4?node=miu"


@pytest.mark.parametrize("host", ["192.168.1.10", "example.org", "0.0.0.0", "::"])
def test_only_this_machine_is_spoken_to(host: str) -> None:
    with pytest.raises(Refused, match="is not this machine"):
        Client(6926, host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_every_loopback_address_is_this_machine(host: str) -> None:
    assert Client(6926, host).port == 6926


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        client = Client(free.getsockname()[1])
        assert not client.healthy()
        with pytest.raises(DaemonUnreachable, match="no node answers") as caught:
            client.nodes()
    assert caught.value.exit_code == 3


@pytest.fixture
def raw() -> Iterator[tuple[int, list[bytes]]]:
    """A server that answers every connection with the bytes put into the list, then holds it open."""
    said: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            held.append(connection)
            connection.recv(65536)
            for part in said:
                connection.sendall(part)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield server.getsockname()[1], said
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    for connection in held:
        connection.close()
    thread.join(2)


def test_a_silent_node_is_not_waited_for_for_ever(
    raw: tuple[int, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "SILENCE_TIMEOUT", 0.2)
    port, said = raw
    with pytest.raises(DaemonUnreachable, match="does not answer"):
        Client(port).chat(HELLO)
    said.append(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n\n\r\n")
    with Client(port).chat(HELLO) as stream, pytest.raises(PeerLost, match="fell silent"):
        next(stream)


def test_a_stream_cut_in_the_middle_of_a_chunk_is_an_error(raw: tuple[int, list[bytes]]) -> None:
    port, said = raw
    said.append(b'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 500\r\n\r\n{"type":"te')
    said.append(b"\n")
    with Client(port).chat(HELLO) as stream, pytest.raises(PeerLost, match="does not understand"):
        next(stream)


@pytest.mark.parametrize("answer", [b"HTTP/1.0 200 OK\r\n\r\n<html>", b"SSH-2.0-OpenSSH_9.6\r\n", b"\x00\x01"])
def test_another_program_on_the_port_is_told_apart(
    raw: tuple[int, list[bytes]], answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "CALL_TIMEOUT", 0.3)
    port, said = raw
    said.append(answer)
    client = Client(port)
    assert not client.healthy(0.3)
    with pytest.raises((DaemonUnreachable, PeerLost)):
        client.node()


def test_a_token_that_cannot_be_found_is_named(tmp_path: Path, paths: Paths) -> None:
    with pytest.raises(TokenRequired, match=str(tmp_path)):
        Client(1, token_file=tmp_path / "token").leave()
