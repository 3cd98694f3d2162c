"""[io] The ports on a node's user side: which sockets there are, and what answers on each of them.

    port        127.0.0.1, plaintext: the user API; inference and lists are free, the rest needs the token
    ollama_port 127.0.0.1, plaintext, opt-in: Ollama's API; the owner's own programs need no token there
    port        every LAN address, TLS, with `listen = lan`: the same API, and every request needs a key (`lan`)

Sockets are bound before the node starts, so that a taken port is told before anything else happens, and answered on
once it runs.
"""

import socket

from mycoswarm import serving
from mycoswarm.api.app import create_app, create_ollama_app
from mycoswarm.api.ollama.owner import OwnersPort
from mycoswarm.core.errors import PortTaken
from mycoswarm.core.settings import Settings
from mycoswarm.lan import Lan
from mycoswarm.node import Node


class Listeners:
    """The bound sockets of one node, and after `start` the listeners on them. `close` ends either.

    Raises:
        PortTaken: one of the ports is; nothing stays open then.
    """

    def __init__(self, settings: Settings) -> None:
        self._bound: list[socket.socket] = []
        self._open: list[serving.Listener] = []
        self._loopback = self._bind("127.0.0.1", settings.port, "port")
        self._ollama = self._bind_ollama(settings.ollama_port) if settings.ollama_port else None
        self._lan = self._bind_lan() if settings.listen == "lan" else None

    @property
    def port(self) -> int:
        """Of the user API."""
        return int(self._loopback.getsockname()[1])

    async def start(self, node: Node, token: str) -> None:
        """Answer from now on."""
        await self._listen(serving.Listener(create_app(node, token), self._loopback))
        if self._ollama is not None:
            await self._listen(serving.Listener(create_ollama_app(node, OwnersPort(token)), self._ollama))
        if self._lan is not None:
            await self._lan.start(node)

    async def close(self, grace: float) -> None:
        """Take nothing new, give running exchanges `grace` seconds, then break them."""
        for listener in (*self._open, *([self._lan] if self._lan is not None else [])):
            await listener.close(grace)
        self._close_sockets()

    def _bind_ollama(self, port: int) -> socket.socket:
        try:
            return self._bind("127.0.0.1", port, "ollama_port")
        except PortTaken as problem:
            taken = "its models are part of the swarm anyway; " if problem.data.get("taken") else ""
            raise PortTaken(
                f"{problem.message} (ollama_port)",
                f"leave `ollama_port` at 0 where Ollama itself runs: {taken}or choose another port",
                **problem.data,
            ) from problem

    def _bind(self, host: str, port: int, setting: str) -> socket.socket:
        try:
            self._bound.append(serving.bind(host, port, setting))
        except BaseException:
            self._close_sockets()
            raise
        return self._bound[-1]

    def _bind_lan(self) -> Lan:
        try:
            return Lan(self.port)
        except BaseException:
            self._close_sockets()
            raise

    async def _listen(self, listener: serving.Listener) -> None:
        self._open.append(listener)
        await listener.start()

    def _close_sockets(self) -> None:
        for bound in self._bound:
            bound.close()
