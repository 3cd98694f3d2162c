"""[io] Requests and streams to members, over mutual TLS with one pooled session per peer.

HTTP/1.1 with aiohttp: from Python it is several times quicker than HTTP/2. A node is dialled at the addresses that are
known for it and must show the certificate that the roster holds; which address answered makes no difference to trust.
Addresses beyond the local network are dialled only where the owner typed them (`reach`); redirects are not followed.
"""

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import aiohttp
import msgspec

from mycoswarm.core.errors import ErrorBody, InvalidRequest, MycoError, PeerLost, from_body
from mycoswarm.core.ids import NodeId, short
from mycoswarm.egress import local_socket
from mycoswarm.fabric.identity import Identity
from mycoswarm.fabric.link import Link
from mycoswarm.fabric.tls import member_context, stranger_context, unverified_context
from mycoswarm.fabric.wire import MAX_BODY, MAX_REPLY, MAX_WELCOME, WATCH_PATH, Lines

CONNECT = 2.0
"""Seconds for a TCP connection and its handshake. Longer than one lost SYN costs (1 s)."""
DIAL = 1.5
"""Seconds for opening a watch stream. A SYN is repeated after 1 s; waiting for the next, at 3 s, would be too slow."""
SILENCE = 5.0
"""Seconds without a byte after which a stream counts as lost. The far side writes a blank line every second."""
KEEP_ALIVE = 30.0
"""Seconds that an idle connection is kept. Shorter than the server's (`serving.KEEP_ALIVE`)."""
MAX_ERROR = 64 * 1024
"""Bytes of an error that another machine answers with."""
MAX_ERROR_TEXT = 500
"""Characters of its message, and of its hint."""
_ERROR_LINE = b'{"error":'
"""How a line begins that ends a stream with an error; no delta begins so."""


class Transport(Protocol):
    """How the rest of the program reaches other members."""

    async def request(
        self,
        node: NodeId,
        method: str,
        path: str,
        body: bytes = b"",
        timeout: float = 10.0,  # noqa: ASYNC109 - it bounds the exchange, and the error says which peer was slow
    ) -> bytes:
        """The body of the answer. Raises PeerLost, or the error that the far side answered with."""
        ...

    def stream(self, node: NodeId, path: str, body: bytes = b"") -> AsyncGenerator[bytes, None]:
        """The lines of an NDJSON answer to a POST, without newline, without keep-alives.

        Closing the generator closes the connection; the far side then cancels what it was doing.
        Raises PeerLost where the peer cannot be reached, goes away in the middle, or is silent for SILENCE seconds;
        else the error that the far side answered or ended with.
        """
        ...


@dataclass(frozen=True)
class Directory:
    """What a transport asks about members.

    certificate: DER, None for a stranger. addresses: HOST:PORT, best first. typed: whether the owner named an address.
    impostor: told of an address that answered with another certificate than the member's.
    """

    certificate: Callable[[NodeId], bytes | None]
    name: Callable[[NodeId], str]
    addresses: Callable[[NodeId], tuple[str, ...]]
    typed: Callable[[str], bool]
    impostor: Callable[[str], None] = lambda address: None


