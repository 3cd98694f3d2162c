"""[io] Whether a connection on this machine comes from a program of the node's own user.

Programs with Ollama's port built in have no way to send a token. On that port, which is on loopback only, whoever runs
as the same user is taken for the owner: he could read the token anyway. Where the system does not tell, the token is
needed.
"""

import os
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mycoswarm.api.asgi import Scope
from mycoswarm.api.auth import Visitor, check_origin, check_token, forwarded
from mycoswarm.api.ollama.sockets import Address, owner
from mycoswarm.api.routes import Route

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_NOBODY = Path("/proc/sys/kernel/overflowuid")
"""The id that stands for all users whom this namespace does not know."""


class OwnersPort:
    """The guard of that port. token: of this node; whoever sends it needs nothing else."""

    def __init__(self, token: str, is_owner: Callable[[Scope], bool] | None = None) -> None:
        self._token = token
        self._is_owner = is_owner or is_of_this_user

    def enter(self, scope: Scope) -> Visitor:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if refusal := check_origin(headers):
            raise refusal
        return _Caller(headers, self._token, lambda: self._is_owner(scope))


class _Caller:
    def __init__(self, headers: Mapping[str, str], token: str, is_owner: Callable[[], bool]) -> None:
        self._headers = headers
        self._token = token
        self._is_owner = is_owner

    @contextmanager
    def admitted(self, route: Route) -> Generator[None]:
        refusal = check_token(route, self._headers, self._token)
        # Behind a proxy the connection is the proxy's, whoever asks.
        if refusal and (forwarded(self._headers) or not self._is_owner()):
            raise refusal
        yield


def is_of_this_user(scope: Scope) -> bool:
    """Whether a program of this process's user sent the request. Asked now, while its connection is open."""
    client, server = scope.get("client"), scope.get("server")
    if not sys.platform.startswith("linux") or client is None or server is None:
        return False
    return same_user((client[0], client[1]), (server[0], server[1]))


def same_user(client: Address, server: Address, tables: tuple[Path, ...] = _TABLES) -> bool:
    """Whether the socket at `client` that is connected to `server` belongs to the user of this process."""
    me = os.geteuid()
    try:
        if me == int(_NOBODY.read_text()):
            return False
        for table in tables:
            with table.open() as lines:
                if (found := owner(lines, client, server)) is not None:
                    return found == me
    except (OSError, ValueError):
        return False
    return False
