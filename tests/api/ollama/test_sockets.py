"""Lines of /proc/net/tcp{,6} as a kernel on a little-endian machine prints them."""

import sys

import pytest

from mycoswarm.api.ollama.sockets import owner

pytestmark = pytest.mark.skipif(sys.byteorder == "big", reason="the samples are of a little-endian machine")

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
CLIENT, SERVER = ("127.0.0.1", 40000), ("127.0.0.1", 11434)


def entry(local: str, remote: str, state: str = "01", uid: int = 1000, inode: int = 7) -> str:
    return f"   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000  {uid}        0 {inode} 1 000 20 4"


V4 = ("0100007F:9C40", "0100007F:2CAA")
V6 = ("0000000000000000FFFF00000100007F:9C40", "0000000000000000FFFF00000100007F:2CAA")


@pytest.mark.parametrize("pair", [V4, V6])
def test_the_client_s_end_is_found_by_both_addresses(pair: tuple[str, str]) -> None:
    lines = [
        HEAD,
        entry("0100007F:2CAA", "00000000:0000", "0A", 5),
        entry(pair[1], pair[0], uid=33),
        entry("0100007F:9C40", "0100007F:1F90", uid=44),
        entry(*pair, uid=1000),
    ]
    assert owner(lines, CLIENT, SERVER) == 1000


@pytest.mark.parametrize("state", ["04", "05", "06", "08", "0A"])
def test_an_end_that_is_closed_says_nothing(state: str) -> None:
    """The kernel gives such a socket to root."""
    assert owner([HEAD, entry(*V4, state=state, uid=0)], CLIENT, SERVER) is None


def test_an_orphan_says_nothing() -> None:
    assert owner([entry(*V4, uid=0, inode=0)], CLIENT, SERVER) is None


def test_ipv6() -> None:
    one = "00000000000000000000000001000000"
    assert owner([entry(f"{one}:9C40", f"{one}:2CAA", uid=9)], ("::1", 40000), ("::1", 11434)) == 9
    assert owner([entry(f"{one}:9C40", f"{one}:2CAA", uid=9)], CLIENT, SERVER) is None


@pytest.mark.parametrize(
    "line", ["", "x", HEAD, entry("0100007F", V4[1]), entry("XYZ:1", V4[1]), entry("0102:1", V4[1])]
)
def test_lines_that_make_no_sense_are_passed_over(line: str) -> None:
    assert owner([line, entry(*V4)], CLIENT, SERVER) == 1000