class DialFailed(Exception):
    """A watch stream could not be opened. refused: the machine answered, but nothing listens there any more."""

    def __init__(self, reason: str, refused: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.refused = refused


class PeerTransport:
    """The real one. Sessions are made when they are first needed and dropped by `forget`.

    A node has up to two: one for its addresses on the local network, one for those that the owner typed.
    """

    def __init__(self, identity: Identity, directory: Directory) -> None:
        self._identity = identity
        self._directory = directory
        self._sessions: dict[tuple[NodeId, bool], tuple[bytes, aiohttp.ClientSession]] = {}
        self._answering: dict[NodeId, set[aiohttp.ClientResponse]] = {}

    async def request(self, node: NodeId, method: str, path: str, body: bytes = b"", timeout: float = 10.0) -> bytes:  # noqa: ASYNC109 - as above
        limit = aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT)
        async with self._exchange(node, method, path, body, limit) as response:
            reply = await _bounded(response, MAX_REPLY)
            if response.status >= 300:
                raise _far_error(reply, response.status, self._directory.name(node))
            return reply

    async def stream(self, node: NodeId, path: str, body: bytes = b"") -> AsyncGenerator[bytes, None]:
        limit = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=SILENCE)
        lines = Lines(MAX_BODY)
        async with self._exchange(node, "POST", path, body, limit) as response:
            if response.status >= 300:
                raise _far_error(await _bounded(response, MAX_REPLY), response.status, self._directory.name(node))
            async for chunk in response.content.iter_any():
                for line in lines.feed(chunk):
                    if line.startswith(_ERROR_LINE):
                        raise _far_error(line, 500, self._directory.name(node))
                    yield line

    async def watch(self, link: Link, on_line: Callable[[bytes], None]) -> None:
        """Run the watch stream of a dialled link until either side ends it.

        Raises:
            DialFailed: it never came about.
        """
        opened = False
        lines = Lines()
        limit = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT)
        try:
            session = self._session(link.peer, link.address)
            async with asyncio.timeout(DIAL) as patience:
                async with session.post(
                    f"https://{link.address}{WATCH_PATH}",
                    data=link.outgoing(),
                    server_hostname=link.peer,
                    timeout=limit,
                    allow_redirects=False,
                ) as response:
                    patience.reschedule(None)
                    if response.status != 200:
                        raise DialFailed(f"it refuses this node (status {response.status})", refused=False)
                    opened = True
                    try:
                        async for chunk in response.content.iter_any():
                            for line in lines.feed(chunk):
                                on_line(line)
                    finally:
                        response.close()
        except (aiohttp.ClientError, OSError, MycoError, TimeoutError) as problem:
            if not opened:
                if _is_impostor(problem):
                    self._directory.impostor(link.address)
                raise DialFailed(_why(problem), _refused(problem)) from problem

    async def forget(self, node: NodeId) -> None:
        """Break every connection to a node that is no member any more."""
        for anywhere in (False, True):
            if (entry := self._sessions.pop((node, anywhere), None)) is not None:
                await entry[1].close()
        for response in self._answering.pop(node, set()):
            response.close()
            # aiohttp forgets to wake a reader whose connection breaks as the end of a chunk arrives.
            response.content.feed_eof()

    async def close(self) -> None:
        for node in {node for node, _ in self._sessions}:
            await self.forget(node)

    @contextlib.asynccontextmanager
    async def _exchange(
        self, node: NodeId, method: str, path: str, body: bytes, limit: aiohttp.ClientTimeout
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """The response of the first address that can be connected to; its failures as PeerLost."""
        name = self._directory.name(node)
        self._member(node)
        unreachable: Exception | None = None
        for address in self._directory.addresses(node):
            session = self._session(node, address)
            answered = False
            try:
                async with session.request(
                    method,
                    f"https://{address}{path}",
                    data=body,
                    server_hostname=node,
                    timeout=limit,
                    allow_redirects=False,
                ) as response:
                    answered = True
                    answering = self._answering.setdefault(node, set())
                    answering.add(response)
                    try:
                        yield response
                        if (broken := response.content.exception()) is not None:
                            raise broken
                    finally:
                        answering.discard(response)
                        # Not `release`: a stream that its reader leaves must break, so that the far side notices.
                        if not response.content.at_eof():
                            response.close()
                    return
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as problem:
                unreachable = problem
                if _is_impostor(problem):
                    self._directory.impostor(address)
            except (aiohttp.ClientError, OSError, TimeoutError) as problem:
                # TimeoutError comes before ClientError's children in meaning: silence is the peer's, not a bug here.
                if isinstance(problem, TimeoutError):
                    raise PeerLost(f"{name} has been silent for too long", "ask again", started=answered) from problem
                what = "went away in the middle of an answer" if answered else "broke the connection"
                raise PeerLost(f"{name} {what}", "ask again", started=answered) from problem
            except RuntimeError as problem:
                # What aiohttp says of a connection that this side has closed: the peer, or this node, is out.
                if self._directory.certificate(node) is not None:
                    raise
                raise PeerLost(f"{name} is no member of this swarm any more", started=answered) from problem
        raise PeerLost(
            f"{name} cannot be reached", "is it running, and on this network?", started=False
        ) from unreachable

    def _member(self, node: NodeId) -> bytes:
        certificate = self._directory.certificate(node)
        if certificate is None:
            raise PeerLost(f"{short(node)} is not a member of this swarm", "`mycoswarm nodes` lists the members")
        return certificate

    def _session(self, node: NodeId, address: str) -> aiohttp.ClientSession:
        certificate = self._member(node)
        anywhere = self._directory.typed(address)
        entry = self._sessions.get((node, anywhere))
        if entry is None or entry[0] != certificate:
            connector = aiohttp.TCPConnector(
                ssl=member_context(self._identity, certificate),
                limit=0,
                keepalive_timeout=KEEP_ALIVE,
                socket_factory=None if anywhere else local_socket,
            )
            session = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
            entry = self._sessions[node, anywhere] = (certificate, session)
        return entry[1]


class JoinChannel:
    """The two exchanges of joining with one inviting node, which is not known yet.

    typed: whether the owner named the address; else it must lie in the local network.
    """

    def __init__(self, address: str, typed: bool) -> None:
        self._address = address
        self._factory = None if typed else local_socket
        self._pinned: tuple[bytes, str] | None = None

    def pin(self, certificate: bytes, node: NodeId) -> None:
        """From now on talk only to the holder of this certificate (DER)."""
        self._pinned = (certificate, node)

    async def post(self, path: str, body: bytes) -> bytes:
        """Raises PeerLost where nobody is there, else the error that was answered."""
        context = unverified_context() if self._pinned is None else stranger_context(self._pinned[0])
        limit = aiohttp.ClientTimeout(total=10.0, sock_connect=CONNECT)
        try:
            async with (
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=context, socket_factory=self._factory),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    timeout=limit,
                ) as session,
                session.post(
                    f"https://{self._address}{path}",
                    data=body,
                    server_hostname=self._pinned[1] if self._pinned is not None else None,
                    allow_redirects=False,
                ) as response,
            ):
                reply = await _bounded(response, MAX_WELCOME)
                if response.status >= 300:
                    raise _far_error(reply, response.status, self._address)
                return reply
        except (aiohttp.ClientError, OSError) as problem:
            raise PeerLost(
                f"no node answers at {self._address}", "is mycoswarm running there, and is the address right?"
            ) from problem


