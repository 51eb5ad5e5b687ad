"""A copy of everything that Kafka has committed to some topics, which stays when retention removes it there."""

from __future__ import annotations

import asyncio
import threading
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stream.ingest.records import Record
from tests.integration.harness import kafka_client

READ_SECONDS = 0.1


class LogTap:
    """Reads topics from their beginning, from a thread until `stop`, and counts its records as acknowledged.

    Args:
        bootstrap: Kafka's address.
        topics: our name of each topic to its name in Kafka.
        partitions: number of partitions of each.
    """

    def __init__(self, bootstrap: str, topics: Mapping[str, str], partitions: int) -> None:
        self._bootstrap = bootstrap
        self._ours = {kafka_name: topic for topic, kafka_name in topics.items()}
        self._partitions = [TopicPartition(name, number) for name in self._ours for number in range(partitions)]
        self._next = dict.fromkeys(self._partitions, 0)
        self._logs: dict[TopicPartition, list[Record]] = {tp: [] for tp in self._partitions}
        self._stopping = threading.Event()
        self._caught_up = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(60.0)

    def next_offset(self, topic: str, partition: int) -> int:
        """Offset behind everything that was copied of a topic, by its name in Kafka."""
        return self._next[TopicPartition(topic, partition)]

    def caught_up(self) -> bool:
        """True if everything that Kafka has committed was copied when this was last looked at."""
        if self._error is not None:
            raise RuntimeError("the copy of the logs has ended") from self._error
        return self._caught_up

    def records(self, topic: str, partition: int) -> list[Record]:
        """The records of a topic, by its name in Kafka."""
        return self._logs[TopicPartition(topic, partition)]

    def ends(self) -> dict[tuple[str, int], int]:
        """Offset behind the last record, by topic and partition."""
        return {(tp.topic, tp.partition): log[-1].offset + 1 for tp, log in self._logs.items() if log}

    def _run(self) -> None:
        try:
            asyncio.run(self._read())
        except BaseException as error:
            self._error = error
            raise

    async def _read(self) -> None:
        # After a kill, a log may seem to end earlier for a moment. It is read again then, and nothing is missed.
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            consumer.assign(self._partitions)
            await consumer.seek_to_beginning(*self._partitions)
            while not self._stopping.is_set():
                fetched = await consumer.getmany(timeout_ms=int(READ_SECONDS * 1000))
                for tp, records in fetched.items():
                    new = self._new(tp, records)
                    self._logs[tp] += new
                    kafka_client.acknowledged[self._bootstrap, tp.topic] += len(new)
                for tp in self._partitions:
                    self._next[tp] = await consumer.position(tp)
                if not fetched:
                    await self._compare_with_ends(consumer)
        finally:
            await consumer.stop()

    def _new(self, tp: TopicPartition, records: Sequence[Any]) -> list[Record]:
        """Those of some records that were not copied yet; the others have to be what they were."""
        log, new = self._logs[tp], []
        for each in records:
            record = Record(self._ours[tp.topic], each.offset, each.timestamp, each.value, each.key)
            at = bisect_left(log, record.offset, key=lambda copied: copied.offset)
            if at == len(log):
                new.append(record)
            elif log[at] != record:
                raise RuntimeError(f"{tp} has another record at offset {record.offset} than before")
        return new

    async def _compare_with_ends(self, consumer: AIOKafkaConsumer) -> None:
        try:
            ends = await consumer.end_offsets(self._partitions)
        except KafkaError:  # Kafka is away
            self._caught_up = False
        else:
            self._caught_up = all(self._next[tp] >= end for tp, end in ends.items())
