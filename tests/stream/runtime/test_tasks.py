"""One task ends another: it has ended afterwards, and nobody else's cancellation or error is lost."""

from __future__ import annotations

import asyncio

import pytest

from stream.runtime.tasks import cancel_and_wait


async def test_the_task_has_ended_afterwards() -> None:
    steps: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await cancel_and_wait(task)
    assert task.cancelled()
    assert steps == ["cleaned up"]


async def test_a_task_that_ended_before_is_no_error() -> None:
    task = asyncio.create_task(asyncio.sleep(0))
    await task
    await cancel_and_wait(task)


async def test_the_error_with_which_the_task_ended_is_raised() -> None:
    async def work() -> None:
        raise ValueError("of the task")

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    with pytest.raises(ValueError, match="of the task"):
        await cancel_and_wait(task)


async def test_a_cancellation_of_the_caller_is_raised_in_the_caller() -> None:
    may_end = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    caller = asyncio.create_task(cancel_and_wait(task))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
