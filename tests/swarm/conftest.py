import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.starter import install
from tests.swarm import lab as lab_module
from tests.swarm.lab import Lab

NAMES = ("miu", "naru", "uncho", "boa")


@pytest.fixture
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Four machines on a network of their own; what their nodes said is printed when the test fails."""
    lab_module.require()
    with Lab(tmp_path, NAMES) as made:
        failed_before = request.session.testsfailed
        yield made
        if request.session.testsfailed > failed_before:
            for machine in made:
                print(f"---- {machine.name}\n{machine.log()[-4000:]}")


@pytest.fixture
def starter_on_miu(lab: Lab) -> Path:
    """The starter model in miu's models directory."""
    return asyncio.run(install(lab["miu"].paths.models))
