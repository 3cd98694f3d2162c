"""What is wrong, and what to do about it: the words in which every part of a node reports to its owner."""

from typing import Literal

import msgspec

from mycoswarm.core.ids import NodeId

Severity = Literal["error", "warning", "note"]
"""error: something does not work. warning: it works, and something should be done. note: worth knowing."""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that the owner should know. id: stable, for programs, e.g. "one-keeper". message, action: a sentence.

    action: what to do; never empty. node, node_name: the machine that reported it; empty for the one that was asked.
    """

    id: str
    severity: Severity
    message: str
    action: str
    node: NodeId = NodeId("")
    node_name: str = ""
