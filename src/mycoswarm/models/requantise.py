"""[io] A child process that turns Q4_1 weights into Q8_0, with the `gguf` package's numpy code.

llama.cpp has a slow path for Q4_1: the starter model needs 6.0 ms of CPU a prompt token as it comes and 3.6 as Q8_0.
The file it writes is the same byte for byte on every machine (element-wise IEEE arithmetic, nothing dated, keys and
order of tensors as in the source), because nodes continue each other's answers only on equal digests.

Usage: python -m mycoswarm.models.requantise SOURCE TARGET. On stdout JSON lines {done, total} in bytes written, and
last {"digest": …} or {"error": ErrorBody}. It ends when its stdin closes.
"""

import hashlib
import mmap
import os
import struct
import sys
import threading
from pathlib import Path
from typing import IO

import msgspec

from mycoswarm.core.errors import MycoError, from_os_error
from mycoswarm.models.gguf_header import BLOCKS, Header, TensorInfo, parse

_Q4_1 = 3
_Q8_0 = 8
_FILE_TYPE = "general.file_type"
_FILE_TYPE_Q8_0 = 7
_REPORT_EVERY = 4 << 20


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the child's report."""

    done: int = 0
    total: int = 0
    digest: str = ""
    error: dict[str, object] | None = None


def _becomes(tensor: TensorInfo) -> TensorInfo:
    if tensor.type == _Q4_1 and len(tensor.dimensions) == 2:
        return msgspec.structs.replace(tensor, type=_Q8_0)
    return tensor


def plan(header: Header) -> tuple[TensorInfo, ...]:
    """The tensors of the new file, in the old order, offsets packed at the file's alignment."""
    planned: list[TensorInfo] = []
    offset = 0
    for tensor in header.tensors:
        new = msgspec.structs.replace(_becomes(tensor), offset=offset)
        planned.append(new)
        if new.size is None:
            raise ValueError(f"tensor {tensor.name} is of a type that cannot be copied")
        offset += -(-new.size // header.alignment) * header.alignment
    return tuple(planned)


def size_of(header: Header, planned: tuple[TensorInfo, ...]) -> int:
    """Bytes of the new file."""
    return max((header.data_at + tensor.offset + (tensor.size or 0) for tensor in planned), default=header.data_at)


def table(tensors: tuple[TensorInfo, ...]) -> bytes:
    """The table of tensors as it lies in the file."""
    rows = bytearray()
    for tensor in tensors:
        name = tensor.name.encode()
        rows += struct.pack("<Q", len(name)) + name + struct.pack("<I", len(tensor.dimensions))
        rows += struct.pack(f"<{len(tensor.dimensions)}Q", *tensor.dimensions)
        rows += struct.pack("<IQ", tensor.type, tensor.offset)
    return bytes(rows)


def head(source: mmap.mmap, header: Header, planned: tuple[TensorInfo, ...]) -> bytes:
    """Everything before the data: the source's own keys with the new file type, and the new table."""
    keys = bytearray(source[: header.tensors_at])
    if _FILE_TYPE in header.positions:
        struct.pack_into("<I", keys, header.positions[_FILE_TYPE], _FILE_TYPE_Q8_0)
    start = bytes(keys) + table(planned)
    return start.ljust(header.data_at, b"\0")


def convert(source: mmap.mmap, old: TensorInfo, new: TensorInfo, data_at: int) -> bytes:
    """The bytes of one tensor in its new type."""
    raw = source[data_at + old.offset : data_at + old.offset + (old.size or 0)]
    if old.type == new.type:
        return raw
    import numpy as np
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import dequantize, quantize

    _, elements, block = BLOCKS[old.type]
    columns = old.dimensions[0] // elements * block
    rows = np.frombuffer(raw, dtype=np.uint8).reshape(-1, columns)
    weights = dequantize(rows, GGMLQuantizationType.Q4_1)
    return quantize(weights, GGMLQuantizationType.Q8_0).tobytes()


def requantise(source_path: Path, target_path: Path, out: IO[bytes]) -> str:
    """Write `target_path`, on the disk before this returns. Returns `sha256:…` of it."""
    digest = hashlib.sha256()
    with (
        source_path.open("rb") as source_file,
        mmap.mmap(source_file.fileno(), 0, access=mmap.ACCESS_READ) as source,
        target_path.open("wb") as target,
    ):
        header = parse(source, source_path.name)
        planned = plan(header)
        total, written, said = size_of(header, planned), 0, 0

        def write(piece: bytes) -> None:
            nonlocal written, said
            target.write(piece)
            digest.update(piece)
            written += len(piece)
            if written - said >= _REPORT_EVERY:
                said = written
                out.write(msgspec.json.encode(Step(written, total)) + b"\n")
                out.flush()

        write(head(source, header, planned))
        for old, new in zip(header.tensors, planned, strict=True):
            write(b"\0" * (header.data_at + new.offset - written))
            write(convert(source, old, new, header.data_at))
        target.flush()
        os.fsync(target.fileno())
    return f"sha256:{digest.hexdigest()}"


def _end_with_parent() -> None:
    def wait() -> None:
        sys.stdin.buffer.read()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> int:
    """The child's life."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    _end_with_parent()
    out = sys.stdout.buffer
    try:
        step = Step(digest=requantise(source, target, out))
    except OSError as problem:
        step = Step(error=msgspec.to_builtins(from_os_error(problem, target).body()))
    except MycoError as problem:
        step = Step(error=msgspec.to_builtins(problem.body()))
    out.write(msgspec.json.encode(step) + b"\n")
    out.flush()
    return 1 if step.error else 0


if __name__ == "__main__":
    # os._exit: the thread that waits for stdin must not keep a finished child alive.
    os._exit(main())
