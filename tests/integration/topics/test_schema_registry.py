"""Records with a schema registry: Kafka, worker, list; a registry that is away; each event once through kills."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.harness.schema_registry import SchemaRegistry
from benchmarks.harness.servers import free_port
from benchmarks.harness.waiting import wait_until
from stream.ingest.schemas.wire import HEADER
from tests import plain_http
from tests.integration.harness.checking import ends_of, learned_everything, store_of
from tests.integration.harness.kafka_client import Message, produce, read_all
from tests.integration.harness.kills import Portion, count_each_event_once_through_kills
from tests.integration.harness.server_process import running_server
from tests.integration.harness.worker_process import WorkerProcess
from tests.stream.ingest.schemas.avro_records import CLICK, encoded, framed
from tests.stream.ingest.schemas.protobuf_records import serialized, shop

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
        answer = plain_http.get(f"http://127.0.0.1:{port}/health/ready")
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
    click = Message("clicks", b'{"item": "teapot", "user": "ada"}', b"ada")
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
    with running_server(environment) as server:
        server.wait_for_version(newest.id)
        answer = server.client.get("/v1/recommendations/ada?exclude_seen=true").json()
        assert {each["item"] for each in answer["items"][:2]} == {"cups", "tray"}


PROTOBUF_MAPPING = """
topics:
  purchases:
    fields: {item: "lines[].sku", quantity: "lines[].count", user: client, event_id: id, timestamp: at}
"""


def test_protobuf_json_schema_and_ids_in_headers_become_lists(
    environment: dict[str, str],
    registry: SchemaRegistry,
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
    tmp_path: Path,
) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(PROTOBUF_MAPPING)
    environment |= {"CORRENTE_MAPPING": str(path), "CORRENTE_SCHEMA_REGISTRY": registry.url}
    make_topics(1)
    kind = shop().message("shop.Envelope.Order")
    now = int(time.time())
    orders = [
        kind(id=f"o{n}", client=n, at={"seconds": now}, lines=[{"sku": sku, "count": 1} for sku in ("teapot", "cups")])
        for n in range(1, 13)
    ]
    messages = [
        Message("purchases", serialized(registry.url, "purchases", each), str(each.client).encode()) for each in orders
    ]
    schema = {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item", "user"]}
    in_json = registry.register(json.dumps(schema), "JSON")
    messages += [
        Message("clicks", framed(in_json, b'{"item": "teapot", "user": "bob"}'), b"bob"),
        Message("clicks", framed(in_json, b'{"item": 7, "user": "bob"}'), b"bob"),
    ]
    avro, guid = registry.register(json.dumps(CLICK)), registry.register(json.dumps(CLICK))
    for header in (framed(avro, b""), b"\1" + registry.guid(guid).bytes):
        value = encoded(CLICK, {"item": "teapot", "user": "eve", "timestamp": None})
        messages.append(Message("clicks", value, b"eve", headers=((HEADER, header),)))
    send(environment, messages)
    worker()
    wait_until(lambda: learned_everything(environment, ends_of(environment)), "everything to be learned", 60.0)
    store = store_of(environment)
    newest = store.latest()
    store.close()
    assert newest.events == 12 * 2 + 1 + 2
    assert letters_of(environment) == [f'schema: the record doesn\'t fit id {in_json}: item: 7 is not of type "string"']
    with running_server(environment) as server:
        server.wait_for_version(newest.id)
        for visitor in ("bob", "eve"):
            answer = server.client.get(f"/v1/recommendations/{visitor}?exclude_seen=true").json()
            assert answer["items"][0]["item"] == "cups"


def avro_orders(registry: SchemaRegistry) -> Callable[[str, int, list[str]], Message]:
    """Makes orders in Avro, whose schema is registered anew."""
    schema = register_order(registry)
    return lambda visitor, number, skus: order(schema, visitor, number, *skus)


def protobuf_orders(registry: SchemaRegistry) -> Callable[[str, int, list[str]], Message]:
    """Makes orders in Protobuf, behind the prefix that Confluent's serializer writes before every one of them."""
    kind = shop().message("shop.Envelope.Order")
    prefix = serialized(registry.url, "purchases", kind())

    def make(visitor: str, number: int, skus: list[str]) -> Message:
        made = kind(id=f"o{number}", client=int(visitor), lines=[{"sku": sku, "count": 1} for sku in skus])
        made.at.GetCurrentTime()
        return Message("purchases", prefix + made.SerializeToString(), visitor.encode())

    return make


@pytest.mark.fault
@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("mapping", "orders"),
    [pytest.param(MAPPING, avro_orders, id="avro"), pytest.param(PROTOBUF_MAPPING, protobuf_orders, id="protobuf")],
)
def test_every_event_of_every_record_with_a_schema_counts_once_through_kills(
    mapping: str,
    orders: Callable[[SchemaRegistry], Callable[[str, int, list[str]], Message]],
    with_schemas: dict[str, str],
    registry: SchemaRegistry,
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
) -> None:
    Path(with_schemas["CORRENTE_MAPPING"]).write_text(mapping)
    make_topics(3)

    def portion(chance: random.Random, kill: int) -> Portion:
        events = broken = 0
        make = orders(registry)
        messages = []
        for number in range(kill * 1000, (kill + 1) * 1000):
            skus = [f"item {int(chance.paretovariate(0.7)) % 300}" for _ in range(chance.randint(1, 8))]
            if chance.random() < 0.01:
                skus.append("")
                broken += 1
            else:
                events += len(skus)
            messages.append(make(str(chance.randrange(1, 200)), number, skus))
        return Portion(lambda: send(with_schemas, messages), events, broken)

    count_each_event_once_through_kills(with_schemas, worker, portion)
