"""The user API for other machines: real nodes, TLS by the swarm's own CA, API keys, and what strangers can try.

miu    founder and keeper, `listen = lan`, with a double of Ollama
naru   a member that is no keeper, `listen = lan`
boa    another machine, without mycoSwarm: whoever uses miu from there has the CA's certificate and a key, or not
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.swarm import lab as lab_module
from tests.swarm.lab import PYTHON, SUBNET, Lab, Machine, eventually

pytestmark = pytest.mark.swarm

MODEL = "gemma3:27b"
NO_ENGINE = {"MYCOSWARM_EMBEDDED": "no", "OLLAMA_HOST": "127.0.0.1:11434"}
ROOT = Path(lab_module.__file__).parents[2]
SOURCES = {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src")))}
MAX_GROWTH = 40 * 2**20
"""Of a node's memory during one flood."""
CHAT = json.dumps({"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "tell me a story"}]})
LONG = CHAT.replace("story", "story" + " and another" * 60)
"""Its answer takes some five seconds."""


class Lan:
    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.miu, self.naru, self.boa = lab["miu"], lab["naru"], lab["boa"]
        self.at = f"{self.miu.address}:6926"
        self.directory = directory
        self._keys: dict[str, str] = {}

    def form(self) -> None:
        self.miu.start(
            PYTHON, "-m", "mycoswarm.testing.ollama_double", "--port", "11434", "--model", f"{MODEL}=27.4B",
            "--token-ms", "20",
        )  # fmt: skip
        for machine in (self.miu, self.naru):
            machine.up("--listen", "lan", env=NO_ENGINE)
        for machine in (self.miu, self.naru):
            machine.wait_ready()
        code = self.done(self.miu, "invite", "--quiet").split()[0]
        self.done(self.naru, "join", code)
        eventually(lambda: MODEL in self.done(self.miu, "models", "--json"), 30, "miu has found its model")

    def done(self, machine: Machine, *arguments: str) -> str:
        """What `mycoswarm …` on that machine says; it must work."""
        ran = machine.myco(*arguments)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def json(self, machine: Machine, *arguments: str) -> dict[str, Any]:
        return json.loads(self.done(machine, *arguments, "--json"))

    def ca(self, machine: Machine | None = None) -> str:
        """The file of the CA's certificate, as its owner would carry it over."""
        file, fresh = self.directory / "ca.pem", self.directory / "ca.pem.new"
        fresh.write_text(self.done(machine or self.miu, "certs", "trust", "--print"))
        # A visitor under way may be reading it.
        fresh.replace(file)
        return str(file)

    def key(self, scope: str, *flags: str, name: str = "") -> str:
        """A key with this scope on miu; made once for each name."""
        name = name or scope
        if name not in self._keys:
            self._keys[name] = self.done(self.miu, "keys", "add", name, "--scope", scope, "--quiet", *flags).strip()
        return self._keys[name]

    def visit(self, verb: str, machine: Machine | None = None, timeout: float = 60, **arguments: Any) -> Any:
        """What the visitor on boa finds."""
        if verb not in ("plaintext", "reaches"):
            arguments.setdefault("ca", self.ca())
        if verb != "reaches":
            arguments.setdefault("at", self.at)
        command = (PYTHON, "-m", "tests.swarm.visitor", verb, json.dumps(arguments))
        ran = (machine or self.boa).run(*command, timeout=timeout, env=SOURCES)
        assert ran.returncode == 0, ran.stderr[-2000:]
        return json.loads(ran.stdout.splitlines()[-1])

    def visiting(self, verb: str, **arguments: Any) -> "subprocess.Popen[bytes]":
        """The same, under way."""
        arguments = {"ca": self.ca(), "at": self.at, **arguments}
        return self.boa.start(PYTHON, "-m", "tests.swarm.visitor", verb, json.dumps(arguments), env=SOURCES)

    def ask(self, *requests: dict[str, Any]) -> list[dict[str, Any]]:
        return self.visit("ask", requests=list(requests))

    def rss(self) -> int:
        file = self.miu.node_file()
        assert file is not None
        return psutil.Process(file.pid).memory_info().rss

    def serves(self) -> None:
        """Whoever has a key is served, and quickly."""
        (answer,) = self.ask({"path": "/healthz", "headers": bearer(self.key("read"))})
        assert answer["status"] == 200, answer

    def shown(self, machine: Machine) -> dict[str, Any]:
        return self.visit("certificate", at=f"{machine.address}:6926")


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    lab_module.require()
    directory = tmp_path_factory.mktemp("lan")
    with Lab(directory, ("miu", "naru", "boa")) as lab:
        made = Lan(lab, directory)
        made.form()
        yield made


@pytest.fixture(autouse=True)
def logs_of_failures(lan: Lan, request: pytest.FixtureRequest) -> Iterator[None]:
    failed_before = request.session.testsfailed
    yield
    if request.session.testsfailed > failed_before:
        for machine in (lan.miu, lan.naru):
            print(f"---- {machine.name}\n{machine.log()[-3000:]}")


# Who may do what


def test_without_a_key_there_is_nothing_to_be_had(lan: Lan) -> None:
    paths = ["/healthz", "/v1/models", "/swarm/v1/node", "/metrics", "/schema", "/nothing", "/"]
    answers = lan.ask(*({"path": path} for path in paths))
    assert [answer["status"] for answer in answers] == [401] * len(paths)
    wrong = lan.ask(*({"path": path, "headers": bearer("myco-wrong")} for path in paths[:3]))
    assert [answer["status"] for answer in wrong] == [401] * 3
    token = lan.miu.paths.token_file.read_text().strip()
    (answer,) = lan.ask({"path": "/swarm/v1/keys", "headers": bearer(token)})
    assert answer["status"] == 401, "the node's own token is for loopback"


def test_each_scope_opens_its_own_and_admin_all(lan: Lan) -> None:
    chat = {
        "path": "/v1/chat/completions",
        "method": "POST",
        "body": json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}),
    }
    asked = {
        "chat": chat,
        "tasks": {"path": "/swarm/v1/tasks"},
        "keys": {"path": "/swarm/v1/keys"},
        "pull": {"path": "/swarm/v1/models/pull", "method": "POST", "body": '{"name":"none"}'},
    }
    expected = {
        "inference": {"chat": 200, "tasks": 403, "keys": 403, "pull": 403},
        "read": {"chat": 403, "tasks": 200, "keys": 403, "pull": 403},
        "admin": {"chat": 200, "tasks": 200, "keys": 200, "pull": 404},
    }
    for scope, statuses in expected.items():
        answers = lan.ask(*({**one, "headers": {"x-api-key": lan.key(scope)}} for one in asked.values()))
        assert {name: answer["status"] for name, answer in zip(asked, answers, strict=True)} == statuses, scope
    secrets = [lan.key(scope) for scope in expected]
    listed = lan.done(lan.miu, "keys", "list", "--json")
    assert {key["name"] for key in json.loads(listed)["keys"]} >= set(expected)
    for said in (listed, lan.miu.log(), *(file.read_text() for file in lan.miu.paths.state.glob("keys*"))):
        assert not any(secret in said for secret in secrets), "a secret is told once"


