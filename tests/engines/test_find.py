"""Finding engines: what each says of itself, what is none, and how long it takes."""

import asyncio
import time

import pytest

from mycoswarm.core.errors import InvalidRequest
from mycoswarm.core.hardware import EngineFound
from mycoswarm.engines.find import OURS, Address, addresses, build, configured, find
from mycoswarm.engines.ollama import Ollama
from mycoswarm.engines.openai_compatible import OpenAICompatible
from mycoswarm.testing.double_server import start
from mycoswarm.testing.ollama_double import DoubleModel, OllamaDouble
from tests.engines.openai_server import OpenAIServer


async def only(server: OpenAIServer) -> EngineFound | None:
    async with server.running() as url:
        found = await find([Address(url, server.api_key)])
    return found[0] if found else None


async def test_ollama() -> None:
    double = OllamaDouble({name: DoubleModel(name, "1B") for name in ("gemma3:27b", "gpt-oss:120b-cloud")})
    runner, port = await start(double)
    try:
        engine = Ollama(f"http://127.0.0.1:{port}")
        _ = [step async for step in engine.load("gemma3:27b")]
        await engine.close()
        (found,) = await find([Address(f"http://127.0.0.1:{port}")])
    finally:
        await runner.cleanup()
    assert found == EngineFound("ollama", f"http://127.0.0.1:{port}", "0.13.5", ("gemma3:27b",), ("gemma3:27b",))


async def test_llama_server() -> None:
    server = OpenAIServer(
        [{"id": "m", "owned_by": "llamacpp"}], {"/props": {"build_info": "b6999"}}, {"Server": "llama.cpp"}
    )
    found = await only(server)
    assert found is not None
    assert (found.kind, found.version, found.models, found.loaded) == ("llama-server", "b6999", ("m",), ("m",))


async def test_vllm() -> None:
    found = await only(OpenAIServer([{"id": "m", "owned_by": "vllm"}], {"/version": {"version": "0.11.0"}}))
    assert found is not None
    assert (found.kind, found.version) == ("vllm", "0.11.0")


async def test_lm_studio() -> None:
    own = {"data": [{"id": "a", "state": "loaded"}, {"id": "b", "state": "not-loaded"}]}
    found = await only(OpenAIServer([{"id": "a"}, {"id": "b"}], {"/api/v0/models": own}))
    assert found is not None
    assert (found.kind, found.models, found.loaded) == ("lmstudio", ("a", "b"), ("a",))


async def test_any_other() -> None:
    found = await only(OpenAIServer([{"id": "m"}]))
    assert found is not None
    assert found.kind == "openai"


async def test_a_server_that_wants_a_key() -> None:
    server = OpenAIServer([{"id": "m"}], api_key="secret")
    assert await only(server) is not None
    async with server.running() as url:
        assert not await find([Address(url)])


async def test_our_own_ports_are_no_engines() -> None:
    assert await only(OpenAIServer([{"id": "m"}], {"/api/version": {"version": "1"}}, {OURS: "a-node"})) is None


@pytest.mark.parametrize("extra", [{}, {"/v1/models": []}])
async def test_other_web_servers_are_no_engines(extra: dict[str, object]) -> None:
    class Other(OpenAIServer):
        async def _get(self, request):  # pyright: ignore[reportMissingParameterType]
            from aiohttp import web

            return web.Response(text="<html>router login</html>", content_type="text/html")

    assert await only(Other([], extra)) is None


async def test_one_that_hangs_costs_a_second_and_hides_nothing() -> None:
    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)
        writer.close()

    hanging = await asyncio.start_server(hang, "127.0.0.1", 0)
    silent = f"http://127.0.0.1:{hanging.sockets[0].getsockname()[1]}"
    try:
        async with OpenAIServer([{"id": "m"}]).running() as url:
            began = time.monotonic()
            found = await find(
                [Address(silent), Address("http://127.0.0.1:9"), Address("http://192.0.2.1"), Address(url)]
            )
            took = time.monotonic() - began
    finally:
        hanging.close()
    assert [one.url for one in found] == [url]
    assert took < 1.6


def test_the_usual_places() -> None:
    assert [address.url for address in addresses(environ={})] == [
        "http://127.0.0.1:11434",
        "http://127.0.0.1:1234",
        "http://127.0.0.1:8080",
        "http://127.0.0.1:8000",
    ]


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:11500", "http://127.0.0.1:11500"),
        ("192.168.1.9", "http://192.168.1.9:11434"),
        ("http://box.lan:80", "http://box.lan:80"),
        ("[::]:11500", "http://[::1]:11500"),
        (":11500", "http://127.0.0.1:11500"),
    ],
)
def test_ollamas_own_variable(text: str, url: str) -> None:
    assert url in [address.url for address in addresses(environ={"OLLAMA_HOST": text})]


def test_configured_addresses_come_first_and_only_once() -> None:
    found = addresses(["key@box:9000", "localhost:11434", "https://engine.lan/v1"], {})
    assert found[0] == Address("http://box:9000", "key")
    assert found[2] == Address("https://engine.lan", "")
    assert [address.url for address in found].count("http://127.0.0.1:11434") == 1


@pytest.mark.parametrize("text", ["", "ftp://x", "http://x:notaport", "http://x/some/path", "x:99999"])
def test_an_address_that_makes_no_sense(text: str) -> None:
    with pytest.raises(InvalidRequest, match="not the address of an engine"):
        addresses([text], {})


async def test_engines_are_built_for_what_was_found() -> None:
    where = [Address("http://127.0.0.1:1", ""), Address("http://127.0.0.1:2", "secret")]
    found = [EngineFound("ollama", "http://127.0.0.1:1", "1"), EngineFound("vllm", "http://127.0.0.1:2", "2")]
    ollama, vllm = build(found, where, 4096)
    assert isinstance(ollama, Ollama)
    assert isinstance(vllm, OpenAICompatible)
    assert (vllm.kind, vllm.url) == ("vllm", "http://127.0.0.1:2")
    await ollama.close()
    await vllm.close()


def test_configured_addresses_are_spelt_as_they_are_found() -> None:
    typed = ("localhost:8000", "http://127.0.0.1:8000/v1", "key@10.0.0.5:1234")
    assert configured(typed) == ("http://127.0.0.1:8000", "http://10.0.0.5:1234")
    with pytest.raises(InvalidRequest):
        configured(("ftp://x",))
