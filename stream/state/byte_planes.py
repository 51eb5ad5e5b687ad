"""Byte planes: rows of bytes transposed, all first bytes side by side, then all second bytes, and so on.

Eight by eight bytes are transposed at once, as eight words: exchanged in halves, in quarters, in bytes (H. S. Warren,
"Hacker's Delight", 7-3). One byte at a time, which is what the compiler makes of two loops, takes four times as long;
NumPy takes longer and keeps the interpreter lock.

This file decides how bytes are transposed. The tables that it is worth for are decided in `stream.versions.storage`.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array
from numpy.typing import NDArray

from stream.state.compiled import compiled

Bytes = NDArray[np.uint8]

SIDE = 8
"""Bytes per word, and words per square that is transposed at once."""

_WORD = ir.IntType(64)
_HALVES, _QUARTERS, _BYTES = np.uint64(0x00000000FFFFFFFF), np.uint64(0x0000FFFF0000FFFF), np.uint64(0x00FF00FF00FF00FF)
_4, _2, _1 = np.uint64(32), np.uint64(16), np.uint64(8)


def _place(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    data = make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), _WORD.as_pointer())


@intrinsic
def _word(typing_context: Any, data: Any, at: Any) -> Any:  # noqa: ARG001  # Numba reads the signature
    """The eight bytes from `at` on, aligned or not."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_place(context, builder, signature.args[0], *arguments), align=1)

    return types.uint64(data, types.int64), generate


@intrinsic
def _put_word(typing_context: Any, data: Any, at: Any, word: Any) -> Any:  # noqa: ARG001  # Numba reads the signature
    """Write eight bytes from `at` on, aligned or not."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _place(context, builder, signature.args[0], *arguments[:2]), align=1)
        return context.get_dummy_value()

    return types.void(data, types.int64, types.uint64), generate


@nb.njit(inline="always")
def _exchanged(one: np.uint64, other: np.uint64, shift: np.uint64, mask: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Two words after the high parts of `one` and the low parts of `other` were exchanged."""
    both = ((one >> shift) ^ other) & mask
    return one ^ (both << shift), other ^ both


@compiled
def transpose(data: Bytes, out: Bytes) -> None:
    """Write the (rows, columns) bytes of `data` to `out`, (columns, rows). Both are contiguous."""
    rows, columns = data.shape
    read, written = data.reshape(-1), out.reshape(-1)
    whole_rows, whole_columns = rows // SIDE * SIDE, columns // SIDE * SIDE
    for column in range(0, whole_columns, SIDE):
        for row in range(0, whole_rows, SIDE):
            at = row * columns + column
            a, b = _word(read, at), _word(read, at + columns)
            c, d = _word(read, at + 2 * columns), _word(read, at + 3 * columns)
            e, f = _word(read, at + 4 * columns), _word(read, at + 5 * columns)
            g, h = _word(read, at + 6 * columns), _word(read, at + 7 * columns)
            a, e = _exchanged(a, e, _4, _HALVES)
            b, f = _exchanged(b, f, _4, _HALVES)
            c, g = _exchanged(c, g, _4, _HALVES)
            d, h = _exchanged(d, h, _4, _HALVES)
            a, c = _exchanged(a, c, _2, _QUARTERS)
            b, d = _exchanged(b, d, _2, _QUARTERS)
            e, g = _exchanged(e, g, _2, _QUARTERS)
            f, h = _exchanged(f, h, _2, _QUARTERS)
            a, b = _exchanged(a, b, _1, _BYTES)
            c, d = _exchanged(c, d, _1, _BYTES)
            e, f = _exchanged(e, f, _1, _BYTES)
            g, h = _exchanged(g, h, _1, _BYTES)
            to = column * rows + row
            for place, word in enumerate((a, b, c, d, e, f, g, h)):
                _put_word(written, to + place * rows, word)
        for row in range(whole_rows, rows):
            for each in range(column, column + SIDE):
                out[each, row] = data[row, each]
    for column in range(whole_columns, columns):
        for row in range(rows):
            out[column, row] = data[row, column]
