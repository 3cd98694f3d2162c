import asyncio
import contextlib
import dataclasses
import datetime as dt
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from mycoswarm.core.errors import (
    Busy,
    DiskFull,
    Fixable,
    InvalidRequest,
    MycoError,
    NotFound,
    PeerLost,
    PortTaken,
    Refused,
    WrongCode,
)
from mycoswarm.core.ids import EngineId, ModelName, NodeId
from mycoswarm.core.model import ModelOffer
from mycoswarm.core.node import PROTOCOL
from mycoswarm.core.views import Joined
from mycoswarm.fabric import entry, membership, peer_app, service, tls, transport
from mycoswarm.fabric.addresses import with_port
from mycoswarm.fabric.entry import Departure
from mycoswarm.fabric.identity import Identity, _certificate, load_or_create
from mycoswarm.fabric.joining import Let
from mycoswarm.fabric.mdns import Discovery
from mycoswarm.fabric.peer_app import PeerRequest
from mycoswarm.fabric.server import bind
from mycoswarm.fabric.service import Fabric
from mycoswarm.fabric.store import Store
from mycoswarm.fabric.wire import MAX_BODY, Addresses, JoinStart, Welcome
from tests.fabric.keys import with_boa
from tests.fabric.swarms import address, all_up, fabric, join, state, until, why


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Fabric, Fabric]]:
    """miu, the keeper, and boa, joined and up."""
    miu, boa = fabric(tmp_path, "miu"), fabric(tmp_path, "boa")
    await miu.start()
    await boa.start()
    await join(miu, boa)
    await until(lambda: all_up(miu, boa))
    yield miu, boa
    await miu.close()
    await boa.close()


async def test_two_nodes_join_and_talk(pair: tuple[Fabric, Fabric]) -> None:
    miu, boa = pair

    async def who(request: PeerRequest) -> bytes:
        return msgspec.json.encode([request.caller, request.path, request.query, request.body.decode()])

    miu.add_handler("POST", "/peer/who", who)
    reply = await boa.transport.request(miu.id, "POST", "/peer/who?a=1", b"hello")
    assert msgspec.json.decode(reply) == [boa.id, "/peer/who", "a=1", "hello"]
    assert boa.swarm is not None
    assert (boa.swarm.name, boa.swarm.members, boa.swarm.keepers) == ("miu's swarm", 2, (miu.id,))
    assert not boa.swarm.founded_here
    with pytest.raises(NotFound):
        await boa.transport.request(miu.id, "GET", "/peer/nothing")


async def test_errors_of_the_far_side_come_back_as_they_were(pair: tuple[Fabric, Fabric]) -> None:
    miu, boa = pair

    async def busy(request: PeerRequest) -> bytes:
        raise Busy("all slots are taken", "wait", retry_after=3.0)

    async def bug(request: PeerRequest) -> bytes:
        raise ZeroDivisionError

    async def late(request: PeerRequest) -> AsyncGenerator[bytes, None]:
        yield b'{"n":1}\n'
        raise Busy("in the middle")

    miu.add_handler("POST", "/peer/busy", busy)
    miu.add_handler("POST", "/peer/bug", bug)
    miu.add_handler("POST", "/peer/late", late)
    with pytest.raises(Busy, match="all slots are taken") as caught:
        await boa.transport.request(miu.id, "POST", "/peer/busy")
    assert (caught.value.hint, caught.value.data) == ("wait", {"retry_after": 3.0})
    with pytest.raises(MycoError, match="bug"):
        await boa.transport.request(miu.id, "POST", "/peer/bug")
    lines: list[bytes] = []

    async def read() -> None:
        async for line in boa.transport.stream(miu.id, "/peer/late"):
            lines.append(line)  # noqa: PERF401 - what came before the error is the point

    with pytest.raises(Busy, match="in the middle"):
        await read()
    assert lines == [b'{"n":1}']


