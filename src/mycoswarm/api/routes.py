"""The table of routes: dispatch, who may call, and the OpenAPI document all follow from it. Pure.

A route is either an `answer` (a typed body in, a typed reply out, no streaming) or an `app` (raw ASGI, for what
streams). A web framework did this before: 279 modules, 10 MB of an idle node's memory and a quarter of its start.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec

from mycoswarm.api.asgi import App
from mycoswarm.core.access import Scope
from mycoswarm.core.errors import InvalidRequest, NotFound, WrongMethod

JSON = "application/json"
NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_T = TypeVar("_T")


class Call(msgspec.Struct, frozen=True):
    """What an `answer` is given. body: of the route's `body` type, None where it takes none. headers: lower-case."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    headers: Mapping[str, str] = MappingProxyType({})


class Query(msgspec.Struct, frozen=True):
    """A query parameter, always text and never required."""

    name: str
    description: str


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path.

    path: `{name}` stands for one segment, `{name...}` for all that is left. reply: a msgspec type, or a JSON schema;
    None where it is empty.
    scope: what a key must be good for; on loopback only "admin" needs the token. media: of the reply; of NDJSON,
    `reply` is one line. events: what the data of one server-sent event holds, where the client asks for a stream; a
    msgspec type, or a JSON schema of the whole event. An `answer` gives what shall be written as JSON, or bytes that
    are of that media type already.
    """

    method: str
    path: str
    name: str
    summary: str
    tag: str
    reply: Any
    body: Any = None
    answer: Callable[[Call], Awaitable[Any]] | None = None
    app: App | None = None
    query: tuple[Query, ...] = ()
    status: int = 200
    scope: Scope = "admin"
    media: str = JSON
    events: Any = None

    @property
    def free(self) -> bool:
        """Whether it needs no token on loopback."""
        return self.scope != "admin"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the path's variable parts."""
        return tuple(part[1:-1].removesuffix("...") for part in self.path.split("/") if part.startswith("{"))


class Found(msgspec.Struct, frozen=True):
    route: Route
    path: Mapping[str, str]


class Table:
    """Every route of the user port."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._exact: dict[str, dict[str, Route]] = {}
        self._patterns: list[Route] = []
        for route in self.routes:
            if route.parameters:
                self._patterns.append(route)
            else:
                self._exact.setdefault(route.path, {})[route.method] = route

    def find(self, method: str, path: str) -> Found:
        """The route of a request; `path` as it stood in its first line, still percent-encoded.

        HEAD is GET whose body the server leaves out, where it has no route of its own.

        Raises NotFound, WrongMethod.
        """
        if method == "HEAD":
            with contextlib.suppress(WrongMethod):
                return self._find(method, path)
            return self._find("GET", path)
        return self._find(method, path)

    def _find(self, method: str, path: str) -> Found:
        exact = self._exact.get(path, {})
        if (route := exact.get(method)) is not None:
            return Found(route, {})
        allowed = set(exact)
        for route in self._patterns:
            variables = _match(route.path, path)
            if variables is None:
                continue
            if route.method == method:
                return Found(route, variables)
            allowed.add(route.method)
        if allowed:
            takes = sorted(allowed)
            raise WrongMethod(f"{path} does not take {method}", f"it takes {', '.join(takes)}", allow=takes)
        raise NotFound(f"there is nothing at {path}", "GET /schema lists what there is")


def _match(template: str, path: str) -> dict[str, str] | None:
    wanted, given = template.split("/"), path.split("/")
    found: dict[str, str] = {}
    for number, part in enumerate(wanted):
        if part.endswith("...}"):
            rest = "/".join(given[number:])
            return {**found, part[1:-4]: unquote(rest)} if rest else None
        if number >= len(given):
            return None
        if part.startswith("{"):
            if not given[number]:
                return None
            found[part[1:-1]] = unquote(given[number])
        elif part != given[number]:
            return None
    return found if len(given) == len(wanted) else None


_TEMPLATE = "#/components/schemas/{name}"
_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "object", "description": "one sentence, a hint, whether to try again"}},
}


def openapi(table: Table, version: str, refusal: Callable[[str], Any] = lambda path: _ERROR) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the table.

    Args:
        refusal: what an error at a path looks like: a msgspec type, or a JSON schema.
    """
    refusals = {route.path: refusal(route.path) for route in table.routes}
    kinds = [kind for route in table.routes for kind in (route.reply, route.body, route.events)]
    kinds = [kind for kind in (*kinds, *refusals.values()) if kind is not None and not isinstance(kind, dict)]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_TEMPLATE)
    refer = dict(zip(map(_key, kinds), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in sorted(table.routes, key=lambda route: route.path):
        path = route.path.replace("...}", "}")
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, refusals[route.path], refer)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mycoSwarm",
            "version": version,
            "description": "One private AI out of the machines you own.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "text of the token file"}},
        },
    }


def _key(kind: Any) -> str:
    return repr(kind)


def _operation(route: Route, refusal: Any, refer: Mapping[str, Any]) -> dict[str, Any]:
    def schema(kind: Any) -> Any:
        return kind if isinstance(kind, dict) else refer[_key(kind)]

    content: dict[str, Any] = {} if route.reply is None else {route.media: {"schema": schema(route.reply)}}
    if isinstance(route.events, dict):
        content[EVENTS] = {"schema": route.events}
    elif route.events is not None:
        content[EVENTS] = {"schema": _event(schema(route.events))}
    # What makes something answers 200 where it was there already.
    worked = sorted({str(route.status), "200"}) if not content else [str(route.status)]
    made: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.tag],
        "responses": {
            **{key: {"description": "It worked.", **({"content": content} if content else {})} for key in worked},
            "default": {"description": "It did not.", "content": {JSON: {"schema": schema(refusal)}}},
        },
        "security": [{}] if route.free else [{"token": []}],
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in route.parameters
    ]
    parameters += [
        {
            "name": one.name,
            "in": "query",
            "required": False,
            "description": one.description,
            "schema": {"type": "string"},
        }
        for one in route.query
    ]
    if parameters:
        made["parameters"] = parameters
    if route.body is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema(route.body)}}}
    return made


def _event(data: Any) -> dict[str, Any]:
    """One server-sent event whose data is JSON."""
    said = {"type": "string", "contentMediaType": JSON, "contentSchema": data}
    return {"type": "object", "required": ["data"], "properties": {"event": {"type": "string"}, "data": said}}


def decode_body(body: bytes, decoder: msgspec.json.Decoder[_T]) -> _T:
    """A client's body. Raises InvalidRequest, saying what is wrong with it."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as problem:
        raise InvalidRequest(f"the request does not fit the API: {problem}", "see /schema") from None
    # The last two are how msgspec tells of text that is not UTF-8, and of lists in lists without end.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise InvalidRequest(f"the body is not JSON: {problem}", "send a JSON object") from None
