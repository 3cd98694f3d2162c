"""[io] A new key of this node brought to members that know only its old one.

A rotation is told as it happens (`trust`). Where the process dies before that, or nobody takes it in time, the members
refuse the new key, so they cannot be told by it. The old one is kept for that case: with it the roster, in which it
names its successor, is brought to them. As soon as a member is up under the new key the swarm has it, and the old one
is destroyed.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mycoswarm.core.clock import Clock
from mycoswarm.core.errors import MycoError, Refused
from mycoswarm.core.ids import NodeId
from mycoswarm.fabric.files import keep
from mycoswarm.fabric.identity import drop_previous, previous
from mycoswarm.fabric.transport import Directory, PeerTransport
from mycoswarm.fabric.wire import ROSTER_PATH

_log = logging.getLogger(__name__)

FIRST, LONGEST = 2.0, 30.0
"""Seconds until the first try, and at most between two; each pause is twice the one before. Too soon, and members that
were told in time and are just calling would count a stranger at their port; too late, and the machine is missed."""
LOOK = 0.25
"""Seconds between looks at whether a member is up."""
PATIENCE = 2.0
"""Seconds that a member has to take the news."""


@dataclass(frozen=True)
class Swarm:
    """What is asked of the rest of the fabric.

    others: the members besides this node. up: whether one of them is reached under the present key. news: the roster.
    told: a member may have taken it, and should be called.
    """

    others: Callable[[], frozenset[NodeId]]
    up: Callable[[], bool]
    news: Callable[[], bytes]
    told: Callable[[NodeId], None]


class Succession:
    """The old key in `state`, if there is one."""

    def __init__(self, state: Path, directory: Directory, swarm: Swarm, clock: Clock) -> None:
        self._state = state
        self._directory = directory
        self._swarm = swarm
        self._clock = clock
        self._heard: set[NodeId] = set()
        self._over = False

    def end(self) -> None:
        """Destroy the old key: nobody is to be told by it any more."""
        self._over = True
        keep("the old key of this machine is not destroyed", lambda: drop_previous(self._state))

    async def run(self) -> None:
        """Tell the members, until one of them is up. Cancelled before that, it goes on at the next start."""
        old = previous(self._state)
        if old is not None:
            transport = PeerTransport(old, self._directory)
            try:
                await self._tell_all(transport)
            finally:
                await transport.close()
        # Also what is there and cannot be read.
        self.end()

    async def _tell_all(self, transport: PeerTransport) -> None:
        pause, due = FIRST, self._clock.monotonic() + FIRST
        while not self._over and (others := self._swarm.others()) and not self._swarm.up():
            if self._clock.monotonic() >= due:
                await asyncio.gather(*(self._tell(transport, node) for node in others - self._heard))
                pause = min(2 * pause, LONGEST)
                due = self._clock.monotonic() + pause
            await asyncio.sleep(LOOK)

    async def _tell(self, transport: PeerTransport, node: NodeId) -> None:
        # As with a farewell: taking the news is what breaks the connection.
        try:
            await transport.request(node, "POST", ROSTER_PATH, self._swarm.news(), timeout=PATIENCE)
        except Refused:
            # It knows the old key as one that has ended. More cannot be said to it.
            self._heard.add(node)
        except MycoError as problem:
            _log.info("%s may not know this machine's new key: %s", self._directory.name(node), problem.message)
        self._swarm.told(node)
