"""Every event is learned exactly once, whatever happens to the workers and to Kafka, while the catalogue changes.

The proof has two parts: the counters close against what Kafka holds, and the tables equal, bit for bit, those of an
in-memory shard that was never disturbed and learned the same records in the journal's order.

The moments of the kills and the load follow from one seed, which is printed; `SEED=…` repeats it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Self

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from benchmarks.harness.processes import metrics, total
from benchmarks.harness.servers import KafkaServer, free_port
from benchmarks.harness.waiting import wait_until
from stream.catalogue.item import Item
from stream.catalogue_store.store import CatalogueStore, Write
from tests.integration.harness.checking import (
    Layout,
    assert_every_event_counted_once,
    learned_everything,
    store_of,
)
from tests.integration.harness.kafka_client import acknowledged, read_all
from tests.integration.harness.worker_process import WorkerProcess

EVENTS_A_SECOND = 1500
KILLS = 5 if "FAULTS" in os.environ else 3
"""Kills at random moments: the longer form is that of `make faults`."""
BROKEN = b"{broken"


class Load:
    """Clicks, purchases and feedback, and now and then a broken record, from a thread until it is stopped."""

    def __init__(self, environment: Mapping[str, str], seed: int) -> None:
        self._environment = environment
        self._random = random.Random(seed)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._produce()), daemon=True)
        self.acknowledged: Counter[str] = Counter()

    def start(self) -> Load:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop, and return when every record is acknowledged."""
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
        event |= self._random.choices([{}, {"consent": "aggregate"}, {"consent": "none"}, {"bot": True}], [7, 1, 1, 1])[
            0
        ]
        value = json.dumps(event).encode() if self._random.random() > 0.002 else BROKEN
        name = self._environment[f"CORRENTE_{topic}_TOPIC"]
        while True:
            try:
                await producer.send_and_wait(name, value, key=visitor.encode())
                self.acknowledged[name] += 1
                acknowledged[self._environment["CORRENTE_KAFKA"], name] += 1
                return
            except KafkaError:  # while Kafka is away; idempotence keeps what got through from being written twice
                await asyncio.sleep(0.1)


class CatalogueChanges:
    """A shop that changes documents of its catalogue until it is stopped, about items that events are about.

    Args:
        environment: settings of the system.
        seed: of everything that is drawn.
    """

    def __init__(self, environment: Mapping[str, str], seed: int) -> None:
        self._versions = store_of(environment)
        self._random = random.Random(f"{seed} catalogue")
        self._written: dict[str, Item | None] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(60.0)
        assert not self._thread.is_alive()

    def assert_kept(self) -> None:
        """Assert that Redis has every document as it was written last."""
        items = CatalogueStore(self._versions).items
        for name, document in self._written.items():
            kept = items.read(name)
            assert (None if kept is None else kept.document) == document
        self._versions.close()
        assert len(self._written) > 100

    def _write(self) -> None:
        items = CatalogueStore(self._versions).items
        while not self._stopping.wait(0.02):
            name = f"item {self._random.randrange(500)}"
            document = self._random.choice([Item(hidden=True), Item(available=False), Item(tags=["tea"]), None])
            items.write([Write(name, document)])
            self._written[name] = document


def progress(environment: Mapping[str, str]) -> int:
    store = store_of(environment)
    newest = store.latest()
    store.close()
    return newest.events if newest else 0


def wait_for_progress(environment: Mapping[str, str], more: int = 1) -> None:
    reached = progress(environment) + more
    wait_until(lambda: progress(environment) >= reached, f"{more} more events to be learned", 60.0)


def shards_learned(running: WorkerProcess) -> float | None:
    """Number of shards that a worker learns, as it says; None while it doesn't answer."""
    page = metrics(int(running.environment["CORRENTE_METRICS_PORT"]))
    return total(page, "corrente_worker_shards") if page else None


@pytest.mark.fault
@pytest.mark.timeout(240, func_only=True)
@pytest.mark.unmeasured
@pytest.mark.parametrize("layout", [Layout(12, 1), pytest.param(Layout(4, 2), marks=pytest.mark.long)], ids=str)
def test_every_event_counts_once_through_kills_pauses_rebalances_and_a_restart_of_kafka(
    environment: dict[str, str],
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
    kafka_server: KafkaServer,
    layout: Layout,
) -> None:
    seed = int(os.environ.get("SEED") or time.time_ns())
    print(f"SEED={seed} repeats the load and the moments of the kills")
    chance = random.Random(seed)
    environment |= {
        "CORRENTE_SESSION_TIMEOUT_SECONDS": "2",
        "CORRENTE_PUBLISH_SECONDS": "0.05",
        "CORRENTE_KEEP_LAST": "1000000",
        "CORRENTE_SHARDS": str(layout.shards),
    }
    make_topics(layout.partitions)

    def start() -> WorkerProcess:
        return worker(CORRENTE_METRICS_PORT=str(free_port()))

    changes = CatalogueChanges(environment, seed).start()
    load = Load(environment, seed).start()
    first = start()
    wait_for_progress(environment)

    for _ in range(KILLS):  # killed at random moments under load: while it learns, takes a checkpoint or publishes
        time.sleep(chance.uniform(0.05, 0.6))  # a random moment, not a wait for something
        first.kill()
        first = start()
        wait_for_progress(environment)

    second = start()  # joins the group: a shard moves to it, or it stands by
    wait_until(lambda: shards_learned(second) == layout.shards - 1, "the second worker to join", 60.0)
    wait_until(lambda: shards_learned(first) == 1, "the first worker to keep one shard", 60.0)
    wait_for_progress(environment, 500)

    first.pause()  # the group gives its partitions to the second one
    wait_until(lambda: shards_learned(second) == layout.shards, "the second worker to take over", 60.0)
    wait_for_progress(environment, 500)
    assigned = first.log.read_text().count("assigned ")
    first.resume()  # it goes on as the owner of partitions that it has lost
    wait_until(lambda: first.log.read_text().count("assigned ") > assigned, "the first worker to be back", 60.0)
    wait_for_progress(environment, 500)

    kafka_server.stop(kill=True)
    kafka_server.start()
    wait_for_progress(environment, 500)

    assert second.stop() == 0  # leaves the group in good order
    wait_for_progress(environment, 500)
    first.kill()
    first = start()
    wait_for_progress(environment)

    changes.stop()
    load.stop()
    records = read_all(environment["CORRENTE_KAFKA"], list(load.acknowledged))
    stored = Counter((record.topic, record.partition) for record in records)
    wait_until(lambda: learned_everything(environment, stored), "everything to be learned", 60.0)
    assert first.stop() == 0
    changes.assert_kept()
    by_topic = Counter({topic: sum(n for (name, _), n in stored.items() if name == topic) for topic, _ in stored})
    assert by_topic == load.acknowledged
    shards = assert_every_event_counted_once(environment, layout.shards)
    letters = read_all(environment["CORRENTE_KAFKA"], [environment["CORRENTE_DEAD_LETTERS_TOPIC"]])
    broken = {f"{each.topic}-{each.partition}-{each.offset}".encode() for each in records if each.value == BROKEN}
    assert broken, "the load has broken records"
    assert {letter.key for letter in letters} == broken
    assert sum(counts["dead_letters"] for shard in shards.values() for counts in shard.counters.values()) == len(broken)
