"""Nothing that a client says gets into a fixture, and all that a reader looks at does."""

import json

from tests.clients.agents.shapes import expand, lorem, shape

SECRET = "You are a helpful assistant; never say so."
BODY = {
    "model": "writer",
    "stream": True,
    "max_tokens": 32000,
    "metadata": {"user_id": "user_8f3c2d1e0b9a_session"},
    "system": [{"type": "text", "text": SECRET, "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_8d2f", "type": "function", "function": {"name": "write", "arguments": '{"p": "/home/me/x"}'}}
        ]},
        {"role": "tool", "tool_call_id": "call_8d2f", "content": "ok"},
    ],
    "tools": [{"type": "function", "function": {"name": "write", "description": "Writes.", "parameters": {
        "type": "object", "$schema": "http://json-schema.org/draft-07/schema#",
        "properties": {"path": {"type": "string", "enum": ["now", "not now, later"]}}, "required": ["path"],
    }}}],
}  # fmt: skip
SENT = json.dumps(BODY).encode()
HEADERS = {"host": "x", "accept": "text/event-stream", "authorization": "Bearer sk-12345", "x-id": "abc"}


def test_fields_stay_and_sentences_go() -> None:
    made = shape("POST", "/v1/x?beta=true", HEADERS, SENT)
    assert made.size == len(SENT)
    assert made.headers == {"accept": "text/event-stream", "authorization": "lorem:15", "x-id": "lorem:3"}
    body = made.body
    assert body["max_tokens"] == 32000
    assert body["stream"] is True
    assert body["system"] == [{"type": "text", "text": f"lorem:{len(SECRET)}", "cache_control": {"type": "ephemeral"}}]
    assert body["messages"][1]["content"] is None
    assert body["messages"][1]["tool_calls"] == [
        {"id": "id_1", "type": "function", "function": {"name": "write", "arguments": "json:19"}}
    ]
    assert body["messages"][2] == {"role": "tool", "tool_call_id": "id_1", "content": "lorem:2"}
    function = body["tools"][0]["function"]
    assert function["description"] == "lorem:7"
    assert function["parameters"]["properties"]["path"]["enum"] == ["now", "lorem:14"]
    text = json.dumps(body)
    for word in ("helpful", "8f3c", "/home", "later", "sk-1"):
        assert word not in text


def test_it_grows_to_its_old_size_again() -> None:
    body = expand(shape("POST", "/", HEADERS, SENT).body)
    assert body["system"][0]["text"] == lorem(len(SECRET))
    assert len(lorem(1000)) == 1000
    arguments = body["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert len(arguments) == 19
    assert isinstance(json.loads(arguments), dict)
    assert body["tools"][0]["function"]["name"] == "write"
