import asyncio
import socket
from unittest.mock import AsyncMock, Mock

import pytest
from zeroconf import NotRunningException
from zeroconf.asyncio import AsyncServiceInfo

from mycoswarm.core.ids import NodeId, SwarmId
from mycoswarm.fabric import mdns
from mycoswarm.fabric.mdns import SOLO, TYPE, Announcement, Discovery, mark_of, own_addresses, recognise

SWARM = SwarmId("founder-0123456789")
NODES = (NodeId("a" * 52), NodeId("b" * 52))


def test_a_mark_is_known_to_members_and_random_to_others() -> None:
    mark = mark_of(NODES[1], SWARM, "5a17")
    assert recognise(mark, SWARM, NODES) == NODES[1]
    assert recognise(mark, SwarmId("founder-9999999999"), NODES) is None
    assert recognise(mark, SWARM, NODES[:1]) is None
    assert recognise("5a17.0000000000000000", SWARM, NODES) is None
    assert mark_of(NODES[1], SWARM, "5a18").partition(".")[2] != mark.partition(".")[2]
    assert mark_of(NODES[0], None, "5a17") != mark_of(NODES[0], None, "5a17")


def info(properties: dict[str, str], addresses: list[str], port: int = 6927) -> AsyncServiceInfo:
    return AsyncServiceInfo(TYPE, f"x.{TYPE}", port=port, properties=properties, parsed_addresses=addresses)


GOOD = {"v": "1", "n": "5a17.0123", "s": "solo", "i": "1,70000"}


def test_an_announcement_is_read() -> None:
    assert mdns._read(
        info(GOOD, ["192.0.2.7", "10.0.0.7", "2001:db8::7", "fd00::7", "100.64.0.7", "fe80::1"])
    ) == Announcement(1, "5a17.0123", SOLO, (1, 70000), ("10.0.0.7:6927", "[fd00::7]:6927"))


@pytest.mark.parametrize(
    "broken",
    [
        {"v": ""},
        {"v": "one"},
        {"v": "12345"},
        *({key: value} for key in ("n", "s") for value in ("", "x" * 65, "a\x1b[2J", "a\nb", "a\u202eb", "ä")),
    ],
)
def test_what_a_stranger_makes_up_is_ignored(broken: dict[str, str]) -> None:
    assert mdns._read(info(GOOD | broken, ["10.0.0.7"])) is None


def test_slots_that_are_none_are_left_out() -> None:
    read = mdns._read(info(GOOD | {"i": "x,-1,5," + "9" * 40 + ",6,7,8,9,10,11"}, ["10.0.0.7"]))
    assert read is not None
    assert read.slots == (5, 6, 7, 8, 9)


def test_an_announcement_without_a_usable_address_is_ignored() -> None:
    assert mdns._read(info(GOOD, ["fe80::1"])) is None
    assert mdns._read(info(GOOD, ["192.0.2.7", "8.8.8.8"])) is None
    assert mdns._read(info(GOOD, ["10.0.0.7"], port=0)) is None


def test_a_link_local_address_is_read_with_the_interface_it_was_heard_on() -> None:
    heard = info(GOOD, ["10.0.0.7"])
    heard.parsed_scoped_addresses = Mock(return_value=["10.0.0.7", "fe80::7%1", "fe80::8%4294967295", "fe80::9"])
    loopback = socket.if_indextoname(1)
    read = mdns._read(heard)
    assert read is not None
    assert read.addresses == ("10.0.0.7:6927", f"[fe80::7%{loopback}]:6927")
    # Another that came by IPv4, which carries no interface: still the same node.
    assert read.lasting == ("10.0.0.7:6927",)


def test_multicast_leaves_from_addresses_that_name_their_interface() -> None:
    assert mdns._speaking(("10.0.0.7", "fd00::7", "fe80::7%eth0")) == ("10.0.0.7", "fe80::7%eth0")
    assert mdns._speaking(("10.0.0.7", "fd00::7")) == ("10.0.0.7", "fd00::7")


async def test_what_floods_is_dropped_before_it_is_parsed_and_counted() -> None:
    dropped: list[str] = []
    discovery = Discovery(6927, lambda: None, dropped.append)
    inner = Mock()
    guarded = mdns._Guarded(inner, discovery._worth_reading)
    data = b"\x00\x00\x84\x00\x00\x00\x00\x08\x00\x00\x00\x00\x0a_mycoswarm"
    for _ in range(1000):
        guarded.datagram_received(data, ("10.0.0.66", 5353))
    guarded.datagram_received(b"a printer's announcement", ("10.0.0.5", 5353))
    assert inner.datagram_received.call_count == 1000 - len(dropped)
    assert set(dropped) == {"rate"}
    assert len(dropped) >= 700


