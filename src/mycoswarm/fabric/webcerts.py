"""[io] The web certificate of one node: had from the swarm's CA, kept, renewed, and signed for others by keepers.

    keeper     makes the CA when somebody first needs it · shares it with the other keepers · signs for members
    member     asks a keeper with a certificate request, over the peer link, and for what it is known by
    solo node  has a CA of its own until it belongs to a swarm

Which CA a node may hold is decided by `webkeeping`, what it may sign by `webca`, for whom by `webnames`.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from mycoswarm.core.clock import Clock
from mycoswarm.core.errors import Fixable, InvalidRequest, MycoError, NotFound, PeerLost, Refused
from mycoswarm.core.health import Problem
from mycoswarm.core.ids import NodeId
from mycoswarm.core.node import NodeView, SwarmInfo
from mycoswarm.fabric import webca, webkeeping, webnames
from mycoswarm.fabric.peer_app import Handler, PeerRequest
from mycoswarm.fabric.transport import Transport
from mycoswarm.fabric.webca import Authority
from mycoswarm.fabric.webstore import Shown, WebStore

_log = logging.getLogger(__name__)

SIGN_PATH = "/peer/web/certificate"
"""POST by members, to keepers: a certificate for a request."""
TRUSTED_PATH = "/peer/web/authority"
"""GET by members, from keepers: the CA's certificate."""
SHARE_PATH = "/peer/web/ca"
"""GET by keepers, from keepers: the CA with its key."""

ROUND = 2.0
"""Seconds between looks; one costs nothing unless something has changed."""
SHARE_EVERY = 60.0
"""Seconds between a keeper's questions to the others for their CA; at once when another keeper has come."""
FOLLOW_EVERY = 600.0
"""Seconds between a member's questions whether the CA is still the same."""
RETRY_FIRST, RETRY_LATE = 5.0, 300.0
"""Seconds between tries to have a certificate signed: doubled each time that nobody does."""
PATIENCE = 5.0
"""Seconds for a keeper's answer."""


class Wanted(msgspec.Struct, frozen=True):
    """A member's request. csr: DER, with the names in it."""

    csr: bytes


@dataclass(frozen=True)
class Surroundings:
    """What is asked of the rest of the fabric.

    nodes: as this one sees them, itself first. admitted: the names under which keepers let the members in.
    """

    me: NodeId
    name: str
    swarm: Callable[[], SwarmInfo | None]
    nodes: Callable[[], tuple[NodeView, ...]]
    admitted: Callable[[], Mapping[NodeId, str]]
    transport: Transport


