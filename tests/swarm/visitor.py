"""[io] A program on another machine that uses a node over the LAN, or tries to.

`python -m tests.swarm.visitor VERB JSON`

Each verb takes one JSON object and prints JSON lines. `ca` is the file of the web CA, `at` the node's HOST:PORT.
"""

import asyncio
import contextlib
import json
import os
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from typing import Any

REPLY = 8.0
"""Seconds for an answer."""


def say(line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def context_of(ca: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca)


def split(at: str) -> tuple[str, int]:
    host, _, port = at.rpartition(":")
    return host.strip("[]"), int(port)


def request_text(at: str, method: str, path: str, headers: dict[str, str], body: str) -> bytes:
    given = {"host": at, "connection": "close", "content-type": "application/json", **headers}
    if body:
        given["content-length"] = str(len(body.encode()))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items()), "", body]
    return "\r\n".join(lines).encode()


def raw(at: str, ca: str, data: bytes) -> bytes:
    """All that the node answers, over TLS."""
    host, port = split(at)
    with secured(host, port, context_of(ca), host) as wrapped:
        with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
            wrapped.sendall(data)
        return drained(wrapped)


@contextlib.contextmanager
def secured(
    host: str, port: int, context: ssl.SSLContext, name: str, patience: float = REPLY
) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection((host, port), timeout=patience) as plain,
        context.wrap_socket(plain, server_hostname=name) as wrapped,
    ):
        yield wrapped


def drained(connection: socket.socket) -> bytes:
    """What still comes until the other side closes."""
    found = b""
    with contextlib.suppress(OSError):
        while piece := connection.recv(65536):
            found += piece
    return found


def parsed(reply: bytes) -> dict[str, Any]:
    head, _, body = reply.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    status = int(first.split()[1]) if first else 0
    return {
        "status": status,
        "headers": {name: value for name, _, value in pairs},
        "body": body.decode(errors="replace"),
    }


# What is done


def ask(at: str, ca: str, requests: list[dict[str, Any]]) -> None:
    """Each request in turn, on a connection of its own."""
    found = []
    for one in requests:
        data = request_text(at, one.get("method", "GET"), one["path"], one.get("headers", {}), one.get("body", ""))
        found.append(parsed(raw(at, ca, data)))
    say(found)


