"""Waiting for other processes.

This file decides how a condition in another process is waited for: it is asked again and again until it holds, because
no message says when a port opens or a counter moves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def wait_until(condition: Callable[[], Found], what: str, seconds: float = 30.0, every: float = 0.02) -> Found:
    """Wait for a condition to hold, and return the true value that it returned.

    Args:
        condition: is called again and again until its result is true.
        what: the condition in words, for the error.
        seconds: how long to wait at most.
        every: seconds from one call to the next.

    Raises:
        TimeoutError: the condition did not hold within `seconds`; the text is `what`.

    Example:
        >>> answers = iter([None, 0, 3])
        >>> wait_until(lambda: next(answers), "a number other than zero", every=0.0)
        3
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} seconds for {what}")
        time.sleep(every)
    return found
