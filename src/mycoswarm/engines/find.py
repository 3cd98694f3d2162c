"""[io] Looks for engines that run on this machine already, and at the addresses its owner named.

Every address is asked for at most one second, all at once. A port of a mycoswarm node is not an engine, whatever
dialects it speaks: its replies carry `x-mycoswarm-node`.
"""

import asyncio
import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from mycoswarm.core.errors import InvalidRequest
from mycoswarm.core.hardware import EngineFound, EngineKind
from mycoswarm.egress import lan_session
from mycoswarm.engines.engine import Engine
from mycoswarm.engines.ollama import Ollama, is_cloud
from mycoswarm.engines.openai_compatible import OpenAICompatible

_log = logging.getLogger(__name__)

OURS = "x-mycoswarm-node"
_LIMIT_SECONDS = 1.0
_MAX_REPLY = 8 << 20
_OLLAMA_PORT = 11434
_USUAL_PORTS = (_OLLAMA_PORT, 1234, 8080, 8000)
"""Ollama, LM Studio, llama-server, vLLM."""


class Address(msgspec.Struct, frozen=True):
    """Where an engine may be. api_key: for servers that want one."""

    url: str
    api_key: str = ""


class _Reply(msgspec.Struct, frozen=True):
    status: int
    server: str
    body: Any


def addresses(configured: Iterable[str] = (), environ: Mapping[str, str] = os.environ) -> tuple[Address, ...]:
    """The usual places on this machine, $OLLAMA_HOST, and those of the `engines` setting, each once.

    A configured one is `[http[s]://][KEY@]HOST[:PORT][/v1]`.

    Raises:
        InvalidRequest: a configured one makes no sense.
    """
    found = {address.url: address for address in (_parse(text) for text in configured)}
    if text := environ.get("OLLAMA_HOST"):
        try:
            ollama = _parse(_ollama_host(text))
        except InvalidRequest:
            # It is Ollama's setting, and Ollama's to complain about.
            pass
        else:
            found.setdefault(ollama.url, ollama)
    for port in _USUAL_PORTS:
        url = f"http://127.0.0.1:{port}"
        found.setdefault(url, Address(url))
    return tuple(found.values())


def configured(texts: Iterable[str]) -> tuple[str, ...]:
    """The addresses of the `engines` setting as `EngineFound.url` has them. Raises InvalidRequest."""
    return tuple(dict.fromkeys(_parse(text).url for text in texts))


def _ollama_host(text: str) -> str:
    """A server told to listen everywhere is reached on loopback; without a port it has its usual one."""
    address = urlsplit(text if "//" in text else "//" + text)
    host = address.hostname or "127.0.0.1"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 read here, not listened on
    return f"{address.scheme or 'http'}://{f'[{host}]' if ':' in host else host}:{address.port or _OLLAMA_PORT}"


def _parse(text: str) -> Address:
    address = urlsplit(text if "//" in text else "//" + text)
    try:
        host, port = address.hostname, address.port
    except ValueError:
        host, port = None, None
    scheme = address.scheme or "http"
    if not host or scheme not in ("http", "https") or address.path.rstrip("/") not in ("", "/v1"):
        raise InvalidRequest(f"{text!r} is not the address of an engine", "write HOST:PORT or http://HOST:PORT")
    host = "127.0.0.1" if host == "localhost" else f"[{host}]" if ":" in host else host
    return Address(f"{scheme}://{host}" + (f":{port}" if port else ""), address.password or address.username or "")


async def find(where: Iterable[Address]) -> tuple[EngineFound, ...]:
    """The engines that answer there now, in the order of the addresses. Never raises; about a second."""
    timeout = aiohttp.ClientTimeout(total=_LIMIT_SECONDS)
    async with lan_session(timeout, reuse=False) as session:
        found = await asyncio.gather(*(_within(_identify(session, address)) for address in where))
    return tuple(one for one in found if one is not None)


