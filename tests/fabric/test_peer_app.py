"""What a caller may send, and what becomes of the connection when he sends more."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from mycoswarm.core.clock import SystemClock
from mycoswarm.core.errors import Refused
from mycoswarm.core.ids import NodeId
from mycoswarm.fabric import peer_app
from mycoswarm.fabric.entrance import ABORT
from mycoswarm.fabric.link import Link
from mycoswarm.fabric.peer_app import Gate, PeerApp, PeerRequest
from mycoswarm.fabric.roster import MAX_BYTES as MAX_ROSTER
from mycoswarm.fabric.server import CERTIFICATE
from mycoswarm.fabric.wire import MAX_JOIN_BODY
from mycoswarm.telemetry.health import Health

MEMBER, OTHER = b"a member's certificate", b"another's"
REFUSED = "mycoswarm_strangers_refused_total"


class Desk:
    """A peer API without sockets. judging: seconds that a roster takes to be refused; None where it is taken."""

    def __init__(self) -> None:
        self.health = Health(SystemClock())
        self.now = 0.0
        self.judging: float | None = None
        self.answers = asyncio.Event()
        self.answers.set()
        self.rosters: list[bytes] = []
        self.joins: list[tuple[str, bytes, str]] = []
        self.echoed: list[bytes] = []
        gate = Gate(
            caller={MEMBER: NodeId("member"), OTHER: NodeId("other")}.get,
            roster=lambda: b"{}",
            take_roster=self._take_roster,
            join=self._join,
            accepted=lambda link: self._line,
            lost=lambda link: None,
        )
        self.app = PeerApp(gate, self, self.health)
        self.app.handlers["POST", "/peer/echo"] = self._echo

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    async def _take_roster(self, caller: NodeId, roster: bytes) -> None:
        self.rosters.append(roster)
        if self.judging is not None:
            self.now += self.judging
            raise Refused("this roster does not verify")

    def _join(self, path: str, body: bytes, source: str) -> Any:
        self.joins.append((path, body, source))
        return b"{}"

    def _line(self, line: bytes) -> None:
        raise Refused("nobody speaks here")

    async def _echo(self, request: PeerRequest) -> bytes:
        self.echoed.append(request.body)
        await self.answers.wait()
        return request.body

    async def ask(
        self,
        method: str,
        path: str,
        chunks: Iterable[bytes] = (),
        certificate: bytes | None = None,
        announced: int | None = None,
        ends: bool = True,
        host: str = "10.0.0.9",
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        """Status, headers and body. announced: Content-Length; None for chunks. ends: else the rest never comes."""
        waiting = [*chunks]
        got: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if waiting:
                return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting) or not ends}
            if ends and not any(one["type"] == "http.response.start" for one in got) and not self._asked:
                self._asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await asyncio.sleep(60)
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            got.append(message)

        self._asked = False
        headers = [] if announced is None else [(b"content-length", b"%d" % announced)]
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": headers,
            "client": (host, 1),
            "state": {CERTIFICATE: certificate, ABORT: lambda: None},
        }
        await asyncio.wait_for(self.app(scope, receive, send), 5)  # pyright: ignore[reportArgumentType]
        self.unread = sum(map(len, waiting))
        body = b"".join(one.get("body", b"") for one in got[1:])
        return got[0]["status"], dict(got[0]["headers"]), body


@pytest.fixture
def desk() -> Desk:
    return Desk()


def code_of(body: bytes) -> str:
    return msgspec.json.decode(body)["error"]["code"]


async def test_a_strangers_connection_ends_with_every_answer(desk: Desk) -> None:
    for method, path in (("POST", "/join/start"), ("GET", "/peer/roster"), ("POST", "/peer/echo"), ("GET", "/")):
        _, headers, _ = await desk.ask(method, path)
        assert headers[b"connection"] == b"close"
    assert desk.joins == [("/join/start", b"", "10.0.0.9")]
    assert desk.echoed == []


async def test_a_members_connection_stays_once_its_request_was_read(desk: Desk) -> None:
    status, headers, body = await desk.ask("POST", "/peer/echo", [b"a", b"b"], MEMBER)
    assert (status, body) == (200, b"ab")
    assert b"connection" not in headers
    # Nothing there: nobody reads what it sent, so it would be taken for the next request.
    status, headers, _ = await desk.ask("POST", "/peer/nothing", [b"a" * 1000], MEMBER)
    assert (status, headers[b"connection"]) == (404, b"close")


async def test_an_announced_length_is_refused_before_a_byte_is_read(desk: Desk) -> None:
    chunk = b"a" * 65536
    for path, certificate in (("/join/start", None), ("/peer/roster", MEMBER), ("/peer/echo", MEMBER)):
        status, headers, body = await desk.ask("POST", path, [chunk] * 3, certificate, announced=100 * 2**20)
        assert (status, code_of(body), headers[b"connection"]) == (400, "invalid_request", b"close")
        assert desk.unread == 3 * len(chunk)
    assert desk.rosters == []
    assert desk.echoed == []


async def test_chunks_are_read_up_to_the_limit(desk: Desk) -> None:
    status, _, _ = await desk.ask("POST", "/join/start", [b"a" * 1000] * 100)
    assert status == 400
    assert desk.unread >= 100_000 - MAX_JOIN_BODY - 1000
    chunk = b"a" * 2**20
    status, _, _ = await desk.ask("POST", "/peer/roster", [chunk] * 100, MEMBER)
    assert status == 400
    assert desk.unread >= 100 * 2**20 - MAX_ROSTER - 2 * 2**20
    assert desk.rosters == []


async def test_a_body_does_not_take_for_ever(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_app, "STRANGERS_PATIENCE", 0.1)
    monkeypatch.setattr(peer_app, "MEMBERS_PATIENCE", 0.1)
    for path, certificate in (("/join/start", None), ("/peer/echo", MEMBER), ("/peer/roster", MEMBER)):
        status, headers, _ = await desk.ask("POST", path, [b"a"], certificate, ends=False)
        assert (status, headers[b"connection"]) == (400, b"close")


async def test_what_one_member_sends_at_once_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_app, "MAX_HELD", 10_000)
    desk.answers.clear()
    async with asyncio.TaskGroup() as group:
        # One that is still read, one that is being answered.
        half = group.create_task(desk.ask("POST", "/peer/roster", [b"a" * 3000], MEMBER, ends=False))
        whole = group.create_task(desk.ask("POST", "/peer/echo", [b"a" * 2000] * 2, MEMBER))
        await asyncio.sleep(0)
        while not desk.echoed:
            await asyncio.sleep(0)
        status, headers, body = await desk.ask("POST", "/peer/echo", [b"a" * 2000] * 50, MEMBER)
        assert (status, code_of(body), headers[b"connection"]) == (429, "busy", b"close")
        assert desk.unread >= 96_000
        # Others have room of their own, and what has ended gives it back.
        other = group.create_task(desk.ask("POST", "/peer/echo", [b"a" * 9000], OTHER))
        desk.answers.set()
        assert (await whole)[0] == (await other)[0] == 200
        assert (await desk.ask("POST", "/peer/echo", [b"a" * 7000], MEMBER))[0] == 200
        half.cancel()
    assert (await desk.ask("POST", "/peer/echo", [b"a" * 10_000], MEMBER))[0] == 200


async def test_a_member_whose_rosters_are_refused_is_not_heard_for_longer_and_longer(desk: Desk) -> None:
    desk.judging = 0.6
    statuses = [(await desk.ask("POST", "/peer/roster", [b"forged"], MEMBER))[0] for _ in range(20)]
    assert statuses[0] == 403
    assert statuses[-1] == 429
    assert len(desk.rosters) == statuses.count(403) <= 6
    assert desk.unread == len(b"forged"), "it is not even read"
    # What it costs in an hour, however often it is tried.
    desk.rosters.clear()
    for _ in range(3600):
        desk.now += 1.0
        await desk.ask("POST", "/peer/roster", [b"forged"], MEMBER)
    assert 10 < len(desk.rosters) * desk.judging < 3600 * 0.03
    # It is told the roster as ever, and others are heard.
    assert (await desk.ask("GET", "/peer/roster", certificate=MEMBER))[0] == 200
    desk.judging = None
    assert (await desk.ask("POST", "/peer/roster", [b"true"], OTHER))[0] == 200


async def test_rosters_that_were_on_their_way_while_the_first_was_refused_are_not_judged(desk: Desk) -> None:
    desk.judging = 4.0
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(desk.ask("POST", "/peer/roster", [b"a"] * 50, MEMBER)) for _ in range(20)]
    assert sorted(one.result()[0] for one in asked) == [403] + [429] * 19
    assert len(desk.rosters) == 1


async def test_joins_of_one_address_do_not_keep_others_out(desk: Desk) -> None:
    statuses = [(await desk.ask("POST", "/join/start"))[0] for _ in range(40)]
    assert statuses.count(200) <= peer_app.JOIN_PACE[1] + 4
    assert statuses[-1] == 429
    assert (await desk.ask("POST", "/join/start", host="10.0.0.10"))[0] == 200
    assert desk.health.total("mycoswarm_joins_refused_total", reason="busy") == statuses.count(429)


async def test_strangers_are_counted_but_for_those_who_ask_whether_they_still_belong(desk: Desk) -> None:
    assert (await desk.ask("GET", "/peer/roster", certificate=b"one that left"))[0] == 403
    assert desk.health.total(REFUSED) == 0
    assert (await desk.ask("GET", "/peer/roster"))[0] == 403
    assert (await desk.ask("POST", "/peer/watch", certificate=b"one that left"))[0] == 403
    assert desk.health.total(REFUSED) == 2


async def test_a_line_that_is_too_long_ends_the_stream_and_is_counted(desk: Desk) -> None:
    await desk.ask("POST", "/peer/watch", [b"a" * 2**20, b"a" * 2**20], MEMBER, ends=False)
    assert desk.health.total("mycoswarm_lines_refused_total") == 1


def test_a_link_says_where_its_peer_is() -> None:
    assert peer_app.address_of("::ffff:10.0.0.9") == "10.0.0.9"
    assert peer_app.address_of("fe80::1%eth0") == ""
    assert peer_app.address_of("fd00::1") == "[fd00::1]"
    assert Link(NodeId("a"), dialled=False, address="10.0.0.9").address == "10.0.0.9"
