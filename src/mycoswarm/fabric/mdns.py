"""[io] Announcing this node by multicast DNS, and hearing the others. Hints only: nothing here is believed.

TXT:  v  protocol
      n  SALT.TAG: TAG = HMAC(swarm id, SALT + node id). A member recognises another member by trying the ids of its
         roster; to everybody else it is a random number that changes at every start, so a laptop cannot be followed.
      s  hash of the swarm's id, or "solo"
      i  slots of invitations that can still let somebody in; 0: whoever asks is let in
      c  counts this node's announcements since it started

Link-local IPv6 addresses are announced like the others, as a last resort: a network without a router has nothing else.
They mean something only together with an interface, so whoever hears one adds the interface that it was heard on
(`fe80::1%eth0`), which is why IPv6 is spoken from link-local addresses only, and dials it by that.

What strangers send is bounded before it is read (`flood`), and again in the number of names that are remembered and
asked about; what is dropped is counted.
"""

import asyncio
import hmac
import logging
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

import msgspec
import psutil
from zeroconf import Error as ZeroconfError
from zeroconf import IPVersion, ServiceListener, Zeroconf
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from mycoswarm.core.ids import NodeId, SwarmId
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.egress import is_local
from mycoswarm.fabric.allowance import Allowance
from mycoswarm.fabric.flood import Flood

_log = logging.getLogger(__name__)

TYPE = "_mycoswarm._tcp.local."
SOLO = "solo"
RESOLVE = 3000
"""Milliseconds for the rest of an announcement of which only the name has arrived."""
MAX_SEEN = 512
"""Announcements remembered; a flood of made-up ones must not grow without end."""
MAX_RESOLVING = 16
"""Announcements of which the rest is being asked for at one time."""
NAME_RATE, NAME_BURST = 20.0, 256.0
"""New names a second: a swarm of 64 that is switched on at once fits, and a flood cannot churn what is remembered."""
SETTLE = 10.0
"""Seconds after a change of addresses in which an interface may not take part yet: IPv6 first makes sure that nobody
else has its address."""
_VIRTUAL = ("docker", "br-", "virbr", "lxc", "lxd", "podman", "cni", "flannel", "tun", "tap", "wg", "tailscale")
"""Interfaces by whose addresses other machines seldom reach this one; they are named last."""


class Announcement(msgspec.Struct, frozen=True):
    """What a node tells the network. swarm: `pairing.swarm_hash`, or SOLO. addresses: HOST:PORT.

    count: by which the newer of two announcements of one run of a node is known; set where it is sent.
    """

    protocol: int
    mark: str
    swarm: str
    slots: tuple[int, ...]
    addresses: tuple[str, ...] = ()
    count: int = 0

    @property
    def salt(self) -> str:
        """The same in all announcements of one run of a node."""
        return self.mark.partition(".")[0]

    @property
    def lasting(self) -> tuple[str, ...]:
        """The addresses that are heard on whichever interface: link-local ones are not where IPv4 carried them."""
        return tuple(address for address in self.addresses if "%" not in address) or self.addresses


def mark_of(node: NodeId, swarm: SwarmId | None, salt: str) -> str:
    """The `n` of a node: recognisable to those who know its id and the swarm's."""
    # Solo nodes have no secret in common with anybody, and nobody needs to recognise them.
    key = swarm.encode() if swarm is not None else secrets.token_bytes(16)
    return f"{salt}.{hmac.digest(key, salt.encode() + node.encode(), 'sha256').hex()[:16]}"


def recognise(mark: str, swarm: SwarmId, nodes: Iterable[NodeId]) -> NodeId | None:
    """Which of `nodes` announced `mark`."""
    salt = mark.partition(".")[0]
    return next((node for node in nodes if hmac.compare_digest(mark_of(node, swarm, salt), mark)), None)


