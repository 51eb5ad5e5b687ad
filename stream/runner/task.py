"""One partition at work: claimed, restored, learned from, published, dropped.

The life of a partition here, again and again until Kafka gives it to another worker:

1. **Claim** its shard, which fences whoever published it before.
2. **Restore** the newest state, and **start** Kafka at the offsets in it.
3. **Learn**: batches from the merge, each with its sample rate. While one is learned, which needs no lock of Python's,
   the next is decoded.
4. **Publish** a cut every so often. First the letters of everything the cut contains are acknowledged by Kafka, then
   the state that passes them becomes visible.
5. A publish that is **refused** means that this copy of the state is not the true one: it is dropped, and everything
   begins again.

Redis away: learning goes on, the cut that could not be published is kept and sent again, and what is learned meanwhile
waits in the tables for the next cut. Only when `MOST_UNPUBLISHED` records are learned and in no version does learning
wait, and Kafka keeps what comes in.

Nothing here raises into Faust: an agent that raises loses its records.

This file decides when things happen to a shard. What learning does is decided in `stream.shard.shard`, what is atomic in
`stream.versions`, and which partitions there are by Kafka.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from aiokafka.errors import IllegalStateError, KafkaError
from faust.types import TP
from redis.exceptions import RedisError
from structlog import get_logger

from stream.ingest.merge import Merge, MissingRecords
from stream.ingest.records import Record, Rejection
from stream.kafka.dead_letters import DeadLetter, DeadLetters, dead_letter
from stream.kafka.transport import Consumer, Fetch
from stream.models.schema import table_specs
from stream.runner.metrics import WorkerMetrics
from stream.runner.test_budget import SampleRate
from stream.runner.warmup import import_river
from stream.runtime.gil import long_switch_interval
from stream.settings import Settings
from stream.shard.shard import Batch, Shard
from stream.state.checkpoint import Checkpoint
from stream.state.folding import fold_all
from stream.state.table_writer import TableWriter
from stream.state.tables import Delta, Tables, delta_bytes
from stream.versions import Claim, Fenced, Policy, StaleParent, Version, VersionError, VersionStore
from stream.versions.compaction import compact

log = get_logger(__name__)

BATCH_RECORDS = 4096
"""Most records of one batch: what learning can't be interrupted in."""

MOST_UNPUBLISHED = 3_000_000
"""Records that may be learned and in no version, before learning waits for Redis."""

PART_BLOCKS = 60_000
"""Blocks that are copied before learning goes on: two or three milliseconds. A cut of more is made in pieces, between
batches of `RECORDS_BETWEEN_PARTS`, which write fewer anew, so that the pieces gain on learning."""

RECORDS_BETWEEN_PARTS = 2048

FAR_BEHIND_SECONDS = 2.0
"""More records to catch up than are learned in so long: freshness is worth little then."""

BEHIND_PUBLISH_SECONDS = 5.0
"""How often a version is published while far behind."""

RETRY_SECONDS = (0.2, 5.0)
"""First and longest pause before a failed attempt is repeated."""

PUBLISH_DUTY_FACTOR = 3.0
"""So many times as long as the last publishes took is waited from one to the next: however large versions are, learning
keeps most of the time."""

LONGEST_PUBLISH_SECONDS = 1.0
"""A publish that took longer, because Redis was away, says nothing about the next one."""

MAINTAIN_SECONDS = 10.0
BEHIND_MAINTAIN_SECONDS = 30.0
"""How often old versions are tidied up, and how often while far behind, when there are few."""

Result = TypeVar("Result")


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class KafkaLostRecords(RuntimeError):
    """The state has passed offsets that Kafka does not have: the topics are other ones than were learned from."""


