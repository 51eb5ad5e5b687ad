"""Memory that several processes read: anonymous files of Linux, which nobody can forget to delete.

A segment has no name in any file system. It is gone with the last process that has it open or mapped, however that
process ends, so a crash leaks nothing. One process writes; others are sent the open file over a Unix socket and map it
for reading. What was written before the file was sent is seen by whoever gets it.
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


class Segment(NamedTuple):
    """An open file of `nbytes` bytes and the number under which this process made it."""

    number: int
    file: int
    nbytes: int


class Segments:
    """Makes segments, and knows by an array that begins where a segment does which one it is.

    >>> segments = Segments()
    >>> array = segments.allocate("numbers", 4096)
    >>> array[7] = 5
    >>> int(mapped(os.dup(segments.of(array).file), 4096)[7])
    5
    """

    def __init__(self) -> None:
        self._by_address: dict[int, Segment] = {}
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return len(self._by_address)

    def allocate(self, name: str, nbytes: int) -> Bytes:
        """Zeroed memory that costs what is written of it. The segment ends with the last view of the array."""
        nbytes = max(1, nbytes)
        file = os.memfd_create(f"corrente-{name}", os.MFD_CLOEXEC)
        os.ftruncate(file, nbytes)
        array = np.frombuffer(mmap.mmap(file, nbytes), np.uint8)
        address = array.ctypes.data
        self._by_address[address] = Segment(next(self._numbers), file, nbytes)
        weakref.finalize(array, self._drop, address).atexit = False
        return array

    def of(self, array: np.ndarray) -> Segment:
        return self._by_address[array.ctypes.data]

    def _drop(self, address: int) -> None:
        os.close(self._by_address.pop(address).file)


def mapped(file: int, nbytes: int) -> Bytes:
    """A segment of another process, for reading; closes the file. Writing to it would end this process.

    To NumPy the array looks writable, as private memory does, so that kernels need not be compiled twice.
    """
    try:
        memory = mmap.mmap(file, nbytes, prot=mmap.PROT_READ)
    finally:
        os.close(file)
    address = np.frombuffer(memory, np.uint8).ctypes.data
    block: Any = (ctypes.c_uint8 * nbytes).from_address(address)
    block.memory = memory  # stays mapped as long as an array looks at it
    return np.ctypeslib.as_array(block)
