"""Finite numbers: no version ever holds a NaN or an infinite number.

One such number in a count or a weight spreads with every event and list that touches it, and a version keeps it for
good. So the blocks of each cut are looked at before they are published, beside learning. If one holds such a number,
the publish fails. The state is given up then, and the record behind it is searched for, as after any other failure. A
state from before there was this check is looked at once, when a shard continues from it (`mend`).

A float is not finite if all bits of its exponent are set. The check compares 32-bit words with those bits, for the
words of a block that hold them: of a float64 that is the upper word.

This file decides what is looked at, and what a failure says. Where it is called from is decided by the publisher and by
the shard.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stream.state.compiled import compiled_keeping_gil

EXPONENT = {4: 0x7F800000, 8: 0x7FF00000}
"""Bits of the exponent in the word that holds it, by bytes of a float."""
NEVER = 1
"""Target of a word under a mask of 0: nothing equals it."""
STEADY_WORDS = 64
"""Least number of words in an inner loop: the compiler then compares many at a time."""


class NotFinite(ValueError):
    """A table would hold a number that is NaN or infinite."""


class _Spec(Protocol):
    """The part of a `tables.TableSpec` that is read here."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> np.dtype: ...
    @property
    def block_bytes(self) -> int: ...
    @property
    def blocks_per_row(self) -> int: ...


class _Table(Protocol):
    """The part of a `tables.Table` that is read here."""

    @property
    def spec(self) -> _Spec: ...

    def raw(self) -> NDArray[np.uint8]: ...
    def mark(self, blocks: NDArray[np.integer]) -> None: ...


class Pattern(NamedTuple):
    """Words of some neighbouring rows: `masks` (words,) uint32, and the `targets` under them."""

    masks: NDArray[np.uint32]
    targets: NDArray[np.uint32]


def check_finite(spec: _Spec, blocks: NDArray[np.uint32], data: NDArray[np.uint8]) -> None:
    """Check blocks of a table.

    Args:
        spec: of the table.
        blocks: (n,) numbers of the blocks.
        data: (n, block bytes) their content.

    Raises:
        NotFinite: one of them holds a number that is not finite.
    """
    if len(data) and _holds_one(spec, blocks, data):
        found = _bad_blocks(spec, blocks, data)
        row = int(blocks[found[0]]) // spec.blocks_per_row
        raise NotFinite(
            f"row {row} of the table {spec.name!r} holds a number that is NaN or infinite after these events; "
            f"{len(found)} of its {len(data)} written blocks do"
        )


def mend(tables: Mapping[str, _Table]) -> dict[str, int]:
    """Set numbers that are not finite to 0, mark their blocks as written, and return their number by table."""
    mended = {}
    for name, table in tables.items():
        raw, count = table.raw(), 0
        if not _holds_one(table.spec, None, raw):
            continue
        row_words = raw.view(np.uint32).reshape(len(raw) // table.spec.blocks_per_row, -1)
        for offset, size in floats_of(table.spec.dtype):
            column = row_words[:, offset // 4 : (offset + size) // 4]
            exponent = column[:, -1] & EXPONENT[size]
            bad = np.flatnonzero(exponent == EXPONENT[size])
            column[bad] = 0
            table.mark(bad * table.spec.blocks_per_row + offset // table.spec.block_bytes)
            count += len(bad)
        mended[name] = count
    return mended


@cache
def floats_of(dtype: np.dtype) -> list[tuple[int, int]]:
    """Offset and size, in bytes, of each float in a row of this type.

    >>> floats_of(np.dtype([("count", "<u4"), ("sums", "<f4", (2,)), ("time", "<f8")]))
    [(4, 4), (8, 4), (12, 8)]
    """
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        many = range(int(np.prod(shape)))
        return [(number * base.itemsize + offset, size) for number in many for offset, size in floats_of(base)]
    if dtype.names is None:
        return [(0, dtype.itemsize)] if dtype.kind == "f" else []
    fields = [dtype.fields[name] for name in dtype.names] if dtype.fields else []
    return [(at + offset, size) for field, at, *_ in fields for offset, size in floats_of(field)]


@cache
def pattern_of(dtype: np.dtype) -> Pattern | None:
    """The pattern of a row, repeated until it is long; None if a row holds no floats."""
    if not floats_of(dtype):
        return None
    row = _row_pattern(dtype)
    repeats = -(-STEADY_WORDS // len(row.masks))
    return Pattern(np.tile(row.masks, repeats), np.tile(row.targets, repeats))


def _row_pattern(dtype: np.dtype) -> Pattern:
    masks = np.zeros(dtype.itemsize // 4, np.uint32)
    targets = np.full(dtype.itemsize // 4, NEVER, np.uint32)
    for offset, size in floats_of(dtype):
        masks[(offset + size) // 4 - 1] = targets[(offset + size) // 4 - 1] = EXPONENT[size]
    return Pattern(masks, targets)


@cache
def _every_block_alike(dtype: np.dtype, block_bytes: int) -> bool:
    masks = _row_pattern(dtype).masks.reshape(-1, block_bytes // 4)
    return bool((masks == masks[0]).all())


def _holds_one(spec: _Spec, blocks: NDArray[np.uint32] | None, data: NDArray[np.uint8]) -> bool:
    """True if any of these blocks, or of all blocks in their order, holds a number that is not finite."""
    if blocks is not None and not _every_block_alike(spec.dtype, spec.block_bytes):
        return len(_bad_blocks(spec, blocks, data)) > 0
    pattern = pattern_of(spec.dtype)
    return pattern is not None and find_pattern(np.ascontiguousarray(data).view(np.uint32).reshape(-1), *pattern)


def _bad_blocks(spec: _Spec, blocks: NDArray[np.uint32], data: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Places of the blocks that hold a number that is not finite."""
    words = np.ascontiguousarray(data).view(np.uint32)
    pattern = _row_pattern(spec.dtype)
    masks, targets = (each.reshape(-1, words.shape[1])[blocks % spec.blocks_per_row] for each in pattern)
    return np.flatnonzero(((words & masks) == targets).any(axis=1))


@compiled_keeping_gil
def find_pattern(words: NDArray[np.uint32], masks: NDArray[np.uint32], targets: NDArray[np.uint32]) -> bool:
    """True if any word has all bits of its target, where masks and targets repeat along the words."""
    found = np.uint32(0)
    width = masks.size
    whole = words.size // width * width
    for start in range(0, whole, width):
        part = words[start : start + width]
        for at in range(width):
            found |= np.uint32((part[at] & masks[at]) == targets[at])
    for at in range(words.size - whole):
        found |= np.uint32((words[whole + at] & masks[at]) == targets[at])
    return found != 0
