"""Claude Code, Codex, opencode, Qwen Code, pi and aider finish one tool call each against a real swarm."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.agents.drive import drive, free_directory
from tests.clients.agents.install import install
from tests.clients.agents.programs import FIRST_PORT, PROGRAMS, SCRIPTED, Program
from tests.clients.two_nodes import swarm
from tests.swarm.lab import Lab, require

# Installing all of them takes a minute with a quick index, and ten with a slow one.
pytestmark = [pytest.mark.long, pytest.mark.swarm, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    require()
    install(PROGRAMS)
    with swarm(tmp_path_factory.mktemp("swarm"), SCRIPTED, ("--token-ms", "2")) as made:
        yield made


@pytest.mark.parametrize("number", range(len(PROGRAMS)), ids=[program.name for program in PROGRAMS])
def test_an_agent_writes_a_file_by_a_model_of_another_machine(lab: Lab, number: int, tmp_path: Path) -> None:
    program: Program = PROGRAMS[number]
    run = drive(lab["boa"], program, free_directory(tmp_path, program), FIRST_PORT + number)
    assert run.result.ok, f"{run.result.problem}\n{run.output[-3000:]}\n{lab['boa'].log()[-2000:]}"
