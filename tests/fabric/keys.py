"""Identities for tests, made once: keys are slow to make and never the subject."""

import functools
import tempfile
from pathlib import Path

from mycoswarm.core.ids import SwarmId
from mycoswarm.fabric import roster
from mycoswarm.fabric.identity import Identity, load_or_create
from mycoswarm.fabric.roster import Roster


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