@dataclass
class WorkerResources:
    """What the partitions of one worker share.

    Attributes:
        name: of the worker, for people.
        shards: how many partitions the topics have.
        decoding: one thread, which has the next batch ready while another is learned.
        learning: a thread for each core, so that partitions learn side by side. Whatever changes a shard happens here,
            and a partition awaits each such thing before the next: no shard is ever in two threads.
        input_output: threads that wait for Redis.
        tidying: one thread that folds old versions, so that several partitions never take all cores from learning.
        may_test: whether River is there yet, without which nobody learns from a test.
    """

    settings: Settings
    name: str
    shards: int
    store: VersionStore
    letters: DeadLetters
    metrics: WorkerMetrics
    code_version: str
    consumer: Callable[[], Consumer]
    decoding: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "decoding"))
    learning: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_cores(), "learning"))
    input_output: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(8, "redis"))
    tidying: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "tidying"))
    rate: SampleRate = field(init=False)
    may_test: bool = False
    newest_number: int = 0

    def __post_init__(self) -> None:
        self.rate = SampleRate(self.settings.test_cpu_share, self.settings.sample_floor)

    async def import_river(self) -> None:
        """Let lessons begin."""
        await asyncio.get_running_loop().run_in_executor(self.input_output, import_river)
        self.may_test = True

    async def in_learning(self, function: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self.learning, function, *arguments)

    async def with_redis(self, function: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self.input_output, function)

    def close(self) -> None:
        self.decoding.shutdown(wait=True)
        self.learning.shutdown(wait=True)
        self.input_output.shutdown(wait=False)
        self.tidying.shutdown(wait=False, cancel_futures=True)
        self.store.close()


