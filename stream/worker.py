"""The worker: a Faust app whose agents deliver whole fetches to the shards of this process.

    faust -A stream.worker worker         or        corrente worker

Three agents, over `clicks`, `purchases` and `feedback`, do nothing but deliver. Kafka's group decides which
topic-partitions are this worker's; each shard that they make complete gets a `ShardRunner`, which claims, restores,
learns and publishes.

Producers that want the events of a visitor in order use the visitor as the record's key and partition with murmur2, as
Java clients do by default (librdkafka: `partitioner=murmur2_random`). Events that are keyed otherwise are learned too,
each exactly once.

This file decides what starts and ends when. No module but its command imports it; programs name it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import re
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import faust
from aiokafka.errors import KafkaError
from faust.tables.manager import TableManager
from faust.types import TP
from redis.exceptions import RedisError
from structlog import get_logger

from stream.health.endpoints import serve as serve_health
from stream.health.standing import Standing
from stream.ingest.origins import origin_of
from stream.kafka.fetch import Fetch, Position
from stream.kafka.group import client_id
from stream.kafka.letter_writer import DeadLetters
from stream.kafka.refusals import CannotLearn
from stream.kafka.topic_ids import IdentitiesUnknown, TopicIds
from stream.kafka.topics import prepare_topics
from stream.kafka.transport import FetchSchema, Transport
from stream.kafka.watch import LOOK_SECONDS, KafkaWatch, check_group, partitions_added
from stream.runner.assignment import group_by_shard, name_of
from stream.runner.metrics import WorkerMetrics
from stream.runner.recovery import check_cluster
from stream.runner.resources import WorkerResources
from stream.runner.task import ShardRunner
from stream.runner.warmup import warm_up
from stream.runtime.gil import use_short_switch_interval
from stream.runtime.logs import configure_logs
from stream.runtime.malloc import return_large_pieces
from stream.settings import Settings, load_settings
from stream.versions import VersionError, VersionStore, salt_problem
from stream.versions.compaction import compact

log = get_logger(__name__)

LAST_PUBLISH_SECONDS = 4.0
"""Longest time for the last publish of a worker that stops or has to give a partition up."""

GARBAGE_THRESHOLDS = (200_000, 20, 50)
"""Thresholds of Python's cycle collector: new objects, then young collections, then middle ones."""

RIVER_AFTER_SECONDS = 2.0
"""Longest time for which a worker that is ready but still behind puts the import of River off."""

METADATA_MILLISECONDS = 2_000
"""Longest time until a topic that was deleted and created again, or got partitions, is assigned anew. aiokafka's own
five minutes would be five minutes of nothing."""

LOOP_LAG_PROBE_SECONDS = 0.02
"""Interval of the event-loop lag probe."""


class NoTables(TableManager):
    """A table manager that doesn't wait. Faust's own waits a second for tables, and this app declares none."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class WorkerApp(faust.App):
    """Faust's app with our transport and our order of stopping."""

    worker: Worker

    def _new_transport(self) -> Transport:
        settings = self.worker.settings
        return Transport(self.conf.broker_consumer, self, owner=self.worker, model=settings.model_name)

    def _create_directories(self) -> None:
        """Create none: nothing is kept on disk."""

    async def on_start(self) -> None:
        """Do everything that must be right before the group is joined."""
        await self.worker.prepare_or_refuse()
        await super().on_start()
        self.worker.watch(lambda: self.consumer.group_error(), self.end)

    def end(self, reason: CannotLearn) -> None:
        """End the process in good order, as if it was told to stop, but with exit code 1."""
        root = self.beacon.root
        if root is not None:
            root.data.crash_reason = reason  # raised when everything has stopped
        os.kill(os.getpid(), signal.SIGTERM)

    async def on_stop(self) -> None:
        """Publish what was learned, commit its offsets, and only then leave the group."""
        await self.worker.halt()
        await self.consumer.commit()
        await super().on_stop()
        await self.worker.close()


