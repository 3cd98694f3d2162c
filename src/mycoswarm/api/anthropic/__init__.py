"""Anthropic's dialect: messages, their tokens counted, and its own list of models.

    body ─▶ body (its words, typed) ─▶ request ─▶ ChatRequest ─▶ node ─▶ deltas ─▶ reply ─▶ events ─┬▶ streamed
                                                                                                     └▶ one message

    body                 what a client sends, as types: also the schema of the document
    request              /v1/messages and /v1/messages/count_tokens, to the canonical request
    events               what a stream consists of, as types
    reply                canonical deltas to events, and events to one message
    models               /v1/models, where a client of this dialect asks
    shape                the error
    routes               the table                          [io]

Rules: unknown fields are ignored, unknown content is refused by name; nothing is ever fetched; the message in one piece
is made of the very events that the stream would have had. Source: the types of Anthropic's public Python client.
"""
