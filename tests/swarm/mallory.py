"""[io] What somebody on the same network tries: run in his own namespace, `python -m tests.swarm.mallory VERB JSON`.

Each verb takes one JSON object and prints one JSON line. He has the project's code and no secret of the swarm, except
where `home` names a state directory that he got hold of: a hostile member's, or a removed one's.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import random
import resource
import select
import socket
import ssl
import struct
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from mycoswarm.core.errors import MycoError
from mycoswarm.fabric import codes, joining, tls
from mycoswarm.fabric.comparing import Asker
from mycoswarm.fabric.identity import Identity, load_or_create
from mycoswarm.fabric.transport import JoinChannel
from mycoswarm.fabric.wire import COMPARE_REVEAL_PATH, COMPARE_START_PATH, Beat, CompareOffer, Hello, encode
from tests.fabric.forgery import stolen_certificate

PORT = 6927
Answer = Any


def say(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def told(patience: float) -> bool:
    """Whether stdin was closed within so many seconds."""
    closed = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), closed.set)
    try:
        await asyncio.wait_for(closed.wait(), patience)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return True


def context_of(home: str | None = None) -> ssl.SSLContext:
    """Of a client that believes everybody, and shows the certificate of the node in `home`."""
    context = tls.unverified_context()
    if home is not None:
        identity = load_or_create(Path(home))
        context.load_cert_chain(identity.certificate_file, identity.key_file)
    return context


class Line:
    """One TLS connection to a node."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, host: str, context: ssl.SSLContext, name: str = "x") -> "Line":
        return cls(*await asyncio.open_connection(host, PORT, ssl=context, server_hostname=name))

    @property
    def certificate(self) -> bytes:
        """The node's own."""
        return self.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)

    def close(self) -> None:
        self.writer.transport.abort()


def head(method: str, path: str, length: int | None = 0, *more: str) -> bytes:
    sized = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: x", sized, *more, "", ""]).encode()


async def ask(host: str, context: ssl.SSLContext, request: bytes, patience: float = 8.0) -> tuple[int, bytes]:
    """Status and body of the answer to one request; status 0 where none came, with the reason as the body."""
    try:
        async with asyncio.timeout(patience):
            line = await Line.open(host, context)
            try:
                line.writer.write(request)
                return await reply_of(line)
            finally:
                line.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as problem:
        return 0, type(problem).__name__.encode()


async def reply_of(line: Line) -> tuple[int, bytes]:
    try:
        got = await line.reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return 0, b"closed"
    status = int(got.split()[1])
    lengths = [one for one in got.lower().split(b"\r\n") if one.startswith(b"content-length:")]
    return status, await line.reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""


async def closed_after(line: Line, patience: float) -> float | None:
    """Seconds until the node has closed it; None where it has not."""
    started = time.monotonic()
    try:
        async with asyncio.timeout(patience):
            while await line.reader.read(65536):
                pass
    except TimeoutError:
        return None
    except OSError:
        pass
    return time.monotonic() - started


# Certificates


async def certificates(host: str, paths: list[str]) -> Answer:
    """Every path, as nobody, with a certificate of his own, and with a stolen one; and the TLS of yesterday."""
    line = await Line.open(host, context_of())
    member = line.certificate
    line.close()
    with tempfile.TemporaryDirectory() as directory:
        callers = {
            "nobody": context_of(),
            "self-signed": context_of(directory),
            "stolen": stolen_certificate(member, Path(directory)),
        }
        callers["stolen"].check_hostname = False
        callers["stolen"].verify_mode = ssl.CERT_NONE
        answers = {
            who: {
                f"{method} {path}": (await ask(host, context, head(method, path)))[0]
                for path in paths
                for method in ("GET", "POST")
            }
            for who, context in callers.items()
        }
    old = context_of()
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    return {**answers, "tls12": {"GET /": (await ask(host, old, head("GET", "/")))[0]}}


async def half_open(host: str, count: int) -> Answer:
    """The first bytes of a TLS handshake, and never the rest; and HTTP where TLS is spoken."""
    opened = [await asyncio.open_connection(host, PORT) for _ in range(count)]
    for _, writer in opened:
        writer.write(b"\x16\x03\x01\x02\x00\x01\x00")
    waiting = [closed_after(Line(*one), 20) for one in opened]
    plain = Line(*await asyncio.open_connection(host, PORT))
    plain.writer.write(head("GET", "/peer/roster"))
    ended = await asyncio.gather(*waiting, closed_after(plain, 20))
    return [round(one, 1) if one is not None else None for one in ended]


