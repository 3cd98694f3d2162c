"""Who may ask what on the user port's loopback side. Pure: headers in, verdict out. The LAN's side is in `lan`.

Loopback is shared: other people may have accounts on this machine, and every web page its owner visits can send
requests to it. So inference and lists are free for programs here; a browser on a foreign page is refused by Origin and
Sec-Fetch-Site, a rebound DNS name by Host; everything else needs the token; and behind a proxy nothing is free.
"""

import hmac
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from ipaddress import ip_address
from typing import Protocol

from mycoswarm.api.asgi import Scope
from mycoswarm.api.routes import Route
from mycoswarm.core.errors import MycoError, Refused, TokenRequired

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")


class Visitor(Protocol):
    """A caller who was let in."""

    def admitted(self, route: Route) -> AbstractContextManager[None]:
        """Lasts as long as `route` answers him. Raises errors of `core.errors` where it may not."""
        ...


class Guard(Protocol):
    """Who stands at one listener."""

    def enter(self, scope: Scope) -> Visitor:
        """Before anything else is looked at. Raises errors of `core.errors`."""
        ...


class Loopback:
    """The guard of the plaintext port. token: of this node; must not be empty."""

    def __init__(self, token: str) -> None:
        assert token, "a node without a token must not listen"
        self._token = token

    def enter(self, scope: Scope) -> Visitor:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if refusal := check_origin(headers):
            raise refusal
        return _Local(headers, self._token)


class _Local:
    def __init__(self, headers: Mapping[str, str], token: str) -> None:
        self._headers = headers
        self._token = token

    @contextmanager
    def admitted(self, route: Route) -> Generator[None]:
        if refusal := check_token(route, self._headers, self._token):
            raise refusal
        yield


def check_origin(headers: Mapping[str, str]) -> MycoError | None:
    """The refusal of a request that a foreign web page or a rebound name sends; no token helps it.

    Args:
        headers: lower-case names.
    """
    host = headers.get("host", "")
    if not _is_loopback(host):
        return Refused(f"the host '{host}' is not this machine's own", "use http://127.0.0.1 or http://localhost")
    return check_page(headers, host)


def check_page(headers: Mapping[str, str], host: str, schemes: tuple[str, ...] = ("http", "https")) -> MycoError | None:
    """The refusal of what a page of another site sends. host: that the request names, with its port."""
    origin = headers.get("origin")
    if origin is not None and origin not in {f"{scheme}://{host}" for scheme in schemes}:
        return Refused(f"pages of '{origin}' may not use this node", "only its own dashboard may")
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return Refused("another web site may not use this node", "only its own dashboard may")
    return None


def check_token(route: Route, headers: Mapping[str, str], token: str) -> MycoError | None:
    """The refusal of a request that lacks the token it needs, or None.

    Args:
        token: of this node; must not be empty.
    """
    assert token, "a node without a token must not listen"
    if _bearer(headers, token):
        return None
    if forwarded(headers):
        return TokenRequired(
            "this request came through a proxy, so loopback's exemption does not hold", "send the node's token"
        )
    if route.free:
        return None
    return TokenRequired(
        f"{route.method} {route.path} needs this node's token",
        "send `Authorization: Bearer …` with the text of the token file",
    )


def forwarded(headers: Mapping[str, str]) -> bool:
    """Whether a proxy stands between: the connection then says nothing of who asks."""
    return any(name in headers for name in _FORWARDED)


def _bearer(headers: Mapping[str, str], token: str) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def host_name(host: str) -> str:
    """Of a Host header: without port and brackets."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _is_loopback(host: str) -> bool:
    name = host_name(host)
    if name.lower() == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