class WebCertificates:
    """`step`, done again and again, keeps the certificate as it should be; `handlers` are what members may ask."""

    def __init__(self, store: WebStore, around: Surroundings, clock: Clock) -> None:
        self.store = store
        self._around = around
        self._clock = clock
        self._turn = asyncio.Lock()
        self._wanted: tuple[str, ...] = ()
        # What the present certificate was asked with; keepers may have granted less, and asking again changes nothing.
        self._asked: tuple[str, ...] = ()
        self._held: Authority | None = None
        self._broken: Fixable | None = None
        self._shown: Shown | None = store.certificate()
        self._problem = ""
        self._shared: tuple[float, frozenset[NodeId]] = (float("-inf"), frozenset())
        self._followed = float("-inf")
        self._retry = RETRY_FIRST
        self._not_before = float("-inf")
        self._swarm = ""
        try:
            self._held = store.authority()
        except Fixable as problem:
            self._broken = problem

    # What the rest of the node uses.

    @property
    def shown(self) -> Shown | None:
        """What callers are shown, None while there is no certificate."""
        return self._shown

    @property
    def problem(self) -> str:
        """Why there is none, or no newer one; a clause."""
        return self._problem

    def want(self, names: tuple[str, ...]) -> None:
        """Have a certificate for these names and addresses from now on."""
        if names != self._wanted:
            self._wanted = names
            self._not_before = float("-inf")
            self._retry = RETRY_FIRST

    def handlers(self) -> Mapping[tuple[str, str], Handler]:
        return {
            ("POST", SIGN_PATH): self._sign_for,
            ("GET", TRUSTED_PATH): self._tell_authority,
            ("GET", SHARE_PATH): self._hand_over,
        }

    async def step(self) -> None:
        """One look: what this node may hold, what the other keepers hold, and whether its certificate will do."""
        async with self._turn:
            try:
                await self._settle()
            except MycoError as problem:
                # A disk that is full, as a rule. What is served goes on, and the next look tries again.
                if problem.message != self._problem:
                    _log.warning("what this node holds of the web CA cannot be brought to the disk: %s", problem)
                self._problem = problem.message
                return
            if self._wanted and self._clock.monotonic() >= self._not_before:
                await self._have_certificate()

    async def authority(self) -> bytes:
        """The certificate (DER) of the CA to trust, made where it is this node's to make.

        Raises:
            Fixable: the file of the CA cannot be used. PeerLost, NotFound: no keeper tells.
        """
        async with self._turn:
            await self._settle()
            swarm = self._around.swarm()
            if swarm is None or self._around.me in swarm.keepers:
                return (await self._needed()).certificate
            try:
                return await self._ask_authority(swarm)
            except MycoError:
                if self._shown is not None and self._swarm == swarm.id:
                    return self._shown.authority
                raise

    def problems(self) -> tuple[Problem, ...]:
        """What the owner should put right."""
        found: list[Problem] = []
        if self._broken is not None:
            found.append(Problem("web-ca", "error", self._broken.message, self._broken.hint))
        if not self._wanted:
            return tuple(found)
        now = self._clock.wall()
        why = f": {self._problem}" if self._problem else ""
        action = "switch on a machine that is a keeper; `mycoswarm keeper` lists them"
        if self._shown is None:
            found.append(Problem("web-certificate", "error", f"this machine has no web certificate{why}", action))
            return tuple(found)
        begin, end = webca.validity(self._shown.certificate)
        if not begin <= now < end:
            said = f"the web certificate has expired, or this machine's clock is wrong{why}"
            found.append(Problem("web-certificate", "error", said, action))
        elif end - now < webca.WARN:
            said = f"the web certificate ends in {(end - now) / 86400:.0f} days and nobody has renewed it{why}"
            found.append(Problem("web-certificate", "warning", said, action))
        return tuple(found)

    # The CA.

    async def _settle(self) -> None:
        """Hold what this node may hold, and what the other keepers hold."""
        swarm, me = self._around.swarm(), self._around.me
        if self._broken is not None:
            return
        self._keep(webkeeping.retained(self._held, swarm, me))
        if swarm is None or me not in swarm.keepers:
            return
        others = self._keepers_up(swarm)
        at, asked = self._shared
        now = self._clock.monotonic()
        if others - asked or (others and now - at >= SHARE_EVERY):
            self._shared = (now, others)
            await self._share(swarm, others)
        elif others != asked:
            self._shared = (at, others)
        if self._held is not None and not self._held.swarm and others == set(swarm.keepers) - {me}:
            # Everybody has been asked, and nobody has one.
            self._keep(webkeeping.adopted(self._held, swarm, me))
        if self._held is not None and webkeeping.is_spent(self._held, swarm) and webkeeping.renews(me, swarm, others):
            _log.warning(
                "a machine that had the web CA's key is no keeper any more: there is a new CA, to be trusted anew"
            )
            generation = self._held.generation + 1
            self._keep(webca.create(swarm.id, swarm.name, me, self._clock.wall(), generation))

    async def _share(self, swarm: SwarmInfo, others: frozenset[NodeId]) -> None:
        for keeper in sorted(others):
            try:
                reply = await self._around.transport.request(keeper, "GET", SHARE_PATH, timeout=PATIENCE)
                offered = msgspec.json.decode(reply, type=Authority)
                webca.check(offered)
            except MycoError as problem:
                # It has none, as a rule.
                _log.debug("keeper %s gives no web CA: %s", keeper[:8], problem.message)
            except (msgspec.DecodeError, UnicodeDecodeError):
                _log.warning("keeper %s said something of the web CA that is not understood", keeper[:8])
            else:
                self._keep(webkeeping.merged(self._held, offered, swarm))

    async def _needed(self) -> Authority:
        """The CA that this keeper, or node in no swarm, signs with; made now where there is none."""
        if self._broken is not None:
            raise self._broken
        swarm, me = self._around.swarm(), self._around.me
        if self._held is None:
            title = self._around.name if swarm is None else swarm.name
            self._keep(webca.create(swarm.id if swarm is not None else "", title, me, self._clock.wall()))
        elif swarm is not None and not self._held.swarm:
            self._keep(webkeeping.adopted(self._held, swarm, me))
        assert self._held is not None
        return self._held

    def _keep(self, held: Authority | None) -> None:
        if held != self._held:
            self.store.keep_authority(held)
            self._held = held

    # This node's certificate.

    async def _have_certificate(self) -> None:
        swarm = self._around.swarm()
        signs_itself = swarm is None or self._around.me in swarm.keepers
        try:
            if self._will_do(await self._trusted(swarm, signs_itself=signs_itself)):
                self._problem = ""
                self._retry = RETRY_FIRST
                return
            key = ec.generate_private_key(ec.SECP256R1())
            csr = webca.request(key, self._wanted)
            if signs_itself:
                held = await self._needed()
                shown = Shown(webca.sign(held, csr, self._wanted, self._clock.wall()), held.certificate)
            else:
                assert swarm is not None
                reply = await self._ask_keepers("POST", SIGN_PATH, msgspec.json.encode(Wanted(csr)), swarm)
                shown = _fitting(reply, key)
            self.store.keep_certificate(key, shown)
        except MycoError as problem:
            # What it has may still be good for all that is wanted, whoever cannot be asked.
            self._problem = "" if self._will_do(None) else problem.message
            self._not_before = self._clock.monotonic() + self._retry
            self._retry = min(2 * self._retry, RETRY_LATE)
            return
        self._shown, self._asked = shown, self._wanted
        self._swarm = swarm.id if swarm is not None else ""
        self._problem = ""
        # What a keeper with another clock has signed may not be valid here; asking again at once would not help.
        self._not_before = self._clock.monotonic() + RETRY_FIRST
        missing = set(self._wanted) - set(webca.names_of(shown.certificate))
        left_out = f", without {', '.join(sorted(missing))}" if missing else ""
        _log.info("there is a web certificate for %s%s", ", ".join(webca.names_of(shown.certificate)), left_out)

    async def _trusted(self, swarm: SwarmInfo | None, *, signs_itself: bool) -> bytes | None:
        """The CA's certificate as far as this node needs to know it now; None where it was not asked for."""
        if signs_itself:
            return (await self._needed()).certificate
        assert swarm is not None
        now = self._clock.monotonic()
        if self._swarm == swarm.id and now - self._followed < FOLLOW_EVERY:
            return None
        authority = await self._ask_authority(swarm)
        self._followed, self._swarm = now, swarm.id
        return authority

    def _will_do(self, authority: bytes | None) -> bool:
        """Whether the present certificate is good for what is wanted. authority: that must have signed it, if known."""
        shown = self._shown
        if shown is None or (authority is not None and shown.authority != authority):
            return False
        named = set(webca.names_of(shown.certificate))
        # A name too many does no harm; with every cable that is pulled another certificate would.
        enough = self._wanted == self._asked or set(self._wanted) <= named
        return enough and not webca.is_due(shown.certificate, self._clock.wall())

    async def _ask_authority(self, swarm: SwarmInfo) -> bytes:
        """What a keeper says that the CA is. Raises PeerLost, also for one that must not be trusted."""
        said = await self._ask_keepers("GET", TRUSTED_PATH, b"", swarm)
        _check_harmless(said)
        return said

    async def _ask_keepers(self, method: str, path: str, body: bytes, swarm: SwarmInfo) -> bytes:
        """The answer of the first keeper that gives one. Raises PeerLost where none does, or what the last one said."""
        failed: MycoError = PeerLost("no keeper of the swarm is within reach", "switch one on")
        for keeper in sorted(self._keepers_up(swarm)):
            try:
                return await self._around.transport.request(keeper, method, path, body, timeout=PATIENCE)
            except MycoError as problem:
                failed = problem
        raise failed

    def _keepers_up(self, swarm: SwarmInfo) -> frozenset[NodeId]:
        return frozenset(view.id for view in self._around.nodes() if view.state == "up" and view.id in swarm.keepers)

    # What other members ask.

    async def _sign_for(self, request: PeerRequest) -> bytes:
        self._keeper_here()
        try:
            wanted = msgspec.json.decode(request.body, type=Wanted)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise InvalidRequest("the certificate request is not understood", "is its version another one?") from None
        asker = webnames.Asker(request.caller, request.source)
        asked = webca.asked_names(wanted.csr)
        names = webnames.granted(asked, asker, self._around.nodes(), self._around.admitted())
        async with self._turn:
            await self._settle()
            held = await self._needed()
        certificate = webca.sign(held, wanted.csr, names, self._clock.wall())
        _log.info("web certificate for %s: %s", request.caller[:8], ", ".join(names))
        return msgspec.json.encode(Shown(certificate, held.certificate))

    async def _tell_authority(self, request: PeerRequest) -> bytes:
        self._keeper_here()
        async with self._turn:
            await self._settle()
            return (await self._needed()).certificate

    async def _hand_over(self, request: PeerRequest) -> bytes:
        swarm = self._keeper_here()
        if request.caller not in swarm.keepers:
            raise Refused("the web CA is for keepers only")
        # Not under the lock: two keepers that ask each other at one moment would wait for each other.
        held = self._held
        if held is None or held.swarm != swarm.id or webkeeping.is_spent(held, swarm):
            raise NotFound("this keeper has no web CA yet")
        self._keep(webkeeping.handed_to(held, request.caller))
        return msgspec.json.encode(self._held)

    def _keeper_here(self) -> SwarmInfo:
        swarm = self._around.swarm()
        if swarm is None or self._around.me not in swarm.keepers:
            raise Refused("this machine is no keeper", "`mycoswarm keeper` lists those that are")
        return swarm


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of a certificate (DER), hex with colons, as browsers show it."""
    return hashlib.sha256(certificate).digest().hex(":").upper()


def _fitting(reply: bytes, key: ec.EllipticCurvePrivateKey) -> Shown:
    """A keeper's answer, if it is a certificate for `key`. Raises PeerLost."""
    foreign = PeerLost("a keeper's answer is no web certificate", "is its version another one?")
    try:
        shown = msgspec.json.decode(reply, type=Shown)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise foreign from None
    if not webca.certifies(shown.certificate, shown.authority, key.public_key()):
        raise foreign
    _check_harmless(shown.authority)
    return shown


def _check_harmless(authority: bytes) -> None:
    """Raises PeerLost where a keeper offers a CA that must not be trusted."""
    try:
        webca.check_harmless(authority)
    except InvalidRequest as problem:
        raise PeerLost(f"a keeper's web CA is refused: {problem.message}", "is its version another one?") from problem
