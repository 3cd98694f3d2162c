"""What may leave the network: the sessions, the download, the ledger, and the lint that holds the rest to it."""

import ast
import asyncio
import hashlib
import socket
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web

from mycoswarm.core.errors import DiskFull, IndexUnreachable, ModelCorrupt, Refused
from mycoswarm.egress import Egress, Use, is_local, lan_session

CONTENT = bytes(range(256)) * 8192
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SOURCES = Path(__file__).parent.parent / "src" / "mycoswarm"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes([web.get("/{path:.*}", handler)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def ledger(path: Path) -> list[Use]:
    return [msgspec.json.decode(line, type=Use) for line in path.read_bytes().splitlines()]


# The addresses


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.254",
        "192.168.1.5",
        "169.254.7.7",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fd12:3456::1",
        "::ffff:192.168.1.1",
    ],
)
def test_addresses_of_the_local_network(address: str) -> None:
    assert is_local(address)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "172.32.0.1",
        "172.15.255.255",
        "100.64.0.1",
        "192.0.2.1",
        "2001:4860:4860::8888",
        "0.0.0.0",
        "::ffff:8.8.8.8",
        "::",
        "224.0.0.251",
        "example.org",
        "127.1",
    ],
)
def test_addresses_that_may_be_the_internet(address: str) -> None:
    assert not is_local(address)


