"""The worker: a Faust app whose agents deliver whole fetches to the shards of this process.

    faust -A stream.worker worker         or        corrente worker

Three agents, over `clicks`, `purchases` and `feedback`, do nothing but deliver. The group's assignor decides which
shards are this worker's, and gives it all of their topic-partitions. Each shard gets a `ShardRunner`, which claims,
restores, learns and publishes. A worker without a shard stands by: it is ready to take one over.

Producers that want the events of a visitor in order use the visitor as the record's key and partition with murmur2, as
Java clients do by default (librdkafka: `partitioner=murmur2_random`). Events that are keyed otherwise are learned too,
each exactly once.

This file decides what starts and ends when. No module but its command imports it; programs name it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any

import faust
from aiokafka.errors import KafkaError
from faust.tables.manager import TableManager
from faust.types import TP
from structlog import get_logger

from stream.health.endpoints import serve as serve_health
from stream.health.reporting import keep_reporting
from stream.health.standing import Standing
from stream.kafka.assignor import ShardAssignor, Terms
from stream.kafka.connection.faust_settings import faust_settings
from stream.kafka.fetch import Fetch, Position
from stream.kafka.group import client_id
from stream.kafka.identity.topic_ids import TopicIds
from stream.kafka.known_topics import KnownTopics
from stream.kafka.letter_writer import DeadLetters
from stream.kafka.refusals import CannotLearn
from stream.kafka.topics import find_topics
from stream.kafka.transport import FetchSchema, Transport
from stream.kafka.watch import LOOK_SECONDS, KafkaWatch, check_group
from stream.registry.lookup import schema_lookup
from stream.runner.assignment import group_by_shard
from stream.runner.metrics import WorkerMetrics
from stream.runner.resources import WorkerResources
from stream.runner.task import ShardRunner
from stream.runner.warmup import warm_up
from stream.runtime.collector import disable_collector
from stream.runtime.gil import use_short_switch_interval
from stream.runtime.late_import import end_of_import, import_later
from stream.runtime.logs import configure_logs
from stream.runtime.loop_lag import probe_loop_lag
from stream.runtime.malloc import return_large_pieces
from stream.runtime.release import code_version
from stream.settings import Settings, load_settings
from stream.standby.follower import Follower, follow
from stream.start_checks import check_versions, log_problems
from stream.versions import VersionStore
from stream.versions.compaction import compact

log = get_logger(__name__)

LAST_PUBLISH_SECONDS = 4.0
"""Longest time for the last publish of a worker that stops or has to give a partition up."""

METADATA_MILLISECONDS = 2_000
"""Longest time until a topic that was deleted and created again, or got partitions, is assigned anew. With aiokafka's
own five minutes, nothing would be learned from them for that long."""


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
        options: Any = {"model": settings.model_name, "schema_headers": bool(settings.schema_registry)}
        return Transport(self.conf.broker_consumer, self, owner=self.worker, **options)

    def _create_directories(self) -> None:
        """Create none: nothing is kept on disk."""

    async def on_start(self) -> None:
        """Do everything that must be right before the group is joined."""
        await self.worker.prepare_or_refuse()
        if self.should_stop:
            return
        await super().on_start()
        self.worker.watch(lambda: self.consumer.group_error(), lambda: self.consumer.read_present_topics(), self.end)

    def end(self, reason: CannotLearn) -> None:
        """End the process in good order, as SIGTERM does, but with exit code 1."""
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

    Attributes:
        refusal: the reason why this worker ends by itself; None while it doesn't.
    """

    def __init__(self, resources: WorkerResources) -> None:
        self.settings = resources.settings
        self._resources = resources
        self._runners: dict[int, ShardRunner] = {}
        self._runner_of: dict[TP, ShardRunner] = {}
        self._topics = KnownTopics(resources.settings)
        self.refusal: CannotLearn | None = None
        self._end: Callable[[CannotLearn], None] = _raise
        self._stopping = False
        self._was_assigned = self._standing_by = False
        self._background: list[asyncio.Task[None]] = []

    async def prepare_or_refuse(self) -> None:
        """Do what `prepare` does, and note why it can't be done. A worker that is stopped meanwhile just ends.

        Raises:
            CannotLearn: the worker has to end, and the text says why.
        """
        try:
            await self.prepare()
        except CannotLearn as error:
            self._refuse(error)
            raise
        except Exception as error:
            if self._stopping:  # its threads and connections end while it starts
                return
            if not isinstance(error, KafkaError | TimeoutError):
                raise
            raise self.refuse_kafka(error) from error

    def _refuse(self, refusal: CannotLearn) -> None:
        self.refusal = refusal
        log.error("this worker can't learn, and ends", reason=str(refusal))

    def refuse_kafka(self, error: Exception) -> CannotLearn:
        """Note that this worker ends because no broker can be used; return the reason."""
        refusal = CannotLearn(f"Kafka at {self.settings.kafka} can't be used: {error!r}. Check CORRENTE_KAFKA")
        self._refuse(refusal)
        return refusal

    async def prepare(self) -> None:
        """Check topics, compile kernels, start metrics.

        Raises:
            CannotLearn: topics or model can't be learned from as they are, or the consumer group belongs to others.
            KafkaError: no broker answered.
        """
        disable_collector()  # until everything that stays is imported
        return_large_pieces()
        settings, resources = self.settings, self._resources
        self._topics.note(await find_topics(settings))
        await check_group(settings)
        await check_versions(resources, self._topics.present)
        seconds = await resources.in_learning(warm_up, settings.model)
        use_short_switch_interval()
        importing = asyncio.create_task(import_later(resources.import_river, self._up_to_date))
        importing.add_done_callback(end_of_import)
        reporting = asyncio.create_task(keep_reporting(self._runners, resources))
        self._background += [importing, reporting, resources.follow_catalogue()]
        if resources.follower is not None:
            following = follow(resources.follower, lambda: self._standing_by, resources.with_redis)
            self._background.append(asyncio.create_task(following))
        await log_problems(resources)
        if settings.metrics_port:
            registry, host = resources.metrics.registry, settings.metrics_host
            token = settings.metrics_token.get_secret_value()
            serve_health(settings.metrics_port, registry, self.standing, host, self.health_notes, token)
            self._background.append(asyncio.create_task(probe_loop_lag(partial(resources.metrics.note_hold, "loop"))))
        log.info(
            "ready to join the group",
            group=settings.consumer_group,
            kafka=settings.kafka,
            model=settings.model_name,
            shards=settings.shards,
            partitions=self._topics.counts,
            warm_up_seconds=round(seconds, 2),
            version=resources.code_version,
        )

    def watch(
        self,
        group_error: Callable[[], Awaitable[KafkaError | None]],
        read_present_topics: Callable[[], Awaitable[None]],
        end: Callable[[CannotLearn], None],
    ) -> None:
        """Look at topics and group from now on; call `end` if this worker can't go on.

        Args:
            group_error: takes the error that keeps this worker out of its group.
            read_present_topics: has the consumer read the topics that have appeared.
            end: ends the process with the reason.
        """
        self._end = end

        async def note_topics(counts: Mapping[str, int]) -> None:
            self._topics.note(counts)
            await read_present_topics()

        async def watch() -> None:
            while True:
                try:
                    await KafkaWatch(self.settings, note_topics, group_error, self._confirm_topics).run()
                except CannotLearn as error:
                    self._refuse(error)
                    return end(error)
                except Exception:  # a watch that fails is no reason to stop learning, and watching goes on
                    log.exception("looking at topics and group failed")
                    await asyncio.sleep(LOOK_SECONDS)

        self._background.append(asyncio.create_task(watch()))

    async def _confirm_topics(self) -> None:
        await asyncio.gather(*(runner.confirm_topics() for runner in self._runners.values()))

    def _up_to_date(self) -> bool:
        return bool(self._runners) and all(runner.up_to_date for runner in self._runners.values())

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
        await self._resources.disconnect()
        self._resources.close()

    # ---- called by the transport

    async def revoked(self, _: Iterable[TP]) -> None:
        """Stop learning until the rebalance has ended, and publish everything that was learned."""
        await self._halt_runners(min(LAST_PUBLISH_SECONDS, self.settings.session_timeout_seconds / 2))

    def note_terms(self, terms: Terms) -> None:
        """Take what the leader of the group took for granted in the assignment that follows."""
        self._topics.note_terms(terms)

    def present_topics(self) -> frozenset[str]:
        """Names of the topics that are there."""
        return self._topics.present

    async def assigned(self, partitions: set[TP]) -> None:
        """Start the shards of these topic-partitions, and drop the others; a rebalance has ended.

        Shards that stay go on with the state that they have, from the topic-partitions that they have now. If another
        worker owned one in between, its first publish is refused. Without any, this worker stands by.

        If the number of shards doesn't fit the topics any more, or is another one than other workers have, it ends.
        """
        if self._stopping:
            return
        try:
            may_learn = self._topics.may_learn()
        except CannotLearn as refusal:
            self._refuse(refusal)
            self._end(refusal)
            return
        if not may_learn:
            log.error(
                "a worker of an earlier release shares the partitions out, and tears shards apart; nothing is learned "
                "here until it has ended",
                group=self.settings.consumer_group,
            )
        learned = partitions if may_learn else set()
        shards = group_by_shard(learned, self.settings.topics, self.settings.shards)
        for shard in set(self._runners) - set(shards):
            await self._runners.pop(shard).drop()
        for shard, assignment in shards.items():
            runner = self._runners.get(shard)
            if runner is None:
                self._runners[shard] = ShardRunner(assignment, self._resources)
            elif runner.assignment != assignment:
                runner.reassign(assignment)
        self._runner_of = {tp: runner for runner in self._runners.values() for tp in runner.assignment.partitions}
        for runner in self._runners.values():
            runner.start()
        self._was_assigned = may_learn
        self._note_standby(standing_by=may_learn and not self._runners)
        self._resources.metrics.shards.set(len(self._runners))
        self._resources.metrics.partitions.set(len({tp.partition for tp in self._runner_of}))
        log.info(
            "assigned",
            model=self.settings.model_name,
            shards=sorted(self._runners),
            partitions=sorted({tp.partition for tp in self._runner_of}),
        )

    def _note_standby(self, *, standing_by: bool) -> None:
        """Show whether this worker stands by, and log it when it begins."""
        if standing_by and not self._standing_by:
            log.info(
                "standing by: other workers have every shard; this one takes over when one of them is gone",
                model=self.settings.model_name,
                shards=self.settings.shards,
            )
        self._standing_by = standing_by
        self._resources.metrics.standby.set(standing_by)

    def origin(self, tp: TP) -> str:
        """The name under which the records of this topic-partition are learned."""
        return self._topics.origin(tp.topic, tp.partition)

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
        """The shards of this worker that stand still, and why; None before the first assignment."""
        if not self._was_assigned:
            return None
        found = {shard: runner.standing for shard, runner in list(self._runners.items())}
        return {shard: standing for shard, standing in found.items() if standing is not None}

    def health_notes(self) -> Mapping[str, Any]:
        """Further parts of the answer to a probe. May be called from any thread."""
        return {"standby": self._standing_by, "missing_topics": self._topics.missing}

    async def _halt_runners(self, patience_seconds: float) -> None:
        await asyncio.gather(*(runner.halt(patience_seconds) for runner in self._runners.values()))


