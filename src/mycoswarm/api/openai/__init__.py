"""OpenAI's dialect: chat completions, and what stands beside it under /v1.

    shape                the error, what every endpoint shares
    chat                 /v1/chat/completions
    models               /v1/models
    routes               the table                          [io]

Source: OpenAI's public API reference. Unknown fields are ignored, as their servers do.
"""
