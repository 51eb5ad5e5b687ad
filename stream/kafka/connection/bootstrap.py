"""The first connection of a client: a broker that is away at that moment is waited for.

aiokafka's clients connect when they start, once, and raise if no broker answers. This file decides how long that is
tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiokafka.errors import KafkaConnectionError
from structlog import get_logger

log = get_logger(__name__)

CONNECT_SECONDS = 2.0
"""Pause between two attempts to reach a broker."""

PATIENCE_SECONDS = 60.0
"""Longest time to wait for a broker: in a compose file everything starts at once."""


def patiently(
    start: Callable[[], Awaitable[None]],
    gave_up: Callable[[KafkaConnectionError], Exception],
    *,
    patience_seconds: float = PATIENCE_SECONDS,
    pause_seconds: float = CONNECT_SECONDS,
) -> Callable[[], Awaitable[None]]:
    """Return a way to start a client that tries again while no broker answers.

    Args:
        start: of an aiokafka client. It raises before it has made anything, so it can be called again.
        gave_up: takes the last error after `patience_seconds`, and returns what is raised.
        patience_seconds: longest time to wait for a broker.
        pause_seconds: between two attempts.
    """

    async def try_again() -> None:
        deadline = asyncio.get_running_loop().time() + patience_seconds
        while True:
            try:
                return await start()
            except KafkaConnectionError as error:
                if asyncio.get_running_loop().time() >= deadline:
                    raise gave_up(error) from error
                log.warning("Kafka does not answer yet", error=str(error), mend="start it, or check CORRENTE_KAFKA")
            await asyncio.sleep(pause_seconds)

    return try_again
