"""Server-sent events: what two dialects write alike. Pure."""


def comment(kind: str, text: str) -> bytes:
    """A comment of an event stream: clients pass over it, people who look at the wire read it."""
    return f": {' '.join(f'{kind}: {text}'.split())}\n\n".encode()


def event(name: str, data: bytes) -> bytes:
    """A named event. data: JSON, so without line ends."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
