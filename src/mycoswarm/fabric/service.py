"""[io] The fabric of one node: carries out what membership commands, and tells it what happens.

Decisions are elsewhere (`membership`, `roster`, `pairing`). This module puts the parts together and owns the sockets,
timers and tasks: `trust` is the roster in force, `admission` whom it lets in, `entry` its way into a swarm and out.
"""

import asyncio
import contextlib
import itertools
import logging
import random
import secrets
from collections.abc import Callable, Mapping

import msgspec

from mycoswarm.core.clock import Clock, SystemClock
from mycoswarm.core.errors import InvalidRequest
from mycoswarm.core.health import Problem
from mycoswarm.core.ids import NodeId, short
from mycoswarm.core.node import PROTOCOL, NearbySwarm, NodeRecord, NodeView, StateChange, SwarmInfo
from mycoswarm.core.paths import Paths
from mycoswarm.core.settings import Settings
from mycoswarm.core.tasks import TaskGroup, repeat
from mycoswarm.core.views import Admitted, Comparing, Expelled, Invitation, Joined, Rotated, Waiting
from mycoswarm.fabric import codes, membership, tls
from mycoswarm.fabric.addresses import joined, with_port
from mycoswarm.fabric.admission import Admission, Surroundings
from mycoswarm.fabric.entry import Around, Departure, Entry
from mycoswarm.fabric.files import keep
from mycoswarm.fabric.identity import Identity
from mycoswarm.fabric.link import Link
from mycoswarm.fabric.mdns import SOLO, Announcement, Discovery, mark_of, recognise
from mycoswarm.fabric.membership import LinkId, Membership
from mycoswarm.fabric.pairing import swarm_hash
from mycoswarm.fabric.peer_app import Gate, Handler, PeerApp
from mycoswarm.fabric.reach import Reach
from mycoswarm.fabric.server import PeerServer, bind
from mycoswarm.fabric.store import Store
from mycoswarm.fabric.succession import Succession, Swarm
from mycoswarm.fabric.transport import DialFailed, Directory, PeerTransport, Transport
from mycoswarm.fabric.trust import Effects, Trust, own_identity
from mycoswarm.fabric.wire import Beat, Hello, Message, decode, encode
from mycoswarm.telemetry.health import Health

_log = logging.getLogger(__name__)

PUBLISH_EVERY = 0.25
"""Seconds between two records on the wire: queues change with every request, and peers need no more than this."""
LOOK_ROUND = 5.0
"""Seconds between looks at invitations that have ended, and at whom multicast has brought."""
FOLLOW = 1.0
"""Seconds between looks at this machine's addresses; one costs 0.15 ms."""
TWIN_PATIENCE = 3.0
"""Seconds for the Hello of whoever announces himself under this node's id."""
PROBE_EVERY = 3
"""Looks round between tries of the addresses in `peers` that no member is known at."""
LAST_WORDS = 0.3
"""Seconds in which goodbyes must have reached the wire when the node ends."""


