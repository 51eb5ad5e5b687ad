"""Records of a shop's own form, several events in one: Kafka, HTTP, worker, list; and each event once through kills."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.harness.processes import metrics, total
from benchmarks.harness.servers import free_port
from benchmarks.harness.waiting import wait_until
from stream.ingest.mapping.loading import load_mapping, ready_names
from tests.integration.harness.checking import assert_every_event_counted_once, ends_of, learned_everything, store_of
from tests.integration.harness.kafka_client import Message, produce
from tests.integration.harness.kills import Portion, count_each_event_once_through_kills
from tests.integration.harness.server_process import running_server
from tests.integration.harness.worker_process import WorkerProcess
from tests.stream.ingest.mapping.ready_records import (
    cloud_event,
    ga4,
    rocket,
    row,
    segment,
    shopify,
    snowplow,
)

MAPPING = """
topics:
  clicks:
    otherwise: leave_out
    fields: {user: client.id, event_id: id}
    rules:
      - when: {name: view}
        kind: click
        fields: {item: product.sku}
      - when: {name: order}
        kind: purchase
        fields: {item: "lines[].sku", quantity: "lines[].count"}
"""
BROKEN_LINE = {"count": 1}


@pytest.fixture
def mapped(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The environment of a system whose clicks come in the form of `MAPPING`."""
    path = tmp_path / "shop.yaml"
    path.write_text(MAPPING)
    environment["CORRENTE_MAPPING"] = str(path)
    return environment


def view(visitor: str, sku: str, number: int) -> dict[str, Any]:
    return {"name": "view", "id": f"v{number}", "client": {"id": visitor}, "product": {"sku": sku}}


def order(visitor: str, number: int, *skus: str) -> dict[str, Any]:
    lines = [{"sku": sku, "count": 1} for sku in skus]
    return {"name": "order", "id": f"o{number}", "client": {"id": visitor}, "lines": lines}


def messages(environment: dict[str, str], records: list[dict[str, Any]]) -> Iterator[Message]:
    for record in records:
        key = record["client"]["id"].encode()
        yield Message(environment["CORRENTE_CLICKS_TOPIC"], json.dumps(record).encode(), key)