# Requests


async def requests(host: str, home: str | None, bodies: list[list[Any]]) -> Answer:
    """[method, path, body as text, times] each; the status of each, 0 for none."""
    context = context_of(home)
    found: list[int] = []
    for method, path, text, times in bodies:
        body = text.encode("latin1") * times
        found.append((await ask(host, context, head(method, path, len(body)) + body))[0])
    return found


async def large_bodies(host: str, home: str | None, path: str, size: int) -> Answer:
    """A body that is announced, one that comes in chunks, and one that is sent although nobody waits for it.

    For each: the status, and the bytes that the node had taken when it broke off.
    """
    context = context_of(home)
    found: dict[str, Any] = {}
    block = bytes(65536)
    for kind in ("announced", "chunked"):
        line = await Line.open(host, context)
        sent = 0
        answer = asyncio.get_running_loop().create_task(reply_of(line))
        try:
            line.writer.write(head("POST", path, size if kind == "announced" else None))
            async with asyncio.timeout(20):
                while sent < size and not answer.done():
                    line.writer.write(block if kind == "announced" else b"10000\r\n" + block + b"\r\n")
                    sent += len(block)
                    await line.writer.drain()
        except (OSError, TimeoutError):
            pass
        status = 0
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            status = (await asyncio.wait_for(answer, 5))[0]
        line.close()
        found[kind] = [status, sent]
    return found


async def slow(host: str, home: str | None, count: int, patience: float) -> Answer:
    """Heads, bodies and silence, a byte a second. Seconds until each connection was closed."""
    context = context_of(home)

    async def drip(start: bytes, drop: bytes) -> float | None:
        line = await Line.open(host, context)
        began = time.monotonic()
        line.writer.write(start)
        ending = asyncio.get_running_loop().create_task(closed_after(line, patience))
        try:
            while not ending.done():
                if drop:
                    line.writer.write(drop)
                await asyncio.wait({ending}, timeout=1.0)
        except OSError:
            pass
        await asyncio.wait({ending})
        line.close()
        return round(time.monotonic() - began, 1) if ending.result() is not None else None

    kinds = {
        "head": (b"POST /join/start HTTP/1.1\r\nx: ", b"a"),
        "blank": (b"", b"\r\n"),
        "body": (head("POST", "/join/start", 4000), b"a"),
        "silent": (b"", b""),
    }
    names = [name for name in kinds for _ in range(count)]
    ended = await asyncio.gather(*(drip(*kinds[name]) for name in names))
    worst: dict[str, float | None] = {}
    for name, seconds in zip(names, ended, strict=True):
        before = worst.get(name, 0.0)
        worst[name] = None if seconds is None or before is None else max(before, seconds)
    return worst


async def odd_requests(host: str, home: str | None) -> Answer:
    """Heads without end, thousands of requests in one go, chunks without end.

    For each the status, 0 where the connection was closed, -1 where it was left open.
    """
    context = context_of(home)
    endless = b"a" * 300_000
    one = head("POST", "/join/start", 2) + b"{}"
    tries = {
        "header": b"GET / HTTP/1.1\r\nx: " + endless,
        "headers": b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 50_000,
        "path": b"GET /" + endless + b" HTTP/1.1\r\n\r\n",
        "pipelined": one * 5_000,
        "extension": head("POST", "/join/start", None) + b"1;x=" + endless,
        "trailer": head("POST", "/join/start", None) + b"0\r\nx: " + endless,
        "garbage": bytes(range(256)) * 100,
        "asterisk": b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
        "connect": b"CONNECT a:1 HTTP/1.1\r\nhost: x\r\n\r\n",
        "upgrade": head("GET", "/peer/watch", 0, "connection: upgrade", "upgrade: websocket"),
        "utf8": head("GET", "/%ff%fe", 0),
        "length": head("POST", "/join/start", 0).replace(b": 0", b": -1"),
    }
    answers = {name: await ask(host, context, request, 6.0) for name, request in tries.items()}
    return {name: -1 if said == b"TimeoutError" else status for name, (status, said) in answers.items()}


# Floods


