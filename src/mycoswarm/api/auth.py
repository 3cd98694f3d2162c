"""Who may ask what on the user port. Pure: headers in, verdict out.

Loopback is shared: other people may have accounts on this machine, and every web page its owner visits can send
requests to it. So inference and lists are free for programs here; a browser on a foreign page is refused by Origin and
Sec-Fetch-Site, a rebound DNS name by Host; everything else needs the token; and behind a proxy nothing is free.
"""

import hmac
from collections.abc import Mapping
from ipaddress import ip_address

from mycoswarm.api.routes import Route
from mycoswarm.core.errors import MycoError, Refused, TokenRequired

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")


def check_origin(headers: Mapping[str, str]) -> MycoError | None:
    """The refusal of a request that a foreign web page or a rebound name sends; no token helps it.

    Args:
        headers: lower-case names.
    """
    host = headers.get("host", "")
    if not _is_loopback(host):
        return Refused(f"the host '{host}' is not this machine's own", "use http://127.0.0.1 or http://localhost")
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2] != host:
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


def _is_loopback(host: str) -> bool:
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name.lower() == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
