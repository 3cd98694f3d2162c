"""Who may ask what on the LAN's side of the user port: whoever shows an API key, and nobody else for anything.

Behind TLS everything is checked before it is looked at what is asked: the host (a rebound name is refused), the page (a
foreign one is), the URL (a secret in it would stand in logs and histories), and the key. What proxies add to a request
earns no trust and does no harm: a caller is the machine that the connection comes from.
"""

from collections.abc import Callable, Container, Generator, Iterable, Mapping
from contextlib import contextmanager
from urllib.parse import parse_qsl

from mycoswarm.access.keys import PREFIX
from mycoswarm.access.ring import KeyRing, Pass
from mycoswarm.api.asgi import Scope
from mycoswarm.api.auth import Visitor, check_page, host_name
from mycoswarm.api.routes import Route
from mycoswarm.core.errors import InvalidRequest, Refused

PROFILE = "mycoswarm.profile"
"""Key in the ASGI scope: whose conversations and documents the caller sees. Absent on loopback."""
RECOGNISE = "recognise"
"""Key in scope["state"]: called once the caller has shown a key, so that his connection is no stranger's any more."""
BREAK = "abort"
"""Key in scope["state"]: breaks the connection, for a key that is removed while it is used."""

_ONCE = (b"host", b"authorization", b"x-api-key", b"origin")
"""Headers that mean nothing when they come twice: two parties would read two things."""
_SECRETS = frozenset({"key", "api_key", "api-key", "apikey", "x-api-key", "token", "access_token", "auth"})
"""Parameters in which programs are known to send keys."""


class Lan:
    """The guard of the LAN's listener. names: hosts that are this node, in lower case."""

    def __init__(self, ring: KeyRing, names: Callable[[], Container[str]]) -> None:
        self._ring = ring
        self._names = names

    def enter(self, scope: Scope) -> Visitor:
        headers = read_headers(scope["headers"])
        host = headers.get("host", "")
        if host_name(host).lower() not in self._names():
            raise Refused(
                f"the host '{host[:200]}' is none of this machine's names",
                "`mycoswarm certs show` on that machine lists them",
            )
        if refusal := check_page(headers, host, ("https",)):
            raise refusal
        check_query(scope["query_string"].decode("latin-1"))
        client = scope.get("client")
        who = self._ring.identify(credentials(headers), str(client[0]) if client else "")
        scope["state"][RECOGNISE]()
        scope[PROFILE] = who.profile
        return _Holder(self._ring, who, scope["state"][BREAK])


class _Holder:
    def __init__(self, ring: KeyRing, who: Pass, end: Callable[[], None]) -> None:
        self._ring = ring
        self._who = who
        self._end = end

    @contextmanager
    def admitted(self, route: Route) -> Generator[None]:
        with self._ring.admitted(self._who, route.scope, f"{route.method} {route.path}", self._end):
            yield


def read_headers(pairs: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """Headers by lower-case name. Raises InvalidRequest where one that must be clear comes twice."""
    found: dict[str, str] = {}
    for name, value in pairs:
        low = name.lower()
        text = low.decode("latin-1")
        if low in _ONCE and text in found:
            raise InvalidRequest(f"the header {text} comes twice", "send it once")
        found[text] = value.decode("latin-1")
    return found


def check_query(query: str) -> None:
    """Raises InvalidRequest for a secret in the URL."""
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name.lower() in _SECRETS or value.startswith(PREFIX):
            raise InvalidRequest(
                "API keys are not taken from URLs, which end up in logs and histories",
                "send `Authorization: Bearer …`, and replace a key that was sent so",
            )


def credentials(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The secrets that a request shows: as OpenAI's and Ollama's clients do it, and as Anthropic's does."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    bearer = given.strip() if scheme.lower() == "bearer" else ""
    return tuple(secret for secret in (bearer, headers.get("x-api-key", "").strip()) if secret)
