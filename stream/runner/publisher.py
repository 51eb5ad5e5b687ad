"""Checkpoints of one shard become versions, one publish at a time, beside learning.

A checkpoint is taken in parts between batches, so that no part holds learning up for long. The steps of a publish:

1. The parts are folded into one delta.
2. Kafka acknowledges the dead letters of every record that the checkpoint contains. They are sent as soon as a record
   is rejected, beside learning.
3. Kafka confirms that the topics are the ones whose records were fetched. It is asked before the last part is taken,
   and answers beside the other steps. Once it has been asked, fetches that name topics by id
   (`stream.kafka.identity.fetch_by_id`) make the question superfluous: it takes a seventh of a publish.
4. The store makes the state visible, which passes those records.

While Redis or Kafka is away the publish is retried, and learning goes on; what is learned meanwhile waits for the next
checkpoint. If the store refuses because the claim is fenced or the parent is stale, the publish ends for good, and
`raise_failure` raises that error.

This file decides when a checkpoint is taken, the interval between versions, and the order of these steps. Which of them
are atomic is decided in `stream.versions`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from functools import partial
from typing import Any

from faust.types import TP
from redis.exceptions import RedisError

from stream.kafka.dead_letters import DeadLetter, dead_letter
from stream.kafka.identity.errors import IdentitiesUnknown
from stream.kafka.identity.topic_ids import LOOK_SECONDS
from stream.runner.assignment import ShardAssignment
from stream.runner.clock import Clock
from stream.runner.open_shard import OpenShard
from stream.runner.resources import WorkerResources
from stream.runtime.gil import long_switch_interval
from stream.shard.logs import LogId, Logs
from stream.shard.shard import Shard
from stream.state.checkpoint import Checkpoint
from stream.state.folding import fold_all
from stream.state.tables import Delta, Table, delta_bytes
from stream.versions import Version

PART_BLOCKS = 60_000
"""Blocks that are copied before learning goes on: two or three milliseconds. A larger checkpoint is taken in parts,
between batches of `RECORDS_BETWEEN_PARTS`."""

RETRY_SECONDS = (0.2, 5.0)
"""First and longest pause before a failed attempt is repeated."""

PUBLISH_DUTY_FACTOR = 3.0
"""Minimum interval between publishes, as a multiple of the recent publish duration: learning keeps most of the time,
however large versions are."""

MAX_PUBLISH_SECONDS = 1.0
"""Longest publish duration that counts for the interval. A publish that took longer, because Redis was away, doesn't
predict the next one."""

ANSWER_SECONDS = 3 * LOOK_SECONDS
"""Longest wait for Kafka's confirmation, which has a shorter limit of its own while the event loop runs."""

LEAVE_SECONDS = 1.0
"""Longest wait for Redis at a clean stop, when everything is published."""

DURATION_SMOOTHING = 0.2
"""Weight of the last publish in the recent publish duration."""

FAR_BEHIND_PUBLISH_SECONDS = 5.0
"""Minimum interval between publishes while the shard is far behind."""


class KeyframeMarks:
    """A keyframe from the live tables: every block is marked as written, so that the next checkpoint has all of them.

    One table is marked at a time, between batches. Blocks that learning writes afterwards carry a mark anyway.
    """

    def __init__(self) -> None:
        self._wanted = False
        self._unmarked: list[str] | None = None

    def want(self) -> None:
        """Have the next checkpoint that begins be a keyframe."""
        self._wanted = True

    @property
    def pending(self) -> bool:
        """True if a keyframe is wanted, or is being taken."""
        return self._wanted or self._unmarked is not None

    def next_table(self, opened: OpenShard) -> Table | None:
        """The next table to mark before a checkpoint is taken; None if there is none."""
        if self._wanted and self._unmarked is None and not opened.parts:
            self._unmarked = list(opened.shard.tables)
        return opened.shard.tables[self._unmarked.pop()] if self._unmarked else None

    def end(self) -> bool:
        """Note the end of a checkpoint; return True if it has every block."""
        whole = self._unmarked is not None
        if whole:
            self._wanted, self._unmarked = False, None
        return whole


