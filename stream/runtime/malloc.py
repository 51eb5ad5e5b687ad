"""Large pieces of memory go back to the system when they are freed.

glibc gives each large piece pages of its own, but calls larger and larger pieces small as some are freed (up to 32
MiB), and small ones come from heaps, one for every few threads, in which what was freed stays. Loading a version or
folding a keyframe takes some hundred pieces of a MiB in several threads: a worker's memory was a half more than it
held, a server's after a rollback twice as much. This file decides from which size on a piece is large, for good.
"""

from __future__ import annotations

import ctypes

LARGE_BYTES = 512 * 1024
"""Arrays of a batch are smaller and come from the heap, which is quicker."""

KEPT_BYTES = 8 * 1024 * 1024
"""What a heap may keep at its end. Little (128 KiB, once the size above is fixed) makes decoding go to the system for
each piece, which takes as long as the decoding."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""From glibc's `malloc.h`."""


def give_back_at_once() -> bool:
    """For the whole process, before it has threads. False where there is no glibc, and nothing was done."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(M_MMAP_THRESHOLD, LARGE_BYTES) and mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))
    except (OSError, AttributeError, TypeError):
        return False
