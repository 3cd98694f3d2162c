"""Keys and the web certificate, under `/swarm/v1`. Thin like `native`. Keys are the owner's, a list of them too."""

from mycoswarm.api.node import NodeService
from mycoswarm.api.routes import Call, Route
from mycoswarm.core.access import KeyBody, KeyRemoved, Keys, NewKey, WebCertificate

_BASE = "/swarm/v1"


def routes(node: NodeService) -> tuple[Route, ...]:
    """API keys need the token, or an admin key; what to trust is for everybody who may read."""

    async def keys(_: Call) -> Keys:
        return node.keys()

    async def add(call: Call) -> NewKey:
        return node.add_key(call.body)

    async def remove(call: Call) -> KeyRemoved:
        return node.remove_key(call.path["key"])

    async def certificate(_: Call) -> WebCertificate:
        return await node.certificate()

    return (
        Route(
            method="GET",
            path=f"{_BASE}/keys",
            name="keys",
            summary="The API keys of this node, without their secrets",
            tag="access",
            reply=Keys,
            answer=keys,
        ),
        Route(
            method="POST",
            path=f"{_BASE}/keys",
            name="add_key",
            summary="A new API key; the answer is the only one that ever holds its secret",
            tag="access",
            body=KeyBody,
            reply=NewKey,
            answer=add,
        ),
        Route(
            method="DELETE",
            path=f"{_BASE}/keys/{{key}}",
            name="remove_key",
            summary="Take a key out of force, by id or name, also for what it is doing now",
            tag="access",
            reply=KeyRemoved,
            answer=remove,
        ),
        Route(
            method="GET",
            path=f"{_BASE}/certificate",
            name="certificate",
            summary="The web CA to trust, and this node's certificate by it",
            tag="access",
            reply=WebCertificate,
            answer=certificate,
            scope="read",
        ),
    )