class Worker:
    """The shards of this process. It is the `PartitionOwner` of the transport.

    Args:
        resources: everything that the shards share.
        shards: number of partitions of each topic; `prepare` asks Kafka for it.

    Attributes:
        refusal: the reason why this worker ends by itself; None while it doesn't.
    """

    def __init__(self, resources: WorkerResources, shards: int = 0) -> None:
        self.settings = resources.settings
        self._resources = resources
        self._runners: dict[int, ShardRunner] = {}
        self._runner_of: dict[TP, ShardRunner] = {}
        self._shards = shards
        self._our_names = {kafka_name: topic for topic, kafka_name in self.settings.topics.items()}
        self.refusal: CannotLearn | None = None
        self._end: Callable[[CannotLearn], None] = _raise
        self._stopping = False
        self._was_assigned = False
        self._background: list[asyncio.Task[None]] = []

    async def prepare_or_refuse(self) -> None:
        """Do what `prepare` does, and note why it can't be done.

        Raises:
            CannotLearn: the worker has to end, and the text says why.
        """
        try:
            await self.prepare()
        except CannotLearn as error:
            self._refuse(error)
            raise
        except KafkaError as error:
            refusal = CannotLearn(f"Kafka at {self.settings.kafka} can't be used: {error!r}. Check CORRENTE_KAFKA")
            self._refuse(refusal)
            raise refusal from error

    def _refuse(self, refusal: CannotLearn) -> None:
        self.refusal = refusal
        log.error("this worker can't learn, and ends", reason=str(refusal))

    async def prepare(self) -> None:
        """Check topics, compile kernels, start metrics.

        Raises:
            CannotLearn: topics can't be learned from as they are, or the consumer group belongs to others.
            KafkaError: no broker answered.
        """
        gc.disable()  # until everything that stays is imported, see `_enable_collector`
        return_large_pieces()
        settings, resources = self.settings, self._resources
        self._shards = await prepare_topics(settings)
        await check_group(settings)
        await self._check_cluster()
        seconds = await resources.in_learning(warm_up, settings.model)
        use_short_switch_interval()
        importing = asyncio.create_task(self._import_river())
        importing.add_done_callback(_enable_collector)
        self._background.append(importing)
        await self._log_redis_problems()
        if problem := salt_problem(settings.model.visitor_salt):
            log.warning("the visitor salt is weak", problem=problem)
        if settings.metrics_port:
            serve_health(settings.metrics_port, resources.metrics.registry, self.standing, settings.metrics_host)
            self._background.append(asyncio.create_task(_probe_loop_lag(resources.metrics)))
        log.info(
            "ready to join the group",
            group=settings.consumer_group,
            kafka=settings.kafka,
            partitions=self._shards,
            model=settings.model_name,
            warm_up_seconds=round(seconds, 2),
            version=resources.code_version,
        )

    def watch(
        self,
        group_error: Callable[[], Awaitable[KafkaError | None]],
        end: Callable[[CannotLearn], None],
    ) -> None:
        """Look at topics and group from now on; call `end` if this worker can't go on."""
        self._end = end

        async def watch() -> None:
            while True:
                try:
                    await KafkaWatch(self.settings, self._shards, group_error, self._confirm_topics).run()
                except CannotLearn as error:
                    self._refuse(error)
                    return end(error)
                except Exception:  # a watch that fails is no reason to stop learning, and watching goes on
                    log.exception("looking at topics and group failed")
                    await asyncio.sleep(LOOK_SECONDS)

        self._background.append(asyncio.create_task(watch()))

    async def _confirm_topics(self) -> None:
        await asyncio.gather(*(runner.confirm_topics() for runner in self._runners.values()))

    async def _import_river(self) -> None:
        """Import River once there is time for it.

        Beside joining the group and catching up, the import takes turns with everything that happens then: the first
        event comes later, and each step of the event loop takes several times as long.
        """
        latest = time.monotonic() + RIVER_AFTER_SECONDS
        while time.monotonic() < latest and not self._up_to_date():  # noqa: ASYNC110  two seconds, any of several
            await asyncio.sleep(LOOP_LAG_PROBE_SECONDS)
        await self._resources.import_river()

    def _up_to_date(self) -> bool:
        return bool(self._runners) and all(runner.up_to_date for runner in self._runners.values())

    async def _check_cluster(self) -> None:
        """Refuse a model of another Kafka cluster; without an answer, each shard asks again before it is claimed."""
        resources = self._resources
        try:
            found = await resources.topic_ids.look_up(TP(name, 0) for name in self.settings.topics.values())
            cluster = next(iter(found.values())).cluster
            await resources.with_redis(lambda: check_cluster(cluster, resources.store, self.settings))
        except (RedisError, VersionError, IdentitiesUnknown) as error:
            log.warning("can't see yet whether the model learns from this Kafka", error=str(error) or repr(error))

    async def _log_redis_problems(self) -> None:
        """Log what is dangerous in the configuration of Redis."""
        try:
            for problem in await self._resources.with_redis(self._resources.store.redis_problems):
                log.warning("Redis may lose versions", caution=problem)
        except RedisError as error:
            log.warning("Redis does not answer yet", redis=_without_password(self.settings.redis), error=str(error))

    def deliver(self, fetch: Fetch) -> None:
        """Take over a fetch from an agent; it is dropped if its shard isn't learned here."""
        runner = self._runner_of.get(fetch.tp)
        if runner is not None:
            runner.deliver(fetch)

    async def halt(self) -> None:
        """Stop learning and publish what was learned; nothing starts again afterwards."""
        self._stopping = True
        await self._halt_runners(LAST_PUBLISH_SECONDS)

    async def close(self) -> None:
        """Give all shards up, and end threads and connections."""
        for task in self._background:
            task.cancel()
        for runner in list(self._runners.values()):
            await runner.drop()
        await self._resources.dead_letters.stop()
        await self._resources.topic_ids.close()
        self._resources.close()

    # ---- called by the transport

    async def revoked(self, _: Iterable[TP]) -> None:
        """Stop learning until the rebalance has ended, and publish everything that was learned."""
        await self._halt_runners(min(LAST_PUBLISH_SECONDS, self.settings.session_timeout_seconds / 2))

    async def assigned(self, partitions: set[TP]) -> None:
        """Start the shards that these topic-partitions make complete, and drop the others; a rebalance has ended.

        Shards that stay go on with the state that they have. If another worker owned one in between, its first publish
        is refused.

        If the topics got more partitions since this worker started, it ends.
        """
        if self._stopping:
            return
        known = dict.fromkeys(self.settings.topics.values(), self._shards)
        grouping = group_by_shard(partitions, self.settings.topics, self._shards, known)
        counts: dict[str, int] = {}
        for tp in partitions:
            counts[tp.topic] = max(counts.get(tp.topic, 0), tp.partition + 1)
        refusal = partitions_added(counts, self._shards, self.settings)
        if refusal is not None:
            self._refuse(refusal)
            self._end(refusal)
            return
        for shard, absent in grouping.absent.items():
            log.error(
                "only a part of a partition was assigned; it is not learned",
                partition=shard,
                absent=[name_of(tp) for tp in absent],
            )
        for shard in set(self._runners) - set(grouping.shards):
            await self._runners.pop(shard).drop()
        for shard, assignment in grouping.shards.items():
            if shard not in self._runners:
                self._runners[shard] = ShardRunner(assignment, self._resources)
            elif assignment != self._runners[shard].assignment:
                self._runners[shard].reassign(assignment)
        self._runner_of = {tp: runner for runner in self._runners.values() for tp in runner.assignment.partitions}
        for runner in self._runners.values():
            runner.start()
        self._was_assigned = True
        self._resources.metrics.partitions.set(len(self._runners))
        log.info("assigned", partitions=sorted(self._runners))

    def origin(self, tp: TP) -> str:
        """The origin of one of the topic-partitions of the event topics."""
        return origin_of(self._our_names[tp.topic], tp.partition, tp.partition % self._shards)

    def has_room(self, tp: TP) -> bool:
        """Return True if more records of this topic-partition are wanted now."""
        runner = self._runner_of.get(tp)
        return runner is not None and runner.has_room(tp)

    def note_position(self, position: Position) -> None:
        """Take the progress of a topic-partition for which nothing was fetched."""
        runner = self._runner_of.get(position.tp)
        if runner is not None:
            runner.note_position(position)

    def published(self) -> Mapping[TP, int]:
        """Next offsets of the published states, to be committed."""
        return {tp: offset for runner in self._runners.values() for tp, offset in runner.published.items()}

    def standing(self) -> Mapping[int, Standing] | None:
        """The partitions of this worker that stand still, and why; None before the first assignment."""
        if not self._was_assigned:
            return None
        found = {shard: runner.standing for shard, runner in list(self._runners.items())}
        return {shard: standing for shard, standing in found.items() if standing is not None}

    async def _halt_runners(self, patience_seconds: float) -> None:
        await asyncio.gather(*(runner.halt(patience_seconds) for runner in self._runners.values()))


