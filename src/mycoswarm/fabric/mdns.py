"""[io] Announcing this node by multicast DNS, and hearing the others. Hints only: nothing here is believed.

TXT:  v  protocol
      n  SALT.TAG: TAG = HMAC(swarm id, SALT + node id). A member recognises another member by trying the ids of its
         roster; to everybody else it is a random number that changes at every start, so a laptop cannot be followed.
      s  hash of the swarm's id, or "solo"
      i  slots of open invitations
      c  counts this node's announcements since it started
"""

import asyncio
import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import cast

import msgspec
import psutil
from zeroconf import Error as ZeroconfError
from zeroconf import IPVersion, ServiceListener, Zeroconf
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from mycoswarm.core.ids import NodeId, SwarmId
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.egress import is_local

_log = logging.getLogger(__name__)

TYPE = "_mycoswarm._tcp.local."
SOLO = "solo"
RESOLVE = 3000
"""Milliseconds for the rest of an announcement of which only the name has arrived."""
MAX_SEEN = 512
"""Announcements remembered; a flood of made-up ones must not grow without end."""
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
    """Addresses of this machine that others may reach, likely ones first; loopback where there is no network."""
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
            elif address.family.name == "AF_INET6" and "%" not in address.address:
                rank = 9 if address.address == "::1" else 3 if unlikely else 1
                ranked.append((rank, address.address))
    ranked.sort()
    outside = tuple(address for rank, address in ranked if rank < 9)
    return outside or tuple(address for _, address in ranked)


class Discovery(ServiceListener):
    """One node's part in multicast DNS.

    Args:
        port: of the peer API.
        changed: called when somebody appears, changes or goes.
    """

    def __init__(self, port: int, changed: Callable[[], None]) -> None:
        self.problem = ""
        """Why multicast does not work here; empty where it does."""
        self._port = port
        self._changed = changed
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
        try:
            self._zeroconf = _open(self._addresses)
            await self._zeroconf.zeroconf.async_wait_for_start()
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
            return False
        self._addresses = addresses
        if self._zeroconf is None:
            await self.start()
        else:
            try:
                await self._zeroconf.async_update_interfaces(list(addresses), _version(addresses))
            except (OSError, ZeroconfError) as problem:
                _log.warning("multicast could not follow the change of addresses: %s", problem)
        await self._tell()
        return True

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
                server=f"{instance}.local.",
                parsed_addresses=list(self._addresses),
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
            if len(self._heard) >= MAX_SEEN:
                self._forget(next(iter(self._heard)))
            self._heard[name] = None
        info = AsyncServiceInfo(type_, name)
        if info.load_from_cache(zc):
            self._take(info)
        else:
            self._tasks.start(self._resolve(zc, info), "mdns resolve")

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self.add_service(zc, type_, name)

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self._forget(name)

    def _forget(self, name: str) -> None:
        self._heard.pop(name, None)
        if self._seen.pop(name, None) is not None:
            self._changed()

    async def _resolve(self, zc: Zeroconf, info: AsyncServiceInfo) -> None:
        if await info.async_request(zc, RESOLVE):
            self._take(info)

    def _take(self, info: AsyncServiceInfo) -> None:
        announcement = _read(info)
        if announcement is None or info.name not in self._heard or self._seen.get(info.name) == announcement:
            return
        # Of what one run of a node has told the latest counts, also where the withdrawal of the former is still on the
        # way, or a late answer to somebody's question brings it up again. Another salt with the same addresses may be
        # the same machine started again or a liar: neither may push the other out, and dialling tells them apart.
        same = [
            name
            for name, seen in self._seen.items()
            if (seen.addresses, seen.salt) == (announcement.addresses, announcement.salt)
        ]
        if any(self._seen[name].count > announcement.count for name in same):
            return
        for name in same:
            del self._seen[name]
        self._seen[info.name] = announcement
        self._changed()


async def _finish(sending: Awaitable[object]) -> None:
    await sending


def _open(addresses: tuple[str, ...]) -> AsyncZeroconf:
    try:
        return AsyncZeroconf(interfaces=list(addresses), ip_version=_version(addresses))
    except OSError:
        # An address may be listed and yet unusable; IPv4 alone finds most neighbours.
        only = tuple(address for address in addresses if ":" not in address)
        return AsyncZeroconf(interfaces=list(only), ip_version=IPVersion.V4Only)


def _version(addresses: tuple[str, ...]) -> IPVersion:
    return IPVersion.All if any(":" in address for address in addresses) else IPVersion.V4Only


def _read(info: AsyncServiceInfo) -> Announcement | None:
    """What was announced, None where it is not of our making. Everything in it is a stranger's text."""
    told = {key: value or "" for key, value in info.decoded_properties.items()}
    protocol, mark, swarm = told.get("v", ""), told.get("n", ""), told.get("s", "")
    if not protocol.isdecimal() or len(protocol) > 4 or not 1 <= len(mark) <= 64 or not 1 <= len(swarm) <= 64:
        return None
    slots = tuple(int(slot) for slot in told.get("i", "").split(",")[:8] if slot.isdecimal() and len(slot) <= 11)
    port = info.port or 0
    addresses = tuple(
        f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        for address in info.parsed_addresses()
        # A link-local address means nothing without its interface, and is never the only one. What lies outside of the
        # local network is not dialled because somebody announces it.
        if is_local(address) and not address.startswith("fe80:")
    )[:8]
    if not addresses or not 0 < port < 65536:
        return None
    count = told.get("c", "")
    return Announcement(
        int(protocol), mark, swarm, slots, addresses, int(count) if count.isdecimal() and len(count) <= 12 else 0
    )
