"""Whose turn Python's lock is: threads that fetch, decode and learn share it, and a cut keeps it.

A thread that wants the lock asks its holder for it after the switch interval. This file decides that interval.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

OFTEN_SECONDS = 0.0005
"""How long a thread may keep the lock from the others. Fetching, decoding and learning are threads that work some ten
milliseconds on a batch; with Python's own 5 ms a worker learns a tenth less."""

KEPT_SECONDS = 0.005
"""The same while something runs that others wait for: interrupted every half millisecond, and let on only when every
other thread had its turn, two milliseconds of work took ten."""

_keeping = 0
_counting = threading.Lock()


def switch_often() -> None:
    """For the whole process."""
    sys.setswitchinterval(OFTEN_SECONDS)


@contextmanager
def lock_kept() -> Iterator[None]:
    """Nobody is asked for the lock within; `OFTEN_SECONDS` holds again when the last thread in here is out.

    >>> switch_often()
    >>> with lock_kept(), lock_kept():
    ...     round(sys.getswitchinterval(), 6)
    0.005
    >>> round(sys.getswitchinterval(), 6)
    0.0005
    """
    global _keeping
    with _counting:
        _keeping += 1
        sys.setswitchinterval(KEPT_SECONDS)
    try:
        yield
    finally:
        with _counting:
            _keeping -= 1
            if not _keeping:
                switch_often()
