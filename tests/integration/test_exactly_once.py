"""Every event is learned exactly once, whatever happens to the workers and to Kafka.

The proof has two parts: the counters close against what lies in Kafka, and the tables equal, bit for bit, those of an
in-memory shard that was never disturbed and is given the same records in the journal's order.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from benchmarks.harness.servers import KafkaServer
from benchmarks.harness.waiting import wait_until
from tests.integration.checking import assert_every_event_counted_once, learned_everything, store_of
from tests.integration.kafka_client import read_all
from tests.integration.worker_process import WorkerProcess

PARTITIONS = 2
EVENTS_A_SECOND = 1500


class Load:
    """Shoppers at work, in a thread, until stopped: clicks, purchases, feedback, and now and then something broken."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._random = random.Random(7)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._produce()), daemon=True)
        self.acknowledged: Counter[str] = Counter()

    def start(self) -> Load:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Returns when everything is acknowledged."""
        self._stopping.set()
        self._thread.join(60.0)
        assert not self._thread.is_alive()

    async def _produce(self) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._environment["CORRENTE_KAFKA"], acks="all", enable_idempotence=True
        )
        await producer.start()
        try:
            while not self._stopping.is_set():
                await asyncio.gather(*(self._send(producer) for _ in range(EVENTS_A_SECOND // 20)))
                await asyncio.sleep(0.05)
        finally:
            await producer.stop()

    async def _send(self, producer: AIOKafkaProducer) -> None:
        topic = self._random.choices(["CLICKS", "PURCHASES", "FEEDBACK"], [8, 1, 1])[0]
        visitor = f"visitor {self._random.randrange(300)}"
        event = {"item": f"item {int(self._random.paretovariate(0.7)) % 500}", "user": visitor}
        if topic == "FEEDBACK":
            event |= {"kind": "rating", "value": 4}
        value = json.dumps(event).encode() if self._random.random() > 0.002 else b"{broken"
        name = self._environment[f"CORRENTE_{topic}_TOPIC"]
        while True:
            try:
                await producer.send_and_wait(name, value, key=visitor.encode())
                self.acknowledged[name] += 1
                return
            except KafkaError:  # while Kafka is away; idempotence keeps what got through from being written twice
                await asyncio.sleep(0.1)


def progress(environment: Mapping[str, str]) -> int:
    store = store_of(environment)
    newest = store.latest()
    store.close()
    return newest.events if newest else 0


def wait_for_progress(environment: Mapping[str, str], more: int = 1) -> None:
    reached = progress(environment) + more
    wait_until(lambda: progress(environment) >= reached, f"{more} more events to be learned", 60.0)


@pytest.mark.timeout(240)
def test_every_event_counts_once_through_kills_pauses_rebalances_and_a_restart_of_kafka(
    environment: dict[str, str],
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
    kafka_server: KafkaServer,
) -> None:
    chance = random.Random(time.time_ns())
    environment |= {
        "CORRENTE_SESSION_TIMEOUT_SECONDS": "2",
        "CORRENTE_PUBLISH_SECONDS": "0.05",
        "CORRENTE_KEEP_LAST": "1000000",
    }
    make_topics(PARTITIONS)
    load = Load(environment).start()
    first = worker()
    wait_for_progress(environment)

    for _ in range(5):  # killed at random moments under load: while learning, cutting, publishing
        time.sleep(chance.uniform(0.05, 0.6))  # the moment of death is what is random here
        first.kill()
        first = worker()
        wait_for_progress(environment)

    second = worker()  # joins: some partition moves to it
    wait_until(lambda: second.logged("learning from here on"), "the second worker to learn", 60.0)
    wait_for_progress(environment, 500)

    first.pause()  # the group gives its partitions to the second one
    wait_until(lambda: "partitions=[0, 1]" in second.log.read_text(), "the second worker to take over", 60.0)
    wait_for_progress(environment, 500)
    first.resume()  # and it wakes up, believing that they are still its own
    wait_until(lambda: first.log.read_text().count("assigned ") >= 2, "the first worker to be back", 60.0)
    wait_for_progress(environment, 500)

    kafka_server.stop(kill=True)
    kafka_server.start()
    wait_for_progress(environment, 500)

    assert second.stop() == 0  # leaves in good order
    wait_for_progress(environment, 500)
    first.kill()
    first = worker()
    wait_for_progress(environment)

    load.stop()
    stored = Counter(
        (record.topic, record.partition) for record in read_all(environment["CORRENTE_KAFKA"], list(load.acknowledged))
    )
    wait_until(lambda: learned_everything(environment, stored), "everything to be learned", 60.0)
    assert first.stop() == 0
    by_topic = Counter({topic: sum(n for (name, _), n in stored.items() if name == topic) for topic, _ in stored})
    assert by_topic == load.acknowledged
    shards = assert_every_event_counted_once(environment, PARTITIONS)
    letters = read_all(environment["CORRENTE_KAFKA"], [environment["CORRENTE_DEAD_LETTERS_TOPIC"]])
    expected = sum(counts["dead_letters"] for shard in shards.values() for counts in shard.counters.values())
    assert len({letter.key for letter in letters}) == expected > 0
