import pytest

from mycoswarm.api.auth import check
from mycoswarm.core.errors import Refused, TokenRequired

TOKEN = "s3cret"
HERE = {"host": "127.0.0.1:6926"}


@pytest.mark.parametrize("host", ["127.0.0.1:6926", "localhost:6926", "LOCALHOST", "[::1]:6926", "127.0.0.2"])
def test_inference_and_lists_are_free_on_loopback(host: str) -> None:
    assert check("POST", "/v1/chat/completions", {"host": host}, TOKEN) is None
    assert check("GET", "/swarm/v1/nodes", {"host": host}, TOKEN) is None
    assert check("GET", "/swarm/v1/tasks/req-1", {"host": host}, TOKEN) is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/swarm/v1/invite"),
        ("POST", "/swarm/v1/join"),
        ("POST", "/swarm/v1/leave"),
        ("POST", "/swarm/v1/shutdown"),
        ("POST", "/swarm/v1/models/pull"),
        ("DELETE", "/swarm/v1/models/m"),
        ("GET", "/anything"),
    ],
)
def test_everything_else_needs_the_token(method: str, path: str) -> None:
    assert isinstance(check(method, path, HERE, TOKEN), TokenRequired)
    assert isinstance(check(method, path, {**HERE, "authorization": "Bearer wrong"}, TOKEN), TokenRequired)
    assert isinstance(check(method, path, {**HERE, "authorization": f"Basic {TOKEN}"}, TOKEN), TokenRequired)
    assert check(method, path, {**HERE, "authorization": f"Bearer {TOKEN}"}, TOKEN) is None


@pytest.mark.parametrize("host", ["", "evil.example", "127.0.0.1.evil.example", "10.0.0.5:6926", "[fe80::1]:6926"])
def test_a_rebound_name_is_refused_even_with_the_token(host: str) -> None:
    headers = {"host": host, "authorization": f"Bearer {TOKEN}"}
    refusal = check("GET", "/healthz", headers, TOKEN)
    assert isinstance(refusal, Refused)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:8000"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_pages_from_elsewhere_are_refused(headers: dict[str, str]) -> None:
    assert isinstance(check("POST", "/v1/chat/completions", {**HERE, **headers}, TOKEN), Refused)


def test_our_own_page_is_not() -> None:
    own = {**HERE, "origin": "http://127.0.0.1:6926", "sec-fetch-site": "same-origin"}
    assert check("POST", "/v1/chat/completions", own, TOKEN) is None


@pytest.mark.parametrize("name", ["forwarded", "x-forwarded-for", "x-real-ip", "via"])
def test_behind_a_proxy_nothing_is_free(name: str) -> None:
    assert isinstance(check("POST", "/v1/chat/completions", {**HERE, name: "10.0.0.9"}, TOKEN), TokenRequired)
