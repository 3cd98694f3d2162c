"""[io] Whether a connection on this machine comes from a program of the node's own user.

Programs with Ollama's port built in have no way to send a token. On that port, which is on loopback only, whoever runs
as the same user is taken for the owner: he could read the token anyway. Where the system does not tell, the token is
needed.
"""

import asyncio
import os
import sys
from pathlib import Path

from mycoswarm.api.asgi import Scope
from mycoswarm.api.ollama.sockets import Address, owner

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_NOBODY = Path("/proc/sys/kernel/overflowuid")
"""The id that stands for all users whom this namespace does not know."""


async def is_owner(scope: Scope) -> bool:
    """Whether the request in `scope` was sent by this user. Looks it up now, while the connection is open."""
    client, server = scope.get("client"), scope.get("server")
    if not sys.platform.startswith("linux") or client is None or server is None:
        return False
    return await asyncio.to_thread(same_user, (client[0], client[1]), (server[0], server[1]))


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
