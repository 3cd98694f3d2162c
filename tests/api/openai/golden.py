"""Wire traces that lie beside this file, byte for byte. MYCO_WRITE_GOLDEN=1 writes them anew, to be read in a diff."""

import os
from pathlib import Path

WIRE = Path(__file__).parent / "wire"


def same(name: str, said: bytes) -> None:
    """What was said is what the file holds."""
    file = WIRE / name
    if os.environ.get("MYCO_WRITE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(said)
    assert said == file.read_bytes(), f"{name} has another trace"
