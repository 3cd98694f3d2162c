"""Identities for tests, made once: keys are slow to make and never the subject."""

import functools
import tempfile
from pathlib import Path
from typing import Protocol

import msgspec

from mycoswarm.core.ids import SwarmId
from mycoswarm.fabric import recovery, roster, statements
from mycoswarm.fabric.identity import Identity, load_or_create
from mycoswarm.fabric.recovery import RecoveryKey
from mycoswarm.fabric.roster import Roster
from mycoswarm.fabric.statements import Statement

PHRASE = "acorn actor adult acorn actor adult acorn actor adult acorn actor adult"


@functools.cache
def _base() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="mycoswarm-test-")


@functools.cache
def identity(name: str) -> Identity:
    return load_or_create(Path(_base().name) / name)


@functools.cache
def founded() -> Roster:
    """A swarm of which `miu` is founder and only member."""
    miu = identity("miu")
    return roster.found(SwarmId(f"{miu.id}-00"), "miu's swarm", miu.certificate, "miu", miu.sign)


@functools.cache
def with_boa() -> Roster:
    miu = identity("miu")
    return founded().admit(identity("boa").certificate, "boa", miu.id, miu.sign)


@functools.cache
def recovery_key() -> RecoveryKey:
    """The key of one fixed phrase."""
    return recovery.key_of(PHRASE)


@functools.cache
def recoverable() -> Roster:
    """As `founded`, with a recovery key; boa, naru and uncho are members."""
    miu = identity("miu")
    held = roster.found(SwarmId(f"{miu.id}-00"), "miu's swarm", miu.certificate, "miu", miu.sign, recovery_key().public)
    for name in ("boa", "naru", "uncho"):
        held = held.admit(identity(name).certificate, name, miu.id, miu.sign)
    return held


class Signer(Protocol):
    """An identity, or the recovery key."""

    def sign(self, data: bytes) -> bytes: ...


def with_statement(held: Roster, statement: Statement, by: Signer) -> Roster:
    """`held` with a statement that no product code would make, signed correctly. Raises InvalidRequest."""
    _, signed = statements.sign(statement, by.sign)
    written = msgspec.json.decode(held.encode())
    data = msgspec.json.encode({**written, "statements": [*written["statements"], signed]})
    return roster.decode(data, held)
