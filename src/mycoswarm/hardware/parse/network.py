"""A network interface out of what psutil and `/sys/class/net` tell of it."""

from collections.abc import Iterable, Set
from ipaddress import ip_address
from typing import Literal

from mycoswarm.core.hardware import NetworkInterface

Kind = Literal["ethernet", "wifi", "loopback", "bridge", "virtual", "other"]


def kind(name: str, files: Set[str], on_linux: bool = True) -> Kind:
    """What an interface is.

    Args:
        files: names of the entries of its folder below `/sys/class/net`; empty on other systems.
    """
    if name == "lo" or (not on_linux and name.startswith("lo")):
        return "loopback"
    if not on_linux:
        # macOS tells no kind without its own framework; its names are only a habit.
        return "bridge" if name.startswith("bridge") else "other"
    if {"wireless", "phy80211"} & files:
        return "wifi"
    if "bridge" in files:
        return "bridge"
    # Only hardware has a device behind it: tunnels, veths, docker's and virtual machines' taps have none.
    return "ethernet" if "device" in files else "virtual"


def interface(
    name: str, up: bool, addresses: Iterable[str], mac: str | None, mbits: int | None, what: Kind
) -> NetworkInterface:
    """Addresses lose their zone (`fe80::1%eth0`), what is no IP address is dropped, speed 0 and below is unknown."""
    plain: list[str] = []
    for address in addresses:
        bare = address.partition("%")[0]
        try:
            plain.append(str(ip_address(bare)))
        except ValueError:
            continue
    return NetworkInterface(
        name=name,
        up=up,
        addresses=tuple(plain),
        mac=mac if mac and mac != "00:00:00:00:00:00" else None,
        speed=mbits if mbits and mbits > 0 else None,
        kind=what,
    )
