"""JSON schemas of what OpenAI's endpoints reply, for `/schema`. The tests hold every reply to them. Pure."""

from typing import Any

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_MAYBE_TEXT: Schema = {"type": ["string", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}


def _object(required: Schema, optional: Schema | None = None) -> Schema:
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _maybe(kind: Schema) -> Schema:
    return {"anyOf": [kind, {"type": "null"}]}


def _one_of(*values: str) -> Schema:
    return {"enum": list(values)}


_USAGE = _object(
    {
        "prompt_tokens": _COUNT,
        "completion_tokens": _COUNT,
        "total_tokens": _COUNT,
        "prompt_tokens_details": _object({"cached_tokens": _COUNT}),
        "completion_tokens_details": _object({"reasoning_tokens": _COUNT}),
    }
)
_ALTERNATIVE: Schema = {"token": _TEXT, "logprob": _NUMBER, "bytes": _maybe(_list(_COUNT))}
_LOGPROB = _object({**_ALTERNATIVE, "top_logprobs": _list(_object(_ALTERNATIVE))})
_LOGPROBS = _maybe(_object({"content": _list(_LOGPROB), "refusal": {"type": "null"}}))
_FUNCTION = _object({"name": _TEXT, "arguments": _TEXT})
_TOOL_CALL = _object({"id": _TEXT, "type": {"const": "function"}, "function": _FUNCTION})
_FINISH = ("stop", "length", "tool_calls", "content_filter", "function_call")


def _answer(kind: str, choice: Schema, usage: Schema) -> Schema:
    return _object(
        {
            "id": _TEXT,
            "object": {"const": kind},
            "created": _COUNT,
            "model": _TEXT,
            "system_fingerprint": _TEXT,
            "choices": _list(choice),
        },
        {"usage": usage},
    )


COMPLETION = _answer(
    "chat.completion",
    _object(
        {
            "index": _COUNT,
            "message": _object(
                {"role": {"const": "assistant"}, "content": _MAYBE_TEXT, "refusal": {"type": "null"}},
                {"reasoning_content": _TEXT, "tool_calls": _list(_TOOL_CALL), "function_call": _FUNCTION},
            ),
            "logprobs": _LOGPROBS,
            "finish_reason": _one_of(*_FINISH),
        }
    ),
    _USAGE,
)
"""`chat.completion`"""

_CALL_PIECE = _object(
    {"index": _COUNT, "function": {"type": "object", "properties": {"name": _TEXT, "arguments": _TEXT}}},
    {"id": _TEXT, "type": {"const": "function"}},
)
CHUNK = _answer(
    "chat.completion.chunk",
    _object(
        {
            "index": _COUNT,
            "delta": _object(
                {},
                {
                    "role": {"const": "assistant"},
                    "content": _TEXT,
                    "reasoning_content": _TEXT,
                    "tool_calls": _list(_CALL_PIECE),
                    "function_call": {"type": "object", "properties": {"name": _TEXT, "arguments": _TEXT}},
                },
            ),
            "logprobs": _LOGPROBS,
            "finish_reason": {"enum": [*_FINISH, None]},
        }
    ),
    _maybe(_USAGE),
)
"""`chat.completion.chunk`"""

TEXT_COMPLETION = _answer(
    "text_completion",
    _object(
        {
            "text": _TEXT,
            "index": _COUNT,
            "logprobs": _maybe(
                _object(
                    {
                        "tokens": _list(_TEXT),
                        "token_logprobs": _list(_NUMBER),
                        "top_logprobs": _list({"type": "object", "additionalProperties": _NUMBER}),
                        "text_offset": _list(_COUNT),
                    }
                )
            ),
            "finish_reason": {"enum": ["stop", "length", "content_filter", None]},
        }
    ),
    _maybe(_USAGE),
)
"""`text_completion`, whole or one event of it."""

_ITEM_STATUS = _one_of("in_progress", "completed", "incomplete")
_OUTPUT_TEXT = _object(
    {"type": {"const": "output_text"}, "text": _TEXT, "annotations": _list({}), "logprobs": _list(_LOGPROB)}
)
_SUMMARY_TEXT = _object({"type": {"const": "summary_text"}, "text": _TEXT})
_REASONING_TEXT = _object({"type": {"const": "reasoning_text"}, "text": _TEXT})
_CALLED: Schema = {"id": _TEXT, "status": _ITEM_STATUS, "call_id": _TEXT, "name": _TEXT}
_ITEM: Schema = {
    "anyOf": [
        _object(
            {
                "id": _TEXT,
                "type": {"const": "message"},
                "status": _ITEM_STATUS,
                "role": {"const": "assistant"},
                "content": _list(_OUTPUT_TEXT),
            }
        ),
        _object(
            {
                "id": _TEXT,
                "type": {"const": "reasoning"},
                "status": _ITEM_STATUS,
                "summary": _list(_SUMMARY_TEXT),
                "content": _list(_REASONING_TEXT),
                "encrypted_content": _MAYBE_TEXT,
            }
        ),
        _object({**_CALLED, "type": {"const": "function_call"}, "arguments": _TEXT}, {"namespace": _TEXT}),
        _object({**_CALLED, "type": {"const": "custom_tool_call"}, "input": _TEXT}, {"namespace": _TEXT}),
    ]
}
RESPONSE = _object(
    {
        "id": _TEXT,
        "object": {"const": "response"},
        "created_at": _COUNT,
        "status": _one_of("in_progress", "completed", "incomplete", "failed"),
        "error": _maybe(_object({"code": _TEXT, "message": _TEXT})),
        "incomplete_details": _maybe(_object({"reason": _one_of("max_output_tokens", "content_filter")})),
        "instructions": _MAYBE_TEXT,
        "metadata": {"type": "object"},
        "model": _TEXT,
        "output": _list(_ITEM),
        "parallel_tool_calls": {"type": "boolean"},
        "tool_choice": {"type": ["string", "object"]},
        "tools": _list({"type": "object"}),
        "usage": _maybe(
            _object(
                {
                    "input_tokens": _COUNT,
                    "input_tokens_details": _object({"cached_tokens": _COUNT}),
                    "output_tokens": _COUNT,
                    "output_tokens_details": _object({"reasoning_tokens": _COUNT}),
                    "total_tokens": _COUNT,
                }
            )
        ),
    }
)
"""`response`"""

_HEAD: Schema = {"sequence_number": _COUNT}
_IN_ITEM: Schema = {"item_id": _TEXT, "output_index": _COUNT}


def _event(*kinds: str, **fields: Schema) -> Schema:
    return _object({"type": _one_of(*kinds), **_HEAD, **fields})


RESPONSE_EVENT: Schema = {
    "anyOf": [
        _event(
            *(f"response.{kind}" for kind in ("created", "in_progress", "completed", "incomplete", "failed")),
            response=RESPONSE,
        ),
        _event("response.output_item.added", "response.output_item.done", output_index=_COUNT, item=_ITEM),
        _event(
            "response.content_part.added",
            "response.content_part.done",
            **_IN_ITEM,
            content_index=_COUNT,
            part={"anyOf": [_OUTPUT_TEXT, _REASONING_TEXT]},
        ),
        _event("response.output_text.delta", **_IN_ITEM, content_index=_COUNT, delta=_TEXT, logprobs=_list(_LOGPROB)),
        _event("response.output_text.done", **_IN_ITEM, content_index=_COUNT, text=_TEXT, logprobs=_list(_LOGPROB)),
        _event("response.reasoning_text.delta", **_IN_ITEM, content_index=_COUNT, delta=_TEXT),
        _event("response.reasoning_text.done", **_IN_ITEM, content_index=_COUNT, text=_TEXT),
        _event(
            "response.reasoning_summary_part.added",
            "response.reasoning_summary_part.done",
            **_IN_ITEM,
            summary_index=_COUNT,
            part=_SUMMARY_TEXT,
        ),
        _event("response.reasoning_summary_text.delta", **_IN_ITEM, summary_index=_COUNT, delta=_TEXT),
        _event("response.reasoning_summary_text.done", **_IN_ITEM, summary_index=_COUNT, text=_TEXT),
        _event(
            "response.function_call_arguments.delta", "response.custom_tool_call_input.delta", **_IN_ITEM, delta=_TEXT
        ),
        _event("response.function_call_arguments.done", **_IN_ITEM, name=_TEXT, arguments=_TEXT),
        _event("response.custom_tool_call_input.done", **_IN_ITEM, input=_TEXT),
        _event("error", code=_TEXT, message=_TEXT, param=_MAYBE_TEXT),
    ]
}
"""One event of a streamed response."""


def event_of(data: Schema) -> Schema:
    """One server-sent event whose data is JSON."""
    said = {"type": "string", "contentMediaType": "application/json", "contentSchema": data}
    return _object({"data": said}, {"event": _TEXT})


def unnamed_event_of(data: Schema) -> Schema:
    """One of a stream whose last event is a bare word instead of JSON, which `contentMediaType` would not allow."""
    return _object({"data": {"type": "string", "contentSchema": data, "description": "JSON, at the end: [DONE]"}})
