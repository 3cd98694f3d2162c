"""[io] Streams answers in one dialect from one address and prints their times: [[first token ms, ms per token], …].

python -m tests.bench.dialect_load PORT DIALECT CONCURRENCY REQUESTS
"""

import asyncio
import json
import random
import sys
import time
from typing import Any

import msgspec

PAUSE = 0.1
"""Seconds at most between two requests of one worker."""

MODEL = "paced"
_SAID = [{"role": "user", "content": "go"}]


class Dialect(msgspec.Struct, frozen=True):
    """mark: what the line of each token holds, and no other line does; its JSON without spaces."""

    target: str
    body: dict[str, Any]
    mark: bytes
    headers: str = ""


DIALECTS = {
    "chat/completions": Dialect("/v1/chat/completions", {"messages": _SAID}, b'"content":"tok'),
    "completions": Dialect("/v1/completions", {"prompt": "go"}, b'"text":"tok'),
    "responses": Dialect("/v1/responses", {"input": "go"}, b'"delta":"tok'),
    "messages": Dialect(
        "/v1/messages", {"messages": _SAID, "max_tokens": 4096}, b'"text":"tok', "anthropic-version: 2023-06-01\r\n"
    ),
    "api/chat": Dialect("/api/chat", {"messages": _SAID}, b'"content":"tok'),
}


async def _worker(
    port: int, request: bytes, mark: bytes, count: int, times: list[tuple[float, float]], pauses: random.Random
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    for _ in range(count):
        # Without a pause all workers would stay in step and every request meet all the others.
        await asyncio.sleep(pauses.uniform(0, PAUSE))
        started = time.perf_counter()
        writer.write(request)
        moments: list[float] = []
        # The last chunk is a nought on a line of its own.
        while (line := await reader.readline()).strip() != b"0":
            if mark in line.replace(b": ", b":"):
                moments.append(time.perf_counter())
            elif not line or line.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")):
                raise SystemExit(f"no answer: {line!r} {await reader.read(600)!r}")
        await reader.readline()
        per_token = (moments[-1] - moments[0]) / (len(moments) - 1)
        times.append(((moments[0] - started) * 1000, per_token * 1000))
    writer.close()


async def main(port: int, dialect: Dialect, concurrency: int, requests: int) -> None:
    """Print the times of so many answers."""
    body = json.dumps({"model": MODEL, "stream": True, **dialect.body}).encode()
    head = f"POST {dialect.target} HTTP/1.1\r\nhost: 127.0.0.1\r\n{dialect.headers}content-length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    times: list[tuple[float, float]] = []
    share = max(1, requests // concurrency)
    await asyncio.gather(
        *(_worker(port, request, dialect.mark, share, times, random.Random(number)) for number in range(concurrency))
    )
    print(json.dumps(times))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), DIALECTS[sys.argv[2]], int(sys.argv[3]), int(sys.argv[4])))
