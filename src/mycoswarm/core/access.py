"""Who may ask what from other machines: scopes, API keys and the web certificate, as the API says them."""

from typing import Literal

import msgspec

Scope = Literal["inference", "read", "admin"]
"""Asking a model; looking at lists and health; everything, the other two included."""

PROFILE = "me"
"""Whose conversations and documents a key belongs to, where it is not said."""


class KeyView(msgspec.Struct, frozen=True, omit_defaults=True):
    """An API key without its secret. Moments are seconds since 1970; used: 0 for never, expires: 0 for never.

    rate: requests a minute, concurrent: answers at one time; 0: as many as the node bears.
    """

    id: str
    name: str
    scopes: tuple[Scope, ...]
    profile: str
    created: int
    used: int = 0
    expires: int = 0
    rate: int = 0
    concurrent: int = 0


class Keys(msgspec.Struct, frozen=True):
    """`GET /swarm/v1/keys`: the oldest first."""

    keys: tuple[KeyView, ...]


class KeyBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`POST /swarm/v1/keys`; answers NewKey. lifetime: seconds, 0: for ever. rate, concurrent: as in KeyView."""

    name: str
    scopes: tuple[Scope, ...] = ("inference", "read")
    profile: str = PROFILE
    lifetime: float = 0.0
    rate: int = 0
    concurrent: int = 0


class NewKey(msgspec.Struct, frozen=True):
    """The only answer that ever holds a key's secret."""

    key: KeyView
    secret: str


class KeyRemoved(msgspec.Struct, frozen=True):
    """Answer of `DELETE /swarm/v1/keys/{key}`. broken: answers under way that it ended."""

    key: KeyView
    broken: int


class WebCertificate(msgspec.Struct, frozen=True, omit_defaults=True):
    """`GET /swarm/v1/certificate`: what browsers and programs on the LAN meet.

    authority: PEM of the certificate to trust, fingerprint: its SHA-256 in hex; both empty while there is none.
    names: that the node's own certificate is good for; until: its end, seconds since 1970, 0 where there is none yet.
    urls: where this node listens on the LAN now. problem: why there is no certificate, or no newer one.
    """

    authority: str = ""
    fingerprint: str = ""
    names: tuple[str, ...] = ()
    until: int = 0
    urls: tuple[str, ...] = ()
    problem: str = ""