async def test_a_lan_session_opens_no_socket_to_the_internet(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    real = socket.socket

    def watched(*arguments: object) -> socket.socket:
        made.append(arguments)
        return real(*arguments)  # pyright: ignore[reportArgumentType, reportCallIssue]

    async with lan_session(aiohttp.ClientTimeout(total=5)) as session:
        monkeypatch.setattr("mycoswarm.egress.socket.socket", watched)
        with pytest.raises(aiohttp.ClientConnectorError, match="not an address of the local network"):
            await session.get("http://192.0.2.1:9/")
    assert not made


async def test_a_lan_session_does_not_follow_a_redirect_out() -> None:
    async def away(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://192.0.2.1:9/")

    async with served(away) as base, lan_session(aiohttp.ClientTimeout(total=5)) as session:
        with pytest.raises(aiohttp.ClientConnectorError, match=r"192\.0\.2\.1"):
            await session.get(base + "/")


async def test_a_lan_session_refuses_a_name_that_resolves_to_the_internet(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolved(*_arguments: object, **_named: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 80))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolved)
    async with lan_session(aiohttp.ClientTimeout(total=5)) as session:
        with pytest.raises(aiohttp.ClientConnectorError, match="not an address of the local network"):
            await session.get("http://engine.lan/")


# The download


async def whole(request: web.Request) -> web.StreamResponse:
    """A server with ranges, as package indexes have."""
    start = request.http_range.start or 0
    if not start:
        return web.Response(body=CONTENT)
    headers = {"Content-Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"}
    return web.Response(status=206, body=CONTENT[start:], headers=headers)


async def test_a_download_is_checked_and_written_to_the_ledger(tmp_path: Path) -> None:
    seen: list[int] = []
    async with served(whole) as base:
        await Egress(tmp_path / "state" / "ledger").download(
            base, tmp_path / "x" / "file", sha256=SHA256, size=len(CONTENT), purpose="a test", progress=seen.append
        )
    assert (tmp_path / "x" / "file").read_bytes() == CONTENT
    assert seen[-1] == len(CONTENT)
    (use,) = ledger(tmp_path / "state" / "ledger")
    assert (use.host, use.bytes, use.purpose) == ("127.0.0.1", len(CONTENT), "a test")
    assert (tmp_path / "state" / "ledger").stat().st_mode & 0o777 == 0o600


async def test_a_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    asked: list[str | None] = []

    async def recorded(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers.get("Range"))
        return await whole(request)

    (tmp_path / "file.part").write_bytes(CONTENT[:1_000_000])
    async with served(recorded) as base:
        await Egress(tmp_path / "ledger").download(
            base, tmp_path / "file", sha256=SHA256, size=len(CONTENT), purpose="a test"
        )
    assert asked == ["bytes=1000000-"]
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert ledger(tmp_path / "ledger")[0].bytes == len(CONTENT) - 1_000_000


async def test_a_server_that_breaks_off_is_asked_again_for_the_rest(tmp_path: Path) -> None:
    asked: list[str | None] = []

    async def breaking(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers.get("Range"))
        if len(asked) > 2:
            return await whole(request)
        start = request.http_range.start or 0
        reply = web.StreamResponse(status=206 if start else 200)
        reply.content_length = len(CONTENT) - start
        if start:
            reply.headers["Content-Range"] = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        await reply.prepare(request)
        await reply.write(CONTENT[start : start + 300_000])
        assert request.transport is not None
        request.transport.close()
        return reply

    async with served(breaking) as base:
        await Egress(tmp_path / "ledger").download(
            base, tmp_path / "file", sha256=SHA256, size=len(CONTENT), purpose="a test"
        )
    assert asked == [None, "bytes=300000-", "bytes=600000-"]
    assert (tmp_path / "file").read_bytes() == CONTENT


async def test_a_server_without_ranges_starts_anew(tmp_path: Path) -> None:
    async def plain(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=CONTENT)

    (tmp_path / "file.part").write_bytes(b"x" * 5000)
    async with served(plain) as base:
        await Egress(tmp_path / "ledger").download(
            base, tmp_path / "file", sha256=SHA256, size=len(CONTENT), purpose="a test"
        )
    assert (tmp_path / "file").read_bytes() == CONTENT


async def test_wrong_bytes_are_deleted(tmp_path: Path) -> None:
    async with served(whole) as base:
        with pytest.raises(ModelCorrupt, match="deleted"):
            await Egress(tmp_path / "ledger").download(
                base, tmp_path / "file", sha256="0" * 64, size=len(CONTENT), purpose="a test"
            )
    assert not list(tmp_path.glob("file*"))


async def test_a_refusal_is_final_and_keeps_the_part(tmp_path: Path) -> None:
    asked = 0

    async def gone(_request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        raise web.HTTPNotFound

    (tmp_path / "file.part").write_bytes(CONTENT[:10])
    async with served(gone) as base:
        with pytest.raises(IndexUnreachable, match="at 10 of") as caught:
            await Egress(tmp_path / "ledger").download(
                base, tmp_path / "file", sha256=SHA256, size=len(CONTENT), purpose="a test"
            )
    assert asked == 1
    assert "goes on where it stopped" in caught.value.hint
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:10]


async def test_more_bytes_than_promised_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mycoswarm.egress._ATTEMPTS", 1)
    async with served(whole) as base:
        with pytest.raises(IndexUnreachable, match="more than the expected 1000 bytes"):
            await Egress(tmp_path / "ledger").download(
                base, tmp_path / "file", sha256=SHA256, size=1000, purpose="a test"
            )
    assert (tmp_path / "file.part").stat().st_size <= 1000


async def test_a_full_disk_is_named_even_where_the_ledger_lies_on_it(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    (tmp_path / "file.part").symlink_to("/dev/full")
    (tmp_path / "ledger").symlink_to("/dev/full")
    async with served(whole) as base:
        with pytest.raises(DiskFull) as caught:
            await Egress(tmp_path / "ledger").download(
                base, tmp_path / "file", sha256=SHA256, size=len(CONTENT), purpose="a test"
            )
    assert caught.value.data["needed"] == len(CONTENT)


async def test_no_internet_is_no_internet(tmp_path: Path) -> None:
    egress = Egress(tmp_path / "ledger", internet="no")
    with pytest.raises(Refused, match="may not use the internet"):
        await egress.resolve_package("anything", "1")
    with pytest.raises(Refused):
        await egress.download("http://127.0.0.1:9/", tmp_path / "file", sha256=SHA256, size=1, purpose="a test")
    assert not (tmp_path / "ledger").exists()


# The user's installer


@pytest.fixture
def bare_pip(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """pip without this machine's settings."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def make_wheel(directory: Path, name: str, version: str) -> Path:
    path = directory / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path


async def test_the_installers_own_configuration_decides(tmp_path: Path, bare_pip: pytest.MonkeyPatch) -> None:
    wheel = make_wheel(tmp_path, "seedling", "1.5")
    bare_pip.setenv("PIP_NO_INDEX", "1")
    bare_pip.setenv("PIP_FIND_LINKS", str(tmp_path))
    egress = Egress(tmp_path / "ledger")
    found = await egress.resolve_package("seedling", "1.5")
    assert found.url == wheel.as_uri()
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    await egress.download(found.url, tmp_path / "copy", sha256=sha256, size=wheel.stat().st_size, purpose="a test")
    assert (tmp_path / "copy").read_bytes() == wheel.read_bytes()


async def test_an_index_that_does_not_answer(tmp_path: Path, bare_pip: pytest.MonkeyPatch) -> None:
    bare_pip.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    with pytest.raises(IndexUnreachable, match="the package index cannot be reached") as caught:
        await Egress(tmp_path / "ledger").resolve_package("seedling", "1.5")
    assert caught.value.hint
    assert "failed" in ledger(tmp_path / "ledger")[0].purpose


async def test_an_index_without_the_package(tmp_path: Path, bare_pip: pytest.MonkeyPatch) -> None:
    bare_pip.setenv("PIP_NO_INDEX", "1")
    bare_pip.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(IndexUnreachable, match=r"has no seedling 1\.5"):
        await Egress(tmp_path / "ledger").resolve_package("seedling", "1.5")


# The lint

BANNED_IMPORTS = {"urllib.request", "http.client", "requests", "httpx", "smtplib", "ftplib", "urllib3", "telnetlib"}
BANNED_CALLS = {
    "aiohttp.ClientSession",
    "aiohttp.TCPConnector",
    "aiohttp.UnixConnector",
    "aiohttp.request",
    "socket.create_connection",
    "asyncio.open_connection",
}
BANNED_METHODS = {"create_connection", "create_datagram_endpoint", "create_unix_connection", "sock_connect"}
"""Of event loops, whatever they are called in the module."""
DIALS = {"connect", "connect_ex"}
"""Of sockets. A function of an imported module may be called so; what is imported is looked at by itself."""
FETCHERS = {"pip", "curl", "wget", "uv", "git", "ssh", "nc"}
ALLOWED = {
    ("egress.py", "*"): "the one module that may",
    ("client/", "http.client"): "the node's own API on loopback; refuses every other host",
    ("fabric/transport.py", "aiohttp.ClientSession"): "members only, by mutual TLS with pinned certificates",
    ("fabric/transport.py", "aiohttp.TCPConnector"): "members only, by mutual TLS with pinned certificates",
    ("fabric/tls.py", "asyncio.open_connection"): "the addresses that the owner typed, to see who is there",
}


def ways_out(text: str) -> set[str]:
    """The banned imports, calls and started programs of a module."""
    found: set[str] = set()
    tree = ast.parse(text)
    imported = {
        (name.asname or name.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                found |= {name.name for name in names} & BANNED_IMPORTS
            case ast.ImportFrom(module=str(module), names=names):
                found |= ({module} | {f"{module}.{name.name}" for name in names}) & (BANNED_IMPORTS | BANNED_CALLS)
            case ast.Call(func=function) if ast.unparse(function) in BANNED_CALLS:
                found.add(ast.unparse(function))
            case ast.Call(func=ast.Attribute(attr=name)) if name in BANNED_METHODS:
                found.add(name)
            case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in DIALS and not (
                isinstance(value, ast.Name) and value.id in imported
            ):
                found.add(f".{name}")
            case ast.Call(func=function, args=arguments) if ast.unparse(function).rpartition(".")[2] in (
                "run",
                "Popen",
                "create_subprocess_exec",
                "create_subprocess_shell",
                "check_output",
                "check_call",
                "call",
                "system",
            ):
                words = {
                    word
                    for argument in arguments
                    for leaf in ast.walk(argument)
                    if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str)
                    for word in leaf.value.split()[:1]
                }
                found |= {f"starts {word}" for word in words & FETCHERS}
    return found


def allowed(module: str, way: str) -> bool:
    return any(module.startswith(path) and what in ("*", way) for path, what in ALLOWED)


def test_no_other_module_has_a_way_out() -> None:
    strays = {
        f"{path.relative_to(SOURCES)}: {way}"
        for path in sorted(SOURCES.rglob("*.py"))
        for way in ways_out(path.read_text())
        if not allowed(str(path.relative_to(SOURCES)), way)
    }
    assert not strays, "use mycoswarm.egress instead"


def test_no_permission_is_left_over() -> None:
    used = {
        (path, what)
        for module in SOURCES.rglob("*.py")
        for way in ways_out(module.read_text())
        for path, what in ALLOWED
        if str(module.relative_to(SOURCES)).startswith(path) and what in ("*", way)
    }
    assert used == set(ALLOWED)


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("import urllib.request", "urllib.request"),
        ("from urllib import request", "urllib.request"),
        ("from http.client import HTTPSConnection", "http.client"),
        ("import httpx as h", "httpx"),
        ("import aiohttp\nsession = aiohttp.ClientSession()", "aiohttp.ClientSession"),
        ("from aiohttp import ClientSession", "aiohttp.ClientSession"),
        ("import socket\nsocket.create_connection(('x', 1))", "socket.create_connection"),
        ("import asyncio\nasync def f(): await asyncio.open_connection('x', 1)", "asyncio.open_connection"),
        ("async def f(loop): await loop.create_connection(P, 'x', 1)", "create_connection"),
        ("async def f(self): await self._loop.sock_connect(s, ('x', 1))", "sock_connect"),
        ("async def f(loop): await loop.create_datagram_endpoint(P)", "create_datagram_endpoint"),
        ("import socket\nsocket.socket().connect(('x', 1))", ".connect"),
        ("import socket as s\nmine = s.socket()\nmine.connect_ex(('x', 1))", ".connect_ex"),
        ("import subprocess\nsubprocess.run(['curl', 'x'])", "starts curl"),
        ("import sys, subprocess\nsubprocess.run([sys.executable, '-m', 'pip', 'install', 'x'])", "starts pip"),
    ],
)
def test_the_lint_sees(text: str, way: str) -> None:
    assert way in ways_out(text)


def test_the_lint_lets_ordinary_code_be() -> None:
    assert not ways_out("import socket\nfrom urllib.parse import quote\nimport http\nx = socket.AF_INET")
    assert not ways_out("import sqlite3\ndb = sqlite3.connect('file')")