async def test_new_names_and_questions_about_them_are_rationed(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[str] = []
    monkeypatch.setattr(AsyncServiceInfo, "load_from_cache", lambda *_: False)

    async def silence(*_: object) -> bool:
        await asyncio.sleep(10)
        return False

    asked = AsyncMock(side_effect=silence)
    monkeypatch.setattr(AsyncServiceInfo, "async_request", asked)
    discovery = Discovery(6927, lambda: None, dropped.append)
    for number in range(1000):
        discovery.add_service(Mock(), TYPE, f"n{number}.{TYPE}")
    await asyncio.sleep(0)
    assert asked.await_count == mdns.MAX_RESOLVING
    assert len(discovery._heard) == pytest.approx(mdns.NAME_BURST, abs=2)
    assert len(dropped) == 1000 - mdns.MAX_RESOLVING
    await discovery.close()


def test_this_machine_has_an_address() -> None:
    assert own_addresses()


async def test_a_machine_without_multicast_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(addresses: tuple[str, ...]) -> object:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(mdns, "_open", refuse)
    discovery = Discovery(6927, lambda: None)
    await discovery.start()
    await discovery.announce(Announcement(1, "5a17.0123", SOLO, ()))
    assert discovery.problem == "multicast does not work here (Network is unreachable)"
    await discovery.close()


async def test_announcements_are_heard_changed_and_taken_back() -> None:
    """By real multicast on this machine, where other nodes may be about: only our own marks count."""
    heard = asyncio.Event()
    one, other = Discovery(6001, lambda: None), Discovery(6002, heard.set)
    await one.start()
    await other.start()
    mark = mark_of(NODES[0], None, "aa")

    def slots() -> list[tuple[int, ...]]:
        return [seen.slots for seen in other.seen() if seen.mark == mark]

    async def until(wanted: list[tuple[int, ...]]) -> None:
        async with asyncio.timeout(5):
            while slots() != wanted:
                heard.clear()
                await heard.wait()

    await one.announce(Announcement(1, mark, SOLO, ()))
    await until([()])
    # At once, while caches still hold the first: the newer one must win.
    await one.announce(Announcement(1, mark, SOLO, (3,)))
    await until([(3,)])
    await one.close()
    await until([])
    await other.close()


def take(discovery: Discovery, name: str, mark: str, count: str = "1") -> None:
    """What `add_service` does where the whole announcement is known."""
    told = GOOD | {"n": mark, "c": count}
    discovery._heard[f"{name}.{TYPE}"] = None
    discovery._take(AsyncServiceInfo(TYPE, f"{name}.{TYPE}", port=6927, properties=told, parsed_addresses=["10.0.0.7"]))


@pytest.mark.parametrize(
    ("first", "second", "stay"),
    [
        (("aa.1", "2"), ("aa.1", "1"), [("aa.1", 2)]),  # withdrawn, and brought up again by a late answer
        (("aa.1", "1"), ("aa.2", "2"), [("aa.2", 2)]),  # joined: another mark in the same run
        (("aa.1", "7"), ("bb.1", "1"), [("aa.1", 7), ("bb.1", 1)]),  # started again, or somebody else's lie
    ],
)
async def test_of_two_announcements_of_one_run_the_newer_counts(
    first: tuple[str, str], second: tuple[str, str], stay: list[tuple[str, int]]
) -> None:
    discovery = Discovery(6927, lambda: None)
    take(discovery, "1", *first)
    take(discovery, "2", *second)
    assert [(one.mark, one.count) for one in discovery.seen()] == stay


async def test_a_flood_pushes_out_the_oldest_and_shuts_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mdns, "MAX_SEEN", 2)
    monkeypatch.setattr(AsyncServiceInfo, "load_from_cache", lambda *_: False)
    monkeypatch.setattr(AsyncServiceInfo, "async_request", AsyncMock(return_value=False))
    changes: list[int] = []
    discovery = Discovery(6927, lambda: changes.append(1))
    for name in ("a", "b"):
        take(discovery, name, f"{name}.1")
    changes.clear()
    discovery.add_service(Mock(), TYPE, f"c.{TYPE}")
    take(discovery, "c", "c.1")
    assert [one.mark for one in discovery.seen()] == ["b.1", "c.1"]
    assert len(changes) == 2
    await discovery.close()


async def test_what_zeroconf_cannot_announce_is_a_problem_and_is_tried_again() -> None:
    discovery = Discovery(6927, lambda: None)
    broken = AsyncMock(side_effect=NotRunningException("the socket is gone"))
    zeroconf = Mock(async_register_service=broken, async_close=AsyncMock())
    discovery._zeroconf = zeroconf
    await discovery.announce(Announcement(1, "5a17.0123", SOLO, ()))
    assert discovery.problem == "multicast does not work here (the socket is gone)"
    await discovery.announce(Announcement(1, "5a17.0123", SOLO, ()))
    assert broken.await_count == 2
    await discovery.close()
