"""The user port: OpenAI's dialect, ours, the lists, and who may ask what.

    request ─▶ app ─▶ auth (Host, Origin) ─▶ routes (path, method) ─▶ auth (token) ─┬▶ streams: raw ASGI
                                                                                    └▶ answers: typed in, typed out

Flows in: HTTP. Flows out: canonical requests to the node (`node.NodeService`), and its deltas in the client's dialect.

Rules: one table of routes, from which dispatch, permission and /schema follow; a dialect is one pure adapter in and one
out; every handler watches for the client going away; an error is JSON with its status before the first byte and an
event of the dialect after it; nothing here knows what lies behind NodeService.
"""
