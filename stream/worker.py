"""The worker: a Faust app whose agents hand whole fetches to the shards of this process.

    faust -A stream.worker worker         or        corrente worker

Three agents, over `clicks`, `purchases` and `feedback`, do nothing but hand over. Kafka's group decides which
partitions are this worker's; each of them is a `ShardRunner` that claims, restores, learns and publishes.

Producers that want the events of a visitor in order give them the visitor as key and partition with murmur2, as Java
clients do by default (librdkafka: `partitioner=murmur2_random`). Events that are keyed otherwise count all the same,
once.

This file decides what starts and ends when. It is imported by nobody; programs name it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import re
import socket
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import faust
from faust.tables.manager import TableManager
from faust.types import TP
from redis.exceptions import RedisError
from structlog import get_logger

from stream.kafka.dead_letters import DeadLetters
from stream.kafka.topics import WrongTopics, prepare_topics
from stream.kafka.transport import Fetch, FetchSchema, Transport
from stream.runner.metrics import WorkerMetrics
from stream.runner.task import ShardRunner, WorkerResources
from stream.runner.warmup import warm_up
from stream.runtime.gil import use_short_switch_interval
from stream.runtime.logs import configure_logs
from stream.runtime.malloc import return_large_pieces
from stream.settings import Settings, load_settings
from stream.versions import VersionStore, salt_problem

log = get_logger(__name__)

LAST_PUBLISH_SECONDS = 4.0
"""How long a worker that must let go of a partition may take to publish what it has learned."""

GARBAGE_THRESHOLDS = (200_000, 20, 50)
"""After how many new objects, and after how many rounds among the young ones, cycles are looked for."""

RIVER_AFTER_SECONDS = 2.0
"""So long after it is ready at most, a worker that is still behind puts off importing River."""

LOOP_LAG_PROBE_SECONDS = 0.02
"""How often the event loop is asked whether it is on time."""


class NoTables(TableManager):
    """Faust waits a second for tables to be declared. There are none, and a start should be quick."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class WorkerApp(faust.App):
    """Faust's app with our transport and our way to stop."""

    worker: Worker

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self, owner=self.worker, topics=self.worker.settings.topics)

    def _create_directories(self) -> None:
        """Nothing is kept on disk."""

    async def on_start(self) -> None:
        """Everything that must be right before the group is joined."""
        await self.worker.prepare()
        await super().on_start()

    async def on_stop(self) -> None:
        """Publish what was learned, tell Kafka, and only then leave the group."""
        await self.worker.halt()
        await self.consumer.commit()
        await super().on_stop()
        await self.worker.close()


