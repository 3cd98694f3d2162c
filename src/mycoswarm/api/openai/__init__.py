"""OpenAI's dialect: chat completions, completions, responses, embeddings, models.

    shape                what every endpoint says alike: errors, usage, fingerprints
    fields, reading      what every endpoint reads alike: bounded fields, bodies, the name of a wrong field
    parts, tools         images, arguments, tools, formats, limits
    chat_request         /v1/chat/completions in             chat_reply           and out
    completions          /v1/completions, both ways
    responses_request    /v1/responses in                    responses_reply      and out: the machine of its events
    responses_tools      kinds of tools as functions         responses_items      reasoning, message, call
    embeddings           /v1/embeddings, both ways
    models               /v1/models; its route is `api.model_list`
    documents            schemas of the replies
    routes               the table                          [io]

Rules: a body is decoded into bounded types, so that /schema says what is taken; fields that no endpoint knows travel on
to engines of the same dialect, except those that only their vendor can act on (`fields.VENDOR_ONLY`); whatever cannot
be done and would change the answer is refused with the field's name, never dropped.

Source: OpenAI's public API reference.
"""