def raise_limit(wanted: int) -> int:
    """Open files that this process may have now."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = min(wanted, hard) if hard != resource.RLIM_INFINITY else wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit


async def connections(host: str, count: int, sources: list[str], hold: float) -> Answer:
    """As many connections as fast as possible, from several addresses: silent ones, half a handshake, nonsense.

    They are kept for `hold` seconds; whatever the node closes is opened anew meanwhile.
    """
    held = min(count, raise_limit(count + 200) - 100)
    poller = select.epoll()
    open_: dict[int, socket.socket] = {}
    says = itertools.cycle((b"", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\n\r\n"))
    opened = refused = 0
    started = time.monotonic()

    def one() -> None:
        nonlocal opened, refused
        made = socket.socket()
        made.setblocking(False)
        try:
            made.bind((sources[opened % len(sources)], 0))
            made.connect((host, PORT))
        except BlockingIOError:
            pass
        except OSError:
            made.close()
            refused += 1
            return
        open_[made.fileno()] = made
        poller.register(made, select.EPOLLOUT | select.EPOLLIN | select.EPOLLHUP)
        opened += 1

    while time.monotonic() - started < hold or opened < count:
        for _ in range(200):
            if len(open_) < held and (opened < count or time.monotonic() - started < hold):
                one()
        for descriptor, event in poller.poll(0.001, 1000):
            if event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                poller.unregister(descriptor)
                open_.pop(descriptor).close()
            elif event & select.EPOLLOUT:
                with contextlib.suppress(OSError):
                    open_[descriptor].send(next(says))
                poller.modify(descriptor, select.EPOLLIN | select.EPOLLHUP)
        if time.monotonic() - started > hold + 60:
            break
    took = time.monotonic() - started
    for made in open_.values():
        made.close()
    return {"opened": opened, "failed": refused, "seconds": round(took, 1), "open at the end": len(open_)}


async def handshakes(host: str, seconds: float) -> Answer:
    """Whole handshakes, many at a time, so that the node computes. How many came about."""
    context = context_of()
    end = time.monotonic() + seconds
    done = 0

    async def again_and_again() -> None:
        nonlocal done
        while time.monotonic() < end:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(10):
                    line = await Line.open(host, context)
                    done += 1
                    line.close()

    await asyncio.wait([asyncio.Task(again_and_again()) for _ in range(64)], timeout=seconds + 1)
    return done


async def member_asks(host: str, home: str, seconds: float) -> Answer:
    """A member's requests, each over a connection of its own. Statuses, and the slowest in seconds."""
    context = context_of(home)
    statuses: list[int] = []
    slowest = 0.0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        statuses.append((await ask(host, context, head("GET", "/peer/roster"), 10.0))[0])
        slowest = max(slowest, time.monotonic() - began)
        await asyncio.sleep(0.1)
    return {"asked": len(statuses), "answered": statuses.count(200), "slowest": round(slowest, 2)}


# Multicast

_GROUP = ("224.0.0.251", 5353)
_TYPE = "_mycoswarm._tcp.local."


def _multicast() -> socket.socket:
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    sender.bind(("", 5353))
    return sender


def _name(text: str) -> bytes:
    return b"".join(bytes([len(part)]) + part.encode() for part in text.rstrip(".").split(".")) + b"\0"


def _record(name: str, kind: int, data: bytes, ttl: int = 4500, klass: int = 1) -> bytes:
    return _name(name) + struct.pack("!HHIH", kind, klass, ttl, len(data)) + data


def _announcement(instance: str, host: str, address: str, port: int, text: dict[str, str]) -> bytes:
    full = f"{instance}.{_TYPE}"
    told = b"".join(bytes([len(f"{k}={v}")]) + f"{k}={v}".encode() for k, v in text.items())
    records = [
        _record(_TYPE, 12, _name(full)),
        _record(full, 33, struct.pack("!HHH", 0, 0, port) + _name(host), klass=0x8001),
        _record(full, 16, told, klass=0x8001),
        _record(host, 1, socket.inet_aton(address), klass=0x8001),
    ]
    return struct.pack("!HHHHHH", 0, 0x8400, 0, len(records), 0, 0) + b"".join(records)


async def heard(seconds: float) -> Answer:
    """What nodes announce: their texts, by address."""
    from zeroconf import ServiceBrowser, Zeroconf

    found: dict[str, dict[str, str]] = {}
    with contextlib.closing(Zeroconf()) as listening:

        def changed(zeroconf: Zeroconf, service_type: str, name: str, state_change: Any) -> None:
            info = zeroconf.get_service_info(service_type, name, 1000)
            if info is not None:
                told = {k.decode(): (v or b"").decode() for k, v in info.properties.items()}
                found[info.parsed_addresses()[0]] = told

        ServiceBrowser(listening, _TYPE, handlers=[changed])
        await asyncio.sleep(seconds)
    return found


