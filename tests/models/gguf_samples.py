"""Small GGUF files, written with the `gguf` package: the format's own authors, not our reading of it."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np

TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"


def write(
    path: Path,
    *,
    template: str | None = TEMPLATE,
    architecture: str = "llama",
    quantized: bool = True,
    rows: int = 8,
    keys: dict[str, Any] | None = None,
) -> Path:
    """A file with three tensors: F32 norm, an (8, 64) Q4_1 weight, an F16 weight."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(2048)
    writer.add_embedding_length(64)
    writer.add_block_count(2)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_file_type(3)
    writer.add_license("apache-2.0")
    writer.add_token_list([f"token {number} é" for number in range(3000)])
    writer.add_token_scores([0.5] * 3000)
    if template is not None:
        writer.add_chat_template(template)
    for key, value in (keys or {}).items():
        match value:
            case bool():
                writer.add_bool(key, value)
            case int():
                writer.add_uint32(key, value)
            case list():
                writer.add_array(key, value)
    rng = np.random.default_rng(7)
    writer.add_tensor("norm", np.ones(64, dtype=np.float32))
    weight = rng.normal(size=(rows, 64)).astype(np.float32)
    if quantized:
        packed = gguf.quants.quantize(weight, gguf.GGMLQuantizationType.Q4_1)
        writer.add_tensor("blk.0.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q4_1)
    else:
        writer.add_tensor("blk.0.weight", weight)
    writer.add_tensor("blk.1.weight", rng.normal(size=(3, 64)).astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