def bare(at: str, ca: str, data: list[str], fill: str = "") -> None:
    """Bytes as they are, each on a connection of its own; {at} stands for the address, {fill} for a lot of `fill`."""
    found = []
    for one in data:
        text = one.replace("{at}", at).replace("{fill}", fill * (200_000 // max(1, len(fill))))
        found.append(parsed(raw(at, ca, text.encode("latin-1"))))
    say(found)


def plaintext(at: str) -> None:
    """The same without TLS."""
    host, port = split(at)
    with socket.create_connection((host, port), timeout=REPLY) as plain:
        plain.sendall(f"GET /healthz HTTP/1.1\r\nhost: {at}\r\n\r\n".encode())
        say(drained(plain).decode("latin-1"))


def reaches(addresses: list[str]) -> None:
    """Which of these take a connection."""
    found = {}
    for at in addresses:
        try:
            socket.create_connection(split(at), timeout=1.0).close()
            found[at] = True
        except OSError:
            found[at] = False
    say(found)


def certificate(at: str, ca: str, name: str = "") -> None:
    """What it shows, once it has been verified: version, names, and until when."""
    host, port = split(at)
    try:
        with secured(host, port, context_of(ca), name or host) as wrapped:
            shown: dict[str, Any] = dict(wrapped.getpeercert() or {})
            names = [value for _, value in shown.get("subjectAltName", ())]
            say({"version": wrapped.version(), "names": names, "until": shown.get("notAfter")})
    except (OSError, ssl.SSLError) as problem:
        say({"failed": str(problem)})


def versions(at: str, ca: str) -> None:
    """Whether it speaks older versions of TLS."""
    found = {}
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = context_of(ca)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        host, port = split(at)
        try:
            with secured(host, port, context, host) as wrapped:
                found[version.name] = wrapped.version()
        except OSError:
            found[version.name] = None
    say(found)


def guess(at: str, ca: str, count: int) -> None:
    """Wrong keys on one connection after the other; how many were answered with which status, and per second."""
    found: dict[int, int] = {}
    began = time.monotonic()
    for number in range(count):
        data = request_text(at, "GET", "/healthz", {"authorization": f"Bearer myco-{number:052d}"}, "")
        status = parsed(raw(at, ca, data))["status"]
        found[status] = found.get(status, 0) + 1
    say({"found": {str(status): times for status, times in found.items()}, "seconds": time.monotonic() - began})


def stream(at: str, ca: str, path: str, headers: dict[str, str], body: str) -> None:
    """Say each piece of an answer as it comes, and how it ended."""
    host, port = split(at)
    with secured(host, port, context_of(ca), host, 60.0) as wrapped:
        wrapped.sendall(request_text(at, "POST", path, headers, body))
        try:
            while piece := wrapped.recv(65536):
                say({"piece": piece.decode("latin-1")})
            say({"ended": "closed"})
        except OSError as problem:
            say({"ended": type(problem).__name__})


def hold(at: str, ca: str, count: int, how: str, seconds: float) -> None:
    """Open so many connections and keep them: silent, half a handshake, or a head without an end."""

    async def one(host: str, port: int) -> str:
        secure = context_of(ca) if how == "head" else None
        try:
            reader, writer = await asyncio.open_connection(host, port, ssl=secure)
            if how == "handshake":
                writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
            if how == "head":
                writer.write(f"GET / HTTP/1.1\r\nhost: {at}\r\n".encode())
            async with asyncio.timeout(seconds):
                await reader.read()
            return "ended"
        except TimeoutError:
            return "held"
        except OSError:
            return "refused"

    async def run() -> dict[str, int]:
        host, port = split(at)
        outcomes = await asyncio.gather(*(one(host, port) for _ in range(count)))
        return {outcome: outcomes.count(outcome) for outcome in set(outcomes)}

    say(asyncio.run(run()))


def clients(at: str, ca: str, key: str, model: str) -> None:
    """The official clients of OpenAI and Anthropic as their users would set them up: one address, one key, one CA."""
    import anthropic
    import openai

    # Where programs look for authorities of one's own.
    os.environ["SSL_CERT_FILE"] = ca
    found: dict[str, Any] = {}
    with openai.OpenAI(base_url=f"https://{at}/v1", api_key=key, max_retries=0) as client:
        found["models"] = [one.id for one in client.models.list()]
        whole = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}])
        found["openai"] = whole.choices[0].message.content
        streamed = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "hello"}], stream=True
        )
        found["openai_stream"] = "".join(chunk.choices[0].delta.content or "" for chunk in streamed if chunk.choices)
    with openai.OpenAI(base_url=f"https://{at}/v1", api_key="myco-wrong", max_retries=0) as stranger:
        try:
            stranger.models.list()
        except openai.AuthenticationError as problem:
            found["openai_wrong"] = problem.status_code
    with anthropic.Anthropic(base_url=f"https://{at}", api_key=key, max_retries=0) as claude:
        said = claude.messages.create(model=model, max_tokens=64, messages=[{"role": "user", "content": "hello"}])
        found["anthropic"] = "".join(block.text for block in said.content if block.type == "text")
        with claude.messages.stream(
            model=model, max_tokens=64, messages=[{"role": "user", "content": "hello"}]
        ) as pieces:
            found["anthropic_stream"] = "".join(pieces.text_stream)
    with anthropic.Anthropic(base_url=f"https://{at}", api_key="myco-wrong", max_retries=0) as stranger:
        try:
            stranger.messages.create(model=model, max_tokens=8, messages=[{"role": "user", "content": "hello"}])
        except anthropic.AuthenticationError as problem:
            found["anthropic_wrong"] = problem.status_code
    say(found)


VERBS = {
    one.__name__: one for one in (ask, bare, plaintext, reaches, certificate, versions, guess, stream, hold, clients)
}

if __name__ == "__main__":
    VERBS[sys.argv[1]](**json.loads(sys.argv[2]))
