"""The compiled functions of this process, and for how many combinations of types each is loaded.

This file decides what a test of a warm-up compares.
"""

from __future__ import annotations

import gc
from collections import Counter

from numba.core.dispatcher import Dispatcher


def loaded_kernels() -> Counter[str]:
    """Number of loaded combinations of types, by module and name of the function."""
    loaded: Counter[str] = Counter()
    for each in gc.get_objects():
        if isinstance(each, Dispatcher):
            loaded[f"{each.py_func.__module__}.{each.py_func.__qualname__}"] += len(each.signatures)
    return loaded


def loaded_since(before: Counter[str]) -> list[str]:
    """Names of the functions that were loaded, or for further types, since `before` was taken."""
    return sorted(loaded_kernels() - before)