async def test_a_reader_that_leaves_cancels_the_handler_at_once(
    pair: tuple[Fabric, Fabric], monkeypatch: pytest.MonkeyPatch
) -> None:
    miu, boa = pair
    # No keep-alive that would fail and so tell of the reader's going.
    monkeypatch.setattr(peer_app, "KEEP_ALIVE", 60.0)
    ended: list[str] = []

    async def endless(request: PeerRequest) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b'{"n":1}\n'
                await asyncio.sleep(0.01)
        finally:
            ended.append("endless")

    async def prefill(request: PeerRequest) -> AsyncGenerator[bytes, None]:
        try:
            await asyncio.sleep(30)
            yield b"never\n"
        finally:
            ended.append("prefill")

    miu.add_handler("POST", "/peer/endless", endless)
    miu.add_handler("POST", "/peer/prefill", prefill)
    lines = boa.transport.stream(miu.id, "/peer/endless")
    for _ in range(3):
        await anext(lines)
    await lines.aclose()
    await until(lambda: ended == ["endless"])

    async def read() -> None:
        async for _ in boa.transport.stream(miu.id, "/peer/prefill"):
            pass

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(read(), 0.3)
    await until(lambda: ended == ["endless", "prefill"])


async def test_a_long_silence_is_kept_alive_and_a_dead_one_is_not(
    pair: tuple[Fabric, Fabric], monkeypatch: pytest.MonkeyPatch
) -> None:
    miu, boa = pair
    monkeypatch.setattr(transport, "SILENCE", 0.8)
    monkeypatch.setattr(peer_app, "KEEP_ALIVE", 0.2)

    async def slow(request: PeerRequest) -> AsyncGenerator[bytes, None]:
        await asyncio.sleep(1.6)
        yield b'{"n":1}\n'

    miu.add_handler("POST", "/peer/slow", slow)
    assert [line async for line in boa.transport.stream(miu.id, "/peer/slow")] == [b'{"n":1}']
    monkeypatch.setattr(peer_app, "KEEP_ALIVE", 60.0)
    with pytest.raises(PeerLost, match="silent"):
        [line async for line in boa.transport.stream(miu.id, "/peer/slow")]


async def test_a_body_beyond_the_limit_is_refused(pair: tuple[Fabric, Fabric]) -> None:
    miu, boa = pair

    async def size(request: PeerRequest) -> bytes:
        return str(len(request.body)).encode()

    miu.add_handler("POST", "/peer/size", size)
    assert await boa.transport.request(miu.id, "POST", "/peer/size", bytes(MAX_BODY)) == str(MAX_BODY).encode()
    with pytest.raises((InvalidRequest, PeerLost)):
        await boa.transport.request(miu.id, "POST", "/peer/size", bytes(MAX_BODY + 1))


async def test_a_record_reaches_the_others_in_its_newest_form(pair: tuple[Fabric, Fabric]) -> None:
    miu, boa = pair
    changes: list[int] = []
    boa.on_change(lambda: changes.append(1))
    first = miu.nodes()[0].record
    assert first is not None
    for number in range(20):
        miu.publish(msgspec.structs.replace(first, warnings=(str(number),)))

    def heard() -> tuple[str, ...]:
        record = boa.nodes()[1].record
        return record.warnings if record is not None else ()

    await until(lambda: heard() == ("19",))
    assert 1 <= len(changes) <= 5


async def test_an_unknown_node_and_one_that_is_gone(pair: tuple[Fabric, Fabric]) -> None:
    miu, boa = pair
    with pytest.raises(PeerLost, match="not a member"):
        await boa.transport.request(NodeId("x" * 52), "GET", "/")
    await asyncio.wait_for(miu.close(), 10)
    await until(lambda: state(boa, "miu") == "left")
    with pytest.raises(PeerLost, match="miu cannot be reached"):
        await boa.transport.request(miu.id, "GET", "/")


async def test_joining_and_founding_at_once_do_not_overwrite_each_other(tmp_path: Path) -> None:
    miu, boa = fabric(tmp_path, "miu"), fabric(tmp_path, "boa")
    await miu.start()
    await boa.start()
    code = (await miu.invite()).code
    joined, invited = await asyncio.gather(boa.join(code, address(miu)), boa.invite(), return_exceptions=True)
    # The founding waited, and found itself in a swarm of which boa is no keeper.
    assert isinstance(joined, Joined)
    assert isinstance(invited, Refused)
    assert boa.swarm is not None
    assert boa.swarm.id == joined.swarm.id
    await boa.close()
    await miu.close()


async def test_being_let_in_does_not_overwrite_a_swarm(tmp_path: Path) -> None:
    boa = fabric(tmp_path, "boa")
    await boa.start()
    await boa.invite()
    held = boa._trust.roster
    with pytest.raises(Refused, match="this machine belongs to “boa's swarm”, in which it is alone"):
        await boa._entry._let_in(Let(with_boa(), Welcome(b"", {}), b"", "127.0.0.1:1"), move=False)
    assert boa._trust.roster is held
    await boa.close()


