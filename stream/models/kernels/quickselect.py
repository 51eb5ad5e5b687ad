"""Quickselect: the k-th smallest of some numbers, in place and without allocating.

This file decides how the limit is found below which rows of a full table are evicted.
"""

from __future__ import annotations

import numpy as np

from stream.models.kernels.compile import kernel


@kernel
def smallest(values: np.ndarray, count: int, rank: int) -> float:
    """The number that would be at place `rank` (from 0) if `values[:count]` were sorted. Reorders these values.

    Hoare, "Algorithm 65: Find", CACM 1961.
    """
    low = 0
    high = count - 1
    while low < high:
        pivot = values[(low + high) // 2]
        left = low
        right = high
        while left <= right:
            while values[left] < pivot:
                left += 1
            while values[right] > pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if rank <= right:
            high = right
        elif rank >= left:
            low = left
        else:
            break
    return values[rank]