async def impostor(
    announce: list[dict[str, Any]], seconds: float, address: str, node: str = "", listen: bool = True
) -> Answer:
    """Announces, and listens under a certificate of his own (for `node`). Who came, and what he was told.

    Ends when told (stdin closes) or after `seconds`.
    """
    said: list[str] = []
    came: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        identity = load_or_create(Path(directory))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*(_certificate_for(node, Path(directory)) if node else _files(identity)))

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                if data := await reader.read(65536):
                    said.append(data[:200].decode("latin1"))
                writer.transport.abort()

        async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            """In front of TLS, because a failed handshake never reaches `serve`."""
            came.append(writer.get_extra_info("peername")[0])
            inner = await asyncio.open_connection("127.0.0.1", secret.sockets[0].getsockname()[1])
            await pipe(reader, writer, *inner)

        secret = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        outer = await asyncio.start_server(count, address, PORT) if listen else None
        sender = _multicast()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for one in announce:
                sender.sendto(_announcement(**one), _GROUP)
            if await told(1.0):
                break
        sender.close()
        for server in (outer, secret):
            if server is not None:
                server.close()
    return {"came": came, "said": said}


def _files(identity: Identity) -> tuple[Path, Path]:
    return identity.certificate_file, identity.key_file


def _certificate_for(node: str, directory: Path) -> tuple[Path, Path]:
    """Self-signed and in the name of somebody else."""
    import datetime as dt

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2099, 1, 1, tzinfo=dt.UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(node)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = (directory / "as.crt", directory / "as.key")
    pem[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem


async def pipe(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    reader2: asyncio.StreamReader,
    writer2: asyncio.StreamWriter,
) -> None:
    async def one_way(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        with contextlib.suppress(OSError):
            target.close()

    await asyncio.gather(one_way(reader, writer2), one_way(reader2, writer))


async def multicast_flood(seconds: float, address: str, like: dict[str, str]) -> Answer:
    """Announcements of nodes that do not exist, as fast as possible. like: a text to imitate."""
    sender = _multicast()
    sender.setblocking(False)
    sent = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        name = f"{random.getrandbits(64):016x}"
        text = {**like, "n": f"{name[:8]}.{name}"}
        try:
            sender.sendto(_announcement(name, f"{name}.local.", address, PORT, text), _GROUP)
        except BlockingIOError:
            await asyncio.sleep(0.001)
        else:
            sent += 1
    sender.close()
    return sent


# Joining


async def guess(host: str, code: str, tries: int) -> Answer:
    """Tries to join by a code that he makes up for an open slot. What the node says to each."""
    slot, first, second = code.split("-")
    wrong = codes.parse(f"{slot}-{second}-{first}" if first != second else f"{slot}-{first}-guitar")
    found: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        identity = load_or_create(Path(directory))
        for parsed in (*(wrong for _ in range(tries)), codes.parse(code)):
            try:
                await joining.join_at(f"{host}:{PORT}", True, parsed, joining.Applicant(identity, "mallory", PORT))
                found.append("joined")
            except MycoError as problem:
                found.append(f"{problem.code}: {problem.message}")
    return found


async def join_and_record(host: str, home: str, code: str, name: str) -> Answer:
    """A real join by a real code. Every message that went out, for somebody to replay."""
    sent: list[tuple[str, str]] = []
    post = JoinChannel.post

    async def recording(self: JoinChannel, path: str, body: bytes) -> bytes:
        sent.append((path, body.decode()))
        return await post(self, path, body)

    JoinChannel.post = recording
    try:
        let = await joining.join_at(
            f"{host}:{PORT}", True, codes.parse(code), joining.Applicant(load_or_create(Path(home)), name, PORT)
        )
    finally:
        JoinChannel.post = post
    return {"sent": sent, "swarm": let.roster.swarm}


async def replay(host: str, sent: list[list[str]], times: int) -> Answer:
    """The same messages again. Statuses."""
    return [
        (await ask(host, context_of(), head("POST", path, len(body)) + body.encode()))[0]
        for _ in range(times)
        for path, body in sent
    ]


async def alter(host: str, code: str, tries: int) -> Answer:
    """Joins by the right code while a bit of one message is flipped on the way, a different one each time."""
    found: list[str] = []
    post = JoinChannel.post
    seed = random.Random(3)

    with tempfile.TemporaryDirectory() as directory:
        identity = load_or_create(Path(directory))
        for number in range(tries):

            async def flipping(self: JoinChannel, path: str, body: bytes, number: int = number) -> bytes:
                if path.endswith("start") == (number % 2 == 0):
                    fields = json.loads(body)
                    field = seed.choice([key for key, value in fields.items() if isinstance(value, str)])
                    raw = bytearray(base64.b64decode(fields[field]) if field != "run" else bytes.fromhex(fields[field]))
                    raw[seed.randrange(len(raw))] ^= 1 << seed.randrange(8)
                    fields[field] = raw.hex() if field == "run" else base64.b64encode(raw).decode()
                    body = json.dumps(fields).encode()
                return await post(self, path, body)

            JoinChannel.post = flipping
            try:
                await joining.join_at(
                    f"{host}:{PORT}", True, codes.parse(code), joining.Applicant(identity, "mallory", PORT)
                )
                found.append("joined")
            except MycoError as problem:
                found.append(f"{problem.code}: {problem.message}")
            finally:
                JoinChannel.post = post
    return found


async def middle(target: str, address: str, seconds: float, how: str) -> Answer:
    """Between a joining node and the keeper: ends TLS on both sides and reads all. Which paths were asked for.

    how: "pass" passes all on, "swap" puts his own certificate in, "two faces" compares words with either of them by
    himself. Ends when told (stdin closes) or after `seconds`.
    """
    passed: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        identity = load_or_create(Path(directory))
        context = tls.server_context(identity)
        context.verify_mode = ssl.CERT_NONE
        mine = base64.b64encode(identity.certificate).decode()

        def swapped(body: bytes) -> bytes:
            fields = json.loads(body)
            if how != "pass" and "certificate" in fields:
                fields["certificate"] = mine
            return json.dumps(fields).encode()

        asker = Asker(identity.certificate, identity.sign, "boa", PORT)
        offers: list[CompareOffer] = []

        def own_words(path: str) -> bytes:
            """To the keeper, what a machine says that wants to be let in itself."""
            if path == COMPARE_START_PATH:
                return msgspec.json.encode(asker.start())
            if path == COMPARE_REVEAL_PATH:
                return msgspec.json.encode(asker.reveal(offers[0], time.monotonic()))
            return msgspec.json.encode(asker.wait())

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                got = await reader.readuntil(b"\r\n\r\n")
                method, path = got.split()[:2]
                lengths = [one for one in got.lower().split(b"\r\n") if one.startswith(b"content-length:")]
                body = await reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""
                body = own_words(path.decode()) if how == "two faces" else swapped(body)
                passed.append(path.decode())
                status, answer = await ask(
                    target, context_of(), head(method.decode(), path.decode(), len(body)) + body, 30.0
                )
                if status == 200:
                    if path.decode() == COMPARE_START_PATH:
                        offers.append(msgspec.json.decode(answer, type=CompareOffer))
                    answer = swapped(answer)
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(answer)}\r\n\r\n".encode() + answer)
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, address, PORT, ssl=context)
        say(ready=True)
        await told(seconds)
        server.close()
    return passed


