"""Ollama's dialect: everything under /api, and what its port answers beside it.

    shape        the error, stamps and durations, what every endpoint shares
    options      `options`, `format`, `think`, `keep_alive`            their words -> ours
    messages     their messages and tools -> ours
    ask          /api/chat and /api/generate: body -> Asked, or Load
    answer       deltas -> NDJSON lines, or one object
    embed        /api/embed, /api/embeddings
    models       /api/tags, /api/ps, /api/show
    manage       /api/pull, delete, copy, create: bodies in, status lines out
    routes       the table                                             [io]
    owner        whose the connection to the Ollama port is            [io]

Source: Ollama's public API documents. Unknown fields are ignored, as their server does; a field that would silently
change nothing where it matters is refused, or named in docs/clients.md.
"""
