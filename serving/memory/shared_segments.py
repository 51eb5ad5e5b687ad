"""Memory that several processes read: anonymous files (Linux's `memfd`), which leave nothing behind.

A segment has no name in any file system. The kernel frees it with the last process that has it open or mapped, however
that process ends, so a crash leaks nothing. One process writes; it sends the open file over a Unix socket to others,
which map it for reading. Everything that was written before the file was sent is visible to the receiver.

This file decides how segments are made, found again by address, and mapped. Their contents are decided by
`serving.memory.arena`, and the messages that carry them by `serving.loading.messages`.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import weakref
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


class SharedSegment(NamedTuple):
    """An open file of `nbytes` bytes, with the number under which this process made it."""

    number: int
    file: int
    nbytes: int


class SharedSegments:
    """Every segment that this process has made and that is still in use, found by the address where it begins.

    >>> segments = SharedSegments()
    >>> array = segments.allocate("numbers", 4096)
    >>> array[7] = 5
    >>> int(map_segment(os.dup(segments.segment_of(array).file), 4096)[7])
    5
    >>> del array
    >>> len(segments)
    0
    """

    def __init__(self) -> None:
        self._by_address: dict[int, SharedSegment] = {}
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return len(self._by_address)

    def allocate(self, name: str, nbytes: int) -> Bytes:
        """Zeroed memory, committed as it is written. The segment is freed with the last view of the array."""
        nbytes = max(1, nbytes)
        file = os.memfd_create(f"corrente-{name}", os.MFD_CLOEXEC)
        os.ftruncate(file, nbytes)
        array = np.frombuffer(mmap.mmap(file, nbytes), np.uint8)
        address = array.ctypes.data
        self._by_address[address] = SharedSegment(next(self._numbers), file, nbytes)
        weakref.finalize(array, self._drop, address).atexit = False
        return array

    def segment_of(self, array: np.ndarray) -> SharedSegment:
        """The segment that an array begins with. Raises `KeyError` if the array doesn't begin with a segment."""
        return self._by_address[array.ctypes.data]

    def _drop(self, address: int) -> None:
        os.close(self._by_address.pop(address).file)


def map_segment(file: int, nbytes: int) -> Bytes:
    """Map another process's segment for reading, and close the file. Writing to the array would end this process.

    To NumPy the array looks writable, as private memory does, so that kernels need not be compiled twice.
    """
    try:
        memory = mmap.mmap(file, nbytes, prot=mmap.PROT_READ)
    finally:
        os.close(file)
    address = np.frombuffer(memory, np.uint8).ctypes.data
    block: Any = (ctypes.c_uint8 * nbytes).from_address(address)
    block.memory = memory  # stays mapped as long as an array refers to it
    return np.ctypeslib.as_array(block)
