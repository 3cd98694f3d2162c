import pytest

from mycoswarm.fabric import flood
from mycoswarm.fabric.flood import Flood


def packet(records: int = 8, response: bool = True, label: bytes = flood.LABEL, size: int = 0) -> bytes:
    flags = b"\x84\x00" if response else b"\x00\x00"
    head = b"\x00\x00" + flags + b"\x00\x00" + records.to_bytes(2, "big") + b"\x00\x00\x00\x00"
    return (head + b"\x0a" + label).ljust(size, b"x")


@pytest.mark.parametrize("data", [b"", b"short", packet(label=b"_printers!")])
def test_what_is_not_about_us_is_not_read(data: bytes) -> None:
    assert Flood(0.0).judge(data, "10.0.0.1", 0.0) == "foreign"


def test_a_packet_may_hold_so_much() -> None:
    made = Flood(0.0)
    assert made.judge(packet(flood.MAX_RECORDS), "10.0.0.1", 0.0) == "read"
    assert made.judge(packet(flood.MAX_RECORDS + 1), "10.0.0.1", 0.0) == "size"
    assert made.judge(packet(size=flood.MAX_PACKET + 1), "10.0.0.1", 0.0) == "size"
    # A query names what its sender knows already.
    assert made.judge(packet(200, response=False), "10.0.0.1", 0.0) == "read"


def test_who_floods_uses_up_his_own_allowance() -> None:
    made = Flood(0.0)
    verdicts = [made.judge(packet(), "10.0.0.66", number / 1000) for number in range(10_000)]
    assert verdicts.count("read") == pytest.approx(flood.SENDER_BURST + 10 * flood.SENDER_RATE, abs=2)
    assert made.judge(packet(), "10.0.0.1", 10.0) == "read"
    assert made.judge(packet(), "10.0.0.66", 20.0) == "read"


def test_made_up_senders_share_one_allowance_and_bounded_memory() -> None:
    made = Flood(0.0)
    verdicts = [made.judge(packet(), f"10.{n // 65536}.{n // 256 % 256}.{n % 256}", n / 10_000) for n in range(100_000)]
    assert verdicts.count("read") == pytest.approx(flood.ALL_BURST + 10 * flood.ALL_RATE, abs=2)
    assert len(made._senders) == flood.MAX_SENDERS


def test_many_records_cost_more_than_few() -> None:
    few, many = Flood(0.0), Flood(0.0)
    assert [few.judge(packet(8), "a", 0.0) for _ in range(300)].count("read") == flood.SENDER_BURST
    assert [many.judge(packet(64), "a", 0.0) for _ in range(300)].count("read") == flood.SENDER_BURST / 8
