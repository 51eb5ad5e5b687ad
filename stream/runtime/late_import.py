"""Imports that take long, put off until a program that has just started has time for them.

Beside joining a group and catching up, an import takes turns with everything that happens then: the first event comes
later, and each step of the event loop takes several times as long. This file decides how long it is put off.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from structlog import get_logger

from stream.runtime.collector import enable_collector

log = get_logger(__name__)

LATEST_SECONDS = 2.0
"""Longest time for which an import is put off."""

CHECK_SECONDS = 0.02
"""Interval at which is looked whether there is time."""


async def import_later(start: Callable[[], Awaitable[None]], has_time: Callable[[], bool]) -> None:
    """Call `start` once `has_time` says so, at the latest after `LATEST_SECONDS`."""
    latest = time.monotonic() + LATEST_SECONDS
    while time.monotonic() < latest and not has_time():  # noqa: ASYNC110  two seconds, any of several
        await asyncio.sleep(CHECK_SECONDS)
    await start()


def end_of_import(importing: asyncio.Task[None]) -> None:
    """Enable the cycle collector, and log why River is missing if it is."""
    if not importing.cancelled() and (error := importing.exception()) is not None:
        log.error("River can't be imported: events are learned, and none is tested", error=str(error))
    enable_collector()
