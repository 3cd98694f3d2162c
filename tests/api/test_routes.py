import msgspec
import pytest

from mycoswarm.api import membership, native
from mycoswarm.api.routes import Route, Table, WrongMethod, openapi
from mycoswarm.core.errors import NotFound


class Nobody:
    """A node that is never asked: only the table is looked at."""


def route(method: str, path: str, **fields: object) -> Route:
    made = {"name": path, "summary": "", "tag": "t", "reply": {"type": "object"}, **fields}
    return Route(method=method, path=path, **made)  # pyright: ignore[reportArgumentType]


TABLE = Table(
    (
        route("GET", "/a"),
        route("POST", "/a"),
        route("GET", "/tasks/{id}"),
        route("POST", "/models/pull"),
        route("DELETE", "/models/{name...}"),
    )
)


@pytest.mark.parametrize(
    ("method", "path", "template", "variables"),
    [
        ("GET", "/a", "/a", {}),
        ("POST", "/a", "/a", {}),
        ("GET", "/tasks/req-1", "/tasks/{id}", {"id": "req-1"}),
        ("GET", "/tasks/a%20b", "/tasks/{id}", {"id": "a b"}),
        ("POST", "/models/pull", "/models/pull", {}),
        ("DELETE", "/models/org/name:7b", "/models/{name...}", {"name": "org/name:7b"}),
        ("DELETE", "/models/pull", "/models/{name...}", {"name": "pull"}),
    ],
)
def test_requests_find_their_route(method: str, path: str, template: str, variables: dict[str, str]) -> None:
    found = TABLE.find(method, path)
    assert found.route.path == template
    assert found.path == variables


@pytest.mark.parametrize("path", ["/", "/b", "/tasks", "/tasks/", "/tasks/a/b", "/models/", "/a/"])
def test_nothing_is_there(path: str) -> None:
    with pytest.raises(NotFound):
        TABLE.find("GET", path)


def test_a_wrong_method_names_the_right_ones() -> None:
    with pytest.raises(WrongMethod, match="/a does not take PUT") as caught:
        TABLE.find("PUT", "/a")
    assert caught.value.hint == "it takes GET, POST"
    with pytest.raises(WrongMethod):
        TABLE.find("GET", "/models/x")


ROUTES = (*native.routes(Nobody()), *membership.routes(Nobody()))  # pyright: ignore[reportArgumentType]


def test_every_route_of_ours_is_described_with_its_permission() -> None:
    table = Table(ROUTES)
    document = openapi(table, "1")
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert described == {(one.path.replace("...}", "}"), one.method.lower()) for one in table.routes}
    assert document["paths"]["/swarm/v1/invite"]["post"]["security"] == [{"token": []}]
    assert document["paths"]["/swarm/v1/chat"]["post"]["security"] == [{}]
    remove = document["paths"]["/swarm/v1/models/{name}"]["delete"]
    assert [one["name"] for one in remove["parameters"]] == ["name", "node"]
    # Every reference points at something.
    text = msgspec.json.encode(document).decode()
    for name in {piece.partition('"')[0] for piece in text.split("#/components/schemas/")[1:]}:
        assert name in document["components"]["schemas"], name


def test_operations_have_names_of_their_own() -> None:
    names = [one.name for one in ROUTES]
    assert len(set(names)) == len(names)


def test_two_methods_of_one_pattern_are_two_routes() -> None:
    table = Table(ROUTES)
    found = [table.find(method, "/swarm/v1/nodes/miu").route.name for method in ("GET", "DELETE")]
    assert found == ["node_history", "expel"]
    assert table.find("POST", "/swarm/v1/join/compare").route.name == "compare"
    with pytest.raises(WrongMethod) as caught:
        table.find("PUT", "/swarm/v1/join/compare/run-1")
    assert caught.value.data["allow"] == ["GET", "POST"]


def test_the_media_type_of_a_reply_is_described() -> None:
    paths = openapi(Table(ROUTES), "1")["paths"]
    media = {path: next(iter(paths[path][method]["responses"]["200"]["content"])) for path, method in MEDIA}
    assert media == dict(zip(media, MEDIA.values(), strict=True))


MEDIA = {
    ("/metrics", "get"): "text/plain; version=0.0.4; charset=utf-8",
    ("/swarm/v1/chat", "post"): "application/x-ndjson",
    ("/swarm/v1/nodes", "get"): "application/json",
}


def test_only_lists_and_inference_are_free() -> None:
    closed = {one.name for one in native.routes(Nobody()) if not one.free}  # pyright: ignore[reportArgumentType]
    assert closed == {"shutdown", "pull", "remove_model"}
    assert not any(one.free for one in membership.routes(Nobody()))  # pyright: ignore[reportArgumentType]
