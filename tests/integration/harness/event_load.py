"""Events from threads, all along and through every outage: ordinary ones, odd ones, repeats and transactions.

What is drawn follows from a seed. What Kafka acknowledges is remembered by event id.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Mapping
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

TOPICS = {"CLICKS": 8, "PURCHASES": 1, "FEEDBACK": 1}
ODD_SHARE = 0.001
REPEATED_SHARE = 0.01
STEP_SECONDS = 0.05
TEN_YEARS = 315_576_000

ODD: list[bytes | None] = [
    *(None, b"", b"{broken", b"\x00\x01\x02", b"\xff\xfe", b"[]", b"7", b'{"user": "ada"}', b'{"item": "tea"}'),
    b'{"item": "tea", "user": "ada", "ignored": %s%s}' % (b"[" * 1000, b"]" * 1000),
    b'{"item": "%s", "user": "ada"}' % (b"x" * 257),
    b'{"item": "%s", "user": "ada"}' % (b"x" * 200_000),
    b'{"item": "a\\u0000b", "user": "ada"}',
    b'{"item": "\\ud800", "user": "ada"}',
    b'{"item": "tea", "user": "ada", "timestamp": -5}',
    b'{"item": "tea", "user": "ada", "timestamp": "yesterday"}',
    b'{"product": "tea", "customer": 7}',
]
"""Values that are no events, or no good ones."""


class Load:
    """A producer of events until it is stopped.

    Args:
        environment: settings of the system.
        seed: of everything that is drawn.
        events_a_second: at most.

    Attributes:
        acknowledged: ids of the acknowledged events.
        odd: number of odd records.
    """

    def __init__(self, environment: Mapping[str, str], seed: int, events_a_second: int) -> None:
        self._environment = environment
        self._random = random.Random(f"{seed} load")
        self._events_a_step = max(1, round(events_a_second * STEP_SECONDS))
        self._number = 0
        self._earlier: list[tuple[str, bytes | None, bytes, int | None]] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._produce()), daemon=True)
        self.acknowledged: set[str] = set()
        self.odd = 0

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop, and return when every record is acknowledged."""
        self._stopping.set()
        self._thread.join(60.0)
        assert not self._thread.is_alive()

    async def _produce(self) -> None:
        # Not idempotent: after a long outage such a producer refuses to go on. Ids make what is sent again a repeat.
        producer = AIOKafkaProducer(bootstrap_servers=self._environment["CORRENTE_KAFKA"], acks="all")
        await producer.start()
        try:
            while not self._stopping.is_set():
                await asyncio.gather(*(self._send(producer) for _ in range(self._events_a_step)))
                await asyncio.sleep(STEP_SECONDS)
        finally:
            await producer.stop()

    async def _send(self, producer: AIOKafkaProducer) -> None:
        name, value, key, timestamp_ms = self._record()
        event_id = id_of(value)
        while True:
            try:
                await producer.send_and_wait(name, value, key=key, timestamp_ms=timestamp_ms)
            except KafkaError:  # while Kafka is away; what got through all the same is a repeat under the same id
                await asyncio.sleep(0.1)
            else:
                if event_id is not None:
                    self.acknowledged.add(event_id)
                return

    def _record(self) -> tuple[str, bytes | None, bytes, int | None]:
        draw = self._random
        topic = draw.choices(list(TOPICS), list(TOPICS.values()))[0]
        name, visitor = self._environment[f"CORRENTE_{topic}_TOPIC"], f"visitor {draw.randrange(300)}"
        chance = draw.random()
        if chance < ODD_SHARE:
            self.odd += 1
            return name, draw.choice(ODD), visitor.encode(), draw.choice([None, None, -1, _in_ten_years()])
        if chance < ODD_SHARE + REPEATED_SHARE and self._earlier:
            return draw.choice(self._earlier)
        self._number += 1
        event: dict[str, Any] = {
            "item": f"item {int(draw.paretovariate(0.7)) % 500}",
            "user": visitor,
            "event_id": f"load {self._number}",
        }
        if topic == "FEEDBACK":
            event |= {"kind": "rating", "value": draw.randrange(1, 6)}
        # One in 1,000 has no time at all, or one that is ten years ahead: odd, although its value is good.
        timestamp_ms = draw.choice([-1, _in_ten_years()]) if draw.random() < ODD_SHARE else None
        self.odd += timestamp_ms is not None
        record = name, json.dumps(event).encode(), visitor.encode(), timestamp_ms
        self._earlier = [*self._earlier[-99:], record]
        return record


class Transactions:
    """A producer of transactions with some purchases each, a third of which abort, until it is stopped.

    Args:
        environment: settings of the system.
        seed: of everything that is drawn.

    Attributes:
        committed, aborted: event ids by the end that Kafka acknowledged; those of an unknown end are in neither.
    """

    def __init__(self, environment: Mapping[str, str], seed: int) -> None:
        self._environment = environment
        self._random = random.Random(f"{seed} transactions")
        self._number = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._produce()), daemon=True)
        self.committed: set[str] = set()
        self.aborted: set[str] = set()

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(90.0)
        assert not self._thread.is_alive()

    async def _produce(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._produce_with_one_producer()
            except KafkaError:  # a producer whose transaction failed can't go on; its successor's start aborts it
                await asyncio.sleep(0.2)

    async def _produce_with_one_producer(self) -> None:
        kafka, name = self._environment["CORRENTE_KAFKA"], self._environment["CORRENTE_PURCHASES_TOPIC"]
        producer = AIOKafkaProducer(
            bootstrap_servers=kafka,
            transactional_id=f"{self._environment['CORRENTE_GROUP']}-shop",
            transaction_timeout_ms=10_000,
        )
        try:
            await producer.start()
            while not self._stopping.is_set():
                ids = []
                await producer.begin_transaction()
                for _ in range(self._random.randint(1, 5)):
                    self._number += 1
                    ids.append(f"shop {self._number}")
                    visitor = f"visitor {self._random.randrange(300)}"
                    event = {"item": f"item {self._random.randrange(90)}", "user": visitor, "event_id": ids[-1]}
                    await producer.send_and_wait(name, json.dumps(event).encode(), key=visitor.encode())
                if self._random.random() < 1 / 3:
                    await producer.abort_transaction()
                    self.aborted.update(ids)
                else:
                    await producer.commit_transaction()
                    self.committed.update(ids)
                await asyncio.sleep(self._random.uniform(0.0, 0.5))
        finally:
            await producer.stop()


def _in_ten_years() -> int:
    return int((time.time() + TEN_YEARS) * 1000)


def id_of(value: bytes | None) -> str | None:
    try:
        return json.loads(value or b"").get("event_id")
    except (ValueError, AttributeError, RecursionError):
        return None
