"""API keys: what one looks like, which one a secret belongs to, and what it is good for. Pure."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import get_args

import msgspec

from mycoswarm.core.access import PROFILE, KeyBody, KeyView, Scope
from mycoswarm.core.errors import InvalidRequest, NotFound, Refused, TokenRequired

PREFIX = "myco-"
"""How every secret begins, so that people and programs that look for leaked ones know it for what it is."""
SECRET_BYTES = 32
ID_BYTES = 5
MAX_KEYS = 256
MAX_NAME = 64
MAX_SECRET = 256
"""Characters of a credential that are looked at; ours have 57."""
MAX_RATE = 1_000_000


class Key(msgspec.Struct, frozen=True, omit_defaults=True):
    """One key as it is kept. digest: SHA-256 of the secret, hex. The rest as in `KeyView`."""

    id: str
    name: str
    digest: str
    scopes: tuple[Scope, ...]
    created: int
    profile: str = PROFILE
    expires: int = 0
    rate: int = 0
    concurrent: int = 0
    used: int = 0

    def view(self) -> KeyView:
        return KeyView(
            self.id,
            self.name,
            self.scopes,
            self.profile,
            self.created,
            self.used,
            self.expires,
            self.rate,
            self.concurrent,
        )


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def new_secret() -> str:
    """Letters and digits only, so that a double click takes all of it and no shell has an opinion on it."""
    text = base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode().rstrip("=").lower()
    return PREFIX + text


def new_id() -> str:
    return base64.b32encode(secrets.token_bytes(ID_BYTES)).decode().lower()


def make(body: KeyBody, secret: str, identity: str, now: float, others: Iterable[Key]) -> Key:
    """The key that `body` asks for.

    Raises:
        InvalidRequest: a name that is empty, taken, or could be taken for an id; a limit below zero; no scope.
        Refused: there are MAX_KEYS already.
    """
    others = tuple(others)
    name = body.name.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise InvalidRequest(
            f"a key's name has 1 to {MAX_NAME} printable characters", "name the program or person that will use it"
        )
    if name.startswith(PREFIX):
        raise InvalidRequest("a key's name must not look like a secret", f"choose one without {PREFIX} in front")
    if any(name in (one.name, one.id) for one in others):
        raise InvalidRequest(f"there is a key called {name}", "choose another name, or remove that one first")
    if len(others) >= MAX_KEYS:
        raise Refused(f"there are {MAX_KEYS} keys already", "remove one that nobody uses: mycoswarm keys list")
    if not body.scopes:
        raise InvalidRequest("a key without a scope is good for nothing", f"name some of {', '.join(_ALL)}")
    if not body.profile.strip() or len(body.profile) > MAX_NAME or not body.profile.isprintable():
        raise InvalidRequest(
            f"a profile's name has 1 to {MAX_NAME} printable characters", f"the usual one is {PROFILE}"
        )
    if not 0 <= body.rate <= MAX_RATE or not 0 <= body.concurrent <= MAX_RATE:
        raise InvalidRequest("a key's limits are whole numbers from 0, which means none", "leave it out for no limit")
    if not 0.0 <= body.lifetime <= _CENTURY:
        raise InvalidRequest("a key's lifetime must be a number of seconds from now", "0 for one without an end")
    return Key(
        id=identity,
        name=name,
        digest=digest(secret),
        scopes=tuple(scope for scope in _ALL if scope in body.scopes),
        created=int(now),
        profile=body.profile.strip(),
        expires=int(now + body.lifetime) + 1 if body.lifetime else 0,
        rate=body.rate,
        concurrent=body.concurrent,
    )


def holder(secret: str, keys: Iterable[Key]) -> Key | None:
    """The key that a secret belongs to. The time that it takes tells nothing about any of them."""
    if len(secret) > MAX_SECRET:
        return None
    asked = digest(secret)
    found = None
    for key in keys:
        if hmac.compare_digest(key.digest, asked):
            found = key
    return found


def named(name: str, keys: Iterable[Key]) -> Key:
    """By id or name. Raises NotFound."""
    for key in keys:
        if name in (key.id, key.name):
            return key
    raise NotFound(f"there is no key {name}", "`mycoswarm keys list` shows those that there are")


def expired(key: Key, now: float) -> bool:
    return bool(key.expires) and now >= key.expires


def check_in_force(key: Key, now: float) -> None:
    """Raises TokenRequired for one that has come to its end."""
    if expired(key, now):
        raise TokenRequired(f"the API key {key.name} has expired", "make a new one on that machine: mycoswarm keys add")


def check_scope(key: Key, scope: Scope, what: str) -> None:
    """Raises Refused where the key is not good for `what`, which needs `scope`."""
    if "admin" not in key.scopes and scope not in key.scopes:
        raise Refused(
            f"{what} needs a key with the scope {scope}; {key.name} has {', '.join(key.scopes)}",
            f"mycoswarm keys add NAME --scope {scope} on that machine makes one",
        )


_ALL: tuple[Scope, ...] = get_args(Scope)
_CENTURY = 100 * 365.25 * 86400.0
