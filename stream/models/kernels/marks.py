"""Marks of kernels: a block of a large table is marked together with its group.

This file decides how a kernel marks a block of a table whose marks are grouped (`stream.state.marks`). The marks of all
other tables are set one by one, `state.<table>_dirty[block] = 1`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.compile import inlined
from stream.state.marks import GROUP_SHIFT


@inlined
def mark_block(dirty: NDArray[np.uint8], block: int) -> None:
    """Mark a block as written, and its group."""
    dirty[np.uint64(block)] = 1  # Numba tests a signed place for counting from the end
    dirty[np.uint64(dirty.size - 1 - (block >> GROUP_SHIFT))] = 1


@inlined
def mark_blocks(dirty: NDArray[np.uint8], first: int, end: int) -> None:
    """Mark the blocks from `first` to before `end` as written, at least one, and their groups."""
    dirty[first:end] = 1
    for group in range(first >> GROUP_SHIFT, ((end - 1) >> GROUP_SHIFT) + 1):
        dirty[dirty.size - 1 - group] = 1
