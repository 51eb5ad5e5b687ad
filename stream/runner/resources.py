"""Threads, connections and counters that the shards of one worker share.

This file decides which work runs in which threads. Learning gets a thread for each core; decoding, Redis and compaction
get threads of their own, so that none of them holds learning up.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from faust.types import TP

from stream.catalogue_store.live import LiveCatalogue
from stream.catalogue_store.store import CatalogueStore
from stream.catalogue_topics.reader import DocumentReader
from stream.kafka.fetch import SeekableConsumer
from stream.kafka.identity.topic_ids import TopicIds
from stream.kafka.letter_writer import DeadLetters
from stream.registry.lookup import SchemaLookup
from stream.runner.clock import Clock
from stream.runner.metrics import WorkerMetrics
from stream.runner.sampling_budget import SampleRate
from stream.runner.warmup import import_river
from stream.settings import Settings
from stream.standby.follower import Follower
from stream.versions import Policy, VersionStore
from stream.versions.compaction import Compacted
from stream.versions.damage.suspicion import Suspicions

MAX_UNPUBLISHED_RECORDS = 3_000_000
"""Records that may be learned and in no version, before learning waits for Redis."""

Result = TypeVar("Result")


def _cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class WorkerResources:
    """Everything that the runners of one worker share. Nothing connects before it is first used.

    Attributes:
        settings: of the worker.
        name: of the worker, for people.
        store: of the versions.
        compact: folds and thins out old versions of a shard: number of the shard, policy, seconds since the epoch.
        dead_letters: keeps the records that could not be learned.
        metrics: of the worker.
        code_version: of this program, for manifests.
        topic_ids: identities of topics, to see that one is another than it was.
        consumer: gives Kafka's consumer; called whenever a shard is opened.
        follower: keeps the newest state in memory while this worker stands by; None if it doesn't.
        schemas: of records in Confluent's wire format; None if there is no registry.
        clock: time of everything here.
        max_unpublished_records: see `MAX_UNPUBLISHED_RECORDS`.
        decoding: one thread, which has the next batch ready while another is learned.
        learning: a thread for each core, so that shards learn side by side. Everything that changes a shard happens
            here, and its runner awaits each such call before the next: no shard is ever in two threads.
        redis: threads that wait for Redis.
        compacting: one thread that folds old versions, so that several shards never take all cores from learning.
        sample_rate: share of the events that is tested.
        may_test: True once River is imported; testing an event learns with it.
        newest_number: the highest version number that was published from here.
        witnesses: newest witness of each log of a topic without an id; it may be in no published state yet.
        suspicions: newest states that could not be read once.
        catalogue: the catalogue in memory, for reading alone; None before `follow_catalogue`. Learning looks at nothing
            but who refuses profiling.
        documents: reads the topics of documents while no other worker does; None before `follow_catalogue`.
    """

    settings: Settings
    name: str
    store: VersionStore
    compact: Callable[[int, Policy, float], Compacted]
    dead_letters: DeadLetters
    topic_ids: TopicIds
    metrics: WorkerMetrics
    code_version: str
    consumer: Callable[[], SeekableConsumer]
    follower: Follower | None = None
    schemas: SchemaLookup | None = None
    clock: Clock = field(default_factory=Clock)
    max_unpublished_records: int = MAX_UNPUBLISHED_RECORDS
    decoding: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "decoding"))
    learning: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_cores(), "learning"))
    redis: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(8, "redis"))
    compacting: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "compacting"))
    sample_rate: SampleRate = field(init=False)
    may_test: bool = False
    newest_number: int = 0
    witnesses: dict[TP, str] = field(default_factory=dict)
    suspicions: Suspicions = field(default_factory=Suspicions)
    catalogue: LiveCatalogue | None = None
    documents: DocumentReader | None = None

    def __post_init__(self) -> None:
        self.sample_rate = SampleRate(self.settings.test_cpu_share, self.settings.sample_floor)

    def follow_catalogue(self) -> asyncio.Task[None]:
        """Follow the catalogue in a thread, and read the topics of documents in the task that is returned."""
        store, metrics = CatalogueStore(self.store), self.metrics

        def show() -> None:
            if self.catalogue is not None:
                metrics.show_catalogue(self.catalogue.catalogue.current, behind=self.catalogue.behind)

        self.catalogue = LiveCatalogue(store, self.settings.poll_seconds, show)
        self.catalogue.start()
        self.documents = DocumentReader(
            self.settings,
            store,
            self.name,
            self.dead_letters,
            self.with_redis,
            metrics.count_documents,
            metrics.show_document_lag,
        )
        return asyncio.create_task(self.documents.run())

    async def disconnect(self) -> None:
        """Let another worker read the topics of documents, and end the connections to Kafka."""
        if self.documents is not None:
            await self.documents.give_up()
        await self.dead_letters.stop()
        await self.topic_ids.close()

    async def import_river(self) -> None:
        """Import River off the event loop; only then are events tested."""
        await asyncio.get_running_loop().run_in_executor(self.redis, import_river)
        self.may_test = True
        self.metrics.sample_rate.set(self.sample_rate.wanted(self.clock.monotonic()))

    async def in_learning(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run a function in a learning thread."""
        return await asyncio.get_running_loop().run_in_executor(self.learning, function, *arguments)

    async def with_redis(self, function: Callable[[], Result]) -> Result:
        """Run a function that waits for Redis in a thread for that."""
        return await asyncio.get_running_loop().run_in_executor(self.redis, function)

    def close(self) -> None:
        """End the threads and close the connection to Redis; waits for learning, but not for Redis."""
        if self.catalogue is not None:
            self.catalogue.stop(wait=False)
        self.decoding.shutdown(wait=True)
        self.learning.shutdown(wait=True)
        self.redis.shutdown(wait=False)
        self.compacting.shutdown(wait=False, cancel_futures=True)
        if self.schemas is not None:
            self.schemas.close()
        self.store.close()
