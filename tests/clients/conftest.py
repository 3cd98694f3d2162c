import asyncio
from collections.abc import Iterator

import pytest

from mycoswarm.core.paths import resolve
from tests.clients.running import RunningNode, running_node
from tests.starter import install


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """One node process for the whole run, with the embedded engine and the starter model. Tests must not change what
    it holds: whoever pulls, copies or removes models starts a node of his own with `running_node`."""
    home = tmp_path_factory.mktemp("node")
    asyncio.run(install(resolve({"MYCOSWARM_HOME": str(home)}).models))
    with running_node(home) as running:
        yield running
