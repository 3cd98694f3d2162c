"""Distinct ids, so that a node id is never passed where a model's name is meant."""

import secrets
from typing import NewType

NodeId = NewType("NodeId", str)
"""Base32 (lower case, no padding) of the SHA-256 of a node's public key: 52 characters."""

SwarmId = NewType("SwarmId", str)
"""The node id of the swarm's founder and a random suffix; says nothing about its members' names."""

RequestId = NewType("RequestId", str)
"""One request of a client, the same through every node and attempt it meets."""

ModelName = NewType("ModelName", str)
"""A model as its users type it, e.g. `gemma3:27b`."""

EngineId = NewType("EngineId", str)
"""One engine on one node, e.g. `embedded` or `ollama@127.0.0.1:11434`."""


def new_request_id() -> RequestId:
    """A fresh id; 80 random bits, so never the same twice and never guessable."""
    return RequestId("req-" + secrets.token_hex(10))


def short(node: str) -> str:
    """The first 8 characters of a node id, for people."""
    return node[:8]