async def _bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > limit:
            raise InvalidRequest(f"the answer is larger than {limit} bytes")
    return bytes(data)


class _ErrorReply(msgspec.Struct, frozen=True):
    error: ErrorBody


def _far_error(reply: bytes, status: int, name: str) -> MycoError:
    """The error in a reply, which may be anything: it comes from another machine."""
    try:
        if len(reply) > MAX_ERROR:
            raise ValueError("no error is so long")
        body = msgspec.json.decode(reply, type=_ErrorReply).error
        return from_body(msgspec.structs.replace(body, message=_plain(body.message), hint=_plain(body.hint)))
    # Beside a wrong shape: text that is no UTF-8, nesting that is too deep, facts that no error of ours can carry.
    except (msgspec.DecodeError, ValueError, RecursionError, TypeError):
        return PeerLost(f"{name} answered with status {status} and no reason", "is its version another one?")


def _plain(text: str) -> str:
    """One line for people: what another machine says must not move their terminal's cursor."""
    return "".join(character if character.isprintable() else " " for character in text[:MAX_ERROR_TEXT])


def _is_impostor(problem: BaseException) -> bool:
    """Whether the far side has shown another certificate than the one that was asked for."""
    return any(isinstance(one, ssl.SSLCertVerificationError) for one in _chain(problem))


def _chain(problem: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = problem
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _refused(problem: BaseException) -> bool:
    return any(isinstance(one, ConnectionRefusedError) for one in _chain(problem))


def _why(problem: BaseException) -> str:
    for one in _chain(problem):
        match one:
            case ConnectionRefusedError():
                return "nothing listens at its address"
            case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
                return "another machine answers at its address"
            case TimeoutError():
                return "it does not answer"
            case MycoError():
                return one.message
            case ssl.SSLError():
                return "its TLS handshake failed"
            case OSError() if one.errno:
                # Not its own text: asyncio puts the raw socket address there.
                return os.strerror(one.errno).lower()
            case _:
                pass
    return "the connection broke"