# Members


NONSENSE = (
    b"nonsense",
    b'{"t":"record","record":' + b"[" * 50_000,
    b"\xff\xfe",
    b"[" * 50_000,
    b"1e400",
    b'{"t":"hello"}',
)


async def watch(host: str, home: str, seconds: float, nonsense: bool = False) -> Answer:
    """A member's watch stream, with a Hello of his own. Seconds until the node broke it.

    nonsense: what no node says comes after it, and in the end a line that is too long.
    """
    identity = load_or_create(Path(home))
    line = await Line.open(host, context_of(home))
    line.writer.write(head("POST", "/peer/watch", None))

    def send(data: bytes) -> None:
        line.writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    send(encode(Hello(identity.id, "1", PORT)))
    status = int((await line.reader.readuntil(b"\r\n\r\n")).split()[1])
    say(status=status)
    began = time.monotonic()
    ending = asyncio.get_running_loop().create_task(closed_after(line, seconds))
    number = 0
    if nonsense:
        for line_ in NONSENSE * 20:
            send(line_ + b"\n")
        send(b"x" * 1_100_000)
    while not ending.done():
        number += 1
        with contextlib.suppress(OSError):
            send(encode(Beat(number, 0, 0.0, "", "")))
        await asyncio.wait({ending}, timeout=0.5)
    line.close()
    return round(time.monotonic() - began, 2) if ending.result() is not None else None


