"""glibc's malloc: large pieces of memory go back to the system as soon as they are freed.

glibc gives each large piece pages of its own, but raises the size that it calls large as such pieces are freed (up to
32 MiB). Smaller ones come from heaps, one for every few threads, which keep what was freed. Loading a version or
folding a keyframe takes some hundred pieces of a MiB in several threads: a worker's memory was a half more than it
held, a server's after a rollback a factor of two.

This file decides from which size on a piece is large, for good.
"""

from __future__ import annotations

import ctypes

LARGE_BYTES = 512 * 1024
"""Size from which a piece is large. Arrays of a batch are smaller and come from the heap, which is quicker."""

TRIM_BYTES = 8 * 1024 * 1024
"""Free memory that a heap may keep at its end. Little (128 KiB, once the size above is fixed) makes decoding go to the
system for each piece, which takes as long as the decoding."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of `mallopt`, from glibc's `malloc.h`."""


def return_large_pieces() -> bool:
    """Fix both sizes for the whole process; call it before there are threads.

    Returns:
        False if the C library is not glibc; then nothing was changed.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(M_MMAP_THRESHOLD, LARGE_BYTES) and mallopt(M_TRIM_THRESHOLD, TRIM_BYTES))
    except (OSError, AttributeError, TypeError):
        return False
