"""How the node feels. So far: its log.

Flows in: the standard library's log records. Flows out: a rotating file in the state directory that `mycoswarm logs`
reads, and warnings on stderr for whoever started the node by hand.

Rule: no text of a prompt or an answer at any level; requests are named by their id.
"""
