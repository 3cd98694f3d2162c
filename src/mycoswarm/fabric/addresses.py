"""Addresses of nodes as people type them and as they are passed on: HOST:PORT, an IPv6 host in brackets."""

from mycoswarm.core.errors import InvalidRequest

DEFAULT_PEER_PORT = 6927


def with_port(address: str) -> str:
    """HOST[:PORT] as typed, with the usual port where none was. Raises InvalidRequest."""
    host, colon, port = address.strip().rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        # No port: a name, an IPv4 address, [IPv6] or a bare IPv6 address.
        host, port = address.strip(), str(DEFAULT_PEER_PORT)
    if not port.isdecimal() or not 0 < int(port) < 65536 or not host.strip("[]"):
        raise InvalidRequest(f"`{address}` is no address of a node", "write HOST or HOST:PORT")
    return joined(host.strip("[]"), int(port))


def joined(host: str, port: int | None) -> str:
    """HOST:PORT."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
