"""The user port: OpenAI's dialect, ours, the lists, and who may ask what.

    request ─▶ app (body limit, methods) ─▶ auth (Host, Origin, token) ─┬▶ hot routes, raw ASGI: openai · native streams
                                                                        └▶ Litestar: lists, membership, models, /schema

Flows in: HTTP. Flows out: canonical requests to the node (`node.NodeService`), and its deltas in the client's dialect.

Rules: a dialect is one pure adapter in and one out; every handler watches for the client going away; an error is JSON
with its status before the first byte and an event of the dialect after it; nothing here knows what lies behind
NodeService.
"""
