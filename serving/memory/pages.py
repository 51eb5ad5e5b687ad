"""Anonymous memory of one process: only written pages are committed, small or large ones.

This file decides how such memory is requested from the operating system, and in which page size. The layout of rows in
it is decided by `serving.memory.arena`; memory that several processes share comes from
`serving.memory.shared_segments`.
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
"""Function from a table's name and a number of bytes to a zeroed buffer, private or shared between processes."""

LINUX = sys.platform.startswith("linux")

MAP_NORESERVE = 0x4000 if LINUX else 0
"""From Linux's `mman.h`; Python names it from 3.13 on. Elsewhere address space costs nothing anyway."""

LARGE_PAGE = 2 * 1024 * 1024
"""Bytes of a large ("huge") page on x86-64 and on ARM with pages of 4 KiB."""


def allocate_small_pages(name: str, nbytes: int) -> NDArray[np.uint8]:  # noqa: ARG001  shared memory needs the name
    """Zeroed memory that is committed page by page as it is written, so that more may be reserved than there is.

    The buffer begins with a page, so that a row of 64 bytes lies in one cache line, not in halves of two.

    Args:
        name: of the table; not used here, but shared segments are named after it.
        nbytes: size of the buffer.
    """
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    return np.frombuffer(mmap.mmap(-1, max(1, nbytes), flags=flags), np.uint8)[:nbytes]


def allocate_large_pages(name: str, nbytes: int) -> NDArray[np.uint8]:
    """Zeroed memory in pages of 2 MiB, if the system has them, for what requests read.

    With a million items lists take a twelfth less time than from small pages. Buffers below two large pages stay in
    small ones.
    """
    memory = allocate_small_pages(name, nbytes)
    if nbytes >= 2 * LARGE_PAGE:
        use_large_pages_from(memory, 0)
    return memory


def use_large_pages_from(data: np.ndarray, used: int) -> None:
    """Request large pages for everything beyond the first `used` rows that is first written from now on."""
    _advise(data, used, "MADV_HUGEPAGE")


def use_small_pages_from(data: np.ndarray, used: int) -> None:
    """Request small pages for everything beyond the first `used` rows that is first written from now on.

    If no large page is free, making one takes the kernel milliseconds: too long if single rows are written here and
    there.
    """
    _advise(data, used, "MADV_NOHUGEPAGE")


def _advise(data: np.ndarray, used: int, name: str) -> None:
    """Call `madvise` for the whole large pages beyond `used` rows. A system that doesn't know the advice ignores it."""
    begin = data.ctypes.data
    start = -(-(begin + used * data.strides[0]) // LARGE_PAGE) * LARGE_PAGE
    if LINUX and start < begin + data.nbytes:
        size = ctypes.c_size_t(begin + data.nbytes - start)
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).madvise(ctypes.c_void_p(start), size, getattr(mmap, name))