async def test_a_departure_that_nobody_heard_of_is_said(
    pair: tuple[Fabric, Fabric], caplog: pytest.LogCaptureFixture
) -> None:
    miu, boa = pair
    await miu.close()
    await until(lambda: state(boa, "miu") == "left")
    assert boa.last_departure is None
    assert await boa.leave() == "miu's swarm"
    assert boa.last_departure == Departure("miu's swarm", told=0, members=1)
    assert "they go on trusting it" in caplog.text


async def test_a_member_that_answers_without_taking_note_does_not_count_as_told(
    pair: tuple[Fabric, Fabric], monkeypatch: pytest.MonkeyPatch
) -> None:
    miu, boa = pair

    async def drop(member: NodeId, data: bytes) -> None:
        raise Busy("not now")

    monkeypatch.setattr(miu._app, "_gate", dataclasses.replace(miu._app._gate, take_roster=drop))
    await boa.leave()
    assert boa.last_departure == Departure("miu's swarm", told=0, members=1)


async def test_leaving_is_known_to_all_and_coming_back_is_possible(pair: tuple[Fabric, Fabric]) -> None:
    miu, boa = pair
    with pytest.raises(Refused, match="only keeper"):
        await miu.leave()
    assert await boa.leave() == "miu's swarm"
    assert boa.last_departure == Departure("miu's swarm", told=1, members=1)
    assert boa.swarm is None
    assert [view.name for view in boa.nodes()] == ["boa"]
    await until(lambda: state(miu, "boa") == "removed")
    assert why(miu, "boa") == "it left the swarm"
    assert miu.swarm is not None
    assert miu.swarm.members == 1
    with pytest.raises(Refused, match="belongs to no swarm"):
        await boa.leave()
    await join(miu, boa)
    await until(lambda: all_up(miu, boa))


async def test_a_member_removed_by_the_keeper_is_cut_off_and_refused(pair: tuple[Fabric, Fabric]) -> None:
    miu, boa = pair
    held = miu._trust.roster
    assert held is not None
    await miu._trust.take(held.remove(boa.id, miu.id, miu._identity.sign))
    assert state(miu, "boa") == "removed"
    assert why(miu, "boa") == "miu removed it"
    # boa keeps its own roster and still trusts miu; miu answers nothing but this.
    with pytest.raises((Refused, PeerLost)):
        await boa.transport.request(miu.id, "GET", "/peer/roster")
    await asyncio.sleep(0.5)
    assert state(miu, "boa") == "removed"


async def test_a_member_is_still_one_after_a_restart(tmp_path: Path) -> None:
    miu, boa = fabric(tmp_path, "miu"), fabric(tmp_path, "boa")
    await miu.start()
    await boa.start()
    await join(miu, boa)
    await until(lambda: all_up(miu, boa))
    await boa.close()
    again = fabric(tmp_path, "boa")
    assert again.id == boa.id
    await again.start()
    await until(lambda: all_up(miu, again), 2)
    record = miu.nodes()[1].record
    assert record is not None
    assert record.incarnation == 2
    await again.close()
    await miu.close()


async def test_codes_that_do_not_work(tmp_path: Path) -> None:
    miu, boa, naru = (fabric(tmp_path, name) for name in ("miu", "boa", "naru"))
    for node in (miu, boa, naru):
        await node.start()
    code = (await miu.invite()).code
    slot, first, second = code.split("-")
    wrong = f"{slot}-{second}-{first}" if first != second else f"{slot}-{first}-lemon"
    for left in (2, 1, 0):
        with pytest.raises(WrongCode) as caught:
            await boa.join(wrong, address(miu))
        assert caught.value.data["tries_left"] == left
    with pytest.raises(Refused, match="too many wrong tries"):
        await boa.join(code, address(miu))
    with pytest.raises(NotFound, match="no open invitation"):
        await boa.join("999-guitar-lemon", address(miu))
    with pytest.raises(NotFound, match="no open invitation"):
        await boa.join("1-guitar-lemon", address(naru))
    with pytest.raises(PeerLost, match="no node answers"):
        await boa.join("1-guitar-lemon", "127.0.0.1:9")
    with pytest.raises(InvalidRequest, match="no address"):
        await boa.join("1-guitar-lemon", "host:port")
    fresh = (await miu.invite()).code
    await boa.join(fresh, address(miu))
    with pytest.raises(Refused, match="this machine belongs to “miu's swarm”, with 1 other machine"):
        await boa.join(fresh, address(miu))
    with pytest.raises(Refused, match="already let a machine in"):
        await naru.join(fresh, address(miu))
    with pytest.raises(Refused, match="only a keeper"):
        await boa.invite()
    for node in (miu, boa, naru):
        await node.close()


