"""Ends of asyncio tasks.

This file decides how one task ends another. A cancellation reaches the task that it is meant for, and no other: whoever
suppresses the `CancelledError` of a task that it awaits also suppresses its own.
"""

from __future__ import annotations

import asyncio
from typing import Any


async def cancel_and_wait(task: asyncio.Task[Any]) -> None:
    """Cancel a task and return once it has ended.

    Raises:
        CancelledError: the caller was cancelled meanwhile.
        Exception: the error with which the task ended.
    """
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
