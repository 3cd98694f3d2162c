"""The LAN's guard before the real application: what is refused before anybody looks at what is asked."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mycoswarm.access.ring import KeyRing
from mycoswarm.access.store import KeyStore
from mycoswarm.api.app import create_guarded
from mycoswarm.api.asgi import App, Receive, Scope, Send
from mycoswarm.api.lan import BREAK, PROFILE, RECOGNISE, Lan, check_query, credentials, read_headers
from mycoswarm.core.access import KeyBody
from mycoswarm.core.errors import InvalidRequest
from mycoswarm.core.tasks import TaskGroup
from mycoswarm.telemetry.health import Health
from mycoswarm.testing.virtual_clock import VirtualClock
from tests.api.driver import Exchange
from tests.api.fake_node import FakeNode

HOST = "10.0.0.5:6926"
NAMES = ("boa.local", "10.0.0.5", "fd00::5")


class Port:
    """A node on the LAN, and who called."""

    def __init__(self, directory: Path, group: TaskGroup) -> None:
        clock = VirtualClock()
        self.ring = KeyRing(KeyStore(directory / "keys.json"), clock, Health(clock))
        self.node = FakeNode()
        self.known = 0
        self.broken = 0
        self.scopes: list[Scope] = []
        self._group = group
        self._app = create_guarded(self.node, Lan(self.ring, lambda: NAMES))

    def ask(self, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> Exchange:
        return Exchange(self._group, self._on_a_connection(), method, target, body, {"host": HOST, **headers})

    async def status(self, headers: dict[str, str], target: str = "/healthz", method: str = "GET") -> int:
        exchange = self.ask(method, target, headers)
        await exchange.task
        return exchange.status

    def key(self, *scopes: Any, **wanted: Any) -> dict[str, str]:
        name = f"key-{len(self.ring)}"
        made = self.ring.add(KeyBody(name, scopes or ("inference", "read"), **wanted))
        return {"authorization": f"Bearer {made.secret}"}

    def _on_a_connection(self) -> App:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            def recognise() -> None:
                self.known += 1

            def broken() -> None:
                self.broken += 1

            self.scopes.append(scope)
            scope["client"] = ("10.0.0.9", 1)
            scope["state"] = {RECOGNISE: recognise, BREAK: broken}
            await self._app(scope, receive, send)

        return app


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[Port]:
    group = TaskGroup()
    yield Port(tmp_path, group)
    await group.close()


async def test_every_path_needs_a_key_also_those_that_are_not_there(port: Port) -> None:
    for target in ("/healthz", "/v1/models", "/schema", "/nothing", "/"):
        assert await port.status({}, target) == 401
    assert port.known == 0
    mine = port.key()
    assert await port.status(mine) == 200
    assert await port.status(mine, "/nothing") == 404
    assert await port.status(mine, method="POST") == 405
    assert port.known == 3


async def test_a_key_may_come_as_any_of_the_clients_sends_it(port: Port) -> None:
    secret = port.key()["authorization"].removeprefix("Bearer ")
    for headers in (
        {"authorization": f"Bearer {secret}"},
        {"authorization": f"bearer   {secret} "},
        {"x-api-key": secret},
        {"authorization": "Bearer sk-of-somebody-else", "x-api-key": secret},
    ):
        assert await port.status(headers) == 200, headers
    for headers in ({"authorization": f"Basic {secret}"}, {"authorization": secret}, {"cookie": f"key={secret}"}):
        assert await port.status(headers) == 401, headers


async def test_scopes_are_those_of_the_table(port: Port) -> None:
    reader, admin = port.key("read"), port.key("admin")
    assert await port.status(reader, "/swarm/v1/tasks") == 200
    assert await port.status(reader, "/swarm/v1/keys") == 403
    assert await port.status(admin, "/swarm/v1/keys") == 200
    assert await port.status(reader, "/swarm/v1/shutdown", "POST") == 403
    assert ("shut_down",) not in port.node.calls
    assert await port.status(admin, "/swarm/v1/shutdown", "POST") == 200


async def test_the_profile_of_the_key_goes_with_the_request(port: Port) -> None:
    await port.status(port.key(profile="anna"))
    assert port.scopes[-1][PROFILE] == "anna"


@pytest.mark.parametrize("host", ["10.0.0.5", "BOA.local:6926", "boa.local", "[fd00::5]:6926", "10.0.0.5:443"])
async def test_its_own_names_are_its_own(port: Port, host: str) -> None:
    assert await port.status({**port.key(), "host": host}) == 200


@pytest.mark.parametrize("host", ["", "evil.example", "127.0.0.1", "10.0.0.6", "boa.local.evil.example", "localhost"])
async def test_other_names_are_refused_before_the_key_is_looked_at(port: Port, host: str) -> None:
    assert await port.status({**port.key(), "host": host}) == 403
    assert port.known == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": f"http://{HOST}"},
        {"origin": "https://boa.local:6926"},
        {"origin": "null"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_pages_from_elsewhere_are_refused(port: Port, headers: dict[str, str]) -> None:
    assert await port.status({**port.key("admin"), **headers}) == 403
    own = {"origin": f"https://{HOST}", "sec-fetch-site": "same-origin"}
    assert await port.status({**port.key("admin"), **own}) == 200


async def test_a_proxy_s_word_changes_nothing(port: Port) -> None:
    claims = {"x-forwarded-for": "127.0.0.1", "forwarded": "for=127.0.0.1", "x-real-ip": "127.0.0.1", "via": "1.1 x"}
    assert await port.status(claims) == 401
    assert await port.status({**claims, **port.key()}) == 200


@pytest.mark.parametrize("query", ["key=x", "API_KEY=x", "access_token=", "a=1&token=x", "q=myco-abc"])
async def test_secrets_in_urls_are_refused_also_right_ones(port: Port, query: str) -> None:
    with pytest.raises(InvalidRequest, match="URLs"):
        check_query(query)
    assert await port.status(port.key(), f"/healthz?{query}") == 400
    check_query("beta=true&keyword=x&limit=5")


def test_a_header_that_must_be_clear_comes_once() -> None:
    for name in (b"Host", b"authorization", b"X-Api-Key", b"Origin"):
        with pytest.raises(InvalidRequest, match="twice"):
            read_headers([(name, b"a"), (name.lower(), b"a")])
    assert read_headers([(b"Accept", b"a"), (b"accept", b"b")]) == {"accept": "b"}
    assert credentials({"authorization": "Bearer "}) == ()


async def test_errors_speak_the_caller_s_dialect(port: Port) -> None:
    for target, method, field in (("/v1/models", "GET", "message"), ("/swarm/v1/node", "GET", "code")):
        exchange = port.ask(method, target, {})
        await exchange.task
        body = msgspec.json.decode(b"".join(exchange.pieces))
        assert field in body["error"], target


async def test_a_removed_key_breaks_the_connection_that_uses_it(port: Port) -> None:
    import asyncio

    going_on = asyncio.Event()
    port.node.script = (*port.node.script[:2], going_on, *port.node.script[2:])
    exchange = port.ask(
        "POST",
        "/swarm/v1/chat",
        port.key("inference"),
        b'{"model":"m","messages":[{"role":"user","parts":[{"type":"text","text":"hi"}]}]}',
    )
    while not exchange.pieces and not exchange.task.done():
        await asyncio.sleep(0.01)
    assert exchange.status == 200, exchange.pieces
    assert port.ring.remove("key-0").broken == 1
    assert port.broken == 1
    going_on.set()
    await exchange.task
