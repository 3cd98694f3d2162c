"""Whether two replies to one request are the same but for ids, times and durations. Pure.

Nothing is parsed and nothing is sorted: what may differ is replaced in place, all other bytes must be equal. Replaced
are the request's own id, wherever it stands, so that it must stand at the same places; the id of the node that was
asked; and, after the keys that hold them, seconds since 1970, moments, and nanoseconds.
"""

import re

import msgspec


class Reply(msgspec.Struct, frozen=True):
    """headers: in the order in which they came."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """Empty where it is missing."""
        return next((value for key, value in self.headers if key.lower() == name), "")


_REQUEST = "x-mycoswarm-request"
_MOMENT = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"
_TIMES = re.compile(rb'("(?:created|created_at|completed_at)": ?)(?:\d{10}(?:\.\d+)?|"' + _MOMENT + rb'")(?=[,}])')
_DURATIONS = re.compile(rb'("(?:total|load|prompt_eval|eval)_duration": ?)[1-9]\d*(?=[,}])')
_LATER = re.compile(rb'("(?:expires_at|modified_at)": ?)"' + _MOMENT + rb'"(?=[,}])')


def normal(reply: Reply, node: str) -> Reply:
    """`reply` with what may differ replaced. node: the id of the node that was asked."""
    own = reply.header(_REQUEST)

    def plain(text: bytes) -> bytes:
        if own:
            text = text.replace(own.encode(), b"<request>")
        return text.replace(node.encode(), b"<entry>")

    body = plain(reply.body)
    for pattern, name in ((_TIMES, b"<time>"), (_LATER, b"<moment>"), (_DURATIONS, b"<duration>")):
        body = pattern.sub(rb"\1" + name, body)
    length = str(len(reply.body))
    headers = tuple(
        # How long numbers are is part of the length; where it is true, it says no more than the body does.
        (key, "<length>" if key.lower() == "content-length" and value == length else plain(value.encode()).decode())
        for key, value in reply.headers
    )
    return Reply(reply.status, headers, body)


def difference(one: Reply, other: Reply) -> str:
    """What differs first between two normal replies; empty where nothing does."""
    if one.status != other.status:
        return f"status {one.status} and {other.status}: {one.body[:300]!r} and {other.body[:300]!r}"
    if one.headers != other.headers:
        return f"headers {sorted(set(one.headers) ^ set(other.headers)) or 'in another order'}"
    if one.body == other.body:
        return ""
    pairs = enumerate(zip(one.body, other.body, strict=False))
    at = next((index for index, (a, b) in pairs if a != b), min(len(one.body), len(other.body)))
    start = max(0, at - 60)
    return f"byte {at}: …{one.body[start : at + 60]!r}… and …{other.body[start : at + 60]!r}…"
