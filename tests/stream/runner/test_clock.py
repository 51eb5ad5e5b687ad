"""The real clock: waits end with their event, or with their time."""

from __future__ import annotations

import asyncio

import pytest

from stream.runner.clock import Clock


async def test_a_wait_ends_when_its_event_is_set() -> None:
    event = asyncio.Event()
    waiting = asyncio.ensure_future(Clock().wait(event, 3600.0))
    await asyncio.sleep(0)
    assert not waiting.done()
    event.set()
    async with asyncio.timeout(10.0):
        await waiting


async def test_a_wait_ends_when_its_time_has_passed() -> None:
    event = asyncio.Event()
    await Clock().wait(event, 0.001)
    assert not event.is_set()


@pytest.mark.parametrize("turns", range(4))
async def test_a_cancellation_that_meets_the_event_is_not_lost(turns: int) -> None:
    event = asyncio.Event()
    waiting = asyncio.ensure_future(Clock().wait(event, 3600.0))
    await asyncio.sleep(0)
    event.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    was_waiting = waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled() == was_waiting


async def test_a_sleep_takes_its_time_on_the_monotonic_clock() -> None:
    clock = Clock()
    before = clock.monotonic()
    await clock.sleep(0.01)
    assert clock.monotonic() - before >= 0.009
    assert clock.time() > 1_700_000_000
