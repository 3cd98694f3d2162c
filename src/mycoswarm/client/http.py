"""[io] One node's user API as typed calls."""

import contextlib
import http.client
import ipaddress
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from mycoswarm.core.access import KeyBody, KeyRemoved, Keys, NewKey, WebCertificate
from mycoswarm.core.chat import ChatRequest, Delta, decode_delta
from mycoswarm.core.errors import (
    DaemonUnreachable,
    ErrorBody,
    InvalidRequest,
    MycoError,
    NotWritable,
    PeerLost,
    Refused,
    TokenRequired,
    from_body,
)
from mycoswarm.core.model import Progress
from mycoswarm.core.node import SwarmInfo
from mycoswarm.core.task import Task
from mycoswarm.core.views import (
    AdmitBody,
    Admitted,
    CompareBody,
    CompareSame,
    Comparing,
    Expelled,
    HealthReport,
    Invitation,
    InviteBody,
    JoinBody,
    Joined,
    KeeperBody,
    Left,
    Models,
    NodeDetail,
    NodeHistory,
    Nodes,
    PullBody,
    RecoverBody,
    Removed,
    Rotated,
    Routed,
    Running,
    Tasks,
    WaitingMachines,
)

T = TypeVar("T")

CALL_TIMEOUT = 15.0
"""Seconds for a plain answer. Longer than the 10 s within which the node itself must have found an executor."""

JOIN_TIMEOUT = 60.0
"""Seconds for membership: the node looks for the inviting machine and exchanges several messages with it."""

SILENCE_TIMEOUT = 60.0
"""Seconds without a byte on a stream. The node sends keep-alives far more often, so silence means that it hangs."""

_LINE_LIMIT = 64 << 20
"""Bytes of one stream line; above that it is not our node that talks."""


class _Envelope(msgspec.Struct, frozen=True):
    error: ErrorBody


