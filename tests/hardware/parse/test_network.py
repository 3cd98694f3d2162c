import pytest

from mycoswarm.core.hardware import NetworkInterface
from mycoswarm.hardware.parse import network


@pytest.mark.parametrize(
    ("name", "files", "linux", "kind"),
    [
        ("lo", set(), True, "loopback"),
        ("enp3s0", {"device", "queues"}, True, "ethernet"),
        ("wlp2s0", {"device", "phy80211", "wireless"}, True, "wifi"),
        ("docker0", {"bridge", "brif"}, True, "bridge"),
        ("veth12", {"queues"}, True, "virtual"),
        ("lo0", set(), False, "loopback"),
        ("bridge0", set(), False, "bridge"),
        ("en0", set(), False, "other"),
    ],
)
def test_kinds(name: str, files: set[str], linux: bool, kind: network.Kind):
    assert network.kind(name, files, linux) == kind


def test_addresses_lose_their_zone_and_unknown_values_are_none():
    made = network.interface("eth0", True, ["10.0.0.2", "fe80::1%eth0", "nonsense"], "00:00:00:00:00:00", 0, "ethernet")
    assert made == NetworkInterface("eth0", True, ("10.0.0.2", "fe80::1"), None, None, "ethernet")


def test_a_speed_that_is_known_is_kept():
    assert network.interface("eth0", True, [], "02:00:00:00:00:01", 2500, "ethernet").speed == 2500
