"""[io] The fabric of one node: carries out what membership commands, and tells it what happens.

Decisions are elsewhere (`membership`, `roster`, `pairing`); this module owns the sockets, files, timers and tasks, and
the one order in which a new roster takes effect: disk, TLS, open connections, membership.
"""

import asyncio
import contextlib
import hashlib
import itertools
import logging
import random
import secrets
from collections.abc import Callable

import msgspec

from mycoswarm.core.clock import Clock, SystemClock
from mycoswarm.core.errors import InvalidRequest, MycoError, NotFound, PeerLost, Refused, WrongCode
from mycoswarm.core.ids import NodeId, SwarmId, short
from mycoswarm.core.node import PROTOCOL, NearbySwarm, NodeRecord, NodeView, SwarmInfo
from mycoswarm.core.paths import Paths
from mycoswarm.core.settings import Settings
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.core.views import Invitation
from mycoswarm.fabric import codes, membership, roster, tls
from mycoswarm.fabric.identity import Identity, load_or_create
from mycoswarm.fabric.joining import Invitations, Let, join_at, worst
from mycoswarm.fabric.link import Link
from mycoswarm.fabric.mdns import SOLO, Announcement, Discovery, mark_of, own_addresses, recognise
from mycoswarm.fabric.membership import LinkId, Membership
from mycoswarm.fabric.pairing import Joined, swarm_hash
from mycoswarm.fabric.peer_app import Gate, Handler, PeerApp
from mycoswarm.fabric.reach import Reach
from mycoswarm.fabric.roster import Roster
from mycoswarm.fabric.server import PeerServer, bind
from mycoswarm.fabric.store import Store
from mycoswarm.fabric.transport import DialFailed, Directory, PeerTransport, Transport
from mycoswarm.fabric.wire import (
    ROSTER_PATH,
    Beat,
    Introduction,
    Message,
    Welcome,
    decode,
    encode,
)

_log = logging.getLogger(__name__)

DEFAULT_PEER_PORT = 6927
PUBLISH_EVERY = 0.25
"""Seconds between two records on the wire: queues change with every request, and peers need no more than this."""
LOOK_ROUND = 5.0
"""Seconds between looks at this machine's addresses and at invitations that have ended."""
PROBE_EVERY = 3
"""Looks round between tries of the addresses in `peers` that no member is known at."""
FIND = 5.0
"""Seconds in which an inviting node must have been heard of."""
LAST_WORDS = 0.3
"""Seconds in which goodbyes must have reached the wire when the node ends."""
RETRY_FIRST, RETRY_LATE = 2.0, 30.0
"""Seconds between tries of a headless join."""


class Departure(msgspec.Struct, frozen=True):
    """How a leave went. swarm: its name. told: of the `members` other ones, those that have taken note.

    Where some are told the rest hear it from them; where none is, the swarm goes on trusting this node.
    """

    swarm: str
    told: int
    members: int


