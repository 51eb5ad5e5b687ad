"""Suspicions: states that could not be read once, until a second look confirms it.

A part that is missing once may be on its way to a replica that has just become the primary, or belong to a state that
is being encoded anew. This file decides when a state counts as damaged: if it can't be read at two looks that are ten
seconds apart. It reads no clock; callers bring the time.
"""

from __future__ import annotations

DAMAGE_SECONDS = 10.0
"""Shortest time between the two looks."""


class Suspicions:
    """The state that could not be read, of each shard, and when that was first seen.

    >>> suspicions = Suspicions()
    >>> suspicions.confirm(0, "state 7", now=100.0), suspicions.confirm(0, "state 7", now=109.0)
    (False, False)
    >>> suspicions.confirm(0, "state 7", now=110.0), suspicions.confirm(0, "state 8", now=120.0)
    (True, False)
    """

    def __init__(self) -> None:
        self._first_seen: dict[int, tuple[str, float]] = {}

    def confirm(self, shard: int, state: str, now: float) -> bool:
        """Take note that a state can't be read; return True if that is so for `DAMAGE_SECONDS`.

        Args:
            shard: its number.
            state: anything that names the state.
            now: seconds of a clock that never goes back.
        """
        suspected, since = self._first_seen.get(shard, ("", now))
        if suspected != state:
            self._first_seen[shard] = (state, now)
            return False
        return now - since >= DAMAGE_SECONDS

    def clear(self, shard: int) -> None:
        """Take note that the newest state of a shard was read."""
        self._first_seen.pop(shard, None)
