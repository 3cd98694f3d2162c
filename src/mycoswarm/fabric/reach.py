"""Which addresses this node may dial: those of the local network, and those that its owner typed. No I/O.

What announcements and other members say of addresses is a hint by others, and must not make this node call somewhere
on the internet. What the owner typed (`peers`, `join CODE --peer`) is his decision: it may be a host name, or lie in
another network. Everything else must be an IP address, so no hint can cause a look-up of a name either.
"""

from mycoswarm.egress import is_local


class Reach:
    """Addresses are HOST:PORT, an IPv6 host in brackets."""

    def __init__(self) -> None:
        self._typed: set[str] = set()

    def typed(self, address: str) -> None:
        """The owner named this address."""
        self._typed.add(address)

    def is_typed(self, address: str) -> bool:
        return address in self._typed

    def allows(self, address: str) -> bool:
        """Whether it may be dialled at all."""
        host = address.rpartition(":")[0].strip("[]")
        # A link-local address says nothing without the interface that it is meant on.
        complete = not host.startswith("fe80:") or "%" in host
        return address in self._typed or (complete and is_local(host))