def own_addresses() -> tuple[str, ...]:
    """Addresses of this machine that others may reach, likely ones first; loopback where there is no network.

    Link-local IPv6 addresses come last, with their interface: `fe80::1%eth0`.
    """
    ranked: list[tuple[int, str]] = []
    stats = psutil.net_if_stats()
    for interface, addresses in psutil.net_if_addrs().items():
        if interface in stats and not stats[interface].isup:
            continue
        unlikely = interface.startswith(_VIRTUAL)
        for address in addresses:
            if address.family.name == "AF_INET":
                rank = 9 if address.address.startswith("127.") else 2 if unlikely else 0
                ranked.append((rank, address.address))
            elif address.family.name == "AF_INET6":
                link_local = address.address.startswith("fe80:")
                rank = (
                    9 if address.address == "::1" else (5 if link_local else 3) if unlikely else 4 if link_local else 1
                )
                ranked.append((rank, address.address))
    ranked.sort()
    outside = tuple(address for rank, address in ranked if rank < 9)
    return outside or tuple(address for _, address in ranked)


class Discovery(ServiceListener):
    """One node's part in multicast DNS.

    Args:
        port: of the peer API.
        changed: called when somebody appears, changes or goes.
        dropped: called for each packet or announcement that was dropped, with the reason: rate, size, nonsense.
    """

    def __init__(
        self, port: int, changed: Callable[[], None], dropped: Callable[[str], None] = lambda reason: None
    ) -> None:
        self.problem = ""
        """Why multicast does not work here; empty where it does."""
        self._port = port
        self._changed = changed
        self._dropped = dropped
        self._flood = Flood(time.monotonic())
        self._new_names = Allowance(NAME_RATE, NAME_BURST, time.monotonic())
        self._resolving = 0
        self._settled = 0.0
        self._zeroconf: AsyncZeroconf | None = None
        self._announced: Announcement | None = None
        self._told: AsyncServiceInfo | None = None
        self._telling: asyncio.Future[object] | None = None
        self._count = 0
        self._names: set[str] = set()
        self._addresses: tuple[str, ...] = ()
        self._seen: dict[str, Announcement] = {}
        # Names that were heard, the oldest first; those in `_seen` are the ones that said something usable.
        self._heard: dict[str, None] = {}
        self._tasks = TaskGroup()
        self._turn = asyncio.Lock()

    def seen(self) -> tuple[Announcement, ...]:
        """What others announce now."""
        return tuple(self._seen.values())

    async def start(self) -> None:
        """Listen. A machine without a usable network is no error: `refresh` tries again."""
        self._addresses = own_addresses()
        self._settled = time.monotonic() + SETTLE
        try:
            self._zeroconf = _open(self._addresses)
            await self._zeroconf.zeroconf.async_wait_for_start()
            self._guard(self._zeroconf.zeroconf)
            await self._zeroconf.async_add_service_listener(TYPE, self)
        except (OSError, ZeroconfError) as problem:
            self._broken(problem)
            if self._zeroconf is not None:
                await self._zeroconf.async_close()
                self._zeroconf = None
        else:
            self.problem = ""

    async def announce(self, announcement: Announcement) -> None:
        """Tell the network, in place of what was told before."""
        if announcement == self._announced and self._told is not None:
            return
        self._announced = announcement
        await self._tell()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of this machine, as of the last `refresh`."""
        return self._addresses

    async def refresh(self) -> bool:
        """Follow the machine's interfaces. Returns whether its addresses have changed."""
        addresses = own_addresses()
        if addresses == self._addresses and self._zeroconf is not None:
            if time.monotonic() < self._settled:
                # Costs nothing where all interfaces take part; zeroconf announces on those that are new.
                await self._follow(self._zeroconf)
            return False
        self._addresses = addresses
        self._settled = time.monotonic() + SETTLE
        if self._zeroconf is None:
            await self.start()
        else:
            await self._withdraw(self._zeroconf)
            await self._follow(self._zeroconf)
            # Whoever spoke while this machine had no ear there does not say it again: ask anew.
            await self._zeroconf.async_remove_service_listener(self)
            await self._zeroconf.async_add_service_listener(TYPE, self)
        await self._tell()
        return True

    async def _follow(self, zeroconf: AsyncZeroconf) -> None:
        speaking = _speaking(self._addresses)
        try:
            await zeroconf.async_update_interfaces(list(speaking), _version(speaking))
            self._guard(zeroconf.zeroconf)
        # RuntimeError: an address went away between the look at the interfaces and their use; the next look finds out.
        except (OSError, RuntimeError, ZeroconfError) as problem:
            _log.warning("multicast could not follow the change of addresses: %s", problem)

    async def _withdraw(self, zeroconf: AsyncZeroconf) -> None:
        """Take back what names addresses that are gone, or it would be told once more from the new ones."""
        if self._told is not None:
            before, self._told = self._told, None
            withdrawing = await zeroconf.async_unregister_service(before)
            self._tasks.start(_finish(withdrawing), "mdns withdrawal")

    def _guard(self, zeroconf: Zeroconf) -> None:
        """Put `_Guarded` before every socket that zeroconf reads."""
        for reader in zeroconf.engine.readers:
            listener = reader.transport.get_protocol()
            if not isinstance(listener, _Guarded):
                reader.transport.set_protocol(_Guarded(cast("asyncio.DatagramProtocol", listener), self._worth_reading))

    def _worth_reading(self, data: bytes, sender: str) -> bool:
        match self._flood.judge(data, sender, time.monotonic()):
            case "read":
                return True
            case "foreign":
                return False
            case "size" | "rate" as reason:
                self._dropped(reason)
                return False

    async def close(self) -> None:
        """Take the announcement back."""
        await self._tasks.close()
        if self._zeroconf is not None:
            zeroconf, self._zeroconf = self._zeroconf, None
            if self._told is not None:
                await zeroconf.async_unregister_all_services()
            await zeroconf.async_close()

    async def _tell(self) -> None:
        if self._zeroconf is None or self._announced is None:
            return
        async with self._turn:
            # Every announcement has a name of its own. One that changed in place would be heard beside its former self:
            # a cache keeps what it heard less than a second ago, and nothing tells which of the two is the newer.
            self._count += 1
            instance = secrets.token_hex(8)
            info = AsyncServiceInfo(
                TYPE,
                f"{instance}.{TYPE}",
                port=self._port,
                properties={
                    "v": str(self._announced.protocol),
                    "n": self._announced.mark,
                    "s": self._announced.swarm,
                    "i": ",".join(str(slot) for slot in self._announced.slots),
                    "c": str(self._count),
                },
                # Below our own label, by which `flood` knows what concerns us.
                server=f"{instance}.{TYPE}",
                parsed_addresses=[address.partition("%")[0] for address in self._addresses],
            )
            self._names.add(info.name)
            if self._telling is not None:
                # It would go on repeating what is withdrawn below, and have the last word.
                self._telling.cancel()
            try:
                # The name is random: probing for another owner of it would only cost a second.
                telling = await self._zeroconf.async_register_service(info, cooperating_responders=True)
                self._telling = cast("asyncio.Future[object]", telling)
                self._tasks.start(_finish(telling), "mdns announcement")
                before, self._told = self._told, info
                self.problem = ""
                if before is not None:
                    withdrawing = await self._zeroconf.async_unregister_service(before)
                    self._tasks.start(_finish(withdrawing), "mdns withdrawal")
            except (OSError, ZeroconfError) as problem:
                self._broken(problem)
                # So that the same announcement is tried again.
                self._announced = None

    def _broken(self, problem: Exception) -> None:
        reason = problem.strerror if isinstance(problem, OSError) else ""
        self.problem = f"multicast does not work here ({reason or problem or type(problem).__name__})"
        _log.warning("%s", self.problem)

    # zeroconf calls these in the event loop.

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        if name in self._names:
            return
        if name not in self._heard:
            if not self._new_names.take(time.monotonic()):
                self._dropped("rate")
                return
            if len(self._heard) >= MAX_SEEN:
                self._forget(next(iter(self._heard)))
            self._heard[name] = None
        info = AsyncServiceInfo(type_, name)
        if info.load_from_cache(zc):
            self._take(info)
        elif self._resolving < MAX_RESOLVING:
            self._resolving += 1
            self._tasks.start(self._resolve(zc, info), "mdns resolve")
        else:
            # What a node of ours announces comes in one piece; it is heard of again if it did not.
            self._dropped("rate")

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self.add_service(zc, type_, name)

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self._forget(name)

    def _forget(self, name: str) -> None:
        self._heard.pop(name, None)
        if self._seen.pop(name, None) is not None:
            self._changed()

    async def _resolve(self, zc: Zeroconf, info: AsyncServiceInfo) -> None:
        try:
            if await info.async_request(zc, RESOLVE):
                self._take(info)
        finally:
            self._resolving -= 1

    def _take(self, info: AsyncServiceInfo) -> None:
        announcement = _read(info)
        if announcement is None:
            self._dropped("nonsense")
            return
        if info.name not in self._heard or self._seen.get(info.name) == announcement:
            return
        # Of what one run of a node has told the latest counts, also where the withdrawal of the former is still on the
        # way, or a late answer to somebody's question brings it up again. Another salt with the same addresses may be
        # the same machine started again or a liar: neither may push the other out, and dialling tells them apart.
        same = [
            name
            for name, seen in self._seen.items()
            if (seen.lasting, seen.salt) == (announcement.lasting, announcement.salt)
        ]
        if any(self._seen[name].count > announcement.count for name in same):
            return
        for name in same:
            del self._seen[name]
        self._seen[info.name] = announcement
        self._changed()


