"""Deltas as bytes and back: safetensors, plain or with the bytes of a table's blocks sorted into planes.

This file decides the bytes of a delta. Compression and storage are decided in `stream.versions.storage.chunks`.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as write_safetensors

from stream.state.byte_planes import transpose
from stream.state.tables import Bytes, CorruptDelta, Delta, TableDelta, words_of


def encode_delta(delta: Delta, *, planes: bool = False) -> bytes:
    """A delta as safetensors: `<table>.blocks` and `<table>.data` for each table.

    Args:
        delta: blocks to encode.
        planes: encode for compression: `<table>.planes` has the first bytes of all blocks, then all second bytes, and
            so on, and `<table>.steps` the differences between the numbers of neighbouring blocks. Bytes of one meaning
            then lie side by side, as in columnar formats (Parquet's `BYTE_STREAM_SPLIT`), and compress by a third
            better.
    """
    arrays: dict[str, NDArray] = {}
    for name, part in delta.items():
        if planes:
            arrays[f"{name}.steps"] = np.diff(part.blocks, prepend=part.blocks.dtype.type(0))
            out = arrays[f"{name}.planes"] = np.empty(part.data.shape[::-1], np.uint8)
            transpose(np.ascontiguousarray(part.data), out)
        else:
            arrays[f"{name}.blocks"] = np.ascontiguousarray(part.blocks)
            arrays[f"{name}.data"] = words_of(part.data)
    return write_safetensors(arrays)


def decode_delta(encoded: bytes | memoryview, buffer: Bytes | None = None) -> Delta:
    """The delta that `encode_delta` wrote.

    Args:
        encoded: the bytes. Blocks that were not encoded in planes are not copied: they are views of them.
        buffer: memory for blocks that were encoded in planes, at least as many bytes as `encoded`; they get memory of
            their own if None.

    Raises:
        CorruptDelta: the bytes are no encoded delta.
    """
    try:
        arrays = _arrays(encoded)
        delta = {}
        for key, numbers in arrays.items():
            name, _, kind = key.rpartition(".")
            if kind == "blocks":
                delta[name] = TableDelta(numbers, arrays[f"{name}.data"].view(np.uint8))
            elif kind == "steps":
                planes = arrays[f"{name}.planes"]
                if buffer is None:
                    data = np.empty(planes.shape[::-1], np.uint8)
                else:
                    data, buffer = buffer[: planes.size].reshape(planes.shape[::-1]), buffer[planes.size :]
                transpose(planes, data)
                delta[name] = TableDelta(np.cumsum(numbers, dtype=numbers.dtype), data)
    except Exception as error:  # a KeyError means a table without data, a ValueError bytes that are no JSON or too few
        raise CorruptDelta(f"{len(encoded)} bytes are no encoded delta: {error}") from error
    return delta


_DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(kind) for name, kind in (("U8", "<u1"), ("U32", "<u4"), ("U64", "<u8"))
}


def _arrays(encoded: bytes | memoryview) -> dict[str, NDArray]:
    """The arrays of a safetensors file, as views.

    The library's own reader copies each one into fresh memory, which takes longer to get from the system than all the
    rest of reading.
    """
    begin = 8 + int.from_bytes(encoded[:8], "little")
    arrays = {}
    for name, each in msgspec.json.decode(bytes(encoded[8:begin])).items():
        dtype, (start, end) = _DTYPES[each["dtype"]], each["data_offsets"]
        array = np.frombuffer(encoded, dtype, (end - start) // dtype.itemsize, begin + start)
        arrays[name] = array.reshape(each["shape"])
    return arrays
