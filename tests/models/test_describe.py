"""What follows from a header."""

from pathlib import Path

import pytest

from mycoswarm.engines.model_file import Geometry
from mycoswarm.models.describe import Description, describe
from mycoswarm.models.gguf_header import Header, read
from tests.models.gguf_samples import write


def described(path: Path, **options: object) -> Description:
    return describe(read(write(path / "model.gguf", **options)))  # pyright: ignore[reportArgumentType]


def test_a_chat_model(tmp_path: Path) -> None:
    said = described(tmp_path)
    assert said.parameters == 64 + 8 * 64 + 3 * 64
    assert said.quantization == "Q4_1"
    assert said.context == 2048
    assert said.geometry == Geometry(kv_heads=(2, 2), key_length=16, value_length=16)
    assert said.template
    assert said.licence == "apache-2.0"
    assert said.abilities.chat
    assert said.abilities.json_schema
    assert not said.abilities.tools
    assert not said.abilities.thinking


@pytest.mark.parametrize(
    ("template", "tools", "thinking"),
    [
        ("{% if tools %}{{ tools }}{% endif %}", True, False),
        ("{% if enable_thinking %}<think>{% endif %}", False, True),
        ("{{ messages }}", False, False),
    ],
)
def test_abilities_follow_from_the_template(tmp_path: Path, template: str, tools: bool, thinking: bool) -> None:
    said = described(tmp_path, template=template)
    assert (said.abilities.tools, said.abilities.thinking) == (tools, thinking)


def test_a_model_without_template(tmp_path: Path) -> None:
    assert not described(tmp_path, template=None).template


def test_an_embedding_model(tmp_path: Path) -> None:
    said = described(tmp_path, architecture="bert")
    assert said.abilities.embed
    assert not said.abilities.chat
    assert not said.pooled
    pooled = described(tmp_path, keys={"llama.pooling_type": 1})
    assert pooled.abilities.embed
    assert pooled.pooled


def test_family_and_dimensions() -> None:
    values = {"general.architecture": "bert", "bert.embedding_length": 384}
    said = describe(Header(3, values, {}, (), 0, 0, 32))
    assert (said.family, said.dimensions) == ("bert", 384)
    nameless = describe(Header(3, {}, {}, (), 0, 0, 32))
    assert (nameless.family, nameless.dimensions) == (None, None)


def test_explicit_lengths_and_heads_by_layer(tmp_path: Path) -> None:
    said = described(
        tmp_path, keys={"llama.attention.key_length": 128, "llama.attention.value_length": 64}, architecture="llama"
    )
    assert said.geometry is not None
    assert (said.geometry.key_length, said.geometry.value_length) == (128, 64)


@pytest.mark.parametrize(("architecture", "windowed"), [("gemma3", 2), ("gemma2", 1), ("llama", 0)])
def test_sliding_windows_known_by_architecture(tmp_path: Path, architecture: str, windowed: int) -> None:
    said = described(tmp_path, architecture=architecture, keys={f"{architecture}.attention.sliding_window": 512})
    assert said.geometry is not None
    assert (said.geometry.window, said.geometry.windowed) == (512, windowed)


def test_a_header_without_geometry() -> None:
    said = describe(Header(3, {"general.architecture": "new"}, {}, (), 0, 0, 32))
    assert said.geometry is None
    assert said.quantization is None
    assert said.parameters == 0
