"""Chunks of tables: which of them are packed, and that they say what was written."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from stream.state.folding import fold_all
from stream.state.tables import TableDelta
from stream.versions.storage.chunks import PACKED, PLAIN, ChunkRef, decode_tables, encode_tables


def table(blocks: int, width: int) -> TableDelta:
    """Blocks of bytes that rise from block to block."""
    numbers = np.arange(0, 3 * blocks, 3, dtype=np.uint32)
    return TableDelta(numbers, (numbers[:, None] + np.arange(width, dtype=np.uint32)).astype(np.uint8))


@pytest.mark.parametrize(
    ("pack_bytes", "packed"),
    [(0, set()), (2_000, {"small"}), (3_000_000, {"small", "large"}), (math.inf, {"small", "large"})],
)
def test_tables_up_to_a_size_are_packed_and_every_chunk_is_read(pack_bytes: float, packed: set[str]) -> None:
    delta = {"small": table(50, 16), "large": table(100_000, 16)}
    assert (delta["small"].nbytes, delta["large"].nbytes) == (1_000, 2_000_000)
    found: dict[str, set[str]] = {PLAIN: set(), PACKED: set()}
    parts = []
    for encoded, codec in encode_tables(delta, pack_bytes=pack_bytes):
        assert len(encoded) < 1024 * 1024
        part = decode_tables(ChunkRef("a", len(encoded), hashlib.sha256(encoded).hexdigest(), codec), encoded)
        found[codec] |= part.keys()
        parts.append({name: TableDelta(each.blocks.copy(), each.data.copy()) for name, each in part.items()})
    assert found == {PLAIN: delta.keys() - packed, PACKED: packed}
    for name, each in fold_all(parts).items():
        assert np.array_equal(each.blocks, delta[name].blocks)
        assert np.array_equal(each.data, delta[name].data)