def make_app(settings: Settings) -> WorkerApp:
    """The Faust app of one worker process. Nothing connects before the app starts."""
    session_seconds = settings.session_timeout_seconds
    app = WorkerApp(
        settings.consumer_group,
        broker=[f"kafka://{server.strip()}" for server in settings.kafka.split(",")],
        store="memory://",
        TableManager=NoTables,
        datadir=str(Path(gettempdir()) / "corrente-keeps-nothing-here"),
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        broker_client_id=client_id(settings.model_name),
        broker_session_timeout=session_seconds,
        broker_heartbeat_interval=session_seconds / 10,  # a joining worker waits for the next heartbeat of all others
        broker_commit_interval=1.0,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 * 1024 * 1024,
        consumer_metadata_max_age_ms=METADATA_MILLISECONDS,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        worker_redirect_stdouts=False,
        logging_config=configure_logs(settings.log_format, settings.log_level, reported_elsewhere=(CannotLearn,)),
    )
    store = VersionStore.connect(settings.redis, settings.model_name)
    metrics = WorkerMetrics()
    ours = {kafka_name: topic for topic, kafka_name in settings.topics.items()}
    app.worker = Worker(
        WorkerResources(
            settings=settings,
            name=f"{socket.gethostname()}:{os.getpid()}",
            store=store,
            compact=partial(compact, store),
            dead_letters=DeadLetters(
                settings.kafka,
                settings.dead_letters_topic,
                on_lost=lambda letter: metrics.lost_letters.labels(ours[letter.topic]).inc(),
            ),
            topic_ids=TopicIds(settings.kafka),
            metrics=metrics,
            code_version=code_version(),
            consumer=lambda: app.consumer,
        )
    )
    schema = FetchSchema()
    for topic, kafka_name in settings.topics.items():

        async def deliver(messages: Any) -> None:
            async for fetches in messages:
                for fetch in fetches:
                    app.worker.deliver(fetch)

        channel = app.topic(kafka_name, schema=schema, acks=False)
        app.agent(channel, name=f"stream.worker.{topic}")(deliver)

    async def revoked(_: Any, partitions: set[TP], **__: Any) -> None:
        await app.worker.revoked(partitions)

    app.on_partitions_revoked.connect(revoked, weak=False)
    return app


