import pytest

from mycoswarm.api.auth import check_origin, check_token
from mycoswarm.api.routes import Route
from mycoswarm.core.errors import Refused, TokenRequired

TOKEN = "s3cret"
HERE = {"host": "127.0.0.1:6926"}


def route(*, free: bool) -> Route:
    return Route(
        method="POST", path="/x", name="x", summary="", tag="", reply={}, scope="inference" if free else "admin"
    )


@pytest.mark.parametrize("host", ["127.0.0.1:6926", "localhost:6926", "LOCALHOST", "[::1]:6926", "127.0.0.2"])
def test_programs_on_this_machine_are_no_strangers(host: str) -> None:
    assert check_origin({"host": host}) is None


@pytest.mark.parametrize("host", ["", "evil.example", "127.0.0.1.evil.example", "10.0.0.5:6926", "[fe80::1]:6926"])
def test_a_rebound_name_is_refused(host: str) -> None:
    assert isinstance(check_origin({"host": host}), Refused)


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
    assert isinstance(check_origin({**HERE, **headers}), Refused)


def test_our_own_page_is_not() -> None:
    own = {**HERE, "origin": "http://127.0.0.1:6926", "sec-fetch-site": "same-origin"}
    assert check_origin(own) is None


def test_free_routes_need_no_token_and_all_others_do() -> None:
    assert check_token(route(free=True), HERE, TOKEN) is None
    closed = route(free=False)
    assert isinstance(check_token(closed, HERE, TOKEN), TokenRequired)
    assert isinstance(check_token(closed, {**HERE, "authorization": "Bearer wrong"}, TOKEN), TokenRequired)
    assert isinstance(check_token(closed, {**HERE, "authorization": f"Basic {TOKEN}"}, TOKEN), TokenRequired)
    assert check_token(closed, {**HERE, "authorization": f"Bearer {TOKEN}"}, TOKEN) is None


@pytest.mark.parametrize("name", ["forwarded", "x-forwarded-for", "x-real-ip", "via"])
def test_behind_a_proxy_nothing_is_free(name: str) -> None:
    assert isinstance(check_token(route(free=True), {**HERE, name: "10.0.0.9"}, TOKEN), TokenRequired)
