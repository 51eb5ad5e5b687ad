"""The time of the runners: two clocks and two ways to wait.

This file decides where a runner's time comes from. Everything in this room that waits or schedules takes a `Clock`, so
that tests move the time by hand instead of sleeping.
"""

from __future__ import annotations

import asyncio
import contextlib
import time


class Clock:
    """The clocks of the operating system, and waits on the running event loop."""

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back, for durations and deadlines."""
        return time.monotonic()

    def time(self) -> float:
        """Seconds since the epoch, for what is stored."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait this long."""
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Wait until the event is set, but no longer than this."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()