def test_errors_have_the_shape_of_the_dialect(lan: Lan) -> None:
    openai, claude, ours = lan.ask(
        {"path": "/v1/models"},
        {"path": "/v1/messages", "method": "POST", "headers": {"x-api-key": "myco-wrong"}, "body": "{}"},
        {"path": "/swarm/v1/node"},
    )
    assert json.loads(openai["body"])["error"]["message"].startswith("this needs an API key")
    assert json.loads(claude["body"])["type"] == "error"
    assert json.loads(ours["body"])["error"]["code"] == "token_required"


def test_the_official_clients_need_an_address_a_key_and_the_ca(lan: Lan) -> None:
    key = lan.key("inference,read", name="programs")
    found = lan.visit("clients", key=key, model=MODEL)
    assert MODEL in found["models"]
    for way in ("openai", "openai_stream", "anthropic", "anthropic_stream"):
        assert MODEL in found[way], way
    assert (found["openai_wrong"], found["anthropic_wrong"]) == (401, 401)


def test_any_member_answers_with_the_model_of_another(lan: Lan) -> None:
    key = lan.done(lan.naru, "keys", "add", "there", "--quiet").strip()
    eventually(lambda: "names" in lan.shown(lan.naru), 15, "naru has its certificate from miu")
    found = lan.visit("clients", at=f"{lan.naru.address}:6926", key=key, model=MODEL)
    assert MODEL in found["anthropic_stream"]


def test_a_removed_key_loses_its_running_stream(lan: Lan) -> None:
    key = lan.key("inference", name="leaving")
    running = lan.visiting("stream", path="/v1/chat/completions", headers=bearer(key), body=LONG)
    assert running.stdout is not None
    pieces = 0
    while pieces < 5:
        assert "piece" in json.loads(running.stdout.readline())
        pieces += 1
    removed = lan.json(lan.miu, "keys", "remove", "leaving", "--yes")
    assert removed["broken"] == 1
    *_, last = running.stdout.read().splitlines()
    assert json.loads(last)["ended"], last
    assert b"[DONE]" not in last
    running.wait(10)
    (after,) = lan.ask({"path": "/v1/models", "headers": bearer(key)})
    assert after["status"] == 401
    eventually(lambda: not lan.json(lan.miu, "ps").get("tasks"), 10, "the engine is free again")


