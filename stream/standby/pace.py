"""The pace of a standby: how often it follows the versions.

This file decides the share of a core that following may take, and the shortest interval.
"""

from __future__ import annotations

SHARE = 0.03
"""Largest share of a core that following takes on average, after the first state was loaded."""

SHORTEST_SECONDS = 1.0
"""Shortest pause between two looks. What was published in that time is all that a takeover has to read."""

LONGEST_SECONDS = 60.0
"""Longest pause, after a look that had to load a large state again."""


def pause_seconds(cpu_seconds: float, *, first: bool = False) -> float:
    """The pause after a look.

    >>> pause_seconds(0.003), pause_seconds(0.06), pause_seconds(1.5, first=True)
    (1.0, 2.0, 1.0)

    Args:
        cpu_seconds: CPU time of the process during the look; a standby does nothing else.
        first: True if it loaded the first state, which every worker that gets ready has to.
    """
    if first:
        return SHORTEST_SECONDS
    return min(LONGEST_SECONDS, max(SHORTEST_SECONDS, cpu_seconds / SHARE))
