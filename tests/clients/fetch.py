"""[io] Sends requests as they stand and prints what came back, byte for byte.

    python -m tests.clients.fetch PORT < requests > replies

Both are JSON lists: {method, target, headers, body} and {status, headers, body}, bodies in base64.
"""

import base64
import http.client
import json
import sys
from typing import Any


def fetch(port: int, request: dict[str, Any]) -> dict[str, Any]:
    """One request over a connection of its own; chunks of the transfer are joined."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        body = base64.b64decode(request["body"])
        connection.request(request["method"], request["target"], body or None, request["headers"])
        reply = connection.getresponse()
        said = base64.b64encode(reply.read()).decode()
        return {"status": reply.status, "headers": reply.getheaders(), "body": said}
    finally:
        connection.close()


if __name__ == "__main__":
    print(json.dumps([fetch(int(sys.argv[1]), request) for request in json.load(sys.stdin)]))
