"""The watch over topics and group while a worker learns.

What was right at the start may change: partitions are added, a missing topic appears, another model starts in the same
group, a right is taken away. aiokafka notices some of that after minutes, and of the rest it says nothing.

This file decides how often is looked, which troubles are waited out, and which end the worker: the text of the
`CannotLearn` that is raised says what would be right. An orchestrator that starts the worker again tries anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiokafka.errors import KafkaError
from structlog import get_logger

from stream.kafka.group import HOPELESS, describe_group, must_leave, passes, refusal, stranger
from stream.kafka.refusals import WrongGroup
from stream.kafka.topics import connect_admin, partition_counts
from stream.settings import Settings

log = get_logger(__name__)

LOOK_SECONDS = 5.0
"""Interval at which topics and group are looked at."""

JOIN_SECONDS = 1.0
"""Interval at which an error of joining the group is taken, so that aiokafka tries again."""

PATIENCE_SECONDS = 60.0
"""Longest time for which a group that keeps this worker out is tried again: the other program may end, a right may be
given."""

REPEAT_SECONDS = 60.0
"""Interval at which a trouble that another process has to end is logged again."""


async def check_group(
    settings: Settings,
    *,
    patience_seconds: float = PATIENCE_SECONDS,
    connect: Callable[[Settings], Any] = connect_admin,
) -> None:
    """Wait until the group has no strange members, before it is joined.

    Raises:
        WrongGroup: it still has some after `patience_seconds`.
    """
    deadline = time.monotonic() + patience_seconds
    while (reason := await _reason(settings, connect)) is not None:
        if time.monotonic() >= deadline:
            raise WrongGroup(reason)
        log.warning("can't join the consumer group yet", reason=reason)
        await asyncio.sleep(min(2.0, LOOK_SECONDS))


async def _reason(settings: Settings, connect: Callable[[Settings], Any]) -> str | None:
    admin = connect(settings)
    try:
        await admin.start()
        return stranger(await describe_group(admin, settings.consumer_group), settings)
    except (KafkaError, TimeoutError) as error:  # no right to describe groups, or a broker that can't: go on
        log.debug("could not look at the consumer group", error=repr(error))
        return None
    finally:
        await admin.close()


class KafkaWatch:
    """Looks at topics and group until something is wrong that this worker can't mend.

    Args:
        settings: names of topics, group and model.
        note_topics: takes the number of partitions of each event topic, and refuses what can't be learned.
        group_error: takes the error that keeps this worker out of its group.
        confirm_topics: looks whether topics are still the ones that are learned from.
        connect: makes an admin client.
    """

    def __init__(
        self,
        settings: Settings,
        note_topics: Callable[[Mapping[str, int]], Awaitable[None]],
        group_error: Callable[[], Awaitable[KafkaError | None]],
        confirm_topics: Callable[[], Awaitable[None]],
        *,
        connect: Callable[[Settings], Any] = connect_admin,
    ) -> None:
        self._settings = settings
        self._note_topics = note_topics
        self._group_error = group_error
        self._confirm_topics = confirm_topics
        self._connect = connect
        self._kept_out_since: float | None = None
        self._last_error = 0.0
        self._logged = -REPEAT_SECONDS

    async def run(self) -> None:
        """Look again and again.

        Raises:
            CannotLearn: the worker has to end.
        """
        look_at = time.monotonic() + LOOK_SECONDS
        while True:
            await asyncio.sleep(JOIN_SECONDS)
            self.check_joining(await self._group_error(), time.monotonic())
            if time.monotonic() >= look_at:
                await self.look(time.monotonic())
                await self._confirm_topics()
                look_at = time.monotonic() + LOOK_SECONDS

    def check_joining(self, error: KafkaError | None, now: float) -> None:
        """Judge what keeps this worker out of its group.

        aiokafka holds an error back until it is taken, and tries again then. While it tries, there is none to take, so
        the time is counted until `LOOK_SECONDS` have passed without one.

        Raises:
            WrongGroup: it won't heal by itself, or did not within `PATIENCE_SECONDS`.
        """
        if error is None:
            if self._kept_out_since is not None and now - self._last_error > LOOK_SECONDS:
                self._kept_out_since = None
            return
        if passes(error):
            return
        self._last_error = now
        if self._kept_out_since is None:
            self._kept_out_since = now
        if isinstance(error, HOPELESS) or now - self._kept_out_since >= PATIENCE_SECONDS:
            raise refusal(error, self._settings)
        log.warning("can't join the consumer group yet", reason=str(refusal(error, self._settings)))

    async def look(self, now: float) -> None:
        """Look at topics and group once. A Kafka that doesn't answer is no reason to end.

        Raises:
            WrongShards: the number of shards doesn't fit the topics any more.
            WrongGroup: another model was in the group first.
        """
        admin = self._connect(self._settings)
        try:
            await admin.start()
            counts = await partition_counts(admin, list(self._settings.topics.values()))
            await self._note_topics(counts)
            group = await describe_group(admin, self._settings.consumer_group)
        except (KafkaError, TimeoutError) as error:  # aiokafka lets some time limits through as they are
            log.debug("could not look at topics and group", error=repr(error))
            return
        finally:
            await admin.close()
        reason = stranger(group, self._settings)
        if reason is None:
            return
        if must_leave(group, self._settings.model_name):
            raise WrongGroup(reason)
        if now - self._logged >= REPEAT_SECONDS:
            self._logged = now
            log.error("another model's workers are in the consumer group; they should end by themselves", reason=reason)