async def linger(host: str, home: str, seconds: float) -> Answer:
    """A member's request, whose connection then rests for the next one. Seconds until the node broke it."""
    line = await Line.open(host, context_of(home))
    line.writer.write(head("GET", "/peer/roster"))
    say(status=(await reply_of(line))[0])
    seconds_ = await closed_after(line, seconds)
    line.close()
    return seconds_


async def roster(host: str, home: str) -> Answer:
    """The roster as that node has it now, for somebody to bring later."""
    return (await ask(host, context_of(home), head("GET", "/peer/roster")))[1].decode()


async def rosters(host: str, home: str, kinds: list[str], times: int = 1) -> Answer:
    """What a hostile member brings for a roster, each so many times. The status that each is answered with at last."""
    from mycoswarm.fabric.roster import MAX_BYTES
    from mycoswarm.fabric.statements import DOMAIN

    identity = load_or_create(Path(home))
    context = context_of(home)
    status, held = await ask(host, context, head("GET", "/peer/roster"))
    if status != 200:
        return {"": status}
    real = json.loads(held)
    first = json.loads(base64.b64decode(real["statements"][0]["statement"]))

    def signed(statement: dict[str, Any]) -> dict[str, str]:
        data = msgspec.json.encode(statement, order="sorted")
        return {
            "statement": base64.b64encode(data).decode(),
            "signature": base64.b64encode(identity.sign(DOMAIN + data)).decode(),
        }

    def with_more(*more: dict[str, str]) -> bytes:
        return json.dumps({**real, "statements": [*real["statements"], *more]}).encode()

    chained = {"swarm": first["swarm"], "signer": identity.id, "seq": 0, "prev": ""}
    with tempfile.TemporaryDirectory() as directory:
        friend = load_or_create(Path(directory))
    admits = {
        **chained,
        "says": "admitted",
        "node": friend.id,
        "name": "friend",
        "certificate": base64.b64encode(friend.certificate).decode(),
        "term": 1,
    }
    made: dict[str, Callable[[], bytes]] = {
        "no keeper admits": lambda: with_more(signed(admits)),
        "no keeper removes": lambda: with_more(signed({**chained, "says": "removed", "node": first["signer"]})),
        "no keeper promotes himself": lambda: with_more(signed({**chained, "says": "promoted", "node": identity.id})),
        "in the keeper's name": lambda: with_more(signed({**admits, "signer": first["signer"]})),
        "wrong signature": lambda: with_more({**signed({**chained, "says": "left", "term": 1}), "signature": "AAAA"}),
        "signature of another": lambda: with_more(
            {**signed({**chained, "says": "left", "term": 1}), "signature": real["statements"][0]["signature"]}
        ),
        "of another swarm": lambda: json.dumps(
            {**real, "statements": [signed({**chained, "swarm": f"{identity.id}-00", "says": "left", "term": 1})]}
        ).encode(),
        "too many": lambda: with_more(*({"statement": f"{n:08d}", "signature": "AAAA"} for n in range(5000))),
        "too large": lambda: b'{"format":2,"statements":[' + b" " * MAX_BYTES + b"]}",
        "deep": lambda: b'{"format":2,"x":' + b"[" * 1_000_000,
        "deep statement": lambda: with_more(
            {"statement": base64.b64encode(b'{"says":' + b"[" * 100_000).decode(), "signature": "AAAA"}
        ),
        "no text": lambda: b"\xff\xfe" * 1000,
        "a number": lambda: b"1e400",
    }
    return {
        kind: [
            (await ask(host, context, head("POST", "/peer/roster", len(body)) + body, 20.0))[0] for _ in range(times)
        ][-1]
        for kind, make in made.items()
        if (not kinds or kind in kinds) and (body := make())
    }


VERBS: dict[str, Callable[..., Awaitable[Answer]]] = {
    one.__name__: one
    for one in (
        alter, certificates, connections, guess, half_open, handshakes, heard, impostor, join_and_record, large_bodies,
        linger, member_asks, middle, multicast_flood, odd_requests, replay, requests, roster, rosters, slow, watch,
    )
}  # fmt: skip

if __name__ == "__main__":
    say(answer=asyncio.run(VERBS[sys.argv[1]](**json.loads(sys.argv[2]))))  # pyright: ignore[reportArgumentType]