async def test_a_code_that_nobody_announces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "FIND", 0.3)
    boa = fabric(tmp_path, "boa")
    await boa.start()
    with pytest.raises(NotFound, match="no node with this invitation") as caught:
        await boa.join("998-guitar-lemon")
    assert "--peer" in caught.value.hint
    await boa.close()


async def test_a_headless_code_outlives_a_restart_and_is_used_once(tmp_path: Path) -> None:
    miu = fabric(tmp_path, "miu")
    await miu.start()
    code = (await miu.invite(headless=True)).code
    await miu.close()
    miu, boa = fabric(tmp_path, "miu"), fabric(tmp_path, "boa")
    await miu.start()
    await boa.start()
    await asyncio.wait_for(boa.headless_join(code), 10)
    assert boa.swarm is not None
    await boa.leave()
    await boa.headless_join(code)
    assert boa.swarm is None
    with pytest.raises(Refused):
        await boa.join(code, address(miu))
    with pytest.raises(InvalidRequest, match="damaged"):
        await boa.headless_join("mycoswarm-join-xyz")
    await boa.close()
    await miu.close()


async def test_a_private_node_reaches_others_and_offers_nothing(tmp_path: Path) -> None:
    offer = ModelOffer(ModelName("m"), EngineId("embedded"), "loaded")
    miu, boa = fabric(tmp_path, "miu"), fabric(tmp_path, "boa", announce="no", models=(offer,))
    await miu.start()
    await boa.start()
    assert boa.peer_port is None
    with pytest.raises(Refused, match="takes no connections"):
        await boa.invite()
    await join(miu, boa)
    await until(lambda: all_up(miu, boa))
    seen, own = miu.nodes()[1].record, boa.nodes()[0].record
    assert seen is not None
    assert own is not None
    assert (seen.models, own.models) == ((), (offer,))
    assert miu.nodes()[1].addresses == ()
    await boa.close()
    await until(lambda: state(miu, "boa") == "left")
    await miu.close()


async def test_a_member_is_found_at_an_address_that_the_owner_named(tmp_path: Path) -> None:
    """Without multicast, without remembered addresses, and where nobody can call back."""
    miu, boa = fabric(tmp_path, "miu"), fabric(tmp_path, "boa", announce="no")
    await miu.start()
    await boa.start()
    await join(miu, boa)
    await until(lambda: all_up(miu, boa))
    await boa.close()
    (tmp_path / "boa" / "state" / "addresses.json").unlink()
    again = fabric(tmp_path, "boa", announce="no", peers=("127.0.0.1:9", address(miu)))
    await again.start()
    await until(lambda: all_up(miu, again))
    await again.close()
    await miu.close()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("miu", "miu:6927"),
        ("miu.local:7000", "miu.local:7000"),
        ("192.0.2.7", "192.0.2.7:6927"),
        ("192.0.2.7:1", "192.0.2.7:1"),
        ("2001:db8::7", "[2001:db8::7]:6927"),
        ("[2001:db8::7]", "[2001:db8::7]:6927"),
        ("[2001:db8::7]:99", "[2001:db8::7]:99"),
        ("fe80::1%eth0", "[fe80::1%eth0]:6927"),
    ],
)
def test_addresses_as_people_type_them(typed: str, meant: str) -> None:
    assert with_port(typed) == meant


@pytest.mark.parametrize(
    "typed",
    ["", ":6927", "miu:0", "miu:abc", "bad::host:x", "http://miu:6927", "http://miu", "a b", "[2001:db8::7]x:1"],
)
def test_what_is_no_address_is_refused_before_it_is_dialled(typed: str) -> None:
    with pytest.raises(InvalidRequest, match="is no address of a node"):
        with_port(typed)


async def test_closing_a_node_that_did_not_start_is_harmless(tmp_path: Path) -> None:
    node = fabric(tmp_path, "miu")
    await node.close()
    await node.close()


async def test_a_peer_that_is_no_address_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="the setting `peers`: `host:abc`"):
        await fabric(tmp_path, "miu", peers=("127.0.0.1:9", "host:abc")).start()