async def _finish(sending: Awaitable[object]) -> None:
    await sending


class _Guarded(asyncio.DatagramProtocol):
    """Stands before zeroconf's own protocol, and passes on what is worth reading."""

    def __init__(self, inner: asyncio.DatagramProtocol, worth_reading: Callable[[bytes, str], bool]) -> None:
        self._inner = inner
        self._worth_reading = worth_reading

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if self._worth_reading(data, str(addr[0])):
            self._inner.datagram_received(data, cast("tuple[str, int]", addr))

    def error_received(self, exc: Exception) -> None:
        self._inner.error_received(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)


def _speaking(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Those that multicast goes out from: each IPv4 one, and of IPv6 the link-local ones where there are any."""
    link_local = any("%" in address for address in addresses)
    return tuple(address for address in addresses if ":" not in address or "%" in address or not link_local)


def _open(addresses: tuple[str, ...]) -> AsyncZeroconf:
    speaking = _speaking(addresses)
    try:
        return AsyncZeroconf(interfaces=list(speaking), ip_version=_version(speaking))
    except (OSError, RuntimeError):
        # An address may be listed and yet unusable; IPv4 alone finds most neighbours.
        only = tuple(address for address in addresses if ":" not in address)
        return AsyncZeroconf(interfaces=list(only), ip_version=IPVersion.V4Only)


def _version(addresses: tuple[str, ...]) -> IPVersion:
    return IPVersion.All if any(":" in address for address in addresses) else IPVersion.V4Only


def _read(info: AsyncServiceInfo) -> Announcement | None:
    """What was announced, None where it is not of our making. Everything in it is a stranger's text."""
    told = {key: value or "" for key, value in info.decoded_properties.items()}
    protocol, mark, swarm = told.get("v", ""), told.get("n", ""), told.get("s", "")
    if not protocol.isdecimal() or len(protocol) > 4 or not _plain(mark) or not _plain(swarm):
        return None
    slots = tuple(int(slot) for slot in told.get("i", "").split(",")[:8] if slot.isdecimal() and len(slot) <= 11)
    port = info.port or 0
    hosts = [_with_interface(address) for address in info.parsed_scoped_addresses()[:32]]
    # What lies outside of the local network is not dialled because somebody announces it.
    local = sorted((host for host in hosts if host and is_local(host)), key=lambda host: "%" in host)
    addresses = tuple(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in local)[:8]
    if not addresses or not 0 < port < 65536:
        return None
    count = told.get("c", "")
    return Announcement(
        int(protocol), mark, swarm, slots, addresses, int(count) if count.isdecimal() and len(count) <= 12 else 0
    )


def _plain(text: str) -> bool:
    """Whether it is short and printable ASCII, as ours always is: it comes to terminals and into logs."""
    return 1 <= len(text) <= 64 and text.isascii() and text.isprintable()


def _with_interface(address: str) -> str:
    """A link-local address with the name of the interface that it was heard on; empty where that is not known."""
    if not address.startswith("fe80:"):
        return address
    host, _, zone = address.partition("%")
    try:
        # By name: a number may be another interface's after the next start, and addresses that worked are kept.
        return f"{host}%{socket.if_indextoname(int(zone))}"
    except (OSError, ValueError):
        return ""
