"""The writer of dead letters: in batches, again until they are acknowledged, cut if the topic can't take them.

Letters that the broker refuses because of what they are (too large, an invalid record) are sent in halves of their
batch, then alone, then cut, with a pause before each attempt. A letter that is refused even when nothing is left to cut
is lost: its place and a digest of its value are logged and counted. Everything else that fails (no answer, a missing
topic, a missing right) says nothing about a letter: it is sent again, with growing pauses, until it is acknowledged,
and meanwhile `trouble` says what is wrong.

This file decides the size of batches, the pauses, and which errors say something about a letter. The form of a letter
is decided in `stream.kafka.dead_letters`, and what a shard does meanwhile in `stream.runner.task`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    BrokerResponseError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    kafka_errors,
)
from aiokafka.partitioner import DefaultPartitioner
from structlog import get_logger

from stream.kafka.connection.options import client_options
from stream.kafka.dead_letters import DeadLetter, encode_letter, halved
from stream.settings import Settings

log = get_logger(__name__)

LARGEST_BYTES = 64 * 1024 * 1024
"""Largest record that our own client sends; the broker's limit decides."""

BATCH_LETTERS = 1000
BATCH_BYTES = 400_000
"""Most letters and bytes of one batch. A broker's limit of 1 MiB is for a whole batch."""

RETRY_SECONDS = (0.1, 5.0)
"""First and longest pause before letters are sent again."""

CUT_SECONDS = 0.02
"""Pause before a letter that was refused is sent again, cut."""

REQUEST_SECONDS = 5.0
"""Longest wait for an acknowledgement, and for a topic that is missing, until that counts as trouble."""


class InvalidRecordError(BrokerResponseError):
    """The broker's error 87, which aiokafka doesn't know: the topic's rules refuse the record."""

    errno = 87
    message = "INVALID_RECORD"
    description = "The record failed the validation of the broker and was refused."


kafka_errors.setdefault(InvalidRecordError.errno, InvalidRecordError)

REFUSALS = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidRecordError)
"""Errors that say that a letter can't be taken as it is."""


class Trouble(NamedTuple):
    """The reason why letters can't be written at present, and what mends it."""

    reason: str
    command: str


class DeadLetters:
    """A writer of dead letters that returns only when Kafka has acknowledged them. Connects when it is first used.

    Args:
        settings: addresses and security of Kafka, and the topic of the dead letters.
        make_producer: makes a producer with these settings; tests replace it.
        on_lost: called for each letter that can't be kept in any form.

    Attributes:
        trouble: set while letters can't be written.
    """

    def __init__(
        self,
        settings: Settings,
        make_producer: Callable[[Settings], Any] | None = None,
        on_lost: Callable[[DeadLetter], None] | None = None,
    ) -> None:
        self.trouble: Trouble | None = None
        self._settings = settings
        self._kafka = settings.kafka
        self._topic = settings.dead_letters_topic
        self._make_producer = make_producer or _make_producer
        self._on_lost = on_lost
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._submitting = asyncio.Lock()
        self._partition_of = DefaultPartitioner()

    async def send(self, letters: Sequence[DeadLetter]) -> None:
        """Write these letters, and return when all of them are acknowledged. Retries for as long as it takes."""
        if letters:
            await asyncio.gather(*(self._send_group(group) for group in _groups(letters)))

    async def stop(self) -> None:
        """Close the connection to Kafka, if there is one."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def _send_group(self, letters: list[DeadLetter]) -> None:
        """Write letters as one batch for each partition; in halves, and cut, if the broker refuses that."""
        pause, longest = RETRY_SECONDS
        original = letters[0]
        while True:
            try:
                await self._write(letters)
                self.trouble = None
                return
            except REFUSALS as error:
                self.trouble = None
                await asyncio.sleep(CUT_SECONDS)
                if len(letters) > 1:
                    middle = len(letters) // 2
                    await self._send_group(letters[:middle])
                    letters = letters[middle:]
                    original = letters[0]
                    continue
                smaller = halved(letters[0])
                if smaller is None:
                    self._lose(original, error)
                    return
                letters = [smaller]
            except KafkaError as error:
                self._note_trouble(error, letters)
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)

    async def _write(self, letters: Sequence[DeadLetter]) -> None:
        producer = await self._started()
        partitions = sorted(await producer.partitions_for(self._topic))
        batches: dict[int, Any] = {}
        full = []
        for letter in letters:
            key, value, headers = encode_letter(letter)
            partition = partitions[0] if len(partitions) == 1 else self._partition_of(key, partitions, partitions)
            batch = batches.get(partition) or batches.setdefault(partition, producer.create_batch())
            if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
                full.append((partition, batch))
                batch = batches[partition] = producer.create_batch()
                batch.append(timestamp=None, key=key, value=value, headers=headers)
        async with self._submitting:  # several that wait for aiokafka's queue at once time out beside each other
            sent = [
                await producer.send_batch(batch, self._topic, partition=partition)
                for partition, batch in [*full, *batches.items()]
            ]
        for error in await asyncio.gather(*sent, return_exceptions=True):
            if isinstance(error, BaseException):
                raise error

    def _note_trouble(self, error: KafkaError, letters: Sequence[DeadLetter]) -> None:
        command = (
            f"see whether Kafka answers and the topic has a leader: kafka-topics.sh --bootstrap-server {self._kafka} "
            f"--describe --topic {self._topic}"
        )
        if isinstance(error, TopicAuthorizationFailedError):
            command = (
                f"kafka-acls.sh --bootstrap-server {self._kafka} --add --allow-principal User:… --operation Write "
                f"--topic {self._topic}"
            )
        elif isinstance(error, UnknownTopicOrPartitionError):
            command = (
                f"kafka-topics.sh --bootstrap-server {self._kafka} --create --topic {self._topic} --partitions 1 "
                "--config cleanup.policy=compact"
            )
        self.trouble = Trouble(f"dead letters can't be written to {self._topic}: {error!r}", command)
        log.warning(
            "dead letters could not be written; trying again",
            letters=len(letters),
            first=letters[0].name,
            error=repr(error),
            mend=command,
        )

    def _lose(self, letter: DeadLetter, error: KafkaError) -> None:
        log.error(
            "a dead letter is lost: its topic refuses it even without value and key",
            letter=letter.name,
            reason=letter.reason,
            original_bytes=letter.original_bytes,
            sha256=hashlib.sha256(letter.value or b"").hexdigest(),
            error=repr(error),
            mend=f"raise max.message.bytes of the topic {self._topic}, or drop its record rules",
        )
        if self._on_lost is not None:
            self._on_lost(letter)

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = self._make_producer(self._settings)
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer


def _groups(letters: Sequence[DeadLetter]) -> list[list[DeadLetter]]:
    """Letters in batches of bounded number and size."""
    groups: list[list[DeadLetter]] = []
    size, room = 0, 0
    for letter in letters:
        size = len(letter.value or b"") + len(letter.key or b"") + len(letter.reason)
        if not groups or size > room or len(groups[-1]) >= BATCH_LETTERS:
            groups.append([])
            room = BATCH_BYTES
        groups[-1].append(letter)
        room -= size
    return groups


def _make_producer(settings: Settings) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        **client_options(settings),
        # Not idempotent: after a refused record an idempotent producer refuses all others. Keys make repeats harmless.
        acks="all",
        max_request_size=LARGEST_BYTES,
        max_batch_size=2 * BATCH_BYTES,
        request_timeout_ms=int(REQUEST_SECONDS * 1000),
    )
