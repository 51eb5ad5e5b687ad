"""Posted events to Kafka, and Kafka's health.

This file decides how records are sent, when one counts as acknowledged (all in-sync replicas have it) and when Kafka
counts as down. The key is the visitor and the partitioner is aiokafka's default, which is Java's: murmur2 of the key,
so events of one visitor stay in order whichever client sent them.

While Kafka is down nothing is buffered: a post is refused immediately, and the client decides whether to retry. This
file does not create topics; the worker does, with the right number of partitions, and until then posts are refused too
(asking for a topic by name could make the broker create it).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from serving.upstream_health import UpstreamHealth
from stream.kafka.connection.diagnosis import require_kafka
from stream.kafka.connection.options import client_options
from stream.kafka.connection.rights import poster_needs
from stream.runtime.tasks import cancel_and_wait
from stream.settings import Settings

log = structlog.get_logger(__name__)

HEALTH_CHECK_SECONDS = 1.0
"""Pause between two checks that Kafka answers."""


class EventProducer:
    """Sends records and waits for their acknowledgement.

    Args:
        settings: addresses and security of Kafka, the topics that must exist, and the time limit for the broker's
            acknowledgement.
        kafka: the health that this producer keeps up to date.
    """

    def __init__(self, settings: Settings, kafka: UpstreamHealth) -> None:
        self.settings = settings
        self.topics = list(settings.topics.values())
        self.acknowledge_seconds = settings.acknowledge_seconds
        self.kafka = kafka
        self._producer: AIOKafkaProducer | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect in the background: the server answers from its versions before Kafka is there."""
        self._watcher = asyncio.create_task(self._stay_connected(), name="Kafka health")

    async def stop(self) -> None:
        """Send the records that were taken, then close the connection."""
        if self._watcher is not None:
            await cancel_and_wait(self._watcher)
        if self._producer is not None:
            with contextlib.suppress(TimeoutError, KafkaError):
                async with asyncio.timeout(self.acknowledge_seconds):
                    await self._producer.stop()

    async def send(self, topic: str, records: Sequence[tuple[bytes | None, bytes]]) -> list[str | None]:
        """Send records to one topic.

        Args:
            topic: its name in Kafka.
            records: as (key, value); one without a key goes to any partition.

        Returns:
            For each record None if it was acknowledged, else the reason why it was not.
        """
        if not records:
            return []
        producer = self._producer
        if producer is None or not self.kafka.up:
            return [f"Kafka is down: {self.kafka.reason}"] * len(records)
        deadline = asyncio.get_running_loop().time() + self.acknowledge_seconds
        acknowledgements: list[asyncio.Future] = []
        failed: str | None = None
        try:
            async with asyncio.timeout_at(deadline):
                for key, value in records:
                    acknowledgements.append(await producer.send(topic, value=value, key=key))
                await asyncio.wait(acknowledgements)
        except TimeoutError:
            failed = f"not acknowledged within {self.acknowledge_seconds:g} s; it may still arrive"
        except KafkaError as error:
            failed = _reason(error)
            if acknowledgements:
                await asyncio.wait(acknowledgements, timeout=deadline - asyncio.get_running_loop().time())
        outcomes: list[str | None] = [_outcome(each, failed) for each in acknowledgements]
        outcomes += [failed or "not sent"] * (len(records) - len(outcomes))
        if any(outcomes):
            log.warning("events were not acknowledged", topic=topic, events=sum(map(bool, outcomes)), reason=failed)
        return outcomes

    async def _stay_connected(self) -> None:
        while True:
            try:
                if self._producer is None:
                    self._producer = await self._connect()
                async with asyncio.timeout(self.acknowledge_seconds):
                    updated = await self._producer.client.force_metadata_update()
                if updated:
                    self.kafka.answered()
                else:
                    self.kafka.failed(f"no broker of {self.settings.kafka} answers", time.time())
            except (KafkaError, OSError, TimeoutError) as error:
                self.kafka.failed(_reason(error), time.time())
            await asyncio.sleep(HEALTH_CHECK_SECONDS)

    async def _connect(self) -> AIOKafkaProducer:
        await require_kafka(self.settings, poster_needs(self.settings))  # its errors say more than the producer's
        producer = AIOKafkaProducer(
            **client_options(self.settings),
            client_id="corrente-serving",
            acks="all",
            request_timeout_ms=int(self.acknowledge_seconds * 1000),
        )
        try:
            await producer.start()
            existing: Mapping[str, object] | set[str] = (await producer.client.fetch_all_metadata()).topics()
            if missing := [topic for topic in self.topics if topic not in existing]:
                raise MissingTopic(f"there is no topic {', '.join(missing)} yet; a worker creates it")
            for topic in self.topics:
                await producer.client.add_topic(topic)
        except BaseException:
            await producer.stop()
            raise
        return producer


class MissingTopic(KafkaError):
    """An event topic does not exist in Kafka."""


def _outcome(acknowledgement: asyncio.Future, failed: str | None) -> str | None:
    if not acknowledgement.done():
        acknowledgement.add_done_callback(lambda late: late.cancelled() or late.exception())
        return failed or "not acknowledged"
    error = None if acknowledgement.cancelled() else acknowledgement.exception()
    return None if error is None and not acknowledgement.cancelled() else _reason(error)


def _reason(error: BaseException | None) -> str:
    return str(error) or type(error).__name__
