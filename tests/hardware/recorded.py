"""The recordings in `fixtures/`; `fixtures/SOURCES.md` says where each comes from."""

from pathlib import Path

FIXTURES = Path(__file__).parent / "fixtures"

MIB = 1024**2
GIB = 1024**3


def text(name: str) -> str:
    return (FIXTURES / name).read_text()
