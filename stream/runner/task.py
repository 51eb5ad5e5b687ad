"""The life of one shard on this worker: opened, learned from, published, halted, dropped.

Again and again, until Kafka assigns the shard to another worker:

1. **Claim** the shard, which fences its former owner.
2. **Restore** the newest state, and **start** Kafka at the offsets in it.
3. **Learn** batches from the merge, each with its sample rate. While one is learned, mostly without Python's lock, the
   next one is decoded.
4. **Publish** checkpoints beside learning.
5. If learning or publishing **fails** unexpectedly, the state is not trusted any more: it is restored, and the record
   that fails is searched for by halves and isolated (`stream.shard.isolation`). If too many records fail, or the
   machine is short of something, the shard stands still, says so, and is tried again after growing pauses.
6. If a publish is **refused**, this copy of the state is not the true one: it is dropped, and everything begins again.

While Redis is away learning goes on, until `MAX_UNPUBLISHED_RECORDS` records are learned and in no version; then
learning waits, and Kafka keeps what comes in.

No error reaches Faust: an agent that raises loses its records.

This file decides when a shard is opened, halted and dropped, what follows from each error, and what is said while the
shard stands still. The other steps are decided in the files beside it, learning in `stream.shard.shard`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiokafka.errors import KafkaError
from faust.types import TP
from redis.exceptions import RedisError
from structlog import get_logger

from stream.health.failures import EXPECTED, REPORT, BatchFailed
from stream.health.progress import Progress
from stream.health.standing import Standing
from stream.ingest.merge import MissingRecords
from stream.ingest.schemas.known import SchemasMissing
from stream.kafka.fetch import Fetch, Position
from stream.kafka.identity.errors import IdentitiesUnknown, OtherTopic
from stream.kafka.refusals import CannotLearn
from stream.runner.assignment import ShardAssignment, name_of
from stream.runner.housekeeping import Housekeeping
from stream.runner.next_batch import NextBatch, timed
from stream.runner.open_shard import OpenShard, lost_at, merge_from
from stream.runner.publisher import RETRY_SECONDS, Publisher
from stream.runner.recovery.causes import cause_of
from stream.runner.recovery.errors import KafkaLostRecords
from stream.runner.recovery.restore import restore
from stream.runner.recovery.start import confirm_logs, log_lost, start_offsets
from stream.runner.resources import WorkerResources
from stream.runtime.tasks import cancel_and_wait
from stream.shard.isolation import Isolation, TooManyFailures
from stream.shard.logs import LogId
from stream.shard.shard import Batch
from stream.versions import Claim, Fenced, StaleParent, VersionError

log = get_logger(__name__)

IDLE_SECONDS = 0.5
"""Longest wait for records before lag and rates are looked at again."""

SEARCH_SECONDS = 0.1
"""Pause before a failed portion of records is learned again in halves."""


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
        self._isolation = Isolation()
        self._bound: Mapping[TP, LogId] = {}
        clock = resources.clock
        self._progress = Progress(assignment.shard, resources.metrics.stopped, self._log, clock.monotonic, clock.time)
        self._next = NextBatch(resources, self._publisher, self._progress, self._news.set)

    # ---- called by the worker

    def reassign(self, assignment: ShardAssignment) -> None:
        """Learn from these topic-partitions at the next `start`. The shard is the same, and halted."""
        self.assignment = self._publisher.assignment = assignment
        self._housekeeping.reassign(assignment)

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
        await cancel_and_wait(running)
        self._reset()

    async def drop(self) -> None:
        """Give the state up: the shard is another worker's."""
        await self.halt(0.0)
        self._reset()
        self._housekeeping.close()

    def deliver(self, fetch: Fetch) -> None:
        """Take over a fetch."""
        if self._opened is not None and self._opened.deliver(fetch):
            self._note_lost(self._opened, fetch.tp, fetch.since, fetch.lost)
            self._news.set()

    def has_room(self, tp: TP) -> bool:
        """Return True if more records of this topic-partition are wanted now."""
        return self._opened is not None and self._opened.has_room(tp)

    def note_position(self, position: Position) -> None:
        """Take the progress of a topic-partition for which nothing was fetched."""
        opened = self._opened
        if opened is None or not opened.current(position.tp, position.session):
            return
        self._note_lost(opened, position.tp, position.delivered, position.lost)
        if opened.note_position(position):
            self._news.set()

    def _note_lost(self, opened: OpenShard, tp: TP, since: int, lost: int) -> None:
        """Count and log records that retention removed while this shard was fetching them."""
        if lost:
            opened.note_lost(tp, since + lost, lost)
            log_lost(self.assignment, tp, since, since + lost, self._resources, self._log)

    async def confirm_topics(self) -> None:
        """Have Kafka confirm that the topics are the ones that this shard learns from, and restart it otherwise."""
        opened = self._opened
        if opened is None:
            return
        try:
            await confirm_logs(self.assignment, opened, self._resources)
        except OtherTopic as error:
            if opened.gap is None and opened.sessions:
                opened.break_off(error)
                self._news.set()
        except (IdentitiesUnknown, KafkaError) as error:
            self._log.debug("could not confirm the topics", error=str(error))

    @property
    def up_to_date(self) -> bool:
        """True if at most one batch was left to learn when the shard was last looked at."""
        return self._housekeeping.up_to_date

    @property
    def published(self) -> Mapping[TP, int]:
        """Next offsets of the newest published state; empty while the shard isn't open."""
        return self._opened.published if self._opened is not None else {}

    @property
    def standing(self) -> Standing | None:
        """The reason why this shard stands still; None while it doesn't. May be read from any thread."""
        return None if self._halting else self._progress.standing(self._housekeeping.behind)

    @property
    def claim(self) -> Claim | None:
        """The right to publish this shard; None while it isn't open."""
        return self._opened.claim if self._opened is not None else None

    @property
    def waiting(self) -> list[str]:
        """Topic-partitions with records that were not learned yet when the shard was last looked at."""
        return sorted(map(name_of, self._housekeeping.waiting))

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
                self._progress.stop(
                    "refused", str(error), "none: the shard is claimed again, unless another worker has it by then"
                )
                # If the partition was lost, the next heartbeat says so. Claiming earlier would fence the new owner.
                await self._pause(self._resources.settings.session_timeout_seconds / 2)
            except OtherTopic as error:
                self._log.warning("going back to the last published state", reason=str(error))
                self._reset()
            except (RedisError, KafkaError, CannotLearn, KafkaLostRecords, IdentitiesUnknown, VersionError) as error:
                if isinstance(error, RedisError):
                    self._resources.metrics.redis_failures.inc()
                self._log.warning("can't open the shard yet; trying again", error=str(error) or repr(error))
                self._reset()
                self._progress.stop(*cause_of(error, self._resources))
                await self._pause(pause)
                pause = min(2 * pause, longest)
            except BatchFailed as failure:
                self._reset()
                await self._search(failure)
            except (MemoryError, OSError) as error:
                self._log.exception("this machine is short of something; going back to the last published state")
                self._reset()
                self._progress.stop(
                    "machine", repr(error), "give the worker more memory, file handles or disk, see the detail"
                )
                await self._pause(self._progress.pause_seconds())
            except Exception as error:  # whatever it is, the records are in Kafka and the last published state is whole
                self._log.exception("learning failed; going back to the last published state")
                self._reset()
                self._progress.stop("failures", f"{type(error).__name__}: {error}", REPORT)
                await self._pause(self._progress.pause_seconds())

    async def _search(self, failure: BatchFailed) -> None:
        """Go on with the search for the record that fails, which the next opening learns in halves."""
        error, isolation = failure.__cause__, self._isolation
        assert error is not None
        self._log.error(
            "learning failed; going back to the last published state, to search for the record by halves",
            records=failure.count,
            first=dict(failure.first),
            end=dict(failure.end),
            while_publishing=failure.published,
            exc_info=error,
        )
        searching = isolation.searching
        isolation.failed(failure.first, failure.end, failure.count, error, published=failure.published)
        if searching:  # a first failure may be this machine's; a second one with the same records is theirs
            try:
                place = isolation.isolate(sum(failure.end.values()))
            except TooManyFailures as too_many:
                self._progress.stop("failures", str(too_many), REPORT)
                await self._pause(self._progress.pause_seconds())
                return
            if place is not None:
                self._log.error(
                    "a record is isolated: it becomes a dead letter; report its reason (corrente dead-letters list)",
                    topic=place[0],
                    offset=place[1],
                    reason=isolation.isolated[place],
                )
        await self._pause(SEARCH_SECONDS)

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
        self._next.cancel()

    async def _open(self) -> OpenShard:
        """The shard at the start of new sessions: restored, or with the state that it has since the last ones."""
        resources = self._resources
        started = resources.clock.monotonic()
        consumer = resources.consumer()
        opened = self._opened
        bound = await resources.topic_ids.look_up(self.assignment.origins)
        if bound != self._bound:
            self._bound, self._isolation = bound, Isolation()  # its offsets count in other logs
        if opened is None:
            claim, shard = await restore(self.assignment, bound, consumer, resources, self._log)
        elif others := [tp for tp in bound if bound[tp] != opened.bound.get(tp, bound[tp])]:
            names = ", ".join(sorted({tp.topic for tp in others}))
            raise OtherTopic(f"{names}: not the topic whose records were learned last; it is looked at anew")
        else:
            claim, shard = opened.claim, opened.shard
            # Fetches that are still on their way from before the seek must not be taken for what follows it.
            opened.close_sessions()
        starts = await start_offsets(self.assignment, shard, bound, consumer, resources, self._log)
        ids = {tp: bound[tp].topic_id for tp in starts}
        sessions = await consumer.start_at({tp: start.offset for tp, start in starts.items()}, ids)
        if self._halting:
            sessions = {}  # these sessions have ended before they began
        if opened is None:
            opened = OpenShard(
                assignment=self.assignment,
                claim=claim,
                shard=shard,
                merge=merge_from(starts),
                start_offsets={tp: start.offset for tp, start in starts.items()},
                lost=lost_at(starts),
                sessions=sessions,
                published=self.assignment.by_partition(shard.offsets) if claim.head else {},
                bound=bound,
            )
            self._opened = opened
        else:
            opened.restart(self.assignment, starts, sessions, bound)
        self._housekeeping.restart()
        self._log.info(
            "learning from here on",
            offsets={origin: opened.start_offsets[tp] for tp, origin in self.assignment.origins.items()},
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
            self._raise_publish_failure(opened)
            if opened.gap is not None:
                raise opened.gap
            now = resources.clock.monotonic()
            if publisher.due(opened, now, at_once=self._halting):
                try:
                    await publisher.take_part(opened)
                except (MemoryError, OSError):
                    raise
                except Exception as error:
                    raise opened.unpublished_failure() from error
            if self._halting:
                if publisher.busy:
                    await publisher.wait()
                elif not opened.unpublished:
                    return await publisher.leave(opened)
                continue
            housekeeping.update(opened, now)
            ahead = ahead or self._next.decode(opened, self._isolation)
            if ahead is None:
                if not self._next.waits() and not housekeeping.behind:
                    self._progress.resume()
                await self._idle(opened, now)
                continue
            try:
                batch, decoding_seconds = await ahead
            except SchemasMissing as missing:
                ahead = None
                self._next.find_schemas(opened, missing)
                continue
            self._isolation.admit(batch.rejections, sum(opened.shard.logs.offsets().values()))
            ahead = self._next.decode(opened, self._isolation)  # decoded while this one is learned
            count = len(batch.records)
            rate = resources.sample_rate.next(now, count) if resources.may_test else 0.0
            try:
                result, seconds = await resources.in_learning(timed, opened.shard.learn, batch, rate)
            except (MemoryError, OSError):
                raise
            except Exception as error:
                end = {origin: offset + 1 for origin, offset in batch.last.items()}
                raise BatchFailed(batch.first, end, count, published=False) from error
            opened.count_learned(count, result)
            publisher.send_letters(opened)
            housekeeping.count_learned(count, result)
            housekeeping.count_lost(opened.pass_lost())
            resources.sample_rate.spent(count, rate, decoding_seconds + seconds, resources.clock.monotonic())
            if self._isolation.searching:
                await self._clear(opened, batch)
            self._progress.resume(sum(opened.shard.logs.offsets().values()))

    async def _clear(self, opened: OpenShard, batch: Batch) -> None:
        """Clear a portion that was learned of suspicion; if publishing failed with it, only once it is published."""
        if self._isolation.must_publish:
            try:
                await self._publisher.flush(opened)
            except EXPECTED:
                raise
            except Exception as error:
                end = {origin: offset + 1 for origin, offset in batch.last.items()}
                raise BatchFailed(batch.first, end, len(batch.records), published=True) from error
        self._isolation.cleared(batch.records)

    def _raise_publish_failure(self, opened: OpenShard) -> None:
        """Raise the error of a publish that has ended, if it failed: as `BatchFailed` unless it is a known one."""
        try:
            self._publisher.raise_failure()
        except EXPECTED:
            raise
        except Exception as error:
            raise opened.unpublished_failure() from error

    async def _idle(self, opened: OpenShard, now: float) -> None:
        """Wait for records, for the next version's time, or for the end of a publish."""
        seconds = min(IDLE_SECONDS, self._publisher.due_seconds(opened, now))
        self._news.clear()
        await self._resources.clock.wait(self._news, seconds)