class Fabric:
    """Who is there, and how to reach them.

    Args:
        name: of this node, for people.
        make_record: what the node says of itself when it starts; later changes come by `publish`. The fabric sets
            `id`, `incarnation` and `seq` of every record itself, whatever stands there.
        health: where attacks are counted; what is wrong with the fabric is told to it.

    With `announce = "no"` it is private: no multicast, no listener; it reaches members, and none reaches it.
    """

    def __init__(
        self,
        paths: Paths,
        name: str,
        settings: Settings,
        make_record: Callable[[], NodeRecord],
        clock: Clock | None = None,
        health: Health | None = None,
    ) -> None:
        self._paths = paths
        self._name = name
        self._settings = settings
        self._make_record = make_record
        self._clock: Clock = clock or SystemClock()
        self._health = health or Health(self._clock)
        self._health.source(self.problems)
        self._private = settings.announce == "no"
        self._store = Store(paths.state)
        self._identity: Identity = own_identity(paths.state, self._store)
        self._membership: Membership
        self._server: PeerServer | None = None
        self._discovery: Discovery | None = None
        self._tasks = TaskGroup()
        self._context = tls.server_context(self._identity)
        self._reach = Reach()
        directory = Directory(
            self._certificate,
            self._called,
            self._addresses,
            self._reach.is_typed,
            lambda address: self._health.count("mycoswarm_impostors_total", address),
        )
        self._transport = PeerTransport(self._identity, directory)
        effects = Effects(
            cut=self._cut,
            tell=self._feed,
            gone_solo=self._gone_solo,
            announce=self._roster_changed,
            up=lambda: tuple(view.id for view in self.nodes() if view.state == "up"),
        )
        self._trust = Trust(
            self._identity, name, self._store, self._context, self._transport, effects, self._tasks, self._health
        )
        swarm = Swarm(
            others=self._others,
            up=lambda: bool(effects.up()),
            news=self._trust.written,
            told=self._call,
        )
        self._succession = Succession(paths.state, directory, swarm, self._clock)
        surroundings = Surroundings(
            seen=self._seen,
            port=lambda: self.peer_port or 0,
            addresses=lambda: dict(self._membership.addresses()),
            announce=self._announce,
        )
        self._admission = Admission(
            self._identity, name, self._store, self._trust, surroundings, self._clock, self._health
        )
        around = Around(seen=self._seen, peers=lambda: self._peers, port=lambda: self.peer_port or 0, hint=self._feed)
        self._entry = Entry(
            self._identity, name, self._store, self._trust, self._reach, around, self._tasks, self._clock
        )
        gate = Gate(
            caller=self._trust.caller,
            roster=self._trust.written,
            take_roster=self._trust.take_news,
            join=self._admission.answer,
            accepted=self._accepted,
            lost=self._lost,
        )
        self._app = PeerApp(gate, self._clock, self._health)
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
        # Where somebody announces himself under this node's id: a twin, or a liar who repeats what he heard.
        self._twin: str | None = None
        self._peers: tuple[str, ...] = ()
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
        self._trust.load()
        if not self._private:
            listener = bind(self._settings.peer_port)
            self._server = PeerServer(self._app, self._context, listener, self._health, self._is_member, self._clock)
        self._record = self._make_record()
        first = msgspec.structs.replace(self._outgoing(), id=self.id, incarnation=self._store.next_incarnation(), seq=0)
        jitter = random.Random()  # noqa: S311 - nothing is to be guessed here
        self._membership = Membership(first, secrets.token_hex(8), self.peer_port or 0, jitter, self._reach.allows)
        self._admission.restore()
        self._started = True
        if self._server is not None:
            await self._server.start()
        self._trust.tell_membership()
        for node, addresses in self._store.addresses().items():
            for address in addresses:
                # Only what may be dialled is kept there: what lies elsewhere was typed by the owner at some time.
                if not self._reach.allows(address):
                    self._reach.typed(address)
                self._feed(membership.AddressHint(node, address))
        if self._server is not None:
            self._discovery = Discovery(
                self._server.port,
                self._heard,
                lambda reason: self._health.count("mycoswarm_announcements_dropped_total", reason=reason),
            )
            await self._discovery.start()
            await self._announce()
        self._tasks.start(self._look_round(), "look round")
        self._tasks.start(self._succession.run(), "tell members of the new key")
        self._tasks.start(repeat(self._follow_network, FOLLOW, "following this machine's addresses"), "follow network")

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
        return self._trust.swarm

    @property
    def links(self) -> int:
        """Watch streams that are open or being opened."""
        return len(self._links)

    def admitted(self) -> Mapping[NodeId, str]:
        """The names under which keepers let the members in; members themselves can change what `nodes` calls them."""
        roster = self._trust.roster
        return {} if roster is None else {node: member.name for node, member in roster.members().items()}

    def nodes(self) -> tuple[NodeView, ...]:
        """This node first, then every member of the swarm, also those never met, by name."""
        mine, *others = self._membership.nodes(self._clock.monotonic())
        counted = msgspec.structs.replace(
            self._record, id=self.id, incarnation=self._membership.record.incarnation, seq=self._membership.record.seq
        )
        # As of the last look round: asking the system costs more than all the rest of a request's placement.
        own = self._discovery.addresses if self._discovery is not None else ()
        addresses = tuple(joined(address, self.peer_port) for address in own)
        return (msgspec.structs.replace(mine, name=self._name, record=counted, addresses=addresses), *others)

    def history(self, node: NodeId) -> tuple[StateChange, ...]:
        """The changes of a member's state as seen here, with their reasons, newest first."""
        return self._membership.history(node, self._clock.monotonic())

    def added_by(self, node: NodeId) -> NodeId | None:
        """The keeper that let a member in, itself where it founded the swarm; None for who is no member."""
        member = self._trust.roster.members().get(node) if self._trust.roster is not None else None
        return member.added_by if member is not None else None

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
        mine = swarm_hash(self._trust.roster.swarm) if self._trust.roster is not None else None
        for seen in self._seen():
            if seen.swarm != mine:
                found.setdefault("" if seen.swarm == SOLO else seen.swarm, []).append(seen)
        return tuple(
            NearbySwarm(
                swarm,
                # A node that was killed and started again may be announced twice for a while.
                len({one.addresses for one in members}),
                tuple(sorted({slot for one in members for slot in one.slots if 0 < slot <= codes.MAX_SPOKEN_SLOT})),
                any(codes.OPEN_SLOT in one.slots for one in members),
            )
            for swarm, members in sorted(found.items())
        )

    def problems(self) -> tuple[Problem, ...]:
        """What the owner should put right."""
        found = [*self._trust.problems(), *self._admission.problems()]
        if self._started:
            found.extend(self._membership.problems())
        if self._discovery is not None and self._discovery.problem:
            found.append(
                Problem(
                    "multicast",
                    "warning",
                    self._discovery.problem,
                    "name another member with --peer HOST, so that they find each other",
                )
            )
        return tuple(found)

    # Who belongs to the swarm.

    async def invite(self, headless: bool = False, name: str = "", open_for: float = 0.0) -> Invitation:
        """A code that lets one machine in; founds a swarm (called `name`) where this node is solo.

        Args:
            open_for: seconds for which whoever asks is let in, without a code.

        Raises:
            Refused: this node is no keeper, or private. InvalidRequest: open for too long, or headless and open.
        """
        return await self._admission.invite(headless, name, open_for)

    async def join(self, code: str = "", address: str | None = None, move: bool = False, swarm: str = "") -> Joined:
        """Become a member by somebody's code, or by an open invitation where `code` is empty.

        Args:
            address: HOST[:PORT] of the inviting node; without it, it is found by its announcement or in `peers`.
            move: leave the present swarm for it, once the new one has let this node in.
            swarm: `NearbySwarm.swarm` of the open one that is meant, where `code` is empty.

        Raises:
            InvalidRequest: no code could look so, or several swarms have an open invitation.
            WrongCode: with the tries that are left in `data`. NotFound: no inviting node is there.
            Refused: a member already (without `move`), or needed where it is, or the code has ended.
        """
        return await self._entry.join(code, address, move, swarm)

    async def compare(self, address: str = "", swarm: str = "", move: bool = False) -> Comparing:
        """Ask a keeper to be let in by words that both screens show; `comparing` tells how it goes on.

        Args:
            address: HOST[:PORT] of a keeper. swarm: `NearbySwarm.swarm`, where several are near. move: as in `join`.

        Raises:
            InvalidRequest: several swarms are near. NotFound: none is. Busy: too many ask there already.
            Refused: no keeper answers; a member already (without `move`), or needed where it is.
        """
        return await self._entry.compare(address or None, swarm, move)

    def comparing(self, run: str) -> Comparing:
        """How it stands with one attempt of `compare`. Raises NotFound."""
        return self._entry.comparing(run)

    async def compared(self, run: str, same: bool) -> Comparing:
        """Whether both screens show the same words, as this node's owner says. Raises NotFound."""
        return await self._entry.compared(run, same)

    def waiting(self) -> tuple[Waiting, ...]:
        """Machines that ask this keeper to be let in by comparing words, the one that has waited longest first."""
        return self._admission.waiting()

    async def admit(self, run: str, same: bool) -> Admitted:
        """What this keeper's owner says of one of them; it is let in once its own owner has said the same.

        Raises:
            NotFound: it does not wait any more. Refused: this node is no keeper.
        """
        return await self._admission.admit(run, same)

    async def headless_join(self, code: str) -> None:
        """Join by `code` as soon as its inviting node can be found; a code that was used once is never used again.

        Raises:
            InvalidRequest, WrongCode, Refused: trying again is of no use.
        """
        await self._entry.headless_join(code)

    async def leave(self, force: bool = False) -> str:
        """Leave the swarm and forget it; returns its name. The members that are up hear of it first.

        `last_departure` says how many of them took note: where none did, they go on trusting this node.

        Raises:
            Refused: solo; or the only keeper while others belong to it (unless `force`).
        """
        return (await self._entry.leave(force)).swarm

    @property
    def last_departure(self) -> Departure | None:
        """How the last `leave` since the start went."""
        return self._entry.last_departure

    async def remove(self, node: NodeId) -> Expelled:
        """Take a member out of the swarm for ever. Raises Refused, naming who may; NotFound."""
        return await self._trust.remove(node)

    async def add_keeper(self, node: NodeId) -> SwarmInfo:
        """Let a member sign, too. Raises Refused, naming who may."""
        return await self._trust.add_keeper(node)

    async def remove_keeper(self, node: NodeId) -> SwarmInfo:
        """Make a keeper an ordinary member. Raises Refused, naming who may."""
        return await self._trust.remove_keeper(node)

    async def recover(self, phrase: str, without: tuple[NodeId, ...]) -> SwarmInfo:
        """Make this node a keeper by the recovery phrase, and take `without` out for ever.

        Raises:
            InvalidRequest: a word is none of any phrase. Refused: it is another swarm's, or this node has no swarm.
        """
        return await self._trust.recover(phrase, without)

    async def rotate(self) -> Rotated:
        """Give this machine a new key; then close this and start another, which is the new node. Raises Refused."""
        return await self._trust.rotate()

    # Finding others.

    def _seen(self) -> tuple[Announcement, ...]:
        return self._discovery.seen() if self._discovery is not None else ()

    def _heard(self) -> None:
        """Announcements or roster have changed: which of them are members?"""
        held = self._trust.roster
        fresh: dict[str, tuple[str, ...]] = {}
        self._twin = None
        if held is not None:
            mine = swarm_hash(held.swarm)
            for seen in self._seen():
                if seen.swarm != mine:
                    continue
                node = recognise(seen.mark, held.swarm, held.members())
                if node == self.id:
                    self._twin = seen.addresses[0]
                elif node is not None:
                    # Who is not recognised is looked at again: its admission may not have reached this node yet.
                    fresh[seen.mark] = seen.addresses
                    if self._marks.get(seen.mark) != seen.addresses:
                        # The likeliest is said last: what is newest is tried first.
                        for address in reversed(seen.addresses):
                            self._feed(membership.AddressHint(node, address, fresh=True))
        self._marks = fresh
        self._changed()

    async def _announce(self) -> None:
        if self._discovery is None or self._closing:
            return
        swarm = self._trust.roster.swarm if self._trust.roster is not None else None
        # A solo node's mark is random; it is made once for each swarm, so that an unchanged announcement stays so.
        if self._mine is None or self._mine[0] != (swarm or ""):
            self._mine = (swarm or "", mark_of(self.id, swarm, self._salt))
        await self._discovery.announce(
            Announcement(PROTOCOL, self._mine[1], swarm_hash(swarm) if swarm else SOLO, self._admission.slots())
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
        await self._announce()
        if self._twin is not None:
            await self._ask_twin(self._twin)
        if self._trust.roster is not None and turn % PROBE_EVERY == 0:
            for peer in self._peers:
                await self._probe(peer)

    async def _follow_network(self) -> None:
        if self._discovery is not None and await self._discovery.refresh():
            self._feed(membership.NetworkChanged())

    async def _ask_twin(self, address: str) -> None:
        """Who has this node's key and is another process is a second machine with the same disk."""

        def heard(line: bytes) -> None:
            with contextlib.suppress(InvalidRequest):
                message = decode(line)
                if isinstance(message, Hello) and message.run != self._membership.run:
                    self._feed(membership.TwinSeen(address.rpartition(":")[0]))

        with contextlib.suppress(DialFailed, TimeoutError):
            async with asyncio.timeout(TWIN_PATIENCE):
                link = Link(self.id, True, address)
                # A request goes out with the first bytes of its body.
                link.send(b"\n")
                await self._transport.watch(link, heard)

    async def _probe(self, address: str) -> None:
        """Which member is at an address that the owner named?"""
        if any(address in known for known in self._membership.addresses().values()):
            return
        host, _, port = address.rpartition(":")
        certificate = await tls.certificate_at(host.strip("[]"), int(port), 2.0)
        node = self._trust.caller(certificate) if certificate is not None else None
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
                    self._tasks.start(self._trust.pull(node), f"pull roster of {short(node)}")
                case membership.Incarnated(incarnation):
                    keep(
                        "the count of starts is not remembered",
                        lambda count=incarnation: self._store.keep_incarnation(count),
                    )
                case membership.AddressesLearned():
                    keep(
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
            # A newer version may say more than this one knows; what it knows of it still holds. Too much of it, and
            # membership stops listening.
            link = self._links.get(link_id)
            called = self._called(link.peer) if link is not None else ""
            self._health.count("mycoswarm_lines_refused_total", called)
            _log.debug("a line of %s was not understood: %s", called, problem.message)
            self._feed(membership.Garbled(link_id))
            return
        self._feed(membership.Received(link_id, message))

    # What the peer API and the transport ask.

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

    def _is_member(self, certificate: bytes) -> bool:
        return self._trust.caller(certificate) is not None

    def _certificate(self, node: NodeId) -> bytes | None:
        return self._trust.certificate(node)

    def _addresses(self, node: NodeId) -> tuple[str, ...]:
        return self._membership.addresses_of(node)

    def _others(self) -> frozenset[NodeId]:
        held = self._trust.roster
        return frozenset(held.members()) - {self.id} if held is not None else frozenset()

    def _call(self, node: NodeId) -> None:
        """Dial a member anew where it is known to have been."""
        for address in self._addresses(node):
            self._feed(membership.AddressHint(node, address, fresh=True))

    def _called(self, node: NodeId) -> str:
        return self._trust.called(node)

    # What a new roster does here; the order is `trust`'s.

    def _cut(self, trusted: Callable[[bytes], bool]) -> None:
        if self._server is not None:
            self._server.cut(trusted)

    def _gone_solo(self) -> None:
        self._admission.clear()
        self._succession.end()
        self._execute(self._membership.goodbye())

    async def _roster_changed(self) -> None:
        self._heard()
        await self._announce()

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


def _configured(peer: str) -> str:
    try:
        return with_port(peer)
    except InvalidRequest as problem:
        raise InvalidRequest(f"the setting `peers`: {problem.message}", problem.hint) from problem