class Worker:
    """The partitions of this process. It is the `PartitionOwner` of the transport."""

    def __init__(self, settings: Settings, app: faust.App) -> None:
        self.settings = settings
        self._app = app
        self._partitions: dict[int, ShardRunner] = {}
        self._shop: WorkerResources | None = None
        self._by_kafka_name = {name: topic for topic, name in settings.topics.items()}
        self._stopping = False
        self._looking: asyncio.Task[None] | None = None
        self._importing: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Check topics, compile kernels, start metrics. Raises `WrongTopics`."""
        gc.disable()  # until all is there that stays, see `_settle`
        return_large_pieces()
        shards = await prepare_topics(self.settings)
        metrics = WorkerMetrics()
        self._shop = WorkerResources(
            settings=self.settings,
            name=f"{socket.gethostname()}:{os.getpid()}",
            shards=shards,
            store=VersionStore.connect(self.settings.redis, self.settings.model_name),
            letters=DeadLetters(self.settings.kafka, self.settings.dead_letters_topic),
            metrics=metrics,
            code_version=code_version(),
            consumer=lambda: self._app.consumer,
        )
        seconds = await self._shop.in_learning(warm_up, self.settings.model)
        use_short_switch_interval()
        self._importing = asyncio.create_task(self._import_river())
        self._importing.add_done_callback(_settle)
        await self._tell_cautions()
        if problem := salt_problem(self.settings.model.visitor_salt):
            log.warning("the visitor salt is weak", problem=problem)
        if self.settings.metrics_port:
            metrics.serve(self.settings.metrics_port)
            self._looking = asyncio.create_task(_look_at_the_loop(metrics))
        log.info(
            "ready to join the group",
            group=self.settings.group,
            kafka=self.settings.kafka,
            partitions=shards,
            model=self.settings.model_name,
            warm_up_seconds=round(seconds, 2),
            version=code_version(),
        )

    async def _import_river(self) -> None:
        """Let lessons begin, once there is time for it. Beside joining and catching up it takes turns with all that
        happens then: the first event comes later, and each step of the event loop takes several times as long.
        """
        assert self._shop is not None
        latest = time.monotonic() + RIVER_AFTER_SECONDS
        while time.monotonic() < latest and not self._up_to_date():
            await asyncio.sleep(LOOP_LAG_PROBE_SECONDS)
        await self._shop.import_river()

    def _up_to_date(self) -> bool:
        return bool(self._partitions) and all(partition.up_to_date for partition in self._partitions.values())

    async def _tell_cautions(self) -> None:
        """What is dangerous about the way in which Redis is set up."""
        assert self._shop is not None
        try:
            for caution in await self._shop.with_redis(self._shop.store.redis_problems):
                log.warning("Redis may lose versions", caution=caution)
        except RedisError as error:
            log.warning("Redis does not answer yet", redis=_without_password(self.settings.redis), error=str(error))

    def hand(self, fetch: Fetch) -> None:
        """What the agents do."""
        partition = self._partitions.get(fetch.partition)
        if partition is not None:
            partition.hand(fetch)

    async def halt(self) -> None:
        """Stop learning and publish what was learned."""
        self._stopping = True
        await asyncio.gather(*(partition.halt(LAST_PUBLISH_SECONDS) for partition in self._partitions.values()))

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        if self._importing is not None:
            self._importing.cancel()
        for partition in list(self._partitions.values()):
            await partition.drop()
        if self._shop is not None:
            await self._shop.letters.stop()
            self._shop.close()

    # ---- what the transport asks and tells

    async def revoked(self, _: Iterable[TP]) -> None:
        """A rebalance begins: nothing is learned until it has ended, and nothing that was learned is held back."""
        patience = min(LAST_PUBLISH_SECONDS, self.settings.session_timeout_seconds / 2)
        await asyncio.gather(*(partition.halt(patience) for partition in self._partitions.values()))

    async def assigned(self, partitions: set[TP]) -> None:
        """A rebalance has ended. Shards that stay go on with the state they have: were they somebody else's
        in between, their first publish is refused.
        """
        assert self._shop is not None
        if self._stopping:
            return
        numbers = {tp.partition for tp in partitions if tp.topic in self._by_kafka_name}
        if numbers and max(numbers) >= self._shop.shards:
            raise WrongTopics(
                f"the topics have {max(numbers) + 1} partitions now, and had {self._shop.shards} when this worker "
                "started: start it again"
            )
        for number in sorted(numbers):
            absent = [name for name in self._by_kafka_name if TP(name, number) not in partitions]
            if absent:
                log.error("only a part of a partition was assigned; it is not learned", partition=number, absent=absent)
                numbers.discard(number)
        for number in set(self._partitions) - numbers:
            await self._partitions.pop(number).drop()
        for number in sorted(numbers):
            if number not in self._partitions:
                self._partitions[number] = ShardRunner(number, self._shop)
            self._partitions[number].start()
        self._shop.metrics.partitions.set(len(numbers))
        log.info("assigned", partitions=sorted(numbers))

    def has_room(self, tp: TP) -> bool:
        partition = self._partitions.get(tp.partition)
        return partition is not None and partition.has_room(self._by_kafka_name[tp.topic])

    def reached(self, tp: TP, session: int, *, handed: int, position: int, end: int | None) -> None:
        partition = self._partitions.get(tp.partition)
        if partition is not None:
            partition.reached(self._by_kafka_name[tp.topic], session, handed=handed, position=position, end=end)

    def published(self) -> Mapping[TP, int]:
        return {
            TP(self.settings.topics[topic], number): offset
            for number, partition in self._partitions.items()
            for topic, offset in partition.published.items()
        }


def make_app(settings: Settings) -> WorkerApp:
    """The Faust app of one worker process."""
    session_seconds = settings.session_timeout_seconds
    app = WorkerApp(
        settings.group,
        broker=[f"kafka://{server.strip()}" for server in settings.kafka.split(",")],
        store="memory://",
        TableManager=NoTables,
        datadir=str(Path(gettempdir()) / "corrente-keeps-nothing-here"),
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        broker_session_timeout=session_seconds,
        broker_heartbeat_interval=session_seconds / 10,  # a worker that joins waits until the others ask
        broker_commit_interval=1.0,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 * 1024 * 1024,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        worker_redirect_stdouts=False,
        logging_config=configure_logs(settings.log_format, settings.log_level),
    )
    app.worker = Worker(settings, app)
    schema = FetchSchema()
    for topic, kafka_name in settings.topics.items():

        async def hand_over(fetches: Any) -> None:
            async for fetch in fetches:
                app.worker.hand(fetch)

        channel = app.topic(kafka_name, schema=schema, acks=False)
        app.agent(channel, name=f"stream.worker.{topic}")(hand_over)

    async def revoked(_: Any, partitions: set[TP], **__: Any) -> None:
        await app.worker.revoked(partitions)

    app.on_partitions_revoked.connect(revoked, weak=False)
    return app


def _settle(importing: asyncio.Task[None]) -> None:
    """Everything that stays is there: look for cycles from now on, among what comes.

    Records and events live for a moment, by hundreds of thousands, and are in no cycles. Looking for cycles among them
    as often as Python does by default takes a third of the time that Python code has here.
    """
    if not importing.cancelled() and (error := importing.exception()) is not None:
        log.error("River can't be imported: events are learned, and none is tested", error=str(error))
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    gc.enable()


async def _look_at_the_loop(metrics: WorkerMetrics) -> None:
    """Tell by how much the event loop was late."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOP_LAG_PROBE_SECONDS
        await asyncio.sleep(LOOP_LAG_PROBE_SECONDS)
        metrics.held("loop", max(0.0, loop.time() - due))


def _without_password(url: str) -> str:
    return re.sub(r"//[^@/]*@", "//", url)


def code_version() -> str:
    """Of this program, for the manifest of a version."""
    try:
        return version("corrente")
    except PackageNotFoundError:  # a checkout that isn't installed
        return f"checkout, Python {platform.python_version()}"


def __getattr__(name: str) -> Any:
    """`app` is made when Faust asks for it, so that importing this file reads no environment."""
    if name == "app":
        return globals().setdefault("app", make_app(load_settings()))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
