"""What a client makes of a stream: read by the rules of server-sent events, put together by those of the dialect."""

from typing import Any

import msgspec


def events(wire: bytes) -> list[tuple[str, Any]]:
    """Name and data of every event; comments are passed over."""
    assert wire == b"" or wire.endswith(b"\n\n"), "the last event is whole"
    found: list[tuple[str, Any]] = []
    for block in wire.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if fields:
            found.append((fields["event"], msgspec.json.decode(fields["data"])))
    return found


def accumulate(wire: bytes) -> dict[str, Any]:
    """The message of a stream. Fails where the stream breaks a rule: order, one open block, its kind of piece."""
    message: dict[str, Any] = {}
    inputs: dict[int, str] = {}
    opened: int | None = None
    stopped = False
    for name, data in events(wire):
        assert name == data["type"]
        assert not stopped, "nothing follows message_stop"
        match data:
            case {"type": "ping"}:
                pass
            case {"type": "message_start", "message": dict(begun)}:
                assert not message, "a message starts once"
                message = begun
            case {"type": "content_block_start", "index": int(index), "content_block": dict(block)}:
                assert opened is None, "one block is open at a time"
                assert index == len(message["content"]), "blocks are numbered from 0 without gaps"
                opened = index
                message["content"].append(block)
            case {"type": "content_block_delta", "index": int(index), "delta": dict(delta)}:
                assert index == opened
                block = message["content"][index]
                match block["type"], delta:
                    case "text", {"type": "text_delta", "text": str(text)}:
                        block["text"] += text
                    case "thinking", {"type": "thinking_delta", "thinking": str(text)}:
                        block["thinking"] += text
                    case "thinking", {"type": "signature_delta", "signature": str(signature)}:
                        block["signature"] = signature
                    case "tool_use", {"type": "input_json_delta", "partial_json": str(text)}:
                        inputs[index] = inputs.get(index, "") + text
                    case _:
                        raise AssertionError(f"{delta} in a block of type {block['type']}")
            case {"type": "content_block_stop", "index": int(index)}:
                assert index == opened
                opened = None
            case {"type": "message_delta", "delta": dict(delta), "usage": dict(usage)}:
                assert opened is None, "every block is closed"
                message.update(delta)
                message["usage"].update(usage)
            case {"type": "message_stop"}:
                assert message["stop_reason"] is not None
                stopped = True
            case _:
                raise AssertionError(data)
    assert stopped, "the stream ends with message_stop"
    for index, text in inputs.items():
        try:
            message["content"][index]["input"] = msgspec.json.decode(text or "{}")
        except msgspec.DecodeError:
            assert message["stop_reason"] == "max_tokens", "only an answer that was cut has an unfinished input"
    return message