class Publisher:
    """The publishes of one shard.

    Args:
        assignment: number of the shard and its topic-partitions; may be replaced between two sessions.
        resources: store, dead letters, threads, metrics and clock.
        log: of this shard.
        wake: called when a publish has ended, so that the runner looks.
        part_blocks: see `PART_BLOCKS`.
    """

    def __init__(
        self,
        assignment: ShardAssignment,
        resources: WorkerResources,
        log: Any,
        wake: Callable[[], None],
        *,
        part_blocks: int = PART_BLOCKS,
    ) -> None:
        self.assignment = assignment
        self._resources = resources
        self._log = log
        self._wake = wake
        self._part_blocks = part_blocks
        self._next_publish = 0.0
        self._recent_seconds = 0.0
        self._far_behind = False
        self._publishing: asyncio.Task[None] | None = None
        self._sending: list[asyncio.Task[None]] = []
        self._unsent = 0
        self._keyframe = KeyframeMarks()
        self._asked: tuple[Mapping[TP, LogId], Future[None] | None] = {}, None

    @property
    def unsent_letters(self) -> int:
        """Number of dead letters that Kafka hasn't acknowledged yet."""
        return self._unsent

    @property
    def busy(self) -> bool:
        """True from the end of a checkpoint until `raise_failure` has seen the end of its publish."""
        return self._publishing is not None

    def due(self, opened: OpenShard, now: float, *, at_once: bool) -> bool:
        """Return True if a part of a checkpoint should be taken now; `at_once` disregards the interval."""
        seconds = self.due_seconds(opened, now)
        return seconds < math.inf if at_once else seconds <= 0.0

    def due_seconds(self, opened: OpenShard, now: float) -> float:
        """Seconds until the next checkpoint may be taken; infinite if there is nothing to take, or a publish runs."""
        if self.busy or not opened.unpublished:
            return math.inf
        return max(0.0, self._next_publish - now)

    def want_keyframe(self) -> None:
        """Publish the whole tables with the next version: Redis has lost a part of what the newest one needs."""
        self._keyframe.want()

    def slow_down(self) -> None:
        """Publish less often: the shard is far behind."""
        self._far_behind = True

    def speed_up(self, now: float) -> None:
        """Publish as usual again, at once and without regard to how long the versions of the backlog took."""
        self._far_behind = False
        self._next_publish = min(self._next_publish, now)
        self._recent_seconds = 0.0

    def raise_failure(self) -> None:
        """If a publish has ended, let go of it, and raise its error if it failed.

        Raises:
            Fenced, StaleParent: this copy of the state may not be published.
            OtherTopic: some of its records may come from another topic than it says.
            VersionError: the store refuses for another reason.
        """
        if self._publishing is not None and self._publishing.done():
            finished, self._publishing = self._publishing, None
            finished.result()

    async def wait(self) -> None:
        """Wait until the present publish has ended, however it ends."""
        if self._publishing is not None:
            await asyncio.wait([self._publishing])

    def cancel(self) -> None:
        """Give the present publish up. What it has already sent to Redis may still become visible."""
        self._keyframe = KeyframeMarks()
        for sending in self._sending:
            sending.cancel()
        self._sending = []
        if self._publishing is not None:
            self._publishing.cancel()
            self._publishing = None

    def send_letters(self, opened: OpenShard) -> None:
        """Begin to send the letters of what was rejected. The next checkpoint becomes visible when they are written."""
        rejections, opened.rejections = opened.rejections, []
        if not rejections:
            return
        letters = []
        for rejection in rejections:
            tp = self.assignment.partition_of(rejection.record.origin)
            letters.append(dead_letter(rejection, topic=tp.topic, partition=tp.partition))
        self._sending.append(asyncio.create_task(self._send(letters)))

    async def _send(self, letters: list[DeadLetter]) -> None:
        self._unsent += len(letters)
        try:
            await self._resources.dead_letters.send(letters)
        finally:
            self._unsent -= len(letters)
            self._wake()

    async def flush(self, opened: OpenShard) -> None:
        """Publish everything that was learned, and wait until it is visible.

        Raises:
            Exception: the checkpoint or its publish failed.
        """
        await self.wait()
        self.raise_failure()
        while opened.unpublished:
            while not self.busy:
                await self.take_part(opened)
            await self.wait()
            self.raise_failure()

    async def leave(self, opened: OpenShard) -> None:
        """Leave the mark of a clean stop in Redis, if it answers soon. Without the mark the next claim is cautious."""
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._resources.with_redis(partial(self._resources.store.leave, opened.claim))
        except (RedisError, TimeoutError) as error:
            self._log.debug("could not leave the mark of a clean stop", error=str(error) or repr(error))

    async def take_part(self, opened: OpenShard) -> None:
        """Take the next part of a checkpoint; after the last one, begin to publish it."""
        resources = self._resources
        started = resources.clock.monotonic()
        if (table := self._keyframe.next_table(opened)) is not None:
            await resources.in_learning(table.mark_nonzero)
            return
        alone = not (opened.parts or opened.rejections or self._sending or self._keyframe.pending)
        confirmed = self._confirm_topics(opened) if alone else None
        store = partial(self._store_soon, opened, confirmed) if confirmed is not None else None
        part, storing, seconds = await resources.in_learning(
            _timed_part, opened.shard, self._part_blocks, resources.clock, store
        )
        resources.metrics.cut_seconds.observe(seconds)
        resources.metrics.note_hold("learning", seconds)
        if not isinstance(part, Checkpoint):
            opened.parts.append(part)
            return
        confirmed = confirmed or self._confirm_topics(opened)
        part = replace(part, whole=self._keyframe.end() or part.whole)
        self._next_publish = started + self._interval_seconds()
        parts, opened.parts = [*opened.parts, part.delta], []
        opened.publishing, opened.unpublished = opened.unpublished, 0
        self.send_letters(opened)
        sending, self._sending = self._sending, []
        self._publishing = asyncio.create_task(self._publish(opened, part, parts, sending, started, confirmed, storing))
        self._publishing.add_done_callback(lambda _: self._wake())

    def _interval_seconds(self) -> float:
        """Seconds from the start of one publish to the start of the next."""
        seconds = max(self._resources.settings.publish_seconds, PUBLISH_DUTY_FACTOR * self._recent_seconds)
        return max(seconds, FAR_BEHIND_PUBLISH_SECONDS) if self._far_behind else seconds

    async def _publish(
        self,
        opened: OpenShard,
        checkpoint: Checkpoint,
        parts: list[Delta],
        sending: list[asyncio.Task[None]],
        started: float,
        confirmed: Future[None],
        storing: Future[Version] | None,
    ) -> None:
        """Fold, wait for letters, publish. Retries while Redis is away; see `raise_failure` for what it raises.

        Args:
            opened, checkpoint, parts, sending, started, confirmed: of this publish.
            storing: the first attempt, if it has begun: there is nothing to fold and no letter to wait for.
        """
        resources = self._resources
        if len(parts) > 1:
            checkpoint = await resources.with_redis(lambda: replace(checkpoint, delta=fold_all(parts)))
        await asyncio.gather(*sending)  # cancels them, if this is cancelled
        pause, longest = RETRY_SECONDS
        while True:
            try:
                storing = storing or resources.redis.submit(self._store, opened, checkpoint, confirmed)
                version = await asyncio.wrap_future(storing)
                break
            except (RedisError, IdentitiesUnknown) as error:
                if isinstance(error, RedisError):
                    resources.metrics.redis_failures.inc()
                self._log.warning(
                    "could not publish a version; learning goes on, and it is tried again",
                    error=str(error) or repr(error),
                    mend="see that Kafka answers"
                    if isinstance(error, IdentitiesUnknown)
                    else "see that Redis (CORRENTE_REDIS) answers and has free memory",
                )
                await resources.clock.sleep(pause)
                pause = min(2 * pause, longest)
                confirmed, storing = self._ask_topics(opened), None
        resources.newest_number = max(resources.newest_number, version.number)
        first = not opened.published
        opened.published = self.assignment.by_partition(Logs.from_state(checkpoint.state).current())
        records, opened.publishing = opened.publishing, 0
        seconds = resources.clock.monotonic() - started
        self._recent_seconds += DURATION_SMOOTHING * (min(seconds, MAX_PUBLISH_SECONDS) - self._recent_seconds)
        resources.metrics.version.set(version.number)
        resources.metrics.publish_seconds.observe(seconds)
        resources.metrics.cut_bytes.observe(delta_bytes(checkpoint.delta))
        resources.metrics.set_state(self.assignment.shard, checkpoint.state)
        if checkpoint.whole and not checkpoint.reshaped:
            resources.metrics.healed.labels("keyframe").inc()
            self._log.info("published a keyframe from the live tables", version=version.number)
        self._log.debug(
            "published a version",
            version=version.number,
            records=records,
            seconds=round(seconds, 3),
            first=first,
        )

    def _confirm_topics(self, opened: OpenShard) -> Future[None]:
        """Ask Kafka; the answer from the start of the sessions will do if each fetch since named its topic by id."""
        bound, answer = self._asked
        if answer is not None and bound is opened.bound and self._resources.consumer().fetches_by_id(bound):
            return answer
        return self._ask_topics(opened)

    def _ask_topics(self, opened: OpenShard) -> Future[None]:
        """Ask Kafka whether all topics are still the ones whose records were fetched.

        A topic that was deleted and created again answers fetches at the old offsets too, once it is long enough. If
        its id is unchanged now, every record that is learned by now came from the topic that is bound.
        """
        loop = asyncio.get_running_loop()
        answer = asyncio.run_coroutine_threadsafe(self._resources.topic_ids.confirm(opened.bound), loop)
        self._asked = opened.bound, answer
        return answer

    def _store_soon(self, opened: OpenShard, confirmed: Future[None], checkpoint: Checkpoint) -> Future[Version]:
        """Begin `_store` from the learning thread: through the event loop it would begin half a millisecond later."""
        return self._resources.redis.submit(self._store, opened, checkpoint, confirmed)

    def _store(self, opened: OpenShard, checkpoint: Checkpoint, confirmed: Future[None]) -> Version:
        """Publish as soon as Kafka has confirmed the topics. Raises `NotFinite` if a number is not finite."""
        resources = self._resources
        opened.shard.tables.check_finite(checkpoint.delta)
        return resources.store.publish(
            opened.claim,
            checkpoint,
            settings=resources.settings.model.model_dump(mode="json"),
            code_version=resources.code_version,
            now=resources.clock.time(),
            confirm=lambda: _wait(confirmed),
        )


def _wait(confirmed: Future[None]) -> None:
    """Wait for Kafka's answer. Raises `OtherTopic`, or `IdentitiesUnknown` if there is none."""
    try:
        confirmed.result(ANSWER_SECONDS)
    except (TimeoutError, CancelledError) as error:  # the event loop has ended meanwhile
        raise IdentitiesUnknown(
            f"Kafka did not say within {ANSWER_SECONDS:.0f} seconds whether the topics are still the same; it is asked "
            "again"
        ) from error


def _timed_part(
    shard: Shard, most_blocks: int, clock: Clock, store: Callable[[Checkpoint], Future[Version]] | None
) -> tuple[Checkpoint | Delta, Future[Version] | None, float]:
    """The next part of a checkpoint, its publish if `store` began it, and for how many seconds it held learning up."""
    started = clock.monotonic()
    with long_switch_interval():
        part = shard.next_part(most_blocks)
    seconds = clock.monotonic() - started  # without the wait for the lock, which the thread of the publish takes first
    storing = store(part) if store is not None and isinstance(part, Checkpoint) else None
    return part, storing, seconds
