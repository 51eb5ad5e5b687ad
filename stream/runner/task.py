"""The life of one shard on this worker: opened, learned from, published, halted, dropped.

Again and again, until Kafka assigns the shard to another worker:

1. **Claim** the shard, which fences its former owner.
2. **Restore** the newest state, and **start** Kafka at the offsets in it.
3. **Learn** batches from the merge, each with its sample rate. While one is learned, mostly without Python's lock, the
   next one is decoded.
4. **Publish** checkpoints beside learning.
5. If a publish is **refused**, this copy of the state is not the true one: it is dropped, and everything begins again.

While Redis is away learning goes on, until `MAX_UNPUBLISHED_RECORDS` records are learned and in no version; then
learning waits, and Kafka keeps what comes in.

No error reaches Faust: an agent that raises loses its records.

This file decides when a shard is opened, halted and dropped, and what follows from each error. The other steps are
decided in the files beside it, learning itself in `stream.shard.shard`, and which shards there are by Kafka.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping

from aiokafka.errors import KafkaError
from faust.types import TP
from redis.exceptions import RedisError
from structlog import get_logger

from stream.ingest.merge import MissingRecords
from stream.ingest.records import Record
from stream.kafka.fetch import Fetch, Position
from stream.kafka.topic_ids import IdentitiesUnknown, OtherTopic
from stream.runner.assignment import ShardAssignment
from stream.runner.housekeeping import Housekeeping
from stream.runner.open_shard import OpenShard, merge_from
from stream.runner.publisher import RETRY_SECONDS, Publisher
from stream.runner.recovery import KafkaLostRecords, WrongCluster, log_lost, restore, start_offsets
from stream.runner.resources import WorkerResources
from stream.shard.shard import Batch, LearnResult, Shard
from stream.versions import Fenced, StaleParent, VersionError

log = get_logger(__name__)

IDLE_SECONDS = 0.5
"""Longest wait for records before lag and rates are looked at again."""


class ShardRunner:
    """One shard on this worker.

    Args:
        assignment: number of the shard and its topic-partitions.
        resources: everything that the shards of this worker share.
    """

    def __init__(self, assignment: ShardAssignment, resources: WorkerResources) -> None:
        self.assignment = assignment
        self._resources = resources
        self._log = log.bind(partition=assignment.shard)
        self._news = asyncio.Event()
        self._halting = False
        self._running: asyncio.Task[None] | None = None
        self._opened: OpenShard | None = None
        self._publisher = Publisher(assignment, resources, self._log, self._news.set)
        self._housekeeping = Housekeeping(assignment, resources, self._publisher, self._log)

    # ---- called by the worker

    def start(self) -> None:
        """Begin, or go on after `halt` with the state that there is."""
        self._halting = False
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run(), name=f"shard {self.assignment.shard}")

    async def halt(self, patience_seconds: float) -> None:
        """Stop learning and publish what was learned, if that is possible in time. The state stays for `start`.

        Args:
            patience_seconds: longest time for the last publish; after it, the state is given up.
        """
        self._halting = True
        self._news.set()
        if self._opened is not None:
            self._opened.close_sessions()
        running = self._running
        if running is None:
            return
        await asyncio.wait([running], timeout=patience_seconds)
        if running.done():
            return
        # A checkpoint that was taken and not published would be missing in the next one: the state has to go with it.
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        self._reset()

    async def drop(self) -> None:
        """Give the state up: the shard is another worker's."""
        await self.halt(0.0)
        self._reset()
        self._housekeeping.close()

    def deliver(self, fetch: Fetch) -> None:
        """Take over a fetch."""
        if self._opened is not None and self._opened.deliver(fetch):
            self._count_lost(fetch.tp, fetch.since, fetch.lost)
            self._news.set()

    def has_room(self, tp: TP) -> bool:
        """Return True if more records of this topic-partition are wanted now."""
        return self._opened is not None and self._opened.has_room(tp)

    def note_position(self, position: Position) -> None:
        """Take the progress of a topic-partition for which nothing was fetched."""
        opened = self._opened
        if opened is None or not opened.current(position.tp, position.session):
            return
        self._count_lost(position.tp, position.delivered, position.lost)
        if opened.note_position(position):
            self._news.set()

    def _count_lost(self, tp: TP, since: int, lost: int) -> None:
        """Count and log records that retention removed while this shard was fetching them."""
        if lost:
            log_lost(self.assignment, tp, since, since + lost, self._resources, self._log)

    async def confirm_topics(self) -> None:
        """Have Kafka confirm that the topics are the ones that this shard learns from, and restart it otherwise."""
        opened = self._opened
        if opened is None:
            return
        topic_ids = self._resources.topic_ids
        try:
            await self._resources.with_redis(lambda: topic_ids.confirm(opened.bound)())
        except OtherTopic as error:
            if opened.gap is None and opened.sessions:
                opened.break_off(error)
                self._news.set()
        except IdentitiesUnknown as error:
            self._log.debug("could not confirm the topics", error=str(error))

    @property
    def up_to_date(self) -> bool:
        """True if at most one batch was left to learn when the shard was last looked at."""
        return self._housekeeping.up_to_date

    @property
    def published(self) -> Mapping[TP, int]:
        """Next offsets of the newest published state; empty while the shard isn't open."""
        return self._opened.published if self._opened is not None else {}

    # ---- its life

    async def _run(self) -> None:
        """Open and learn until halted; every error leads back to opening."""
        pause, longest = RETRY_SECONDS
        while not self._halting:
            try:
                opened = await self._open()
                pause = RETRY_SECONDS[0]
                await self._learn(opened)
            except MissingRecords as error:
                self._log.warning("fetching again from what is learned", reason=str(error))
            except (Fenced, StaleParent) as error:
                reason = "fenced" if isinstance(error, Fenced) else "stale"
                self._resources.metrics.refusals.labels(reason).inc()
                self._log.warning("a publish was refused; dropping this copy of the shard", reason=str(error))
                self._reset()
                # If the partition was lost, the next heartbeat says so. Claiming earlier would fence the new owner.
                await self._pause(self._resources.settings.session_timeout_seconds / 2)
            except OtherTopic as error:
                self._log.warning("going back to the last published state", reason=str(error))
                self._reset()
            except (RedisError, KafkaError, KafkaLostRecords, WrongCluster, IdentitiesUnknown, VersionError) as error:
                if isinstance(error, RedisError):
                    self._resources.metrics.redis_failures.inc()
                self._log.warning("can't open the shard yet; trying again", error=str(error) or repr(error))
                self._reset()
                await self._pause(pause)
                pause = min(2 * pause, longest)
            except Exception:  # whatever it is, the records are in Kafka and the last published state is whole
                self._log.exception("learning failed; going back to the last published state")
                self._reset()
                await self._pause(longest)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than until `halt`."""
        clock = self._resources.clock
        deadline = clock.monotonic() + seconds
        while not self._halting and (left := deadline - clock.monotonic()) > 0:
            self._news.clear()
            await clock.wait(self._news, left)

    def _reset(self) -> None:
        """Give the state up, with everything that isn't published."""
        self._opened = None
        self._publisher.cancel()

    async def _open(self) -> OpenShard:
        """The shard at the start of new sessions: restored, or with the state that it has since the last ones."""
        resources = self._resources
        started = resources.clock.monotonic()
        consumer = resources.consumer()
        opened = self._opened
        bound = await resources.with_redis(lambda: resources.topic_ids.look_up(self.assignment.topics))
        if opened is None:
            claim, shard = await restore(self.assignment, bound, consumer, resources, self._log)
        elif bound != opened.bound:
            others = ", ".join(tp.topic for tp in bound if bound[tp] != opened.bound.get(tp))
            raise OtherTopic(f"{others}: not the topic whose records were learned last")
        else:
            claim, shard = opened.claim, opened.shard
            # Fetches that are still on their way from before the seek must not be taken for what follows it.
            opened.close_sessions()
        starts = await start_offsets(self.assignment, shard, bound, consumer, resources, self._log)
        sessions = await consumer.start_at({tp: start.offset for tp, start in starts.items()})
        if self._halting:
            sessions = {}  # these sessions have ended before they began
        if opened is None:
            opened = OpenShard(
                assignment=self.assignment,
                claim=claim,
                shard=shard,
                merge=merge_from(starts),
                start_offsets={tp: start.offset for tp, start in starts.items()},
                sessions=sessions,
                published=self.assignment.by_partition(shard.offsets) if claim.head else {},
                bound=bound,
            )
            self._opened = opened
        else:
            opened.restart(starts, sessions, bound)
        self._housekeeping.restart()
        self._log.info(
            "learning from here on",
            offsets={topic: opened.start_offsets[tp] for tp, topic in self.assignment.topics.items()},
            behind=sum(start.end - start.offset for start in starts.values()),
            epoch=claim.epoch,
            seconds=round(resources.clock.monotonic() - started, 3),
        )
        return opened

    async def _learn(self, opened: OpenShard) -> None:
        """Learn and publish until halted, and then publish what is left.

        Raises:
            MissingRecords: a fetch was lost on its way.
            OtherTopic: a topic is another one than it was, so that unpublished records may be of either.
            Fenced, StaleParent: a publish was refused.
        """
        resources, publisher, housekeeping = self._resources, self._publisher, self._housekeeping
        ahead: asyncio.Future[tuple[Batch, float]] | None = None
        while True:
            publisher.raise_failure()
            if opened.gap is not None:
                raise opened.gap
            now = resources.clock.monotonic()
            if publisher.due(opened, now, at_once=self._halting):
                await publisher.take_part(opened)
            if self._halting:
                if publisher.busy:
                    await publisher.wait()
                elif not opened.unpublished:
                    return
                continue
            housekeeping.update(opened, now)
            ahead = ahead or self._decode_next(opened)
            if ahead is None:
                await self._idle(opened, now)
                continue
            batch, decoding_seconds = await ahead
            ahead = self._decode_next(opened)  # decoded while this one is learned
            count = len(batch.records)
            rate = resources.sample_rate.next(now, count) if resources.may_test else 0.0
            result, seconds = await resources.in_learning(_timed_learn, opened.shard, batch, rate)
            opened.count_learned(count, result)
            housekeeping.count_learned(count, result)
            resources.sample_rate.spent(count, rate, decoding_seconds + seconds, resources.clock.monotonic())

    def _decode_next(self, opened: OpenShard) -> asyncio.Future[tuple[Batch, float]] | None:
        """The next batch while it is decoded, with the CPU seconds of that; None if there is nothing to learn now.

        A caller that loses it has to open the shard anew: the merge gives each record once.
        """
        records = opened.take_records(self._resources.max_unpublished_records)
        if not records:
            return None
        return asyncio.get_running_loop().run_in_executor(
            self._resources.decoding, _timed_decode, opened.shard, records
        )

    async def _idle(self, opened: OpenShard, now: float) -> None:
        """Wait for records, for the next version's time, or for the end of a publish."""
        seconds = min(IDLE_SECONDS, self._publisher.due_seconds(opened, now))
        self._news.clear()
        await self._resources.clock.wait(self._news, seconds)


def _timed_decode(shard: Shard, records: list[Record]) -> tuple[Batch, float]:
    """The decoded batch, and the CPU seconds that this took."""
    started = time.thread_time()
    return shard.decode(records), time.thread_time() - started


def _timed_learn(shard: Shard, batch: Batch, rate: float) -> tuple[LearnResult, float]:
    """The outcomes of a batch, and the CPU seconds that learning took."""
    started = time.thread_time()
    return shard.learn(batch, rate), time.thread_time() - started