class Fabric:
    """Who is there, and how to reach them.

    Args:
        name: of this node, for people.
        make_record: what the node says of itself when it starts; later changes come by `publish`. The fabric sets
            `id`, `incarnation` and `seq` of every record itself, whatever stands there.

    With `announce = "no"` it is private: no multicast, no listener; it reaches members, and none reaches it.
    """

    def __init__(
        self,
        paths: Paths,
        name: str,
        settings: Settings,
        make_record: Callable[[], NodeRecord],
        clock: Clock | None = None,
    ) -> None:
        self._paths = paths
        self._name = name
        self._settings = settings
        self._make_record = make_record
        self._clock: Clock = clock or SystemClock()
        self._private = settings.announce == "no"
        self._identity: Identity = load_or_create(paths.state)
        self._store = Store(paths.state)
        self._roster: Roster | None = None
        self._membership: Membership
        self._server: PeerServer | None = None
        self._context = tls.server_context(self._identity)
        self._reach = Reach()
        directory = Directory(self._certificate, self._called, self._addresses, self._reach.is_typed)
        self._transport = PeerTransport(self._identity, directory)
        self._discovery: Discovery | None = None
        self._invitations = Invitations(self._identity, self._store, self._clock, self._admit)
        gate = Gate(
            caller=self._caller,
            roster=self._written_roster,
            take_roster=self._merge,
            join_start=self._invitations.start,
            join_finish=self._invitations.finish,
            accepted=self._accepted,
            lost=self._lost,
        )
        self._app = PeerApp(gate, self._clock)
        self._tasks = TaskGroup()
        self._links: dict[LinkId, Link] = {}
        self._accepted_ids: dict[Link, LinkId] = {}
        self._dialled: dict[LinkId, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._told = False
        self._record: NodeRecord
        self._unsent: asyncio.TimerHandle | None = None
        self._sent_at = float("-inf")
        self._marks: dict[str, tuple[str, ...]] = {}
        self._salt = secrets.token_hex(4)
        self._mine: tuple[str, str] | None = None
        self._problem = ""
        self._peers: tuple[str, ...] = ()
        self._departure: Departure | None = None
        # Joining, founding and leaving take their time, and each decides by the roster that it finds at first.
        self._turn = asyncio.Lock()
        self._started = False
        self._closing = False

    # What the composition root uses.

    @property
    def id(self) -> NodeId:
        return self._identity.id

    @property
    def peer_port(self) -> int | None:
        """Of the peer API; None for a private node."""
        return self._server.port if self._server is not None else None

    @property
    def transport(self) -> Transport:
        return self._transport

    def add_handler(self, method: str, path: str, handler: Handler) -> None:
        """Answer members at `path`. Before `start`."""
        self._app.handlers[method, path] = handler

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` (soon, and once for several changes) when nodes, swarm or nearby swarms have changed."""
        self._callbacks.append(callback)

    async def start(self) -> None:
        """Open the peer port, greet the members, announce this node. A start that fails leaves nothing open.

        Raises:
            InvalidRequest: an entry of `peers` is no address.
            PortTaken: the peer port is.
            Fixable, NotWritable: the roster is damaged, the state directory cannot be written.
        """
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise

    async def _start(self) -> None:
        self._peers = tuple(_configured(peer) for peer in self._settings.peers)
        for peer in self._peers:
            self._reach.typed(peer)
        self._roster = self._store.roster()
        if self._roster is not None and self.id not in self._roster.members():
            self._problem = "this node was removed from its swarm"
            self._roster = None
        if not self._private:
            self._server = PeerServer(self._app, self._context, bind(self._settings.peer_port))
        self._record = self._make_record()
        first = msgspec.structs.replace(self._outgoing(), id=self.id, incarnation=self._store.next_incarnation(), seq=0)
        jitter = random.Random()  # noqa: S311 - nothing is to be guessed here
        self._membership = Membership(first, secrets.token_hex(8), self.peer_port or 0, jitter, self._reach.allows)
        if self._roster is not None:
            self._invitations.restore(self._roster.swarm)
            for member in self._roster.members().values():
                tls.trust(self._context, member.certificate)
        self._started = True
        if self._server is not None:
            await self._server.start()
        self._tell_membership()
        for node, addresses in self._store.addresses().items():
            for address in addresses:
                # Only what may be dialled is kept there: what lies elsewhere was typed by the owner at some time.
                if not self._reach.allows(address):
                    self._reach.typed(address)
                self._feed(membership.AddressHint(node, address))
        if self._server is not None:
            self._discovery = Discovery(self._server.port, self._heard)
            await self._discovery.start()
            await self._announce()
        self._tasks.start(self._look_round(), "look round")

    async def close(self) -> None:
        """Say goodbye, take the announcement back, end everything. Under a second; safe after a failed start.

        What fails on the way is logged: nobody could do anything about it, and the rest must end all the same.
        """
        if self._closing:
            return
        self._closing = True
        for timer in (self._timer, self._unsent):
            if timer is not None:
                timer.cancel()
        if self._started:
            self._execute(self._membership.goodbye())
        for link in self._links.values():
            link.close()
        if self._dialled:
            await asyncio.wait(list(self._dialled.values()), timeout=LAST_WORDS)
        listening = [self._discovery.close()] if self._discovery is not None else []
        if self._server is not None:
            listening.append(self._server.close(LAST_WORDS))
        for steps in (listening, [self._tasks.close()], [self._transport.close()]):
            for problem in await asyncio.gather(*steps, return_exceptions=True):
                if problem is not None:
                    _log.error("a part of the fabric did not close", exc_info=problem)

    @property
    def swarm(self) -> SwarmInfo | None:
        """The swarm this node belongs to, None while it is solo."""
        held = self._roster
        if held is None:
            return None
        return SwarmInfo(
            held.swarm, held.name, len(held.members()), held.keepers(), roster.founder_of(held.swarm) == self.id
        )

    def nodes(self) -> tuple[NodeView, ...]:
        """This node first, then every member of the swarm, also those never met, by name."""
        mine, *others = self._membership.nodes(self._clock.monotonic())
        counted = msgspec.structs.replace(
            self._record, id=self.id, incarnation=self._membership.record.incarnation, seq=self._membership.record.seq
        )
        # As of the last look round: asking the system costs more than all the rest of a request's placement.
        own = self._discovery.addresses if self._discovery is not None else ()
        addresses = tuple(_joined(address, self.peer_port) for address in own)
        return (msgspec.structs.replace(mine, name=self._name, record=counted, addresses=addresses), *others)

    def publish(self, record: NodeRecord) -> None:
        """This node's record changed; members hear of it within PUBLISH_EVERY. Its counting is done here."""
        self._record = record
        self._changed()
        if self._unsent is None and self._started and not self._closing:
            wait = max(0.0, self._sent_at + PUBLISH_EVERY - self._clock.monotonic())
            self._unsent = asyncio.get_running_loop().call_later(wait, self._publish_now)

    def nearby(self) -> tuple[NearbySwarm, ...]:
        """Other swarms, and solo nodes, that announce themselves here. Hints."""
        found: dict[str, list[Announcement]] = {}
        mine = swarm_hash(self._roster.swarm) if self._roster is not None else None
        for seen in self._seen():
            if seen.swarm != mine:
                found.setdefault("" if seen.swarm == SOLO else seen.swarm, []).append(seen)
        return tuple(
            NearbySwarm(
                swarm,
                # A node that was killed and started again may be announced twice for a while.
                len({one.addresses for one in members}),
                tuple(sorted({slot for one in members for slot in one.slots if slot <= codes.MAX_SPOKEN_SLOT})),
            )
            for swarm, members in sorted(found.items())
        )

    def warnings(self) -> tuple[str, ...]:
        """What the owner should put right, a sentence each."""
        found = list(self._membership.warnings())
        if self._problem:
            found.append(self._problem)
        if self._discovery is not None and self._discovery.problem:
            found.append(
                f"{self._discovery.problem}: name another member with --peer HOST, so that they find each other"
            )
        if self._roster is not None:
            found.extend(
                f"{self._called(node)} has signed two different histories: was it restored from a backup?"
                for node in self._roster.forked()
            )
        return tuple(found)

    async def invite(self, headless: bool = False, name: str = "") -> Invitation:
        """A code that lets one machine in; founds a swarm (called `name`) where this node is solo.

        Raises:
            Refused: this node is no keeper, or private.
        """
        if self._server is None:
            raise Refused(
                "this node takes no connections, so nobody could join by it", "start it with `mycoswarm up` first"
            )
        async with self._turn:
            founded = self._roster is None
            held = self._roster
            if held is None:
                swarm = SwarmId(f"{self.id}-{secrets.token_hex(10)}")
                held = roster.found(
                    swarm, name or f"{self._name}'s swarm", self._identity.certificate, self._name, self._identity.sign
                )
                await self._take_roster(held)
            held.must_be_keeper(self.id)
            taken = {slot for seen in self._seen() for slot in seen.slots}
            code = self._invitations.invite(held.swarm, headless, taken)
            await self._announce()
            return Invitation(code.text, code.life, held.name, founded)

    async def join(self, code: str, address: str | None = None) -> SwarmInfo:
        """Become a member by somebody's code.

        Args:
            address: HOST[:PORT] of the inviting node; without it, it is found by its announcement or in `peers`.

        Raises:
            InvalidRequest: no code could look so. WrongCode: with the tries that are left in `data`.
            NotFound: no inviting node is there. Refused: already a member, or the code has ended.
        """
        parsed = codes.parse(code)
        typed = _with_port(address) if address is not None else None
        if typed is not None:
            self._reach.typed(typed)
        async with self._turn:
            return await self._join(parsed, typed)

    async def _join(self, code: codes.Code, address: str | None) -> SwarmInfo:
        self._must_be_solo()
        introduction = Introduction(self._name, self.peer_port or 0)
        problems: list[MycoError] = []
        tried: set[str] = set()
        deadline = self._clock.monotonic() + FIND
        while not problems:
            for candidates in self._inviting(code, address):
                for candidate in candidates:
                    if candidate in tried:
                        continue
                    tried.add(candidate)
                    try:
                        let = await join_at(
                            candidate, self._reach.is_typed(candidate), code, self._identity, introduction
                        )
                    except PeerLost as problem:
                        problems.append(problem)
                    except MycoError as problem:
                        problems.append(problem)
                        break
                    else:
                        return await self._let_in(let)
            if self._clock.monotonic() >= deadline or address is not None:
                break
            await asyncio.sleep(0.2)
        if problems:
            raise worst(problems)
        raise NotFound(
            "no node with this invitation was found",
            "is it on the same network, and the code still open? Where multicast is blocked, name it: "
            "`mycoswarm join CODE --peer HOST`",
        )

    async def headless_join(self, code: str) -> None:
        """Join by `code` as soon as its inviting node can be found; a code that was used once is never used again.

        Raises:
            InvalidRequest, WrongCode, Refused: trying again is of no use.
        """
        digest = hashlib.sha256(codes.parse(code).text.encode()).hexdigest()
        if self._store.used_code() == digest:
            return
        wait = RETRY_FIRST
        # The owner may join or found a swarm by hand in the meantime.
        while self._roster is None:
            try:
                joined = await self.join(code)
            except (InvalidRequest, WrongCode, Refused):
                raise
            except MycoError as problem:
                _log.info("not joined yet: %s", problem.message)
                await asyncio.sleep(wait)
                wait = min(RETRY_LATE, wait * 2)
            else:
                self._store.keep_used_code(digest)
                _log.info("joined '%s'", joined.name)
                return

    async def leave(self, force: bool = False) -> str:
        """Leave the swarm and forget it; returns its name. The members that are up hear of it first.

        `last_departure` says how many of them took note: where none did, they go on trusting this node.

        Raises:
            Refused: solo; or the only keeper while others belong to it (unless `force`).
        """
        async with self._turn:
            self._departure = await self._leave(force)
        return self._departure.swarm

    @property
    def last_departure(self) -> Departure | None:
        """How the last `leave` since the start went."""
        return self._departure

    async def _leave(self, force: bool) -> Departure:
        held = self._roster
        if held is None:
            raise Refused("this node belongs to no swarm", "`mycoswarm join CODE` joins one")
        if held.keepers() == (self.id,) and len(held.members()) > 1 and not force:
            raise Refused(
                "this node is the swarm's only keeper: without it nobody could be let in any more",
                "let the other machines leave first",
            )
        farewell = held.leave(self.id, self._identity.sign).encode()
        up = [view.id for view in self.nodes() if view.state == "up"]
        told = sum(await asyncio.gather(*(self._bring(node, farewell) for node in up)))
        members = len(held.members()) - 1
        if members and not told:
            _log.warning(
                "none of the other %d members of '%s' could be told that this node has left: they go on trusting it",
                members,
                held.name,
            )
        await self._go_solo()
        return Departure(held.name, told, members)

    # The roster.

    async def _take_roster(self, new: Roster) -> None:
        """Make `new` the roster in force."""
        before = self._roster
        if self.id not in new.members():
            self._problem = f"this node was removed from '{new.name}'"
            await self._go_solo()
            return
        self._store.keep_roster(new)
        self._roster = new
        self._problem = ""
        known = before.members() if before is not None else {}
        for node, member in new.members().items():
            if node not in known or known[node].certificate != member.certificate:
                tls.trust(self._context, member.certificate)
        await self._cut_strangers(set(known))
        self._tell_membership()
        self._heard()
        await self._announce()

    async def _go_solo(self) -> None:
        known = set(self._roster.members()) if self._roster is not None else set[NodeId]()
        self._store.keep_roster(None)
        _keep("the addresses of former members are not forgotten", lambda: self._store.keep_addresses({}))
        self._roster = None
        self._invitations.clear()
        self._execute(self._membership.goodbye())
        self._tell_membership()
        await self._cut_strangers(known)
        await self._announce()

    async def _cut_strangers(self, known: set[NodeId]) -> None:
        held = self._roster
        for node in known:
            if held is None or node not in held.members():
                await self._transport.forget(node)
        if self._server is not None:
            self._server.cut(lambda certificate: held is not None and held.node_of(certificate) is not None)

    def _tell_membership(self) -> None:
        held = self._roster
        if held is None:
            self._feed(membership.MembersChanged((), frozenset(), ""))
            return
        members = tuple(membership.Member(one.id, one.name) for one in held.members().values())
        self._feed(membership.MembersChanged(members, held.removed(), held.digest))

    async def _merge(self, data: bytes) -> None:
        if self._roster is None:
            return
        merged = self._roster.merge(roster.decode(data, self._roster))
        if merged.digest != self._roster.digest:
            await self._take_roster(merged)

    async def _pull_roster(self, node: NodeId) -> None:
        try:
            await self._merge(await self._transport.request(node, "GET", ROSTER_PATH))
        except MycoError as problem:
            _log.warning("the roster of %s was not taken: %s", self._called(node), problem.message)

    async def _bring(self, node: NodeId, farewell: bytes) -> bool:
        """Tell a member that this node has left. Returns whether it has taken note."""
        # Its reading the news is what breaks this connection, so an answer is not to be expected.
        with contextlib.suppress(MycoError):
            await self._transport.request(node, "POST", ROSTER_PATH, farewell, timeout=1.0)
        # Who has taken note refuses this node from then on; whatever else happens proves nothing.
        try:
            await self._transport.request(node, "GET", ROSTER_PATH, timeout=1.0)
        except Refused:
            return True
        except MycoError as problem:
            _log.info("%s may not know that this node leaves: %s", self._called(node), problem.message)
        return False

    def _admit(self, joined: Joined) -> Welcome:
        held = self._roster
        if held is None:
            raise Refused("this node has left the swarm of the invitation")
        new = held.admit(joined.certificate, joined.name, self.id, self._identity.sign)
        # On disk and in TLS before the answer leaves: the newcomer connects as soon as it has it.
        self._store.keep_roster(new)
        self._roster = new
        tls.trust(self._context, joined.certificate)
        self._tell_membership()
        self._tasks.start(self._announce(), "announce")
        addresses = dict(self._membership.addresses())
        addresses[self.id] = tuple(_joined(address, self.peer_port) for address in own_addresses())[:4]
        return Welcome(new.encode(), addresses)

    def _must_be_solo(self) -> None:
        if self._roster is not None:
            raise Refused(
                f"this node already belongs to '{self._roster.name}'", "`mycoswarm leave` first, then join again"
            )

    async def _let_in(self, let: Let) -> SwarmInfo:
        self._must_be_solo()
        await self._take_roster(let.roster)
        inviter = let.roster.node_of(let.inviter)
        if inviter is not None:
            self._feed(membership.AddressHint(inviter, let.address))
        for node, addresses in let.welcome.addresses.items():
            for address in addresses:
                self._feed(membership.AddressHint(node, address))
        joined = self.swarm
        assert joined is not None
        return joined

    # Finding others.

    def _seen(self) -> tuple[Announcement, ...]:
        return self._discovery.seen() if self._discovery is not None else ()

    def _inviting(self, code: codes.Code, address: str | None) -> list[tuple[str, ...]]:
        """Nodes that may have given out `code`, each with its addresses."""
        if address is not None:
            return [(address,)]
        announced = [seen.addresses for seen in self._seen() if code.slot in seen.slots]
        return announced + [(peer,) for peer in self._peers]

    def _heard(self) -> None:
        """Announcements or roster have changed: which of them are members?"""
        held = self._roster
        if held is not None:
            mine = swarm_hash(held.swarm)
            fresh: dict[str, tuple[str, ...]] = {}
            for seen in self._seen():
                if seen.swarm != mine:
                    continue
                fresh[seen.mark] = seen.addresses
                if self._marks.get(seen.mark) == seen.addresses:
                    continue
                node = recognise(seen.mark, held.swarm, held.members())
                if node == self.id:
                    self._problem = (
                        "another machine uses this node's identity: was a disk copied? Remove node.key from the state "
                        "directory of one of them and let it join as a new node"
                    )
                elif node is None:
                    # Its admission may not have reached this node yet: look again when the roster changes.
                    del fresh[seen.mark]
                else:
                    for address in seen.addresses:
                        self._feed(membership.AddressHint(node, address, fresh=True))
            self._marks = fresh
        self._changed()

    async def _announce(self) -> None:
        if self._discovery is None or self._closing:
            return
        swarm = self._roster.swarm if self._roster is not None else None
        # A solo node's mark is random; it is made once for each swarm, so that an unchanged announcement stays so.
        if self._mine is None or self._mine[0] != (swarm or ""):
            self._mine = (swarm or "", mark_of(self.id, swarm, self._salt))
        await self._discovery.announce(
            Announcement(PROTOCOL, self._mine[1], swarm_hash(swarm) if swarm else SOLO, self._invitations.slots())
        )

    async def _look_round(self) -> None:
        for turn in itertools.count():
            try:
                await self._look(turn)
            except Exception:
                # The boundary of a background loop: whatever one look met, the next one is due.
                _log.exception("a look at the network failed; the next one is in %g s", LOOK_ROUND)
            await asyncio.sleep(LOOK_ROUND)

    async def _look(self, turn: int) -> None:
        # `start` has just done the first of these.
        if turn and self._discovery is not None and await self._discovery.refresh():
            self._feed(membership.NetworkChanged())
        await self._announce()
        if self._roster is not None and turn % PROBE_EVERY == 0:
            for peer in self._peers:
                await self._probe(peer)

    async def _probe(self, address: str) -> None:
        """Which member is at an address that the owner named?"""
        if any(address in known for known in self._membership.addresses().values()):
            return
        host, _, port = address.rpartition(":")
        certificate = await tls.certificate_at(host.strip("[]"), int(port), 2.0)
        node = self._roster.node_of(certificate) if certificate is not None and self._roster is not None else None
        if node is not None:
            self._feed(membership.AddressHint(node, address, fresh=True))

    # Membership: events in, commands out.

    def _feed(self, event: membership.Event) -> None:
        if self._closing:
            return
        self._execute(self._membership.handle(event, self._clock.monotonic()))
        # A beat can only put the next moment off; asking after it each time would cost more than the beat.
        if not (isinstance(event, membership.Received) and isinstance(event.message, Beat)):
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        at = self._membership.wakeup()
        if at is None:
            self._timer = None
            return
        wait = max(0.0, at - self._clock.monotonic())
        self._timer = asyncio.get_running_loop().call_later(wait, self._feed, membership.Tick())

    def _execute(self, commands: list[membership.Command]) -> None:
        for command in commands:
            match command:
                case membership.Send(link, message):
                    if (open_link := self._links.get(link)) is not None:
                        open_link.send(encode(message))
                case membership.Dial(link, node, address):
                    opening = self._links[link] = Link(node, True, address)
                    self._dialled[link] = self._tasks.start(self._run(link, opening), f"watch {short(node)}")
                case membership.Close(link):
                    if (open_link := self._links.pop(link, None)) is not None:
                        open_link.close()
                    if (task := self._dialled.get(link)) is not None:
                        # A peer that takes nothing any more would keep the stream open for ever.
                        asyncio.get_running_loop().call_later(LAST_WORDS, task.cancel)
                case membership.PullRoster(node):
                    self._tasks.start(self._pull_roster(node), f"pull roster of {short(node)}")
                case membership.Incarnated(incarnation):
                    _keep(
                        "the count of starts is not remembered",
                        lambda count=incarnation: self._store.keep_incarnation(count),
                    )
                case membership.AddressesLearned():
                    _keep(
                        "addresses are not remembered",
                        lambda: self._store.keep_addresses(self._membership.addresses()),
                    )
                case membership.Changed():
                    self._changed()

    async def _run(self, link_id: LinkId, link: Link) -> None:
        try:
            await self._transport.watch(link, lambda line: self._line(link_id, line))
        except DialFailed as problem:
            self._feed(membership.DialFailed(link_id, problem.reason))
        else:
            self._feed(membership.LinkLost(link_id))
        finally:
            self._links.pop(link_id, None)
            self._dialled.pop(link_id, None)

    def _line(self, link_id: LinkId, line: bytes) -> None:
        try:
            message: Message = decode(line)
        except InvalidRequest as problem:
            # A newer version may say more than this one knows; what it knows of it still holds.
            _log.debug("a line of a member was not understood: %s", problem.message)
            return
        self._feed(membership.Received(link_id, message))

    # What the peer API and the transport ask.

    def _caller(self, certificate: bytes) -> NodeId | None:
        return self._roster.node_of(certificate) if self._roster is not None else None

    def _written_roster(self) -> bytes:
        # Only members get so far, and there are members only where there is a roster.
        return self._roster.encode() if self._roster is not None else b"{}"

    def _accepted(self, link: Link) -> Callable[[bytes], None]:
        link_id = self._membership.new_link()
        self._links[link_id] = link
        self._accepted_ids[link] = link_id
        self._feed(membership.Accepted(link_id, link.peer, link.address))
        return lambda line: self._line(link_id, line)

    def _lost(self, link: Link) -> None:
        link_id = self._accepted_ids.pop(link)
        self._links.pop(link_id, None)
        self._feed(membership.LinkLost(link_id))

    def _certificate(self, node: NodeId) -> bytes | None:
        member = self._roster.members().get(node) if self._roster is not None else None
        return member.certificate if member is not None else None

    def _addresses(self, node: NodeId) -> tuple[str, ...]:
        return self._membership.addresses_of(node)

    def _called(self, node: NodeId) -> str:
        member = self._roster.members().get(node) if self._roster is not None else None
        return member.name if member is not None else short(node)

    # The record.

    def _outgoing(self) -> NodeRecord:
        """The record as others see it: what cannot be reached is not offered."""
        if self._private:
            return msgspec.structs.replace(self._record, name=self._name, models=(), queues=())
        return msgspec.structs.replace(self._record, name=self._name)

    def _publish_now(self) -> None:
        self._unsent = None
        self._sent_at = self._clock.monotonic()
        self._feed(membership.Published(self._outgoing()))

    def _changed(self) -> None:
        if not self._told and self._callbacks and not self._closing:
            self._told = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self._told = False
        for callback in self._callbacks:
            callback()


def _keep(loss: str, write: Callable[[], None]) -> None:
    """Write what can be done without; a full disk must not stop what follows. loss: a clause for the log."""
    try:
        write()
    except (MycoError, OSError) as problem:
        _log.warning("%s: %s", loss, problem)


def _configured(peer: str) -> str:
    try:
        return _with_port(peer)
    except InvalidRequest as problem:
        raise InvalidRequest(f"the setting `peers`: {problem.message}", problem.hint) from problem


def _with_port(address: str) -> str:
    """HOST[:PORT] as typed, with the usual port where none was. Raises InvalidRequest."""
    host, colon, port = address.strip().rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        # No port: a name, an IPv4 address, [IPv6] or a bare IPv6 address.
        host, port = address.strip(), str(DEFAULT_PEER_PORT)
    if not port.isdecimal() or not 0 < int(port) < 65536 or not host.strip("[]"):
        raise InvalidRequest(f"`{address}` is no address of a node", "write HOST or HOST:PORT")
    return _joined(host.strip("[]"), int(port))


def _joined(host: str, port: int | None) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
