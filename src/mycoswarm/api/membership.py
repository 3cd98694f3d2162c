"""Who belongs to the swarm, under `/swarm/v1`: inviting, joining, comparing, keepers, keys. Thin like `native`.

Nothing here is free on loopback, not even what only reads: who waits at the door, and the words that let him in, are
for the owner of the node and not for everybody with an account on this machine.
"""

from typing import Any

from mycoswarm.api.node import NodeService
from mycoswarm.api.routes import Call, Route
from mycoswarm.core.node import SwarmInfo
from mycoswarm.core.views import (
    AdmitBody,
    Admitted,
    CompareBody,
    CompareSame,
    Comparing,
    Expelled,
    Invitation,
    InviteBody,
    JoinBody,
    Joined,
    KeeperBody,
    Left,
    RecoverBody,
    Rotated,
    WaitingMachines,
)

_BASE = "/swarm/v1"


def routes(node: NodeService) -> tuple[Route, ...]:
    """Membership; every one of them needs the token."""

    async def invite(call: Call) -> Invitation:
        return await node.invite(call.body.headless, call.body.name, call.body.open)

    async def join(call: Call) -> Joined:
        return await node.join(call.body.code, call.body.address, call.body.swarm, call.body.move)

    async def compare(call: Call) -> Comparing:
        return await node.compare(call.body.address, call.body.swarm, call.body.move)

    async def comparing(call: Call) -> Comparing:
        return node.comparing(call.path["run"])

    async def compared(call: Call) -> Comparing:
        return await node.compared(call.path["run"], call.body.same)

    async def waiting(_: Call) -> WaitingMachines:
        return node.waiting()

    async def admit(call: Call) -> Admitted:
        return await node.admit(call.body.run, call.body.same)

    async def leave(_: Call) -> Left:
        return await node.leave()

    async def expel(call: Call) -> Expelled:
        return await node.expel(call.path["node"])

    async def add_keeper(call: Call) -> SwarmInfo:
        return await node.add_keeper(call.body.node)

    async def remove_keeper(call: Call) -> SwarmInfo:
        return await node.remove_keeper(call.path["node"])

    async def recover(call: Call) -> SwarmInfo:
        return await node.recover(call.body.phrase, call.body.without)

    async def rotate(_: Call) -> Rotated:
        return await node.rotate()

    def route(method: str, path: str, name: str, summary: str, reply: Any, answer: Any, body: Any = None) -> Route:
        return Route(
            method=method,
            path=_BASE + path,
            name=name,
            summary=summary,
            tag="membership",
            reply=reply,
            answer=answer,
            body=body,
        )

    one = "/join/compare/{run}"
    return (
        route(
            "POST", "/invite", "invite", "A code that lets one machine in; `open`: all", Invitation, invite, InviteBody
        ),
        route("POST", "/join", "join", "Join a swarm by a code or an open invitation", Joined, join, JoinBody),
        route(
            "POST", "/join/compare", "compare", "Ask to be let in by comparing words", Comparing, compare, CompareBody
        ),
        route("GET", one, "comparing", "How far a comparison is", Comparing, comparing),
        route("POST", one, "compared", "Whether both show the same words", Comparing, compared, CompareSame),
        route("GET", "/waiting", "waiting", "Machines that ask to be let in here", WaitingMachines, waiting),
        route("POST", "/admit", "admit", "Let one of them in, or turn it away", Admitted, admit, AdmitBody),
        route("POST", "/leave", "leave", "Leave the swarm", Left, leave),
        route("DELETE", "/nodes/{node}", "expel", "Take a machine out of the swarm for ever", Expelled, expel),
        route("POST", "/keepers", "add_keeper", "Make a member a keeper", SwarmInfo, add_keeper, KeeperBody),
        route("DELETE", "/keepers/{node}", "remove_keeper", "A keeper is one no more", SwarmInfo, remove_keeper),
        route("POST", "/recover", "recover", "Become a keeper by the recovery phrase", SwarmInfo, recover, RecoverBody),
        route("POST", "/rotate", "rotate", "Give this node a new key", Rotated, rotate),
    )