def make_app(settings: Settings) -> WorkerApp:
    """The Faust app of one worker process. Nothing connects before the app starts."""
    session_seconds = settings.session_timeout_seconds
    app = WorkerApp(
        settings.consumer_group,
        **faust_settings(settings),
        store="memory://",
        TableManager=NoTables,
        PartitionAssignor=ShardAssignor,
        datadir="/corrente-keeps-nothing-here",  # a name alone: there may be no folder that can be written
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
    store, metrics = VersionStore.connect(settings.redis_address, settings.model_name), WorkerMetrics()
    ours = {name: topic for topic, name in {**settings.topics, **settings.document_topics}.items()}
    app.worker = Worker(
        WorkerResources(
            settings=settings,
            name=f"{socket.gethostname()}:{os.getpid()}",
            store=store,
            compact=partial(compact, store),
            follower=Follower(store, settings.model),
            dead_letters=DeadLetters(
                settings, on_lost=lambda letter: metrics.lost_letters.labels(ours[letter.topic]).inc()
            ),
            topic_ids=TopicIds(settings),
            schemas=schema_lookup(settings),
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

    async def assigned(_: Any, partitions: set[TP], **__: Any) -> None:
        if not partitions:  # Faust seeks, and so hands an assignment to its owner, only if there is something to seek
            await app.worker.assigned(partitions)

    app.on_partitions_revoked.connect(revoked, weak=False)
    app.on_partitions_assigned.connect(assigned, weak=False)
    return app


def _raise(refusal: CannotLearn) -> None:
    raise refusal


def __getattr__(name: str) -> Any:
    """Make `app` when Faust asks for it, so that importing this file reads no environment."""
    if name == "app":
        return globals().setdefault("app", make_app(load_settings()))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
