"""Linux's table of TCP sockets: whose is the other end of a connection on this machine? Pure.

Format: proc(5), /proc/net/tcp and tcp6. Addresses are hexadecimal words in the machine's byte order, ports are not.
"""

import sys
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = tuple[str, int]
"""Numeric host and port."""

_ESTABLISHED = "01"
_LOCAL, _REMOTE, _STATE, _UID, _INODE = 1, 2, 3, 7, 9


def owner(lines: Iterable[str], local: Address, remote: Address) -> int | None:
    """The user id of the socket that is bound to `local` and connected to `remote`; None where none is.

    Only one that is open on both sides counts: of a socket that its program has closed the kernel says 0, which is
    root's. An orphan has no inode.
    """
    wanted = _key(local), _key(remote)
    for line in lines:
        fields = line.split()
        if len(fields) <= _INODE or fields[_STATE] != _ESTABLISHED or fields[_INODE] == "0":
            continue
        try:
            if (_parse(fields[_LOCAL]), _parse(fields[_REMOTE])) == wanted:
                return int(fields[_UID])
        except ValueError:
            continue
    return None


def _key(address: Address) -> tuple[IPv4Address | IPv6Address, int]:
    return _plain(ip_address(address[0])), address[1]


def _parse(text: str) -> tuple[IPv4Address | IPv6Address, int]:
    host, _, port = text.partition(":")
    raw = bytes.fromhex(host)
    if sys.byteorder == "little":
        raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    return _plain(ip_address(raw)), int(port, 16)


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """A socket of the newer family that speaks the older one names its addresses in a roundabout way."""
    return getattr(address, "ipv4_mapped", None) or address