async def test_a_look_round_that_fails_is_not_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    async def refresh(_: Discovery) -> bool:
        looks.append(1)
        raise ZeroDivisionError

    monkeypatch.setattr(service, "LOOK_ROUND", 0.01)
    monkeypatch.setattr(Discovery, "refresh", refresh)
    node = fabric(tmp_path, "miu")
    await node.start()
    await until(lambda: len(looks) > 2)
    await node.close()


async def test_a_full_disk_does_not_swallow_the_commands_that_follow(
    pair: tuple[Fabric, Fabric], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, boa = pair
    changes: list[int] = []

    def full(*_: object) -> None:
        raise DiskFull("the disk is full")

    monkeypatch.setattr(Store, "keep_incarnation", full)
    monkeypatch.setattr(Store, "keep_addresses", full)
    await asyncio.sleep(0)
    boa.on_change(lambda: changes.append(1))
    boa._execute([membership.Incarnated(7), membership.AddressesLearned(), membership.Changed()])
    await until(lambda: bool(changes))


async def test_a_part_that_does_not_close_keeps_nothing_else_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = Discovery.close

    async def close(self: Discovery) -> None:
        await real(self)
        raise ZeroDivisionError

    monkeypatch.setattr(Discovery, "close", close)
    before = asyncio.all_tasks()
    node = fabric(tmp_path, "miu")
    await node.start()
    port = node.peer_port
    assert port is not None
    await node.close()
    await until(lambda: asyncio.all_tasks() == before)
    bind(port).close()
    assert "did not close" in caplog.text


async def test_a_start_that_fails_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def announce(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Discovery, "announce", announce)
    before = asyncio.all_tasks()
    node = fabric(tmp_path, "miu")
    with pytest.raises(ZeroDivisionError):
        await node.start()
    port = node.peer_port
    assert port is not None
    await until(lambda: asyncio.all_tasks() == before)
    bind(port).close()


async def test_what_a_member_says_of_the_internet_is_not_dialled(pair: tuple[Fabric, Fabric]) -> None:
    miu, boa = pair
    link = next(iter(boa._membership._peers[miu.id].links))
    said = Addresses({miu.id: ("192.0.2.7:6927", "host.example:6927", "192.168.255.7:6927")})
    boa._feed(membership.Received(link, said))
    known = boa._membership.addresses_of(miu.id)
    assert "192.168.255.7:6927" in known
    assert not any("192.0.2.7" in one or "example" in one for one in known)


async def test_an_address_that_the_owner_typed_is_one_after_a_restart(tmp_path: Path) -> None:
    miu, boa = fabric(tmp_path, "miu"), fabric(tmp_path, "boa", announce="no")
    await miu.start()
    await boa.start()
    typed = f"localhost:{miu.peer_port}"
    await boa.join((await miu.invite()).code, typed)
    await until(lambda: all_up(miu, boa))
    await boa.close()
    assert typed in (tmp_path / "boa" / "state" / "addresses.json").read_text()
    again = fabric(tmp_path, "boa", announce="no")
    await again.start()
    assert typed in again._membership.addresses_of(miu.id)
    await until(lambda: all_up(miu, again))
    await again.close()
    await miu.close()


async def test_a_taken_port_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        with pytest.raises(PortTaken, match="is taken") as caught:
            await fabric(tmp_path, "miu", port=taken.getsockname()[1]).start()
    assert "--peer-port" in caught.value.hint


@pytest.mark.parametrize("data", [b'{"format":1,"stat', b'{"format":99,"new":1}', b""])
async def test_a_damaged_or_newer_roster_stops_the_start_and_is_left_alone(tmp_path: Path, data: bytes) -> None:
    node = fabric(tmp_path, "miu")
    path = tmp_path / "miu" / "state" / "roster.json"
    path.write_bytes(data)
    with pytest.raises(Fixable, match=r"roster\.json"):
        await node.start()
    assert path.read_bytes() == data


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    async def life(home: Path) -> None:
        miu, boa = fabric(home, "miu"), fabric(home, "boa")
        await miu.start()
        await boa.start()
        await join(miu, boa)
        await until(lambda: all_up(miu, boa))
        await boa.close()
        await miu.close()
        await asyncio.sleep(0.1)

    await life(tmp_path / "warm")
    before, tasks = len(list(Path("/proc/self/fd").iterdir())), len(asyncio.all_tasks())
    await life(tmp_path / "measured")
    assert len(asyncio.all_tasks()) == tasks
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


# Attacks on the peer port.


async def call(port: int, context: ssl.SSLContext, request: bytes) -> bytes:
    """What the port answers to `request`; empty where it breaks the connection."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="x")
            try:
                writer.write(request)
                return await reader.read()
            finally:
                writer.transport.abort()
    return b""


def get(path: str, method: str = "GET", body: bytes = b"") -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        + body
    )


async def test_without_a_certificate_nothing_but_join_answers(pair: tuple[Fabric, Fabric]) -> None:
    miu, _ = pair
    assert miu.peer_port is not None
    paths = ["/", "/peer/roster", "/peer/watch", "/peer/who", "/join", "/joinx", "/peer/../join/start", "/schema"]
    for path in paths:
        for method in ("GET", "POST"):
            reply = await call(miu.peer_port, tls.unverified_context(), get(path, method))
            assert reply.startswith(b"HTTP/1.1 403"), (path, reply[:200])
            assert b"not a member" in reply
    assert b" 404 " in await call(miu.peer_port, tls.unverified_context(), get("/join/other", "POST"))
    start = msgspec.json.encode(JoinStart(PROTOCOL, 7, b"", b""))
    assert b"no open invitation" in await call(
        miu.peer_port, tls.unverified_context(), get("/join/start", "POST", start)
    )
    for nonsense in (b"", b"[]", b"\xff" * 100, b'{"slot":' + b"9" * 2000 + b"}"):
        assert b" 400 " in await call(miu.peer_port, tls.unverified_context(), get("/join/start", "POST", nonsense))
    reply = await call(miu.peer_port, tls.unverified_context(), get("/join/start", "POST", bytes(4097)))
    assert b"larger than 4096" in reply


async def test_strangers_are_served_slowly(pair: tuple[Fabric, Fabric]) -> None:
    miu, _ = pair
    assert miu.peer_port is not None
    request = get("/join/start", "POST", b"{}")
    replies = await asyncio.gather(*(call(miu.peer_port, tls.unverified_context(), request) for _ in range(30)))
    assert sum(b" 400 " in reply for reply in replies) in range(10, 22)
    assert any(b" 429 " in reply for reply in replies)


async def test_a_foreign_certificate_with_a_members_name_is_refused(
    pair: tuple[Fabric, Fabric], tmp_path: Path
) -> None:
    miu, boa = pair
    assert miu.peer_port is not None
    # Another key, but subject and alternative name say that it is boa.
    mallory = load_or_create(tmp_path / "mallory")
    pretending = _certificate(mallory.key, boa.id)
    mallory.certificate_file.write_bytes(pretending.public_bytes(Encoding.PEM))
    for attacker in (mallory, load_or_create(tmp_path / "eve")):
        context = _showing(attacker)
        assert await call(miu.peer_port, context, get("/peer/roster")) == b""
        assert await call(miu.peer_port, context, get("/join/start", "POST")) == b""
    assert b" 200 " in await call(miu.peer_port, _showing(boa._identity), get("/peer/roster"))


async def test_a_certificate_signed_by_a_members_key_is_refused(pair: tuple[Fabric, Fabric], tmp_path: Path) -> None:
    """A member cannot let others in by signing for them: its certificate is no authority."""
    miu, boa = pair
    assert miu.peer_port is not None
    mallory = load_or_create(tmp_path / "mallory")
    issuer = x509.load_der_x509_certificate(boa._identity.certificate)
    signed = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.subject)
        .public_key(mallory.key.public_key())
        .serial_number(7)
        .not_valid_before(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2090, 1, 1, tzinfo=dt.UTC))
        .sign(boa._identity.key, hashes.SHA256())
    )
    chain = signed.public_bytes(Encoding.PEM) + issuer.public_bytes(Encoding.PEM)
    mallory.certificate_file.write_bytes(chain)
    assert await call(miu.peer_port, _showing(mallory), get("/peer/roster")) == b""


async def test_a_dialling_node_accepts_only_the_members_own_certificate(
    pair: tuple[Fabric, Fabric], tmp_path: Path
) -> None:
    miu, boa = pair
    naru = fabric(tmp_path, "naru")
    await naru.start()
    assert naru.peer_port is not None
    # Somebody answers at miu's address who is not miu: nothing is sent to him.
    boa._membership._peers[miu.id].addresses = (address(naru),)
    with pytest.raises(PeerLost):
        await boa.transport.request(miu.id, "POST", "/peer/who", b"secret")
    await naru.close()


def _showing(identity: Identity) -> ssl.SSLContext:
    context = tls.unverified_context()
    context.load_cert_chain(identity.certificate_file, identity.key_file)
    return context
