"""[io] The keys of one node in force: who asks, what he may, and how much of it at a time."""

import contextlib
import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import msgspec

from mycoswarm.access import keys
from mycoswarm.access.keys import Key
from mycoswarm.access.limits import Limits
from mycoswarm.access.store import KeyStore
from mycoswarm.core.access import KeyBody, KeyRemoved, KeyView, NewKey, Scope
from mycoswarm.core.clock import Clock
from mycoswarm.core.errors import Busy, Fixable, MycoError, TokenRequired
from mycoswarm.core.health import Problem
from mycoswarm.telemetry.health import Health

_log = logging.getLogger(__name__)

USED_EVERY = 3600
"""Seconds by which `last used` on the disk may be behind: it is for people, and not worth a write for each request."""


@dataclass(frozen=True)
class Pass:
    """A key that was shown and is in force."""

    key: Key

    @property
    def profile(self) -> str:
        """Whose conversations and documents the caller sees."""
        return self.key.profile


class KeyRing:
    """Loaded when it is made. A file that cannot be used lets nobody in, and `problems` says so."""

    def __init__(self, store: KeyStore, clock: Clock, health: Health) -> None:
        self._store = store
        self._clock = clock
        self._health = health
        self._limits = Limits(clock.monotonic())
        self._running: dict[str, dict[object, Callable[[], None]]] = {}
        # Since when the file is behind; None while it is not.
        self._unsaved: float | None = None
        self._keys: tuple[Key, ...] = ()
        self._broken: Fixable | None = None
        try:
            self._keys = store.load()
        except Fixable as problem:
            self._broken = problem

    def all(self) -> tuple[KeyView, ...]:
        """The oldest first. Raises Fixable where their file cannot be used."""
        self._must_be_whole()
        return tuple(key.view() for key in self._keys)

    def add(self, body: KeyBody) -> NewKey:
        """A new key, on the disk when this returns. Raises InvalidRequest, Refused; Fixable as `all`."""
        self._must_be_whole()
        secret = keys.new_secret()
        made = keys.make(body, secret, keys.new_id(), self._clock.wall(), self._keys)
        self._save((*self._keys, made))
        _log.info("API key %s (%s) was made for %s", made.id, made.name, ", ".join(made.scopes))
        return NewKey(made.view(), secret)

    def remove(self, name: str) -> KeyRemoved:
        """Take a key out of force, by id or name, and break what it is doing.

        Raises:
            NotFound: there is none. Fixable: as `all`; also where the removal cannot be brought to the disk, and the
            key is out of force all the same, until the next start at least.
        """
        self._must_be_whole()
        gone = keys.named(name, self._keys)
        kept = tuple(key for key in self._keys if key.id != gone.id)
        unwritten: Fixable | None = None
        try:
            self._save(kept)
        except Fixable as problem:
            # Whoever removes a key wants its holder out now, whatever the disk says.
            self._keys, self._unsaved, unwritten = kept, self._clock.monotonic(), problem
        self._limits.forget(gone)
        running = self._running.pop(gone.id, {})
        for end in running.values():
            end()
        _log.info("API key %s (%s) was removed", gone.id, gone.name)
        if unwritten is not None:
            raise type(unwritten)(
                f"the key {gone.name} lets nobody in any more, but could be back with the next start: {unwritten}",
                unwritten.hint,
            ) from unwritten
        return KeyRemoved(gone.view(), len(running))

    def identify(self, secrets: Sequence[str], source: str) -> Pass:
        """The key of a request. secrets: what it shows, in any place. source: the caller's address.

        Raises:
            TokenRequired: none was shown, or none of them is in force. Busy: `source` has shown too many wrong ones.
        """
        for secret in secrets:
            found = keys.holder(secret, self._keys)
            if found is not None:
                keys.check_in_force(found, self._clock.wall())
                self._used(found)
                return Pass(found)
        if not secrets:
            self._health.count("mycoswarm_lan_refused_total", source, reason="no_key")
            raise TokenRequired(
                "this needs an API key",
                "`mycoswarm keys add NAME` on that machine makes one; send it as Bearer token",
            )
        self._health.count("mycoswarm_lan_refused_total", source, reason="wrong_key")
        if not self._limits.wrong(source, self._clock.monotonic()):
            raise Busy("too many wrong API keys from this address", "wait a little", retry_after=10.0)
        raise TokenRequired(
            "no key of this node has this secret", "`mycoswarm keys list` on that machine shows which there are"
        )

    @contextlib.contextmanager
    def admitted(self, who: Pass, scope: Scope, what: str, end: Callable[[], None]) -> Generator[None]:
        """Lasts as long as the request is answered. end: breaks it off, called when the key is removed meanwhile.

        Raises Refused where the key is not good for `what`, Busy where it has had its share.
        """
        key = who.key
        keys.check_scope(key, scope, what)
        self._limits.request(key, self._clock.monotonic())
        answering = scope == "inference"
        if answering:
            self._limits.begin(key)
        mark = object()
        self._running.setdefault(key.id, {})[mark] = end
        try:
            yield
        finally:
            if answering:
                self._limits.end(key)
            running = self._running.get(key.id)
            if running is not None:
                running.pop(mark, None)
                if not running:
                    del self._running[key.id]

    def problems(self) -> tuple[Problem, ...]:
        """What the owner should put right."""
        found: list[Problem] = []
        if self._broken is not None:
            found.append(Problem("api-keys", "error", self._broken.message, self._broken.hint))
        if self._store.exposed():
            found.append(
                Problem(
                    "api-keys-exposed",
                    "warning",
                    f"other users of this machine can open {self._store.path}",
                    f"chmod 600 {self._store.path}",
                )
            )
        return tuple(found)

    def __len__(self) -> int:
        """Keys that are in force now."""
        now = self._clock.wall()
        return sum(not keys.expired(key, now) for key in self._keys)

    def flush(self) -> None:
        """Bring to the disk when each key was last used, and a removal that could not be written."""
        if self._unsaved is None:
            return
        try:
            self._save(self._keys)
        except MycoError as problem:
            self._unsaved = self._clock.monotonic()
            _log.warning("what is new of the API keys could not be brought to the disk: %s", problem.message)

    def _used(self, key: Key) -> None:
        now = int(self._clock.wall())
        if now == key.used:
            return
        used = msgspec.structs.replace(key, used=now)
        self._keys = tuple(used if one.id == key.id else one for one in self._keys)
        if self._unsaved is None:
            self._unsaved = self._clock.monotonic()
        if self._clock.monotonic() - self._unsaved >= USED_EVERY:
            self.flush()

    def _save(self, kept: tuple[Key, ...]) -> None:
        """On the disk first: what is in force must not come back, or be gone, with the next start."""
        self._store.save(kept)
        self._keys = kept
        self._unsaved = None

    def _must_be_whole(self) -> None:
        if self._broken is not None:
            raise self._broken
