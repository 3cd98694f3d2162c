"""Everything that the document promises, held against it by schemathesis: requests made from it, replies checked by it.

The node behind is a fake that always answers, so every failure is one of the user port's own.
"""

from collections.abc import AsyncGenerator
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    negative_data_rejection,
    positive_data_acceptance,
)

from mycoswarm.api.app import create_app
from mycoswarm.api.routes import EVENTS, NDJSON
from mycoswarm.core.model import Progress
from tests.api.driver import HOST
from tests.api.fake_node import FakeNode

TOKEN = "s3cret"
CONVERSATIONS = ("/v1/", "/api/", "/swarm/v1/chat", "/swarm/v1/route")
"""Paths whose bodies have rules between fields, which no schema says, and where programs are understood that are a
little off: there a request may be refused that fits the schema, and one taken that does not."""


class Willing(FakeNode):
    """Both of its streams have something to say."""

    async def pull(self, name: str, node: str) -> AsyncGenerator[Progress, None]:
        for step in (Progress("download", name, 1, 2), Progress("done", name, 2, 2)):
            yield step


@schemathesis.deserializer("application/x-ndjson")
def _first_line(context: Any, response: schemathesis.Response) -> Any:
    """The document describes one line; `keep` looks at all of them."""
    return msgspec.json.decode(response.content.splitlines()[0])


APP = create_app(Willing(), TOKEN)
SCHEMA = schemathesis.openapi.from_asgi("/schema", APP, headers={"host": HOST})
DOCUMENT: dict[str, Any] = SCHEMA.raw_schema


@SCHEMA.auth()
class _Owner:
    """Every request is the owner's, but for those that the checks make to see that nobody else may."""

    def get(self, case: schemathesis.Case, context: Any) -> str:
        return TOKEN

    def set(self, case: schemathesis.Case, token: str, context: Any) -> None:
        case.headers["authorization"] = f"Bearer {token}"


def keep(case: schemathesis.Case) -> None:
    excluded: list[Any] = []
    if case.operation.path.startswith(CONVERSATIONS):
        excluded += [positive_data_acceptance, negative_data_rejection]
    if case.operation.path == "/swarm/v1/models/pull":
        # A model may have this name, and can then be deleted; the document says so at another path.
        excluded.append(allow_header_conformance)
    case.body = whole(case.body)
    response = case.call_and_validate(base_url=f"http://{HOST}", excluded_checks=excluded)
    if response.headers.get("content-type") == [NDJSON] and response.content:
        replies = DOCUMENT["paths"][case.operation.path][case.method.lower()]["responses"]
        schema = replies[str(response.status_code)]["content"][NDJSON]["schema"]
        validator = jsonschema_rs.validator_for(schema | {"components": DOCUMENT["components"]})
        for line in response.content.splitlines():
            validator.validate(msgspec.json.decode(line))


def whole(value: Any) -> Any:
    """To a schema 1.0 is an integer; to the decoder, and to everybody who writes one, it is not."""
    match value:
        case float():
            return int(value) if value.is_integer() else value
        case list():
            return [whole(one) for one in value]
        case dict():
            return {name: whole(one) for name, one in value.items()}
        case _:
            return value


BOUNDED = settings(max_examples=10, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))  # pyright: ignore[reportArgumentType] an enum is a list of its members


@SCHEMA.parametrize()
@BOUNDED
def test_every_promise_is_kept(case: schemathesis.Case) -> None:
    keep(case)


def streams(context: Any) -> bool:
    return EVENTS in msgspec.json.encode(context.operation.definition.raw["responses"]).decode()


@SCHEMA.include(streams).parametrize()
@BOUNDED
def test_every_event_of_a_stream_is_as_promised(case: schemathesis.Case) -> None:
    """Asked for by force: of all requests that fit the schema, few want a stream."""
    if isinstance(case.body, dict) and case.method == "POST":
        case.body |= {"stream": True}
        case.body |= {name: 9 for name in ("max_tokens",) if case.body.get(name) == 0}
    keep(case)


@pytest.mark.long
@SCHEMA.parametrize()
@settings(BOUNDED, max_examples=200, derandomize=False)
def test_every_promise_is_kept_for_long(case: schemathesis.Case) -> None:
    keep(case)
