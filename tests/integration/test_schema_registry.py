"""Avro records with a schema registry: Kafka, worker, list; a registry that is away; each event once through kills."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.harness.schema_registry import SchemaRegistry
from benchmarks.harness.servers import free_port
from benchmarks.harness.waiting import wait_until
from stream.shard.counters import learned_events
from tests.integration.checking import ends_of, learned_everything, store_of
from tests.integration.kafka_client import Message, produce, read_all
from tests.integration.worker_process import WorkerProcess
from tests.stream.ingest.schemas.avro_records import encoded, framed

LINE = {
    "type": "record",
    "name": "Line",
    "namespace": "shop",
    "fields": [{"name": "sku", "type": ["null", "string"]}, {"name": "count", "type": "int"}],
}
ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "client", "type": {"type": "record", "name": "Client", "fields": [{"name": "id", "type": "string"}]}},
        {"name": "lines", "type": {"type": "array", "items": "shop.Line"}},
    ],
}
WHOLE = json.loads(json.dumps(ORDER).replace('"shop.Line"', json.dumps(LINE)))
"""`ORDER` in one piece, for the library that writes records."""

MAPPING = """
topics:
  purchases:
    fields: {item: "lines[].sku", quantity: "lines[].count", user: client.id, event_id: id}
"""


@pytest.fixture
def registry() -> Iterator[SchemaRegistry]:
    with SchemaRegistry() as running:
        running.register(json.dumps(LINE), subject="shop.Line")
        yield running


@pytest.fixture
def with_schemas(environment: dict[str, str], registry: SchemaRegistry, tmp_path: Path) -> dict[str, str]:
    """The environment of a system whose purchases come in Avro and as several events each."""
    path = tmp_path / "shop.yaml"
    path.write_text(MAPPING)
    environment |= {"CORRENTE_MAPPING": str(path), "CORRENTE_SCHEMA_REGISTRY": registry.url}
    return environment


def register_order(registry: SchemaRegistry) -> int:
    return registry.register(json.dumps(ORDER), references=[("shop.Line", "shop.Line", 1)])


def order(schema: int, visitor: str, number: int, *skus: str | None) -> Message:
    lines = [{"sku": sku, "count": 1} for sku in skus]
    value = encoded(WHOLE, {"id": f"o{number}", "client": {"id": visitor}, "lines": lines})
    return Message("purchases", framed(schema, value), visitor.encode())


def send(environment: dict[str, str], messages: list[Message]) -> None:
    names = {topic: environment[f"CORRENTE_{topic.upper()}_TOPIC"] for topic in ("clicks", "purchases")}
    produce(environment["CORRENTE_KAFKA"], [each._replace(topic=names[each.topic]) for each in messages])


def letters_of(environment: dict[str, str]) -> list[str]:
    letters = read_all(environment["CORRENTE_KAFKA"], [environment["CORRENTE_DEAD_LETTERS_TOPIC"]])
    return sorted({dict(letter.headers)["reason"].decode() for letter in letters})


def health(port: int) -> tuple[int, Any]:
    """Status and body of the worker's probe; 0 before it answers."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/health/ready")
    except httpx.ConnectError:
        return 0, {}
    return answer.status_code, answer.json()


def test_avro_becomes_lists_and_a_registry_that_is_away_stops_the_partition(
    with_schemas: dict[str, str],
    registry: SchemaRegistry,
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
) -> None:
    environment = with_schemas
    make_topics(1)
    schema = register_order(registry)
    registry.stop()
    port = free_port()
    worker(CORRENTE_METRICS_PORT=str(port))
    click = Message("clicks", b'{"item": "spade", "user": "ada"}', b"ada")
    orders = [order(schema, f"v{n}", n, "teapot", "cups", "tray") for n in range(12)]
    unknown = Message("purchases", framed(99, b"\x02"), b"x")
    send(environment, [*orders, click, unknown])
    wait_until(lambda: "schema registry" in json.dumps(health(port)[1]), "the partition to stand still", 60.0)
    status, said = health(port)
    assert status == 503
    assert "CORRENTE_SCHEMA_REGISTRY" in json.dumps(said)
    assert letters_of(environment) == []
    registry.failing = 503
    registry.start()
    before = len(registry.asked)
    wait_until(lambda: len(registry.asked) > before, "the registry to be asked again", 30.0)
    assert letters_of(environment) == []
    registry.failing = None
    wait_until(lambda: learned_everything(environment, ends_of(environment)), "everything to be learned", 60.0)
    wait_until(lambda: health(port)[0] == 200, "the worker to be ready", 10.0)
    store = store_of(environment)
    newest = store.latest()
    store.close()
    assert newest.events == 12 * 3 + 1
    assert letters_of(environment) == ["schema: id 99: the registry has no such schema"]


@pytest.mark.fault
@pytest.mark.unmeasured
def test_every_event_of_every_avro_record_counts_once_through_kills(
    with_schemas: dict[str, str],
    registry: SchemaRegistry,
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
) -> None:
    seed = int(os.environ.get("SEED") or time.time_ns())
    print(f"SEED={seed} repeats the records and the moments of the kills")
    chance = random.Random(seed)
    environment = with_schemas
    environment |= {"CORRENTE_SESSION_TIMEOUT_SECONDS": "2", "CORRENTE_KEEP_LAST": "1000000"}
    make_topics(3)
    environment["CORRENTE_SHARDS"] = "1"
    events = broken = 0
    running = worker()
    for kill in range(3):
        schema = register_order(registry)  # each portion has a schema of its own
        messages = []
        for number in range(kill * 1000, (kill + 1) * 1000):
            skus: list[str | None] = [
                f"item {int(chance.paretovariate(0.7)) % 300}" for _ in range(chance.randint(1, 8))
            ]
            if chance.random() < 0.01:
                skus.append(None)
                broken += 1
            else:
                events += len(skus)
            messages.append(order(schema, f"visitor {chance.randrange(200)}", number, *skus))
        before = progress(environment)
        sending = threading.Thread(target=send, args=(environment, messages))
        sending.start()
        wait_until(lambda before=before: progress(environment) > before, "some of them to be in a version", 60.0)
        time.sleep(chance.uniform(0.0, 0.3))  # a random moment, not a wait for something
        running.kill()
        sending.join()
        running = worker()
    running.wait_for_log("learning from here on")
    wait_until(lambda: learned_everything(environment, ends_of(environment)), "everything to be learned", 60.0)
    assert running.stop() == 0
    assert progress(environment) == events
    store = store_of(environment)
    (shard,) = store.latest().shards.values()
    store.close()
    assert sum(map(learned_events, shard.counters.values())) == events
    letters = read_all(environment["CORRENTE_KAFKA"], [environment["CORRENTE_DEAD_LETTERS_TOPIC"]])
    assert len({letter.key for letter in letters}) == broken


def progress(environment: dict[str, str]) -> int:
    store = store_of(environment)
    newest = store.latest()
    store.close()
    return newest.events if newest else 0