def test_mapped_records_from_kafka_and_http_become_lists(
    mapped: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    make_topics(1)
    port = free_port()
    worker(CORRENTE_METRICS_PORT=str(port))
    baskets = [order(f"v{n}", n, "teapot", "cups", "tray") for n in range(12)]
    others = [
        view("cy", "spade", 1),
        {"name": "page", "client": {"id": "cy"}},
        {"name": "order", "client": {"id": "cy"}, "lines": []},
    ]
    produce(mapped["CORRENTE_KAFKA"], messages(mapped, [*baskets, *others]))
    with running_server(mapped) as server:
        server.wait_for_kafka()
        posted = server.client.post(
            "/v1/events/clicks", json=[view("bob", "teapot", 2), order("eve", 103, "cups", "tray")]
        )
        assert posted.json() == {"accepted": 2, "event_ids": ["v2", "o103"], "repeated": 0}
        wrong = server.client.post(
            "/v1/events/clicks", json=[view("bob", "teapot", 4), order("eve", 105, "cups", "x" * 300)]
        )
        assert (wrong.status_code, wrong.json()["index"], wrong.json()["field"]) == (422, 1, "item")
        wait_until(lambda: learned_everything(mapped, ends_of(mapped)), "everything to be learned", 60.0)
        store = store_of(mapped)
        newest = store.latest()
        store.close()
        server.wait_for_version(newest.id)
        assert newest.events == 12 * 3 + 1 + 1 + 2
        answer = server.client.get("/v1/recommendations/bob?exclude_seen=true").json()
        assert {each["item"] for each in answer["items"][:2]} == {"cups", "tray"}
    counts = newest.shards[0].counters["clicks"]
    assert (counts["read"], counts["learned"]) == (17, 15)
    assert (counts["unlearned:unmapped"], counts["unlearned:empty_list"]) == (1, 1)
    assert total(metrics(port), "corrente_worker_events_total", 'outcome="learned"') == newest.events
    assert_every_event_counted_once(mapped)


BUYERS = 12


def ready_made_together() -> str:
    """A mapping with the rules of all ready-made ones, so that one worker reads the records of all producers."""
    rules = defaultdict(list)
    for name in ready_names():
        for topic, described in load_mapping(name).document.topics.items():
            for rule in described.rules or [described]:
                fields, kind = {**described.fields, **rule.fields}, rule.kind or described.kind
                rules[topic].append({"when": getattr(rule, "when", {}), "kind": kind, "fields": fields})
    topics = {topic: {"otherwise": "leave_out", "rules": those} for topic, those in rules.items()}
    return msgspec.json.encode({"topics": topics}).decode()  # JSON is YAML


def bought(name: str, visitor: int, items: Sequence[int]) -> list[dict[str, Any]]:
    """The records in which a producer says that a visitor bought these items."""
    ours = f"{name}-{visitor}"
    match name:
        case "ga4":
            lines = [{"item_id": f"ga4-{item}"} for item in items]
            return [ga4("purchase", *lines, user_pseudo_id=ours, ecommerce={"transaction_id": ours})]
        case "segment":
            products = [{"product_id": f"segment-{item}", "quantity": 1, "price": 4.5} for item in items]
            return [segment("Order Completed", products=products) | {"userId": ours, "messageId": ours}]
        case "snowplow":
            lines = [{"id": f"snowplow-{item}", "quantity": 1} for item in items]
            return [snowplow("transaction", *lines, domain_userid=ours, domain_sessionid=ours, event_id=ours)]
        case "shopify":
            return [shopify(*({"product_id": item} for item in items), customer=visitor) | {"id": visitor}]
        case "cloudevents":
            made = (cloud_event("purchased", item=f"cloudevents-{item}", user=ours) for item in items)
            return [each | {"id": f"{ours}-{n}"} for n, each in enumerate(made)]
        case "debezium":
            after = ({"id": 10 * visitor + n, "user_id": ours, "item_id": f"debezium-{i}"} for n, i in enumerate(items))
            return [row("c", after=each | {"created_at": 1_767_225_600_000_000}) for each in after]
        case "retailrocket":
            return [rocket("transaction") | {"visitorid": ours, "itemid": f"retailrocket-{item}"} for item in items]
    raise AssertionError(name)


LEFT_OUT = [ga4("page_view"), segment("Promotion Viewed"), snowplow("checkout_step"), row("u"), cloud_event("deleted")]
"""Records of these producers that are about no event of ours."""


def test_records_of_every_ready_made_mapping_become_lists(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess], tmp_path: Path
) -> None:
    (tmp_path / "all.yaml").write_text(ready_made_together())
    environment["CORRENTE_MAPPING"] = str(tmp_path / "all.yaml")
    make_topics(1)
    worker()
    sent = []
    for name in ready_names():
        topic = environment["CORRENTE_PURCHASES_TOPIC" if name == "shopify" else "CORRENTE_CLICKS_TOPIC"]
        for visitor in range(1, BUYERS + 2):
            items = (1, 2) if visitor <= BUYERS else (1,)
            sent += [Message(topic, json.dumps(record).encode()) for record in bought(name, visitor, items)]
    clicks = environment["CORRENTE_CLICKS_TOPIC"]
    sent += [Message(clicks, json.dumps(record).encode()) for record in LEFT_OUT]
    sent += [Message(clicks, None, b"a deleted row")]
    produce(environment["CORRENTE_KAFKA"], sent)
    with running_server(environment) as server:
        wait_until(lambda: learned_everything(environment, ends_of(environment)), "everything to be learned", 60.0)
        store = store_of(environment)
        newest = store.latest()
        store.close()
        assert newest.events == len(ready_names()) * (2 * BUYERS + 1)
        assert newest.shards[0].counters["clicks"]["unlearned:unmapped"] == len(LEFT_OUT) + 1
        server.wait_for_version(newest.id)
        for name in ready_names():
            prefix = "" if name == "shopify" else f"{name}-"
            answer = server.client.get(f"/v1/recommendations/{prefix}{BUYERS + 1}?exclude_seen=true").json()
            assert (name, answer["items"][0]["item"]) == (name, f"{prefix}2")


@pytest.mark.fault
@pytest.mark.unmeasured
def test_every_event_of_every_record_counts_once_through_kills(
    mapped: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    make_topics(3)

    def portion(chance: random.Random, kill: int) -> Portion:
        events = broken = 0
        records = []
        for number in range(kill * 2000, (kill + 1) * 2000):
            skus = [f"item {int(chance.paretovariate(0.7)) % 300}" for _ in range(chance.randint(1, 8))]
            records.append(order(f"visitor {chance.randrange(200)}", number, *skus))
            if chance.random() < 0.01:
                records[-1]["lines"].append(BROKEN_LINE)
                broken += 1
            else:
                events += len(skus)
        return Portion(lambda: produce(mapped["CORRENTE_KAFKA"], messages(mapped, records)), events, broken)

    count_each_event_once_through_kills(mapped, worker, portion)
    assert_every_event_counted_once(mapped)
