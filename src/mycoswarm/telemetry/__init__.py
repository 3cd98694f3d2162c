"""How the node feels: its log, what it counts, what is wrong with it.

Flows in: the standard library's log records; events that parts of the node count; sources of problems. Flows out: a
rotating file in the state directory that `mycoswarm logs` reads, warnings on stderr for whoever started the node by
hand; the page of `/metrics`; the problems that `doctor`, `status` and the node's record show.

- `health`  the one registry of counters, readings and problems; every view of them is made from it
- `checks`  what follows from the views of a node: machine, engines, disk, members (pure)
- `logs`    [io] where log lines go

Rules: no text of a prompt or an answer at any level; requests are named by their id. A problem says what to do.
"""