class ShardRunner:
    """The shard of one partition number, on this worker.

    Args:
        number: of the partition.
        workshop: what all partitions share.
    """

    def __init__(self, number: int, workshop: WorkerResources) -> None:
        self.number = number
        self._shop = workshop
        self._names = workshop.settings.topics
        self._log = log.bind(partition=number)
        self._claim: Claim | None = None
        self._shard: Shard | None = None
        self._merge: Merge | None = None
        self._sessions: dict[str, int] = {}
        self._started_at: dict[str, int] = {}
        self._news = asyncio.Event()
        self._halting = False
        self._running: asyncio.Task[None] | None = None
        self._publishing: asyncio.Task[None] | None = None
        self._maintaining: asyncio.Task[None] | None = None
        self._letters: list[Rejection] = []
        self._missing: MissingRecords | None = None
        self._pieces: list[Delta] = []
        self._unpublished = 0
        self._published: dict[str, int] = {}
        self._next_publish = self._next_look = self._maintained = 0.0
        self._pace = LagEstimator()
        self._far_behind = False
        self._behind = math.inf
        self._publish_takes = 0.0

    # ---- called by the worker

    def start(self) -> None:
        """Begin, or go on after `halt`, with whatever state there is."""
        self._halting = False
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._live(), name=f"partition {self.number}")

    async def halt(self, patience_seconds: float) -> None:
        """Stop learning and publish what was learned, if that is possible soon. The state stays for `start`."""
        self._halting = True
        self._news.set()
        self._sessions = {}
        running = self._running
        if running is None:
            return
        await asyncio.wait([running], timeout=patience_seconds)
        if running.done():
            return
        # A cut that is under way and not published would be missing in the next one: the state must go with it.
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        self._forget()

    async def drop(self) -> None:
        """Give the state up: the partition is another worker's."""
        await self.halt(0.0)
        self._forget()
        if self._maintaining is not None:
            self._maintaining.cancel()
        self._shop.metrics.forget(self.number, list(self._names))

    def hand(self, fetch: Fetch) -> None:
        """Take over what a fetch brought."""
        if self._merge is None or self._sessions.get(fetch.topic) != fetch.session:
            return  # fetched before a seek, or before the partition moved
        try:
            self._merge.add(fetch.topic, fetch.records, since=fetch.since, next_offset=fetch.next_offset, end=fetch.end)
        except MissingRecords as error:
            self._missing, self._sessions = error, {}
        self._news.set()

    def has_room(self, topic: str) -> bool:
        return self._merge is not None and not self._merge.full(topic)

    def reached(self, topic: str, session: int, *, handed: int, position: int, end: int | None) -> None:
        """What is known of a topic in which nothing was fetched."""
        if self._merge is None or self._sessions.get(topic) != session:
            return
        held_up = bool(self._merge.held_up_by)
        self._merge.skipped(topic, since=handed, to=position)
        if end is not None:
            self._merge.known_end(topic, end)
        if held_up:
            self._news.set()

    @property
    def up_to_date(self) -> bool:
        """Whether one batch was all that there was to learn, when last looked."""
        return self._behind <= BATCH_RECORDS

    @property
    def published(self) -> Mapping[str, int]:
        """Next offsets of the newest published state, by our topic name."""
        return self._published

    # ---- its life

    async def _live(self) -> None:
        pause, longest = RETRY_SECONDS
        while not self._halting:
            try:
                await self._open()
                pause = RETRY_SECONDS[0]
                await self._learn()
            except MissingRecords as error:
                self._log.warning("fetching again from what is learned", reason=str(error))
            except (Fenced, StaleParent) as error:
                reason = "fenced" if isinstance(error, Fenced) else "stale"
                self._shop.metrics.refusals.labels(reason).inc()
                self._log.warning("a publish was refused; dropping this copy of the shard", reason=str(error))
                self._forget()
                # Was the partition taken from us, we hear of it with a heartbeat. Claiming it before would only
                # disturb its new owner.
                await self._pause(self._shop.settings.session_timeout_seconds / 2)
            except (RedisError, KafkaError, IllegalStateError, KafkaLostRecords, VersionError) as error:
                if isinstance(error, RedisError):
                    self._shop.metrics.redis_failures.inc()
                self._log.warning("can't open the shard yet; trying again", error=str(error) or repr(error))
                self._forget()
                await self._pause(pause)
                pause = min(2 * pause, longest)
            except Exception:  # whatever it is, the records are in Kafka and the last published state is whole
                self._log.exception("learning failed; going back to the last published state")
                self._forget()
                await self._pause(longest)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than until `halt`."""
        deadline = time.monotonic() + seconds
        while not self._halting and (left := deadline - time.monotonic()) > 0:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), left)

    def _forget(self) -> None:
        self._claim = self._shard = self._merge = None
        self._sessions = {}
        self._letters = []
        self._pieces = []
        self._unpublished = 0
        self._published = {}
        if self._publishing is not None:
            self._publishing.cancel()
            self._publishing = None

    # ---- claim, restore, seek

    async def _open(self) -> None:
        started = time.monotonic()
        partitions = {topic: TP(name, self.number) for topic, name in self._names.items()}
        consumer = self._shop.consumer()
        if self._shard is None:
            committed = await consumer.committed(partitions.values())
            known = {topic: committed[tp] for topic, tp in partitions.items() if tp in committed}
            claim, shard = await self._shop.with_redis(lambda: self._claim_and_restore(known))
            self._claim, self._shard = claim, shard
            self._published = dict(shard.offsets) if claim.head else {}
            self._shop.metrics.restores.inc()
            self._shop.metrics.restore_seconds.observe(time.monotonic() - started)
        offsets = await self._places(consumer, partitions, self._shard)
        self._started_at = {topic: offset for topic, (offset, _) in offsets.items()}
        # What is still on its way from before the seek, and further on, must not be taken for what follows it.
        self._sessions, self._missing = {}, None
        self._merge = Merge(self._started_at)
        for topic, (_, end) in offsets.items():
            self._merge.known_end(topic, end)
        sessions = await consumer.start_at({partitions[topic]: offset for topic, (offset, _) in offsets.items()})
        if not self._halting:  # else this session has ended before it began
            self._sessions = {topic: sessions[tp] for topic, tp in partitions.items()}
        self._pace = LagEstimator()
        self._maintained = time.monotonic()  # a start has better things to do than to tidy up
        self._log.info(
            "learning from here on",
            offsets={topic: offset for topic, (offset, _) in offsets.items()},
            behind=sum(end - offset for offset, end in offsets.values()),
            epoch=self._claim.epoch if self._claim else None,
            seconds=round(time.monotonic() - started, 3),
        )

    def _claim_and_restore(self, known_offsets: Mapping[str, int]) -> tuple[Claim, Shard]:
        shop = self._shop
        claim = shop.store.claim(
            self.number,
            worker=shop.name,
            token=uuid.uuid4().hex,
            now=time.time(),
            known_offsets=known_offsets,
            known_number=shop.newest_number,
            visitor_salt=shop.settings.model.visitor_salt,
        )
        if claim.new_lineage:
            self._log.warning(
                "Redis is older than what was published before; a new lineage of versions begins",
                lineage=claim.lineage,
                committed=dict(known_offsets),
                found=claim.head.offsets if claim.head else {},
            )
        place: dict[str, Any] = {
            "partition": self.number,
            "shards": shop.shards,
            "fields": shop.settings.fields,
            "max_future_seconds": shop.settings.max_future_seconds,
        }
        if claim.head is None:
            return claim, Shard(shop.settings.model, **place)
        tables = Tables(table_specs(shop.settings.model))
        state = shop.store.load(self.number, claim.head, TableWriter(tables))
        return claim, Shard.restore(shop.settings.model, tables, state, **place)

    async def _places(
        self, consumer: Consumer, partitions: Mapping[str, TP], shard: Shard
    ) -> dict[str, tuple[int, int]]:
        """Where to start in each topic, and where it ends."""
        places = {}
        ranges = await consumer.ranges(partitions.values())
        for topic, tp in partitions.items():
            first, end = ranges[tp]
            offset = shard.offsets.get(topic, 0)
            if offset > end:
                raise KafkaLostRecords(
                    f"model {self._shop.settings.model_name!r} has learned {tp.topic}-{self.number} up to offset "
                    f"{offset}, but Kafka's topic ends at {end}: it was made anew, or lost records. Nothing is learned "
                    "until it is the old topic again; for another topic use another CORRENTE_MODEL_NAME"
                )
            if offset < first:
                if offset > 0:
                    self._shop.metrics.lost.labels(topic).inc(first - offset)
                    self._log.error(
                        "Kafka's retention removed records before they were learned",
                        topic=tp.topic,
                        first_lost=offset,
                        first_kept=first,
                    )
                else:
                    self._log.info("Kafka no longer has the beginning of a topic", topic=tp.topic, first_kept=first)
                offset = first
            places[topic] = (offset, end)
        return places

    # ---- learn

    async def _learn(self) -> None:
        shop = self._shop
        assert self._shard is not None and self._merge is not None
        ahead: asyncio.Future[tuple[Batch, float]] | None = None
        while True:
            self._look_at_publishing()
            if self._missing is not None:
                raise self._missing
            now = time.monotonic()
            if self._unpublished and self._publishing is None and (now >= self._next_publish or self._halting):
                await self._cut(now)
            if self._halting:
                if self._publishing is not None:
                    await asyncio.wait([self._publishing])
                elif not self._unpublished:
                    return
                continue
            if now >= self._next_look:
                self._next_look = now + 0.5
                self._look_around(now)
            ahead = ahead or self._next_batch()
            if ahead is None:
                await self._wait(now)
                continue
            batch, decoding_seconds = await ahead
            ahead = self._next_batch()  # is decoded while this one is learned
            count = len(batch.records)
            rate = shop.rate.next(now, count) if shop.may_test else 0.0
            letters, seconds, outcomes = await shop.in_learning(_learned, self._shard, batch, rate)
            for topic, outcome, more in outcomes:
                shop.metrics.records.labels(topic, outcome).inc(more)
            shop.rate.spent(count, rate, decoding_seconds + seconds, time.monotonic())
            self._unpublished += count
            self._pace.learned += count
            self._letters += letters

    def _next_batch(self) -> asyncio.Future[tuple[Batch, float]] | None:
        """Have the next records decoded, and the CPU seconds told; None if there is none to learn now.

        Whoever forgets what this gives must open the partition anew: the merge has handed these records out.
        """
        assert self._shard is not None and self._merge is not None
        if self._unpublished >= MOST_UNPUBLISHED:
            return None
        records = self._merge.take(RECORDS_BETWEEN_PARTS if self._pieces else BATCH_RECORDS)
        if not records:
            return None
        return asyncio.get_running_loop().run_in_executor(self._shop.decoding, _decoded, self._shard, records)

    async def _wait(self, now: float) -> None:
        """For records, for the next version's time, or for the end of a publish."""
        seconds = 0.5
        if self._unpublished and self._publishing is None:
            seconds = min(seconds, max(0.0, self._next_publish - now))
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)

    def _look_around(self, now: float) -> None:
        """Lag, pace, and how often to publish."""
        assert self._shard is not None and self._merge is not None
        shop, label = self._shop, str(self.number)
        behind = 0
        for topic, end in self._merge.end.items():
            reached = max(self._shard.offsets.get(topic, 0), self._started_at[topic])
            lag = max(0, end - reached) if end is not None else 0
            shop.metrics.lag.labels(topic, label).set(lag)
            behind += lag
        self._behind = behind
        self._pace.look(now, behind)
        shop.metrics.catch_up.labels(label).set(self._pace.catch_up_seconds)
        shop.metrics.unpublished.labels(label).set(self._unpublished)
        shop.metrics.clock.labels(label).set(self._shard.clock)
        shop.metrics.sample_rate.set(shop.rate.wanted(now))
        shop.metrics.learn_seconds.set(shop.rate.learn_seconds)
        shop.metrics.test_seconds.set(shop.rate.test_seconds)
        shop.metrics.learning_cpu.set(shop.rate.spent_learning)
        shop.metrics.testing_cpu.set(shop.rate.spent_testing)
        far = behind > max(BATCH_RECORDS, FAR_BEHIND_SECONDS * self._pace.learned_a_second)
        if far != self._far_behind:
            self._far_behind = far
            if not far:
                self._next_publish = min(self._next_publish, now)  # it was put off while nobody waited for it
                self._publish_takes = 0.0  # how long versions of a backlog took says nothing of those that follow
            self._log.info(
                "far behind; publishing less often" if far else "up to date; publishing as usual",
                records=behind,
                records_a_second=round(self._pace.learned_a_second),
                catch_up_seconds=round(self._pace.catch_up_seconds, 1),
            )
        elif far and self._pace.tell(now):
            self._log.info(
                "catching up",
                records=behind,
                records_a_second=round(self._pace.learned_a_second),
                catch_up_seconds=round(self._pace.catch_up_seconds, 1),
            )
        every = BEHIND_MAINTAIN_SECONDS if far else MAINTAIN_SECONDS
        if now >= self._maintained + every and self._maintaining is None and self._published:
            self._maintained = now
            self._maintaining = asyncio.create_task(self._maintain())

    # ---- publish

    async def _cut(self, now: float) -> None:
        """Take the next piece of what was written; if it was the last, publish."""
        assert self._shard is not None and self._claim is not None
        piece, seconds = await self._shop.in_learning(_piece, self._shard)
        self._shop.metrics.cut_seconds.observe(seconds)
        self._shop.metrics.held("learning", seconds)
        if not isinstance(piece, Checkpoint):
            self._pieces.append(piece)
            return
        self._next_publish = now + self._publish_every()
        pieces, self._pieces = [*self._pieces, piece.delta], []
        letters, self._letters = self._letters, []
        records, self._unpublished = self._unpublished, 0
        dead = [
            dead_letter(letter, topic=self._names[letter.record.topic], partition=self.number) for letter in letters
        ]
        self._publishing = asyncio.create_task(self._publish(self._claim, piece, pieces, dead, records, now))
        self._publishing.add_done_callback(lambda _: self._news.set())

    def _publish_every(self) -> float:
        """Seconds from the start of one publish to the start of the next."""
        often = max(self._shop.settings.publish_seconds, PUBLISH_DUTY_FACTOR * self._publish_takes)
        return max(often, BEHIND_PUBLISH_SECONDS) if self._far_behind else often

    def _look_at_publishing(self) -> None:
        """Raises what a publish ended with, if one has ended."""
        if self._publishing is not None and self._publishing.done():
            finished, self._publishing = self._publishing, None
            finished.result()

    async def _publish(
        self,
        claim: Claim,
        cut: Checkpoint,
        pieces: list[Delta],
        letters: list[DeadLetter],
        records: int,
        started: float,
    ) -> None:
        """Raises `Fenced` or `StaleParent`; everything else is tried again."""
        shop = self._shop
        if len(pieces) > 1:
            cut = await shop.with_redis(lambda: replace(cut, delta=fold_all(pieces)))
        await shop.letters.send(letters)
        pause, longest = RETRY_SECONDS
        while True:
            try:
                version = await shop.with_redis(lambda: self._send(claim, cut))
                break
            except RedisError as error:
                shop.metrics.redis_failures.inc()
                self._log.warning("could not publish a version; learning goes on", error=str(error) or repr(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
        shop.newest_number = max(shop.newest_number, version.number)
        previous, self._published = self._published, dict(cut.state["offsets"])
        seconds = time.monotonic() - started
        self._publish_takes += 0.2 * (min(seconds, LONGEST_PUBLISH_SECONDS) - self._publish_takes)
        shop.metrics.version.set(version.number)
        shop.metrics.publish_seconds.observe(seconds)
        shop.metrics.cut_bytes.observe(delta_bytes(cut.delta))
        shop.metrics.state(self.number, cut.state)
        self._log.debug(
            "published a version",
            version=version.number,
            records=records,
            letters=len(letters),
            seconds=round(seconds, 3),
            first=not previous,
        )

    def _send(self, claim: Claim, cut: Checkpoint) -> Version:
        shop = self._shop
        return shop.store.publish(
            claim,
            cut,
            settings=shop.settings.model.model_dump(mode="json"),
            code_version=shop.code_version,
            now=time.time(),
        )

    async def _maintain(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._shop.tidying, self._tidy)
        except (RedisError, VersionError) as error:
            self._log.warning("could not tidy up old versions; trying again later", error=str(error) or repr(error))
        except Exception:  # old versions in the way are no reason to stop learning
            self._log.exception("tidying up old versions failed")
        finally:
            self._maintaining = None

    def _tidy(self) -> None:
        """Fold keyframes and thin out old versions."""
        settings = self._shop.settings
        policy = Policy(
            keep_last=settings.keep_last,
            keep_minutes=settings.keep_minutes,
            keep_hours=settings.keep_hours,
            keep_days=settings.keep_days,
        )
        done = compact(self._shop.store, self.number, policy, time.time())
        self._log.debug("tidied up old versions", **done._asdict())


@dataclass
class LagEstimator:
    """How fast records are learned, and how long it will take to catch up."""

    learned: int = 0
    learned_a_second: float = 0.0
    catch_up_seconds: float = 0.0
    _looked: float | None = None
    _behind: int = 0
    _told: float = 0.0
    _gained_a_second: float = 0.0

    def look(self, now: float, behind: int) -> None:
        """Take the pace since the last look."""
        if self._looked is not None and now > self._looked:
            passed = now - self._looked
            kept = 0.7 if self.learned_a_second else 0.0
            self.learned_a_second = kept * self.learned_a_second + (1 - kept) * self.learned / passed
            self._gained_a_second = kept * self._gained_a_second + (1 - kept) * (self._behind - behind) / passed
        self._looked, self._behind, self.learned = now, behind, 0
        if not behind:
            self.catch_up_seconds = 0.0
        elif self._gained_a_second > 0:
            self.catch_up_seconds = behind / self._gained_a_second
        else:
            self.catch_up_seconds = float("inf")

    def tell(self, now: float) -> bool:
        """Whether it is time to log it again."""
        if now - self._told < 10.0:  # seconds
            return False
        self._told = now
        return True


def _decoded(shard: Shard, records: list[Record]) -> tuple[Batch, float]:
    """The batch, and CPU seconds."""
    started = time.thread_time()
    return shard.decoded(records), time.thread_time() - started


def _learned(shard: Shard, batch: Batch, rate: float) -> tuple[list[Rejection], float, list[tuple[str, str, int]]]:
    """Letters, CPU seconds, and how many records of which topic had which outcome."""
    started = time.thread_time()
    before = {topic: dict(counts) for topic, counts in shard.counters.items()}
    letters = shard.learn(batch, rate)
    outcomes = [
        (topic, outcome, more)
        for topic, counts in shard.counters.items()
        for outcome, count in counts.items()
        if (more := count - before.get(topic, {}).get(outcome, 0))
    ]
    return letters, time.thread_time() - started, outcomes


def _piece(shard: Shard) -> tuple[Checkpoint | Delta, float]:
    """The next piece of a cut, and for how many seconds it held learning up."""
    started = time.monotonic()
    with long_switch_interval():
        piece = shard.next_part(PART_BLOCKS)
    return piece, time.monotonic() - started
