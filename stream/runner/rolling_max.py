"""A rolling maximum: the longest time for which something was held in the last seconds.

The maximum of all time would show a start hours ago, and a mean hides the rare long hold that matters.

This file decides how far back the maximum looks.
"""

from __future__ import annotations

WINDOW_SECONDS = 5.0
"""Least time that the maximum looks back; a monitor that reads it at least this often misses nothing."""


class RollingMax:
    """The largest value of the last `WINDOW_SECONDS` to twice `WINDOW_SECONDS`.

    >>> held = RollingMax()
    >>> held.note(0.2, now=100.0)
    >>> held.note(0.1, now=104.0)
    >>> held.value(now=104.0), held.value(now=109.0), held.value(now=120.0)
    (0.2, 0.2, 0.0)
    """

    def __init__(self) -> None:
        self._window = 0
        self._present = self._previous = 0.0

    def note(self, value: float, now: float) -> None:
        """Take a value that was seen at `now`, in seconds of a monotonic clock. Call this from one thread only."""
        window = int(now // WINDOW_SECONDS)
        if window != self._window:
            self._previous = self._present if window == self._window + 1 else 0.0
            self._present, self._window = 0.0, window
        self._present = max(self._present, value)

    def value(self, now: float) -> float:
        """The largest value of this window and the one before; 0 if there was none. Any thread may call this."""
        windows_ago = int(now // WINDOW_SECONDS) - self._window
        if windows_ago == 0:
            return max(self._present, self._previous)
        return self._present if windows_ago == 1 else 0.0