def test_a_key_s_limits_hold(lan: Lan) -> None:
    slow = lan.key("read", "--rate", "3", name="slow")
    statuses = [answer["status"] for answer in lan.ask(*[{"path": "/healthz", "headers": bearer(slow)}] * 5)]
    assert statuses == [200, 200, 200, 429, 429]
    single = lan.key("inference", "--concurrent", "1", name="single")
    running = lan.visiting("stream", path="/v1/chat/completions", headers=bearer(single), body=LONG)
    assert running.stdout is not None
    running.stdout.readline()
    (second,) = lan.ask({"path": "/v1/chat/completions", "method": "POST", "headers": bearer(single), "body": CHAT})
    assert second["status"] == 429
    assert int(second["headers"]["retry-after"]) >= 1
    running.terminate()
    running.wait(10)


def test_a_key_that_has_ended_is_none(lan: Lan) -> None:
    key = lan.key("read", "--expires", "60s", name="short")
    listed = {one["name"]: one for one in lan.json(lan.miu, "keys", "list")["keys"]}
    assert listed["short"]["expires"] > listed["short"]["created"]
    (answer,) = lan.ask({"path": "/healthz", "headers": bearer(key)})
    assert answer["status"] == 200


# Plaintext here, TLS there


def test_plaintext_stays_on_loopback_and_tls_off_it(lan: Lan) -> None:
    assert "400 Bad Request" in lan.visit("plaintext")
    assert "https://" in lan.visit("plaintext")
    assert lan.miu.get(6926, "/healthz") is not None
    here = lan.visit("certificate", machine=lan.miu, at="127.0.0.1:6926")
    assert "failed" in here, "nothing speaks TLS on loopback"
    on_its_own_address = lan.visit("plaintext", machine=lan.miu)
    assert "400 Bad Request" in on_its_own_address


def test_addresses_that_come_and_go_are_followed(lan: Lan) -> None:
    extra, public, six = f"{SUBNET}.77", "203.0.113.7", "fd69::77"
    lan.lab.ip("-n", "miu", "addr", "add", f"{extra}/24", "dev", "eth0")
    lan.lab.ip("-n", "miu", "addr", "add", f"{public}/24", "dev", "eth0")
    lan.lab.ip("-n", "boa", "route", "add", f"{public}/32", "dev", "eth0")
    lan.lab.ip("-n", "miu", "addr", "add", f"{six}/64", "dev", "eth0", "nodad")
    lan.lab.ip("-n", "boa", "addr", "add", "fd69::1/64", "dev", "eth0", "nodad")
    took = eventually(
        lambda: extra in lan.visit("certificate", at=f"{extra}:6926").get("names", ()), 10, "the new address is served"
    )
    print(f"a new address was served with a certificate for it after {took:.1f} s")
    eventually(lambda: "names" in lan.visit("certificate", at=f"[{six}]:6926"), 10, "and by IPv6")
    reached = lan.visit("reaches", addresses=[f"{public}:6926", f"{extra}:6926", lan.at])
    assert reached == {f"{public}:6926": False, f"{extra}:6926": True, lan.at: True}, "not on the internet's addresses"
    (renamed,) = lan.visit(
        "ask", at=f"{extra}:6926", requests=[{"path": "/healthz", "headers": bearer(lan.key("read"))}]
    )
    assert renamed["status"] == 200
    for address in (f"{extra}/24", f"{public}/24", f"{six}/64"):
        lan.lab.ip("-n", "miu", "addr", "del", address, "dev", "eth0")
    eventually(
        lambda: not any(extra in url for url in lan.json(lan.miu, "certs", "show").get("urls", ())), 10, "it is gone"
    )
    lan.serves()


def test_a_running_stream_outlives_an_address_that_goes_and_comes(lan: Lan) -> None:
    running = lan.visiting("stream", path="/v1/chat/completions", headers=bearer(lan.key("inference")), body=LONG)
    assert running.stdout is not None
    running.stdout.readline()
    lan.lab.cable("miu", plugged=False)
    try:
        eventually(lambda: not lan.json(lan.miu, "certs", "show").get("urls"), 5, "no address is left")
    finally:
        lan.lab.cable("miu", plugged=True)
    eventually(lambda: lan.json(lan.miu, "certs", "show").get("urls"), 10, "the address is back")
    said = running.stdout.read()
    running.wait(20)
    assert b"[DONE]" in said
    lan.serves()


# Attacks


def test_older_versions_of_tls_are_refused(lan: Lan) -> None:
    assert lan.visit("versions") == {"TLSv1": None, "TLSv1_1": None, "TLSv1_2": None, "TLSv1_3": "TLSv1.3"}


