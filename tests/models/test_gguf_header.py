"""The header parser against files of the `gguf` package, and against damaged ones."""

import struct
from contextlib import suppress
from pathlib import Path

import gguf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mycoswarm.core.errors import ModelCorrupt, NotFound
from mycoswarm.models import gguf_header
from tests.models.gguf_samples import TEMPLATE, write


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("gguf") / "sample.gguf", keys={"llama.rope.shape": [1, 2, 3]})


def test_it_reads_what_the_gguf_package_reads(sample: Path) -> None:
    header = gguf_header.read(sample)
    reader = gguf.GGUFReader(sample)
    assert header.values["general.architecture"] == "llama"
    assert header.values["llama.context_length"] == 2048
    assert header.values["llama.rope.shape"] == (1, 2, 3)
    assert header.values["tokenizer.chat_template"] == TEMPLATE
    assert header.data_at == reader.data_offset
    assert [(t.name, t.dimensions, t.type, t.size, header.data_at + t.offset) for t in header.tensors] == [
        (t.name, tuple(int(n) for n in t.shape), int(t.tensor_type), t.n_bytes, t.data_offset) for t in reader.tensors
    ]
    assert header.end <= sample.stat().st_size


def test_vocabularies_are_stepped_over(sample: Path) -> None:
    header = gguf_header.read(sample)
    assert "tokenizer.ggml.tokens" in header.positions
    assert not {"tokenizer.ggml.tokens", "tokenizer.ggml.scores"} & header.values.keys()


def test_positions_point_at_the_values(sample: Path) -> None:
    header = gguf_header.read(sample)
    at = header.positions["general.file_type"]
    assert struct.unpack("<I", sample.read_bytes()[at : at + 4]) == (3,)


def test_a_file_cut_in_its_data(sample: Path, tmp_path: Path) -> None:
    whole = sample.read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole[: gguf_header.read(sample).end - 1])
    with pytest.raises(ModelCorrupt, match="is cut off"):
        gguf_header.read(cut)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=st.floats(0, 0.999))
def test_a_file_cut_in_its_header(sample: Path, part: float) -> None:
    header = gguf_header.read(sample)
    table_ends = header.data_at - header.alignment
    with pytest.raises(ModelCorrupt):
        gguf_header.parse(sample.read_bytes()[: int(table_ends * part)], "cut")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(4, 400), junk=st.binary(min_size=1, max_size=16))
def test_damage_is_an_error_or_nothing(sample: Path, at: int, junk: bytes) -> None:
    damaged = bytearray(sample.read_bytes())
    damaged[at : at + len(junk)] = junk
    # Any other error fails the test: nothing but this one may come out of a hostile file.
    with suppress(ModelCorrupt):
        assert gguf_header.parse(bytes(damaged), "damaged").version in (2, 3)


@given(st.binary(max_size=300))
def test_garbage_is_corrupt(data: bytes) -> None:
    with pytest.raises(ModelCorrupt):
        gguf_header.parse(data, "garbage")


def test_lengths_that_lie_are_not_believed(sample: Path) -> None:
    head = b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1)
    with pytest.raises(ModelCorrupt, match="impossible number"):
        gguf_header.parse(head, "liar")
    array = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 8, 1 << 62)
    with pytest.raises(ModelCorrupt, match="longer than the file"):
        gguf_header.parse(array, "liar")


@pytest.mark.parametrize("size", [0, 3])
def test_a_file_of_almost_nothing(tmp_path: Path, size: int) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(b"G" * size)
    with pytest.raises(ModelCorrupt, match=f"it has {size} bytes"):
        gguf_header.read(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is not there"):
        gguf_header.read(tmp_path / "none.gguf")
