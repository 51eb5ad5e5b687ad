"""The largest of what was seen lately: how long something was held at worst, of late.

The largest ever would tell of a start hours ago, and a mean hides what hurts.
"""

from __future__ import annotations

WINDOW_SECONDS = 5.0
"""At least so far back; a monitor that looks every so many seconds misses nothing."""


class LargestLately:
    """The largest value of the last `WINDOW_SECONDS` to twice as long.

    >>> held = LargestLately()
    >>> held.note(0.2, now=100.0)
    >>> held.note(0.1, now=104.0)
    >>> held.value(now=104.0), held.value(now=109.0), held.value(now=120.0)
    (0.2, 0.2, 0.0)
    """

    def __init__(self) -> None:
        self._window = 0
        self._now = self._before = 0.0

    def note(self, value: float, now: float) -> None:
        """Take a value that was seen at `now` (seconds of a clock that never goes back). One thread may do this."""
        window = int(now // WINDOW_SECONDS)
        if window != self._window:
            self._before = self._now if window == self._window + 1 else 0.0
            self._now, self._window = 0.0, window
        self._now = max(self._now, value)

    def value(self, now: float) -> float:
        """The largest of this window and the one before; 0 if nothing was seen in them. Any thread may ask."""
        windows_ago = int(now // WINDOW_SECONDS) - self._window
        if windows_ago == 0:
            return max(self._now, self._before)
        return self._now if windows_ago == 1 else 0.0
