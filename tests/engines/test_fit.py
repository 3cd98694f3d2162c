"""Memory, against figures worked out by hand and one that was measured."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.engines.fit import OVERHEAD, cache_size, fit, memory_needed
from mycoswarm.engines.model_file import Geometry, ModelFile

SMOLLM2 = Geometry(kv_heads=(3,) * 30, key_length=64, value_length=64)
GEMMA3 = Geometry(kv_heads=(1,) * 18, key_length=256, value_length=256, window=512, windowed=15)
FILE = ModelFile("m", Path("m.gguf"), 144_811_072, geometry=SMOLLM2)


def test_a_token_of_the_starter_takes_23_kilobytes() -> None:
    assert cache_size(SMOLLM2, 1) == 30 * 3 * (64 + 64) * 2 == 23_040


def test_a_window_bounds_its_layers() -> None:
    token = (256 + 256) * 2
    assert cache_size(GEMMA3, 4096) == (3 * 4096 + 15 * 512) * token
    assert cache_size(GEMMA3, 100) == 18 * 100 * token


def test_heads_may_differ_by_layer() -> None:
    assert cache_size(Geometry((1, 3), 10, 10), 5) == 5 * 4 * 20 * 2


def test_an_unknown_geometry_is_not_free() -> None:
    assert cache_size(None, 4096) > cache_size(SMOLLM2, 4096)


def test_the_sum() -> None:
    assert memory_needed(FILE, 4096, 4, 1000) == FILE.size + 4 * 4096 * 23_040 + OVERHEAD + 1000


def test_it_is_near_what_was_measured() -> None:
    """The starter with 4 slots of 4096 tokens held 590 MB (its prompt cache still empty)."""
    assert 590e6 <= memory_needed(FILE, 4096, 4, 0) <= 590e6 * 1.25


def test_too_little_memory_costs_slots_first() -> None:
    whole = memory_needed(FILE, 4096, 4, 0)
    assert fit(FILE, 4096, 4, 0, whole).slots == 4
    assert fit(FILE, 4096, 4, 0, whole - 1).slots == 3


def test_and_then_there_is_a_reason() -> None:
    result = fit(FILE, 4096, 4, 0, 200_000_000)
    assert result.slots == 0
    assert result.reason == "needs 0.4 GB of memory, 0.2 GB are available"


@given(st.integers(0, 10**10), st.integers(1, 8))
def test_what_fits_fits(available: int, slots: int) -> None:
    result = fit(FILE, 4096, slots, 0, available)
    assert result.slots <= slots
    assert (result.needs <= available) == (result.slots > 0)
    assert (result.slots == 0) == bool(result.reason)
