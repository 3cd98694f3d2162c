"""[io] One fabric in a process of its own, for the tests in namespaces.

Reads commands from stdin, one JSON array a line, and answers each with one JSON line; in between it writes a line
`{"at": …, "nodes": {name: state}}` whenever what it sees has changed; of nodes with one name each is called by its name
and the start of its id. `at` is CLOCK_MONOTONIC, which all processes of one machine share, so that a test can tell how
long a change took to be seen.
"""

import argparse
import asyncio
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from mycoswarm.core.errors import MycoError
from mycoswarm.core.ids import short
from mycoswarm.core.node import NodeRecord, NodeView
from mycoswarm.core.paths import resolve
from mycoswarm.core.settings import Settings
from mycoswarm.fabric.peer_app import PeerRequest
from mycoswarm.fabric.service import Fabric


def say(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("home")
    parser.add_argument("name")
    parser.add_argument("--peers", default="")
    parser.add_argument("--port", type=int, default=Settings().peer_port)
    options = parser.parse_args()
    settings = Settings(peers=tuple(filter(None, options.peers.split(","))), peer_port=options.port)
    fabric = Fabric(
        resolve({"MYCOSWARM_HOME": options.home}),
        options.name,
        settings,
        lambda: NodeRecord(fabric.id, options.name, 0, 0, "0"),
    )

    async def echo(request: PeerRequest) -> bytes:
        return request.body

    fabric.add_handler("POST", "/peer/echo", echo)

    def by_name() -> dict[str, NodeView]:
        views = fabric.nodes()
        names = [view.name for view in views]
        return {view.name if names.count(view.name) == 1 else f"{view.name} {short(view.id)}": view for view in views}

    fabric.on_change(lambda: say(at=time.monotonic(), nodes={name: view.state for name, view in by_name().items()}))
    await fabric.start()
    say(at=time.monotonic(), id=fabric.id)

    async def run(verb: str, *args: Any) -> Any:
        match verb:
            case "invite":
                return (await fabric.invite(*args)).code
            case "join":
                return (await fabric.join(*args)).swarm.name
            case "leave":
                return await fabric.leave()
            case "nearby":
                return [[one.swarm, one.nodes, list(one.inviting)] for one in fabric.nearby()]
            case "nodes":
                return {name: [view.state, view.why, view.rtt] for name, view in by_name().items()}
            case "addresses":
                return {name: view.addresses for name, view in by_name().items()}
            case "ids":
                return {name: view.id for name, view in by_name().items()}
            case "history":
                return [[change.state, change.why] for change in fabric.history(by_name()[args[0]].id)]
            case "problems":
                return [[problem.id, problem.message] for problem in fabric.problems()]
            case "wall":
                return time.time()
            case "echo":
                await fabric.transport.request(args[0], "POST", "/peer/echo", b"{}", timeout=2.0)
                return True
            case "usage":
                used = resource.getrusage(resource.RUSAGE_SELF)
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                return [used.ru_utime + used.ru_stime, pages * os.sysconf("SC_PAGE_SIZE")]
            case _:
                raise AssertionError(verb)

    async def serve() -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async for line in reader:
            try:
                say(answer=await run(*json.loads(line)))
            except MycoError as problem:
                say(error=problem.code, message=problem.message)

    serving = asyncio.get_running_loop().create_task(serve())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    await asyncio.wait({serving})
    await fabric.close()


asyncio.run(main())
