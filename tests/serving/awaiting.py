"""Waiting for a condition of a running application, without fixed sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx


async def eventually(holds: Callable[[], Awaitable[Any]], what: str, seconds: float = 240.0) -> Any:
    """Wait until `holds` returns something true, and return that; `what` names the condition if it never does."""

    async def wait() -> Any:
        while not (found := await holds()):
            await asyncio.sleep(0.01)
        return found

    try:
        async with asyncio.timeout(seconds):
            return await wait()
    except TimeoutError:
        raise AssertionError(f"waited {seconds} s for this to hold: {what}") from None


async def served_version(client: httpx.AsyncClient, number: int, headers: Mapping[str, str] | None = None) -> None:
    """Wait until the server answers from this version; `headers` bring a key where one is needed."""

    async def serves() -> bool:
        health = await client.get("/health/ready", headers=headers)
        return health.status_code == 200 and health.json()["version"] == number

    await eventually(serves, f"version {number} is served")


async def kafka_up(client: httpx.AsyncClient) -> None:
    """Wait until the server has reached Kafka."""

    async def up() -> bool:
        return (await client.get("/health/ready")).json()["kafka"]["up"]

    await eventually(up, "Kafka is up")
