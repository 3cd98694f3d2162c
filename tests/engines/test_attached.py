from collections.abc import Iterable

import pytest

from mycoswarm.core.errors import EngineFailed
from mycoswarm.core.hardware import EngineFound
from mycoswarm.core.ids import EngineId
from mycoswarm.engines.attached import MISSES, Attached
from mycoswarm.engines.engine import Engine
from mycoswarm.testing.scripted_engine import ScriptedEngine, offer

OLLAMA = EngineFound("ollama", "http://127.0.0.1:11434", "1")


class Machine:
    """What is found on it is said by the test."""

    def __init__(self) -> None:
        self.here: tuple[EngineFound, ...] = ()
        self.built: list[ScriptedEngine] = []
        self.busy: set[EngineId] = set()
        self.changes = 0
        self.embedded = ScriptedEngine((offer("small"),), name="embedded")
        self.attached = Attached((self.embedded,), self.find, self.build, self.busy.__contains__, self.changed)

    async def find(self) -> tuple[EngineFound, ...]:
        return self.here

    def build(self, found: Iterable[EngineFound]) -> tuple[Engine, ...]:
        made = [ScriptedEngine((offer("large"),), name="ollama") for _ in found]
        self.built += made
        return tuple(made)

    def changed(self) -> None:
        self.changes += 1

    def models(self) -> set[str]:
        return {one.name for held in self.attached.offers.values() for one in held}


@pytest.fixture
def machine() -> Machine:
    return Machine()


async def test_engines_come_and_are_asked(machine: Machine) -> None:
    await machine.attached.look()
    assert machine.models() == {"small"}
    machine.here = (OLLAMA,)
    await machine.attached.look()
    assert machine.models() == {"small", "large"}
    assert machine.attached.found == (OLLAMA,)
    before = machine.changes
    await machine.attached.look()
    assert machine.changes == before
    assert len(machine.built) == 1


async def test_an_engine_that_was_slow_once_keeps_its_models_and_its_answers(machine: Machine) -> None:
    machine.here = (OLLAMA,)
    await machine.attached.look()
    machine.here = ()
    for _ in range(MISSES - 1):
        await machine.attached.look()
        assert machine.models() == {"small", "large"}
    machine.here = (OLLAMA,)
    await machine.attached.look()
    assert len(machine.built) == 1
    assert machine.built[0].closed is False


async def test_a_stopped_one_gets_no_work_and_is_closed_when_its_answers_have_ended(machine: Machine) -> None:
    machine.here = (OLLAMA,)
    await machine.attached.look()
    machine.here = ()
    machine.busy.add(machine.built[0].id)
    for _ in range(MISSES):
        await machine.attached.look()
    assert machine.models() == {"small"}
    assert machine.attached.all == (machine.embedded,)
    assert machine.built[0].closed is False
    machine.busy.clear()
    await machine.attached.look()
    assert machine.built[0].closed is True


async def test_another_version_is_another_engine(machine: Machine) -> None:
    machine.here = (OLLAMA,)
    await machine.attached.look()
    machine.here = (EngineFound("ollama", OLLAMA.url, "2"),)
    await machine.attached.look()
    assert len(machine.built) == 2
    assert machine.built[0].closed is True
    assert machine.models() == {"small", "large"}


async def test_one_that_does_not_answer_keeps_what_it_said_last(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.here = (OLLAMA,)
    await machine.attached.look()

    async def broken() -> None:
        raise EngineFailed("it is busy")

    monkeypatch.setattr(machine.built[0], "models", broken)
    await machine.attached.look()
    assert machine.models() == {"small", "large"}


async def test_closing_closes_all_also_those_that_were_retired(machine: Machine) -> None:
    machine.here = (OLLAMA,)
    await machine.attached.look()
    machine.here = ()
    machine.busy.add(machine.built[0].id)
    for _ in range(MISSES):
        await machine.attached.look()
    await machine.attached.close()
    assert machine.built[0].closed is True
    assert machine.embedded.closed is True
