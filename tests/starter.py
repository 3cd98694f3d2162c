"""The starter model for tests: fetched once into a cache that all test runs share, and copied from there."""

import asyncio
import os
import shutil
from pathlib import Path

from mycoswarm.core.errors import Busy
from mycoswarm.egress import Egress
from mycoswarm.models.catalog import STARTER
from mycoswarm.models.store import ModelStore

CACHE = Path(os.environ.get("MYCO_TEST_CACHE") or Path(__file__).parent.parent / ".cache" / "test").absolute()


def shared_store() -> ModelStore:
    """The cache's store; tests read it and never change it."""
    return ModelStore(CACHE / "data" / "models", CACHE / "cache" / "downloads", Egress(CACHE / "egress.jsonl"))


async def starter() -> Path:
    """The directory of the starter model (model.gguf, manifest.json), fetched if it is not there."""
    store = shared_store()
    if STARTER not in {file.name for file in store.files()}:
        try:
            async for _ in store.pull(STARTER):
                pass
        except Busy:
            # Another process of this run fetches it.
            await asyncio.sleep(1.0)
            return await starter()
    return store.get(STARTER).path.parent


async def install(models: Path, *, copy: bool = False) -> Path:
    """Put the starter model into another models directory. Returns its directory there.

    Without `copy` the bytes are shared with the cache wherever the file system can: never change such a file in place.
    """
    source = await starter()
    target = models / source.name
    target.mkdir(parents=True, mode=0o700)
    for file in source.iterdir():
        try:
            if copy:
                raise OSError
            os.link(file, target / file.name)
        except OSError:
            shutil.copy2(file, target / file.name)
    return target
