"""[io] One fabric in a process of its own, for the tests in namespaces.

Reads commands from stdin, one JSON array a line, and answers each with one JSON line; in between it writes a line
`{"at": …, "nodes": {name: state}}` whenever what it sees has changed. `at` is CLOCK_MONOTONIC, which all processes of
one machine share, so that a test can tell how long a change took to be seen.
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
from mycoswarm.core.node import NodeRecord
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
    options = parser.parse_args()
    settings = Settings(peers=tuple(filter(None, options.peers.split(","))))
    fabric = Fabric(
        resolve({"MYCOSWARM_HOME": options.home}),
        options.name,
        settings,
        lambda: NodeRecord(fabric.id, options.name, 0, 0, "0"),
    )

    async def echo(request: PeerRequest) -> bytes:
        return request.body

    fabric.add_handler("POST", "/peer/echo", echo)
    fabric.on_change(lambda: say(at=time.monotonic(), nodes={view.name: view.state for view in fabric.nodes()}))
    await fabric.start()
    say(at=time.monotonic(), id=fabric.id)

    async def run(verb: str, *args: Any) -> Any:
        match verb:
            case "invite":
                return (await fabric.invite(*args)).code
            case "join":
                return (await fabric.join(*args)).name
            case "leave":
                return await fabric.leave()
            case "nearby":
                return [[one.swarm, one.nodes, list(one.inviting)] for one in fabric.nearby()]
            case "nodes":
                return {view.name: [view.state, view.why, view.rtt] for view in fabric.nodes()}
            case "echo":
                await fabric.transport.request(args[0], "POST", "/peer/echo", b"{}")
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
