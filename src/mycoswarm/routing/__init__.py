"""Where work goes.

Flows in: canonical requests, the swarm's records. Flows out: canonical deltas of whichever node answers soonest.

    ChatRequest ─▶ router ─▶ placement (pure: names, hard limits, estimate) ─▶ here: executor ─▶ engine
                     │                                                        └▶ there: transport ─▶ its executor
                     └▶ tasks (what became of every request)

Rules: placement and estimate are pure functions of what is known now; the queue lies at the executor; a request that
came from a peer is served or refused, never routed onward; before the first delta of content a failed node is replaced
silently, after it never.
"""