class Stream(Generic[T]):
    """Lines of an NDJSON answer, decoded one by one as they come.

    Iterating raises PeerLost when the node goes away or falls silent before the end. `close` (also by leaving a
    `with`, or by any exception in `__next__`) closes the socket at once, so that the node cancels the work.
    """

    def __init__(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, decode: Callable[[bytes], T]
    ) -> None:
        self._connection = connection
        self._response = response
        self._decode = decode
        self._lines = _lines(response)

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        try:
            for line in self._lines:
                return self._decode(line)
        except (OSError, http.client.HTTPException, msgspec.DecodeError, ValueError) as problem:
            self.close()
            raise _broken(problem) from None
        except BaseException:
            self.close()
            raise
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Hang up. Harmless when it is done already."""
        _hang_up(self._connection, self._response)

    def __enter__(self) -> "Stream[T]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Client:
    """Calls to one node. Every method raises DaemonUnreachable when it does not answer, else the node's own error.

    Args:
        port: of its user API.
        host: a loopback address; anything else is Refused.
        token_file: where the token lies that membership, pull, rm and shutdown need; read when it is needed.
    """

    def __init__(self, port: int, host: str = "127.0.0.1", token_file: Path | None = None) -> None:
        self.port = port
        self.host = _loopback(host)
        self._token_file = token_file

    def healthy(self, timeout: float = 2.0) -> bool:
        """Does a node answer there?"""
        try:
            return self._get("/healthz", dict, timeout).get("status") == "ok"
        except MycoError:
            return False

    def node(self) -> NodeDetail:
        return self._get("/swarm/v1/node", NodeDetail)

    def nodes(self) -> Nodes:
        return self._get("/swarm/v1/nodes", Nodes)

    def history(self, node: str) -> NodeHistory:
        """One node, by id, start of an id or name, with its changes of state."""
        return self._get(f"/swarm/v1/nodes/{_segment(node)}", NodeHistory)

    def health(self) -> HealthReport:
        """Every known problem, the worst first."""
        return self._get("/swarm/v1/health", HealthReport)

    def metrics(self) -> str:
        """In Prometheus' text format."""
        return self._read("GET", "/metrics", None, None, secret=False).decode()

    def models(self) -> Models:
        return self._get("/swarm/v1/models", Models)

    def ps(self) -> Running:
        return self._get("/swarm/v1/ps", Running)

    def tasks(self) -> Tasks:
        return self._get("/swarm/v1/tasks", Tasks)

    def task(self, task: str) -> Task:
        """Answers for an unknown id too, with state "unknown"."""
        return self._get(f"/swarm/v1/tasks/{quote(task, safe='')}", Task)

    def route(self, request: ChatRequest) -> Routed:
        """Where `request` would be answered now; nothing is run."""
        return self._call("POST", "/swarm/v1/route", Routed, request)

    def chat(self, request: ChatRequest) -> Stream[Delta]:
        """The answer as it comes. An error before the first byte is raised; a later one is an Error delta."""
        return self._stream("/swarm/v1/chat", request, decode_delta, secret=False)

    def invite(self, body: InviteBody) -> Invitation:
        return self._call("POST", "/swarm/v1/invite", Invitation, body, JOIN_TIMEOUT, secret=True)

    def join(self, body: JoinBody) -> Joined:
        return self._call("POST", "/swarm/v1/join", Joined, body, JOIN_TIMEOUT, secret=True)

    def compare(self, body: CompareBody) -> Comparing:
        """Ask to be let in by comparing words; then `comparing` and `compared` with its `run`."""
        return self._call("POST", "/swarm/v1/join/compare", Comparing, body, JOIN_TIMEOUT, secret=True)

    def comparing(self, run: str) -> Comparing:
        return self._call("GET", f"/swarm/v1/join/compare/{quote(run, safe='')}", Comparing, secret=True)

    def compared(self, run: str, *, same: bool) -> Comparing:
        """Whether both screens show the same words."""
        path = f"/swarm/v1/join/compare/{quote(run, safe='')}"
        return self._call("POST", path, Comparing, CompareSame(same), JOIN_TIMEOUT, secret=True)

    def waiting(self) -> WaitingMachines:
        return self._call("GET", "/swarm/v1/waiting", WaitingMachines, secret=True)

    def admit(self, run: str, *, same: bool) -> Admitted:
        return self._call("POST", "/swarm/v1/admit", Admitted, AdmitBody(run, same), JOIN_TIMEOUT, secret=True)

    def leave(self) -> Left:
        return self._call("POST", "/swarm/v1/leave", Left, None, JOIN_TIMEOUT, secret=True)

    def expel(self, node: str) -> Expelled:
        """Take a machine out of the swarm for ever."""
        return self._call("DELETE", f"/swarm/v1/nodes/{_segment(node)}", Expelled, None, JOIN_TIMEOUT, secret=True)

    def add_keeper(self, node: str) -> SwarmInfo:
        return self._call("POST", "/swarm/v1/keepers", SwarmInfo, KeeperBody(node), JOIN_TIMEOUT, secret=True)

    def remove_keeper(self, node: str) -> SwarmInfo:
        path = f"/swarm/v1/keepers/{_segment(node)}"
        return self._call("DELETE", path, SwarmInfo, None, JOIN_TIMEOUT, secret=True)

    def recover(self, body: RecoverBody) -> SwarmInfo:
        return self._call("POST", "/swarm/v1/recover", SwarmInfo, body, JOIN_TIMEOUT, secret=True)

    def rotate(self) -> Rotated:
        """The node ends right after this answer and starts again under its new key."""
        return self._call("POST", "/swarm/v1/rotate", Rotated, None, JOIN_TIMEOUT, secret=True)

    def pull(self, body: PullBody) -> Stream[Progress]:
        """Fetch a model; iterating raises the node's error where it fails. Closing stops it; what has come is kept."""
        return self._stream("/swarm/v1/models/pull", body, _progress, secret=True)

    def remove(self, name: str, node: str = "") -> Removed:
        query = "?" + urlencode({"node": node}) if node else ""
        # A model's name may hold slashes of its own, which are part of the path for the node too.
        return self._call("DELETE", f"/swarm/v1/models/{quote(name, safe='/:')}{query}", Removed, secret=True)

    def keys(self) -> Keys:
        return self._call("GET", "/swarm/v1/keys", Keys, secret=True)

    def add_key(self, body: KeyBody) -> NewKey:
        return self._call("POST", "/swarm/v1/keys", NewKey, body, secret=True)

    def remove_key(self, key: str) -> KeyRemoved:
        """By id or name."""
        if not key:
            raise InvalidRequest("the name of the key is empty", "`mycoswarm keys list` shows those that there are")
        return self._call("DELETE", f"/swarm/v1/keys/{quote(key, safe='')}", KeyRemoved, secret=True)

    def certificate(self) -> WebCertificate:
        return self._get("/swarm/v1/certificate", WebCertificate)

    def shutdown(self) -> None:
        """Ask the node to end; it has not ended yet when this returns."""
        self._call("POST", "/swarm/v1/shutdown", dict, secret=True)

    def _get(self, path: str, kind: type[T], timeout: float | None = None) -> T:
        return self._call("GET", path, kind, timeout=timeout)

    def _call(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: msgspec.Struct | None = None,
        timeout: float | None = None,
        *,
        secret: bool = False,
    ) -> T:
        data = self._read(method, path, body, timeout, secret=secret)
        if not data and kind is dict:
            return kind()
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.DecodeError as problem:
            raise _foreign(self.port, problem) from None

    def _read(
        self, method: str, path: str, body: msgspec.Struct | None, timeout: float | None, *, secret: bool
    ) -> bytes:
        connection, response = self._open(method, path, body, timeout or CALL_TIMEOUT, secret=secret)
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as problem:
            raise _broken(problem) from None
        finally:
            _hang_up(connection, response)

    def _stream(self, path: str, body: msgspec.Struct, decode: Callable[[bytes], T], *, secret: bool) -> Stream[T]:
        connection, response = self._open("POST", path, body, SILENCE_TIMEOUT, secret=secret)
        return Stream(connection, response, decode)

    def _open(
        self, method: str, path: str, body: msgspec.Struct | None, timeout: float, *, secret: bool
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        headers = {"accept": "application/json", "connection": "close"}
        if body is not None:
            headers["content-type"] = "application/json"
        if secret:
            headers["authorization"] = "Bearer " + self._token()
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        response = None
        try:
            connection.request(method, path, msgspec.json.encode(body) if body is not None else None, headers)
            response = connection.getresponse()
            if response.status < 400:
                return connection, response
            data = response.read()
        except TimeoutError:
            _hang_up(connection, response)
            raise DaemonUnreachable(
                f"the node on port {self.port} does not answer", "`mycoswarm logs` may tell why; restart it"
            ) from None
        except (OSError, http.client.HTTPException):
            _hang_up(connection, response)
            raise DaemonUnreachable(f"no node answers on port {self.port}", "start one: mycoswarm up") from None
        except BaseException:
            _hang_up(connection, response)
            raise
        _hang_up(connection, response)
        try:
            body_of_error = msgspec.json.decode(data, type=_Envelope).error
        except msgspec.DecodeError as problem:
            raise _foreign(self.port, problem) from None
        raise from_body(body_of_error)

    def _token(self) -> str:
        if self._token_file is None:
            raise TokenRequired("this needs the node's token", "give Client the token_file")
        try:
            return self._token_file.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            raise TokenRequired(
                f"the node's token is not at {self._token_file}", "run this as the user who started the node"
            ) from None
        except OSError as problem:
            raise NotWritable(
                f"the node's token at {self._token_file} cannot be read: {problem.strerror}",
                "run this as the user who started the node",
            ) from None


def _segment(node: str) -> str:
    """A node in a path. Raises InvalidRequest for an empty name, with which it would be another path."""
    if not node:
        raise InvalidRequest("the name of the machine is empty", "`mycoswarm nodes` lists those that there are")
    return quote(node, safe="")


def _progress(line: bytes) -> Progress:
    if line.startswith(b'{"error"'):
        raise from_body(msgspec.json.decode(line, type=_Envelope).error)
    return msgspec.json.decode(line, type=Progress)


def _lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Lines without their newline; blank ones, the keep-alives, are left out."""
    rest = b""
    while data := response.read1(1 << 16):
        *complete, rest = (rest + data).split(b"\n")
        yield from (line for line in complete if line.strip())
        if len(rest) > _LINE_LIMIT:
            raise ValueError("a line of the answer is too long")
    if rest.strip():
        yield rest


def _hang_up(connection: http.client.HTTPConnection, response: http.client.HTTPResponse | None) -> None:
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
    if response is not None:
        response.close()
    connection.close()


def _loopback(host: str) -> str:
    """`host` as an address. A name other than localhost is never looked up: it could lead anywhere."""
    if host == "localhost":
        return "127.0.0.1"
    try:
        if ipaddress.ip_address(host).is_loopback:
            return host
    except ValueError:
        pass
    raise Refused(f"{host} is not this machine", "the user API is spoken to on loopback only; use 127.0.0.1")


def _broken(problem: Exception) -> MycoError:
    if isinstance(problem, TimeoutError):
        return PeerLost("the node fell silent before it was done", "`mycoswarm logs` may tell why")
    if isinstance(problem, msgspec.DecodeError | ValueError):
        return PeerLost(f"the node sent what this version does not understand: {problem}", "update both to one version")
    return PeerLost("the connection to the node broke before it was done", "`mycoswarm logs` may tell why")


def _foreign(port: int, problem: Exception) -> MycoError:
    return DaemonUnreachable(
        f"what answers on port {port} is not a node of this version: {problem}",
        "restart the node, or name another port: mycoswarm up --port PORT",
    )
