"""The lag of an event loop: by how much a task that is due is late.

This file decides how often the loop is probed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LOOP_LAG_PROBE_SECONDS = 0.02
"""Interval of the event-loop lag probe."""


async def probe_loop_lag(note: Callable[[float], None]) -> None:
    """Call `note` with the seconds by which the event loop was late, every `LOOP_LAG_PROBE_SECONDS`."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOP_LAG_PROBE_SECONDS
        await asyncio.sleep(LOOP_LAG_PROBE_SECONDS)
        note(max(0.0, loop.time() - due))