def test_a_rebound_name_or_a_foreign_page_is_refused_whatever_key_it_has(lan: Lan) -> None:
    mine = bearer(lan.key("admin"))
    evil = [
        {"host": "evil.example"},
        {"host": "evil.example:6926"},
        {"host": "127.0.0.1.evil.example"},
        {"host": ""},
        {"origin": "https://evil.example"},
        {"origin": f"http://{lan.at}"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ]
    answers = lan.ask(*({"path": "/swarm/v1/keys", "headers": {**mine, **headers}} for headers in evil))
    expected = ["403" for _ in evil]
    assert [str(answer["status"]) for answer in answers] == expected
    assert all("access-control-allow-origin" not in answer["headers"] for answer in answers)
    own = {**mine, "origin": f"https://{lan.at}", "sec-fetch-site": "same-origin"}
    forwarded = {**mine, "x-forwarded-for": "127.0.0.1", "forwarded": "for=127.0.0.1;host=localhost"}
    answers = lan.ask(*({"path": "/swarm/v1/keys", "headers": headers} for headers in (own, forwarded)))
    assert [answer["status"] for answer in answers] == [200, 200]
    (bare,) = lan.ask({"path": "/healthz", "headers": {"x-forwarded-for": "127.0.0.1"}})
    assert bare["status"] == 401, "nobody becomes local by saying so"


def test_secrets_in_urls_and_doubled_headers_are_refused(lan: Lan) -> None:
    key = lan.key("read")
    answers = lan.ask(*({"path": f"/healthz?{query}"} for query in (f"key={key}", f"api_key={key}", f"x={key}")))
    assert [answer["status"] for answer in answers] == [400] * 3
    head = "GET /healthz HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n"
    mine = f"authorization: Bearer {key}\r\n"
    smuggled = lan.visit(
        "bare",
        data=[
            f"{head}{mine}{mine}\r\n",
            f"{head}host: evil.example\r\n{mine}\r\n",
            f"{head}{mine}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            f"{head}{mine}content-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
            f"{head}{mine}transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
            f"{head}{mine}x: a\x00b\r\n\r\n",
        ],
    )
    assert [answer["status"] for answer in smuggled] == [400] * 6


def test_heads_without_end_are_cut_off(lan: Lan) -> None:
    head = "GET /healthz HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n"
    for fill in ("y", "\r\nx: y"):
        (answer,) = lan.visit("bare", data=[head + "x: {fill}\r\n\r\n"], fill=fill)
        assert answer["status"] == 0
    lan.serves()


def test_guessing_keys_is_slow_and_shows(lan: Lan) -> None:
    found = lan.visit("guess", count=60, timeout=60)
    assert found["found"]["429"] >= 30
    assert found["found"]["401"] <= 30
    lan.serves()
    told = lan.miu.myco("doctor").stdout
    assert "wrong API keys were refused" in told
    assert lan.boa.address in told


@pytest.mark.parametrize("how", ["silent", "handshake", "head"])
def test_a_flood_that_says_little_is_shown_out(lan: Lan, how: str) -> None:
    before = lan.rss()
    flood = lan.visiting("hold", count=400, how=how, seconds=15.0)
    eventually(lambda: lan.boa.run("true").returncode == 0, 5, "the flood is under way")
    for _ in range(3):
        lan.serves()
    said, complaint = flood.communicate(timeout=40)
    assert said, complaint.decode()
    outcome = json.loads(said)
    assert outcome.get("held", 0) == 0, outcome
    assert lan.rss() - before < MAX_GROWTH
    lan.serves()


# Certificates


def test_the_member_s_certificate_is_by_the_keeper_s_ca(lan: Lan) -> None:
    here, there = lan.json(lan.miu, "certs", "show"), lan.json(lan.naru, "certs", "show")
    assert here["fingerprint"] == there["fingerprint"]
    assert here["authority"] == there["authority"]
    assert "naru.local" in there["names"]
    assert (lan.miu.paths.state / "web-ca.json").exists()
    assert not (lan.naru.paths.state / "web-ca.json").exists(), "the key stays with keepers"
    assert "failed" in lan.visit("certificate", at=f"{lan.naru.address}:6926", name="example.com")


def test_without_its_keeper_a_member_goes_on_serving(lan: Lan) -> None:
    file = lan.naru.node_file()
    assert file is not None
    key = lan.done(lan.naru, "keys", "add", "lonely", "--quiet").strip()
    lan.ca()
    lan.lab.cable("miu", plugged=False)
    try:
        lan.done(lan.naru, "down")
        lan.naru.up("--listen", "lan", env=NO_ENGINE)
        lan.naru.wait_ready()
        ca = str(lan.directory / "ca.pem")
        requests = [{"path": "/healthz", "headers": bearer(key)}]
        (answer,) = lan.visit("ask", at=f"{lan.naru.address}:6926", ca=ca, requests=requests)
        assert answer["status"] == 200
    finally:
        lan.lab.cable("miu", plugged=True)
