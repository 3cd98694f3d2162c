import msgspec
import pytest

from mycoswarm.api import native
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


def test_every_route_of_ours_is_described_with_its_permission() -> None:
    table = Table(native.routes(Nobody()))  # pyright: ignore[reportArgumentType]
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


def test_only_lists_and_inference_are_free() -> None:
    routes = native.routes(Nobody())  # pyright: ignore[reportArgumentType]
    closed = {one.name for one in routes if not one.free}
    assert closed == {"invite", "join", "leave", "shutdown", "pull", "remove_model"}