def build(found: Iterable[EngineFound], where: Iterable[Address], context: int) -> tuple[Engine, ...]:
    """Engine objects for what `find` found at `where`; close them when done."""
    keys = {address.url: address.api_key for address in where}
    return tuple(_engine(one, keys.get(one.url, ""), context) for one in found)


def _engine(one: EngineFound, api_key: str, context: int) -> Engine:
    if one.kind == "ollama":
        return Ollama(one.url, context)
    return OpenAICompatible(one.url, one.kind, version=one.version, api_key=api_key)


async def _within(work: Any) -> EngineFound | None:
    try:
        async with asyncio.timeout(_LIMIT_SECONDS):
            return await work
    except TimeoutError:
        return None
    except Exception:  # the boundary towards whatever listens on a usual port: its nonsense must not stop the node
        _log.warning("something that answers like an engine is none", exc_info=True)
        return None


async def _get(session: aiohttp.ClientSession, address: Address, path: str) -> _Reply | None:
    headers = {"Authorization": f"Bearer {address.api_key}"} if address.api_key else {}
    try:
        async with session.get(address.url + path, headers=headers, allow_redirects=False) as reply:
            if OURS in reply.headers:
                return None
            text = await reply.content.read(_MAX_REPLY)
            body = msgspec.json.decode(text) if text else None
            return _Reply(reply.status, reply.headers.get("Server", ""), body)
    except msgspec.DecodeError:
        return None
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None


async def _identify(session: aiohttp.ClientSession, address: Address) -> EngineFound | None:
    # /api/version is Ollama's alone; /v1/models they all have.
    version, models = await asyncio.gather(_get(session, address, "/api/version"), _get(session, address, "/v1/models"))
    if models is None or models.status != 200 or not isinstance(models.body, dict) or "data" not in models.body:
        return None
    listed = _ids(models.body, "data", "id")
    if version is not None and version.status == 200 and isinstance(version.body, dict) and "version" in version.body:
        running = await _get(session, address, "/api/ps")
        loaded = _ids(running.body, "models", "name") if running else ()
        local = tuple(name for name in listed if not is_cloud(name))
        return EngineFound("ollama", address.url, str(version.body["version"]), local, loaded)
    kind, told, loaded = await _other_kind(session, address, models, listed)
    return EngineFound(kind, address.url, told, listed, loaded)


async def _other_kind(
    session: aiohttp.ClientSession, address: Address, models: _Reply, listed: tuple[str, ...]
) -> tuple[EngineKind, str | None, tuple[str, ...]]:
    """What a server of /v1/models is: by what only one of them says. Kind, version, loaded models."""
    if models.server.startswith("llama.cpp") or _owned_by(models.body, "llamacpp"):
        props = await _get(session, address, "/props")
        build_info = props.body.get("build_info") if props and isinstance(props.body, dict) else None
        return "llama-server", str(build_info) if build_info else None, listed
    if _owned_by(models.body, "vllm"):
        version = await _get(session, address, "/version")
        told = version.body.get("version") if version and isinstance(version.body, dict) else None
        return "vllm", str(told) if told else None, listed
    studio = await _get(session, address, "/api/v0/models")
    if studio is not None and studio.status == 200 and isinstance(studio.body, dict):
        entries = [entry for entry in studio.body.get("data") or () if isinstance(entry, dict)]
        if all("id" in entry and "state" in entry for entry in entries):
            return "lmstudio", None, tuple(str(entry["id"]) for entry in entries if entry["state"] == "loaded")
    return "openai", None, listed


def _ids(body: Any, key: str, field: str) -> tuple[str, ...]:
    entries = body.get(key) if isinstance(body, dict) else None
    if not isinstance(entries, list):
        return ()
    return tuple(str(entry[field]) for entry in entries if isinstance(entry, dict) and field in entry)


def _owned_by(body: Any, owner: str) -> bool:
    entries = body.get("data") if isinstance(body, dict) else None
    return isinstance(entries, list) and any(
        isinstance(entry, dict) and entry.get("owned_by") == owner for entry in entries
    )
