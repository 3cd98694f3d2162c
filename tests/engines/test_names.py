"""What names give away."""

import pytest

from mycoswarm.engines.names import looks_like_embedder, parameters_in, parse_size, quantization_in


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("gemma3:27b", 27_000_000_000),
        ("google/gemma-3-27B-it-GGUF", 27_000_000_000),
        ("qwen2.5-coder:1.5b-instruct-q4_K_M", 1_500_000_000),
        ("smollm2:135m", 135_000_000),
        ("mixtral:8x7b", 56_000_000_000),
        ("Qwen3-30B-A3B", 30_000_000_000),
        ("llama3.1", None),
        ("gpt-4o-mini", None),
        ("phi-4", None),
        ("model-v2beta", None),
    ],
)
def test_parameters(name: str, count: int | None) -> None:
    assert parameters_in(name) == count


@pytest.mark.parametrize(
    ("name", "quantization"),
    [
        ("qwen3-8b-q4_k_m.gguf", "Q4_K_M"),
        ("gemma-3-27b-it-Q8_0", "Q8_0"),
        ("x-iq4_xs", "IQ4_XS"),
        ("Llama-3-8B-AWQ", "AWQ"),
        ("qwen3:8b", None),
    ],
)
def test_quantisation(name: str, quantization: str | None) -> None:
    assert quantization_in(name) == quantization


@pytest.mark.parametrize("name", ["nomic-embed-text:latest", "all-minilm:l6-v2", "BAAI/bge-m3", "text-embedding-3"])
def test_embedders(name: str) -> None:
    assert looks_like_embedder(name)
    assert not looks_like_embedder("gemma3:27b")


@pytest.mark.parametrize(
    ("text", "count"),
    [("27.4B", 27_400_000_000), ("134.52M", 134_520_000), ("7b", 7_000_000_000), ("", None), ("x", None)],
)
def test_sizes_as_ollama_writes_them(text: str, count: int | None) -> None:
    assert parse_size(text) == count