def _enable_collector(importing: asyncio.Task[None]) -> None:
    """Enable the cycle collector, for objects that are created from now on: everything that stays is imported.

    Records and events live for a moment, by hundreds of thousands, and are in no cycles. Looking for cycles among them
    at Python's default thresholds takes a third of the time that Python code has here.
    """
    if not importing.cancelled() and (error := importing.exception()) is not None:
        log.error("River can't be imported: events are learned, and none is tested", error=str(error))
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    gc.enable()


def _raise(refusal: CannotLearn) -> None:
    raise refusal


async def _probe_loop_lag(metrics: WorkerMetrics) -> None:
    """Note by how much the event loop is late, every `LOOP_LAG_PROBE_SECONDS`."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOP_LAG_PROBE_SECONDS
        await asyncio.sleep(LOOP_LAG_PROBE_SECONDS)
        metrics.note_hold("loop", max(0.0, loop.time() - due))


def _without_password(url: str) -> str:
    return re.sub(r"//[^@/]*@", "//", url)


def code_version() -> str:
    """The version of this program, for manifests."""
    try:
        return version("corrente")
    except PackageNotFoundError:  # a checkout that isn't installed
        return f"checkout, Python {platform.python_version()}"


def __getattr__(name: str) -> Any:
    """Make `app` when Faust asks for it, so that importing this file reads no environment."""
    if name == "app":
        return globals().setdefault("app", make_app(load_settings()))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
