"""Memory of one process in which versions lie: address space that costs what is written of it, in pages small or large.

This file decides how it is asked for. What lies where in it is decided by `serving.memory.arena`, and memory that several
processes share is made in `serving.memory.shared_segments`.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Allocate = Callable[[str, int], NDArray[np.uint8]]
"""Table name and bytes to a zeroed buffer: private memory, or memory that processes share."""

LINUX = sys.platform.startswith("linux")

MAP_NORESERVE = 0x4000 if LINUX else 0
"""From Linux's `mman.h`; Python names it from 3.13 on. Elsewhere address space costs nothing anyway."""

LARGE_PAGE = 2 * 1024 * 1024


def private_memory(name: str, nbytes: int) -> NDArray[np.uint8]:
    """Zeroed memory that is committed page by page as it is written, so that more may be asked for than there is.

    It begins with a page, so that a row of 64 bytes comes from one line of the caches, not from halves of two.
    """
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    return np.frombuffer(mmap.mmap(-1, max(1, nbytes), flags=flags), np.uint8)[:nbytes]


def in_large_pages(name: str, nbytes: int) -> NDArray[np.uint8]:
    """The same in pages of 2 MiB where the system has them, for what requests read: with a million items lists take a
    twelfth less time.
    """
    memory = private_memory(name, nbytes)
    if nbytes >= 2 * LARGE_PAGE:
        large_pages_from(memory, 0)
    return memory


def large_pages_from(data: np.ndarray, used: int) -> None:
    """What is written from now on beyond the first `used` rows comes in large pages."""
    _advise(data, used, "MADV_HUGEPAGE")


def small_pages_from(data: np.ndarray, used: int) -> None:
    """What is written from now on beyond the first `used` rows comes in small pages.

    A large one that the system has not at hand takes it milliseconds, too many where a row is needed here and there.
    """
    _advise(data, used, "MADV_NOHUGEPAGE")


def _advise(data: np.ndarray, used: int, name: str) -> None:
    """Only whole large pages; and it is advice, which a system may not know or not follow."""
    begin = data.ctypes.data
    start = -(-(begin + used * data.strides[0]) // LARGE_PAGE) * LARGE_PAGE
    if LINUX and start < begin + data.nbytes:
        size = ctypes.c_size_t(begin + data.nbytes - start)
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).madvise(ctypes.c_void_p(start), size, getattr(mmap, name))
