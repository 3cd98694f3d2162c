"""What the head of a GGUF file says, read without numpy and without trusting it (GGUF v2 and v3, little endian).

The `gguf` package would do it too, but takes 2 s and 60 MiB for a vocabulary that nobody here wants to see. Strings and
arrays are stepped over, not stored, unless they are short scalars or the chat template; every length is checked against
the bytes that are there, so that a truncated or hostile file is an error and nothing else.
"""

import mmap
import struct
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mycoswarm.core.errors import ModelCorrupt, NotFound

MAGIC = b"GGUF"
DEFAULT_ALIGNMENT = 32
_MAX_KEYS = 4096
_MAX_TENSORS = 1 << 16
_MAX_DIMENSIONS = 4
_MAX_KEPT_TEXT = 1 << 18
_MAX_KEPT_ARRAY = 1024

Value = int | float | bool | str | tuple[int | float | bool, ...]

_SCALARS: Mapping[int, struct.Struct] = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_STRING = 8
_ARRAY = 9
_U32 = _SCALARS[4]
_U64 = _SCALARS[10]

BLOCKS: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}
"""Tensor types: name, elements a block, bytes a block (ggml.h). A type that is not here is taken on trust."""


class TensorInfo(msgspec.Struct, frozen=True):
    """dimensions: fastest first. offset: from the start of the data section."""

    name: str
    dimensions: tuple[int, ...]
    type: int
    offset: int

    @property
    def elements(self) -> int:
        count = 1
        for length in self.dimensions:
            count *= length
        return count

    @property
    def size(self) -> int | None:
        """Bytes; None for a type that is newer than this table."""
        if self.type not in BLOCKS:
            return None
        _, elements, size = BLOCKS[self.type]
        return self.elements // elements * size


class Header(msgspec.Struct, frozen=True):
    """values: scalars, short arrays of numbers and texts. positions: where a scalar's bytes lie in the file.

    tensors_at, data_at: offsets of the table of tensors (the end of the keys) and of the data section.
    """

    version: int
    values: dict[str, Value]
    positions: dict[str, int]
    tensors: tuple[TensorInfo, ...]
    tensors_at: int
    data_at: int
    alignment: int

    @property
    def end(self) -> int:
        """Bytes that the file must have at least."""
        return max((self.data_at + tensor.offset + (tensor.size or 0) for tensor in self.tensors), default=self.data_at)


class _Bad(Exception):
    """Why these bytes are no GGUF header."""


class _Cursor:
    def __init__(self, buffer: memoryview) -> None:
        self.buffer = buffer
        self.at = 0

    def skip(self, size: int) -> int:
        before = self.at
        if size < 0 or before + size > len(self.buffer):
            raise _Bad(f"it ends in the middle of its header, at {len(self.buffer)} bytes")
        self.at = before + size
        return before

    def scalar(self, layout: struct.Struct) -> int | float | bool:
        (value,) = layout.unpack_from(self.buffer, self.skip(layout.size))
        return value

    def u32(self) -> int:
        return int(self.scalar(_U32))

    def u64(self) -> int:
        return int(self.scalar(_U64))

    def text(self, limit: int) -> str | None:
        """A string; None when it is longer than `limit` bytes and was stepped over."""
        size = self.u64()
        start = self.skip(size)
        if size > limit:
            return None
        return bytes(self.buffer[start : start + size]).decode("utf-8", "replace")

    def skip_texts(self, count: int) -> None:
        # The one hot loop: a vocabulary has up to half a million entries.
        buffer, at, end, read = self.buffer, self.at, len(self.buffer), _U64.unpack_from
        for _ in range(count):
            if at + 8 > end:
                raise _Bad(f"it ends in the middle of its header, at {end} bytes")
            at += 8 + read(buffer, at)[0]
        self.at = at
        self.skip(0)

    def array(self) -> tuple[int | float | bool, ...] | None:
        kind, count = self.u32(), self.u64()
        if kind == _STRING:
            if count > len(self.buffer) // 8:
                raise _Bad("it claims an array longer than the file")
            self.skip_texts(count)
            return None
        if kind not in _SCALARS:
            raise _Bad(f"it has an array of an unknown kind {kind}")
        layout = _SCALARS[kind]
        start = self.skip(layout.size * count)
        if count > _MAX_KEPT_ARRAY:
            return None
        return tuple(layout.unpack_from(self.buffer, start + index * layout.size)[0] for index in range(count))


def _key_values(cursor: _Cursor, count: int) -> tuple[dict[str, Value], dict[str, int]]:
    values: dict[str, Value] = {}
    positions: dict[str, int] = {}
    for _ in range(count):
        key, kind = cursor.text(1 << 16), cursor.u32()
        position = cursor.at
        if key is None:
            raise _Bad("it has a key of more than 64 KiB")
        value: Value | None
        if kind == _STRING:
            value = cursor.text(_MAX_KEPT_TEXT)
        elif kind == _ARRAY:
            value = cursor.array()
        elif kind in _SCALARS:
            value = cursor.scalar(_SCALARS[kind])
        else:
            raise _Bad(f"its key {key[:60]!r} is of an unknown kind {kind}")
        positions[key] = position
        if value is not None:
            values[key] = value
    return values, positions


def _tensor(cursor: _Cursor) -> TensorInfo:
    name, dimensions = cursor.text(1 << 16), cursor.u32()
    if name is None or dimensions > _MAX_DIMENSIONS:
        raise _Bad("its table of tensors makes no sense")
    lengths = tuple(cursor.u64() for _ in range(dimensions))
    return TensorInfo(name, lengths, cursor.u32(), cursor.u64())


def _parse(buffer: memoryview) -> Header:
    cursor = _Cursor(buffer)
    if bytes(buffer[:4]) != MAGIC:
        raise _Bad("it does not begin with GGUF")
    cursor.skip(4)
    version, tensor_count, key_count = cursor.u32(), cursor.u64(), cursor.u64()
    if version not in (2, 3):
        raise _Bad(f"its version is {version}; 2 and 3 are known")
    if key_count > _MAX_KEYS or tensor_count > _MAX_TENSORS:
        raise _Bad("it claims an impossible number of keys or tensors")
    values, positions = _key_values(cursor, key_count)
    tensors_at = cursor.at
    tensors = tuple(_tensor(cursor) for _ in range(tensor_count))
    alignment = values.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
        raise _Bad("its alignment makes no sense")
    data_at = -(-cursor.at // alignment) * alignment
    return Header(version, values, positions, tensors, tensors_at, data_at, alignment)


def parse(buffer: bytes | memoryview | mmap.mmap, name: str) -> Header:
    """The header of a GGUF file whose first bytes are `buffer`; `name` is for the error.

    Raises:
        ModelCorrupt: these are not the bytes of a GGUF file, or not all of its header.
    """
    with memoryview(buffer) as view:
        try:
            return _parse(view)
        except _Bad as problem:
            raise ModelCorrupt(f"{name} is not a whole GGUF file: {problem}") from None


def read(path: Path) -> Header:
    """[io] The header of the file at `path`, its length checked against what the header promises.

    Raises:
        NotFound: there is no such file.
        ModelCorrupt: it is no GGUF file, or it is cut off.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size < len(MAGIC):
                raise ModelCorrupt(f"{path.name} is not a whole GGUF file: it has {size} bytes")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                header = parse(mapped, path.name)
    except FileNotFoundError:
        raise NotFound(f"{path} is not there") from None
    if size < header.end:
        raise ModelCorrupt(f"{path.name} is cut off: {size} of {header.end} bytes are there")
    return header
