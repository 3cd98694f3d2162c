"""Addresses of nodes as people type them and as they are passed on: HOST:PORT, an IPv6 host in brackets."""

from ipaddress import IPv6Address

from mycoswarm.core.errors import InvalidRequest

DEFAULT_PEER_PORT = 6927


def with_port(address: str) -> str:
    """HOST[:PORT] as typed, with the usual port where none was. Raises InvalidRequest."""
    host, colon, port = address.strip().rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        # No port: a name, an IPv4 address, [IPv6] or a bare IPv6 address.
        host, port = address.strip(), str(DEFAULT_PEER_PORT)
    host = host.strip("[]")
    if not port.isdecimal() or not 0 < int(port) < 65536 or not _is_host(host):
        raise InvalidRequest(f"`{address}` is no address of a node", "write HOST or HOST:PORT")
    return joined(host, int(port))


def _is_host(text: str) -> bool:
    """Whether it could be a name or an address; which names there are is found out by dialling."""
    if ":" not in text:
        return bool(text) and not set(text) & set(" /@[]")
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def joined(host: str, port: int | None) -> str:
    """HOST:PORT."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
