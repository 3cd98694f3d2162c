"""[io] Streams many chats from one address and prints their times as JSON: [[first token ms, ms per token], …].

python -m tests.bench.load PORT MODEL CONCURRENCY REQUESTS
"""

import asyncio
import json
import random
import sys
import time

from tests.bench.engine import MARK

PAUSE = 0.1
"""Seconds at most between two requests of one worker."""


async def worker(
    port: int, request: bytes, count: int, times: list[tuple[float, float]], pauses: random.Random
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(count):
        # Without a pause all workers would stay in step and every request meet all the others.
        await asyncio.sleep(pauses.uniform(0, PAUSE))
        started = time.perf_counter()
        writer.write(request)
        moments: list[float] = []
        while not (line := await reader.readline()).startswith(b"data: [DONE]"):
            if MARK in line or MARK.replace(b": ", b":") in line:
                moments.append(time.perf_counter())
            elif not line:
                raise SystemExit("the answer broke off")
        # The rest of this chunk, the last chunk, the empty line.
        while (line := await reader.readline()).strip() != b"0":
            if not line:
                raise SystemExit("the connection broke after the answer")
        await reader.readline()
        per_token = (moments[-1] - moments[0]) / (len(moments) - 1)
        times.append(((moments[0] - started) * 1000, per_token * 1000))
    writer.close()


async def main(port: int, model: str, concurrency: int, requests: int) -> None:
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": "go"}]}).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )
    times: list[tuple[float, float]] = []
    share = max(1, requests // concurrency)
    await asyncio.gather(*(worker(port, request, share, times, random.Random(number)) for number in range(concurrency)))
    print(json.dumps(times))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
