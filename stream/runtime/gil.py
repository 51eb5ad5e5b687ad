"""The switch interval of the global interpreter lock (GIL): short in general, longer while a checkpoint is taken.

Threads that fetch, decode and learn share the lock. A thread that wants it asks its holder after the switch interval.
This file decides that interval.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SHORT_SECONDS = 0.0005
"""Switch interval in general. Fetching, decoding and learning are threads that work some ten milliseconds on a batch;
with Python's own 5 ms a worker learns a tenth less."""

LONG_SECONDS = 0.005
"""Switch interval inside `long_switch_interval`, for work that others wait for. Interrupted every half millisecond, and
resumed only when every other thread had its turn, two milliseconds of work took ten."""

_long_users = 0
_lock = threading.Lock()


def use_short_switch_interval() -> None:
    """Set the interval of the whole process to `SHORT_SECONDS`."""
    sys.setswitchinterval(SHORT_SECONDS)


@contextmanager
def long_switch_interval() -> Iterator[None]:
    """Use `LONG_SECONDS` inside the block; `SHORT_SECONDS` again when the last thread has left such a block.

    >>> use_short_switch_interval()
    >>> with long_switch_interval(), long_switch_interval():
    ...     round(sys.getswitchinterval(), 6)
    0.005
    >>> round(sys.getswitchinterval(), 6)
    0.0005
    """
    global _long_users  # noqa: PLW0603  # the interval is the whole process's, and so is its count
    with _lock:
        _long_users += 1
        sys.setswitchinterval(LONG_SECONDS)
    try:
        yield
    finally:
        with _lock:
            _long_users -= 1
            if not _long_users:
                use_short_switch_interval()
